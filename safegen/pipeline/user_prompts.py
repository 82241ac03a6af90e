"""Round 0 from a user's file in place of the taxonomy's sets: check, label what is open, plan.

What cannot be labelled or must not be asked is listed in `run/unlabelled.jsonl`; nothing is guessed.
The plan is written last, so that a run which was killed on the way goes on with the journal's
answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from safegen.config.plan import AUTHORED_KEYS
from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import ConfigError, UserError
from safegen.core.progress import Progress
from safegen.core.types import Teacher, Usage
from safegen.judges.blind_panel import Labellers
from safegen.pipeline._user_rows import ImportReport, PromptImport, find_contradictions
from safegen.pipeline.resolve import (
    ResolvedRecipe,
    check_teachers,
    make_teacher,
    resolve_recipe,
    teacher_traits,
)
from safegen.pipeline.session import Watch
from safegen.pipeline.user_repeats import Repeat, find_repeats, format_warning
from safegen.pipeline.workers import open_worker_factory
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.scenarios.user_prompts.resolve_labels import Unlabelled, UnlabelledCause, in_words
from safegen.scenarios.written import group_shards
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from safegen.teachers import Meter

OFFLINE_PROBLEM = (
    "the offline teacher composes answers from a goal's written knowledge, and your own prompts have"
    " none; name a model under `teachers`, such as `drafter: {openai_chat: {base_url: …, model: …}}`"
)
MAX_NAMED = 3
"""Rows that repeat others, named before drafting."""
logger = logging.getLogger("safegen")


def check_recipe(inputs: ResolvedRecipe, *, teachers: Mapping[str, Teacher]) -> None:
    """Refuse what cannot work with a user's prompts, before anything is planned.

    Raises:
        UserError: the offline teacher is to draft, keys of the plan that speak of written sets, a
            labeller that cannot be made.
    """
    for role, ref in _iter_teachers(inputs.recipe):
        if role in teachers:
            continue
        with inputs.locator.prefix_errors("teachers", role):
            if teacher_traits(inputs, ref).needs_knowledge:
                raise ConfigError(OFFLINE_PROBLEM)
    for name in ("contrast", "dialogues", *AUTHORED_KEYS):
        if getattr(inputs.recipe.plan, name):
            with inputs.locator.prefix_errors("plan", name):
                raise ConfigError(
                    "plans sets of the taxonomy, and `--prompts` takes their place; remove it"
                )
    if "labeller" not in teachers:
        for ref in inputs.recipe.judges.labellers:
            with inputs.locator.prefix_errors("judges", "labellers"):
                make_teacher(inputs, ref)


def _iter_teachers(recipe: Recipe) -> Iterator[tuple[str, PluginRef]]:
    for role, named in recipe.teachers:
        refs = cast("tuple[object, ...]", named if isinstance(named, tuple) else (named,))
        yield from ((role, ref) for ref in refs if isinstance(ref, PluginRef))


async def write_plan(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    source: UserPrompts,
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> tuple[Usage, float]:
    """Plan round 0 from the file, unless it is planned; what labelling cost, and its seconds.

    Raises:
        UserError: a mistake in the file, or nothing in it can be planned.
        RunError: the run cannot go on; what labellers answered is kept.
    """
    if folder.plan(0).exists():
        return Usage(), 0.0
    if source.path is None:
        raise UserError(
            f"`{folder.root}` is not planned yet and needs its file; run `safegen generate` with"
            f" `--prompts` and the file `{source.name}`"
        )
    desk = await asyncio.to_thread(PromptImport.open, inputs, source)
    usage, seconds = Usage(), 0.0
    if desk.open_rows and (inputs.recipe.judges.labellers or "labeller" in teachers):
        began = time.monotonic()
        usage = await _label_open_rows(folder, desk, teachers=teachers, watch=watch)
        seconds = time.monotonic() - began
    await asyncio.to_thread(_write_plan, folder, desk)
    return usage, seconds


async def _label_open_rows(
    folder: RunFolder, desk: PromptImport, *, teachers: Mapping[str, Teacher], watch: Watch | None
) -> Usage:
    """Let blind labellers read what is open; every answer is in the journal before it counts."""
    async with open_worker_factory(folder, desk.inputs, teachers) as staff:
        await _read_labels(desk, staff.make_labellers(), watch=watch, meter=staff.meter)
    return staff.meter.usage()


async def _read_labels(
    desk: PromptImport, judges: tuple[Teacher, ...], *, watch: Watch | None, meter: Meter
) -> None:
    progress = Progress(planned=len(desk.open_rows), stage="labelling")
    if watch:
        watch(progress, meter)

    def read_one() -> None:
        progress.done += 1

    desk.models = [str(getattr(judge, "model", "unknown")) for judge in judges]
    labellers = Labellers(judges, desk.inputs.tree.harms)
    desk.blind_labels = await labellers.read_all(desk.iter_label_requests(), read_one=read_one)


def _write_plan(folder: RunFolder, desk: PromptImport) -> None:
    """Write what is told of the file, then the plan.

    Raises:
        UserError: nothing in the file can be planned.
    """
    sheet = ImportReport(folder, desk, find_contradictions(desk))
    first = folder.plan(0)
    plan.write_plan(
        first, group_shards(sheet.iter_sets(), candidates=desk.inputs.recipe.plan.candidates)
    )
    if plan.plan_size(first)[1]:
        if duplicates := find_repeats(desk, sheet.kept):
            logger.warning("%s: %s", desk.source.name, format_warning(duplicates, most=MAX_NAMED))
        return
    first.unlink()
    left_out = [f"{n} left out by `{by}`" for by, n in sorted(sheet.left_out.items())]
    listed = [f"{n} {cause}" for cause, n in in_words(sheet.count_causes()).items()]
    where = [f"listed in `{folder.unlabelled_rows}`"] if listed else []
    raise UserError(
        f"no row of `{desk.source.name}` can be planned: {', '.join([*listed, *where, *left_out])};"
        f" {', '.join(_iter_hints(sheet, was_labelled=bool(desk.models)))}"
    )


def _iter_hints(sheet: ImportReport, *, was_labelled: bool) -> Iterator[str]:
    """What brings rows into the plan, by what keeps them out of it.

    Args:
        sheet: what became of the rows.
        was_labelled: whether labellers read what was open.
    """
    causes = sheet.count_causes()
    if "missing_label" in causes:
        yield (
            "fill in the labels"
            if was_labelled
            else ("fill in the labels or name `judges.labellers` in the recipe")
        )
    if "contradictory" in causes:
        yield "fix labels that contradict each other"
    if "profile_mismatch" in causes:
        yield "give rows with a profile mismatch another `profile`"
    if set(sheet.left_out) - {"duplicate"}:
        yield "widen `plan`"
    if set(causes) == {"red_line"}:
        yield "a red line is never drafted, so such rows can only be taken out"


@dataclass(frozen=True, slots=True)
class ImportEstimate:
    """What a user's file comes to before anybody is asked."""

    rows: int
    taken: int
    """Rows with a label in the file; it is taken as it is."""
    labelled: int
    """Rows whose labels are all in the file."""
    planned: int
    """Rows that are planned without a labeller."""
    to_read: int
    """Texts that labellers are to read; their rows are planned as far as the labels can be told."""
    label_calls: int
    """Questions: each labeller is asked one or two about each text, and once more where its answer cannot be read."""
    unlabelled: tuple[Unlabelled, ...]
    """Rows that cannot be planned as they are."""
    left_out: Mapping[str, int]
    not_under: Mapping[str, int]
    """Planned rows by a profile under which they are not asked, since their words rule it out."""
    repeats: tuple[Repeat, ...]
    """Rows, planned or to be read, that repeat an earlier one."""
    not_read: tuple[str, ...]
    by_domain_mode: Mapping[tuple[str, str], int]
    """Prompts of the planned rows."""

    @property
    def causes(self) -> dict[str, int]:
        """Rows that cannot be planned, by cause in words."""
        return describe_causes(Counter(row.cause for row in self.unlabelled))


def describe_causes(causes: Mapping[UnlabelledCause, int]) -> dict[str, int]:
    """Name the causes for which rows are not planned; values are counts of rows."""
    return in_words(causes)


class ImportDryRun(NamedTuple):
    """A resolved recipe and the estimate of a user's file."""

    inputs: ResolvedRecipe
    estimate: ImportEstimate


def dry_run_import(
    recipe: Recipe | str, source: UserPrompts, *, trusted: Sequence[str] = ()
) -> ImportDryRun:
    """Check a recipe and a file of prompts, and estimate labels and drafts; no model is called.

    Raises:
        UserError: the file or the recipe is wrong.
    """
    inputs = resolve_recipe(recipe, trusted=trusted)
    check_recipe(inputs, teachers={})
    check_teachers(inputs, teachers={})
    return ImportDryRun(inputs, estimate_import(inputs, source))


def estimate_import(inputs: ResolvedRecipe, source: UserPrompts) -> ImportEstimate:
    """Say what a file comes to; nothing is asked and nothing written.

    Raises:
        UserError: a mistake in the file or the recipe.
    """
    desk = PromptImport.open(inputs, source)
    judges = len(inputs.recipe.judges.labellers)
    sheet = ImportReport(None, desk, find_contradictions(desk))
    counts = Counter(
        (item.scenario.domain, item.expectation.mode) for set_ in sheet.iter_sets() for item in set_
    )
    to_read = {row.number for row in desk.iter_rows() if judges and row.text_key in desk.open_rows}
    waits = {u for u in sheet.unlabelled if u.cause == "missing_label" and u.row in to_read}
    return ImportEstimate(
        rows=sheet.rows,
        taken=sheet.taken,
        labelled=sheet.labelled,
        planned=sheet.planned,
        to_read=len(desk.open_rows) if judges else 0,
        label_calls=judges * sum(sum(questions) for questions in desk.open_rows.values()),
        unlabelled=tuple(u for u in sheet.unlabelled if u not in waits),
        left_out=dict(sorted(sheet.left_out.items())),
        not_under=dict(sorted(sheet.not_under.items())),
        repeats=find_repeats(desk, sheet.kept | {u.row for u in waits}),
        not_read=tuple(desk.unread_columns),
        by_domain_mode=dict(sorted(counts.items())),
    )
