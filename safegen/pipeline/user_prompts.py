"""Round 0 from a user's file instead of the taxonomy's sets: check, label open rows, plan.

Rows that cannot be labelled or must not be planned are listed in `run/unlabelled.jsonl`; no label is
guessed. The plan is written last, so that a run that was killed resumes from the cached replies.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from safegen.config.plan import AUTHORED_KEYS
from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import ConfigError, RunError, UserError
from safegen.core.progress import Progress
from safegen.core.types import PlannedScenario, Teacher, UnixClock, Usage
from safegen.dataset.curation.split import describe_empty_splits, split_of
from safegen.judges.user_prompt_labels import BlindLabels, Labellers
from safegen.pipeline import snapshot
from safegen.pipeline._user_rows import (
    ChangedRow,
    ImportReport,
    PromptImport,
    import_sets,
    write_import_report,
)
from safegen.pipeline.contact_warnings import day_of, list_contact_warnings
from safegen.pipeline.preflight.teacher_facts import list_teacher_facts, list_unset
from safegen.pipeline.resolve import (
    ResolvedRecipe,
    make_teacher,
    resolve_recipe,
    teacher_traits,
)
from safegen.pipeline.session import SessionStats, Watch, choose_folder, delete_plan
from safegen.pipeline.user_repeats import Repeat, find_repeats, format_warning
from safegen.pipeline.workers import (
    KNOWN,
    check_labellers,
    make_retry_hint,
    open_worker_factory,
)
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.scenarios.user_prompts.redaction import Redaction
from safegen.scenarios.user_prompts.resolve_labels import Unlabelled, name_causes
from safegen.scenarios.written import group_shards
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from safegen.teachers import Meter

if TYPE_CHECKING:
    from safegen.pipeline.preflight.estimate import FolderState

OFFLINE_PROBLEM = (
    "the offline teacher composes answers from a goal's written knowledge, which your own prompts"
    " lack; name a model under `teachers`, such as `drafter: {openai_chat: {base_url: …, model: …}}`"
)
MAX_NAMED = 3
"""Repeated rows that the warning names."""
logger = logging.getLogger(__name__)


def check_recipe(inputs: ResolvedRecipe, *, teachers: Mapping[str, Teacher]) -> None:
    """Reject a recipe that cannot work with a user's prompts, before anything is planned.

    Raises:
        UserError: a teacher needs written knowledge, the plan has keys for written sets, or a
            labeller cannot be built.
    """
    _check_keys(inputs, teachers=teachers)
    if "labeller" not in teachers:
        for ref in inputs.recipe.judges.labellers:
            with inputs.locator.prefix_errors("judges", "labellers"):
                make_teacher(inputs, ref)


def _check_keys(inputs: ResolvedRecipe, *, teachers: Mapping[str, Teacher]) -> None:
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
                    "is for sets of the taxonomy, which `--prompts` replaces; remove the key"
                )


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
) -> SessionStats:
    """Plan round 0 from the file unless it is planned; return the usage and seconds of labelling.

    If requests to labellers failed, they are repeated, and the run is planned again when rows get labels.

    Raises:
        UserError: the file has errors, or none of its rows can be planned.
        RunError: the run cannot continue; cached replies are kept.
    """
    is_planned = folder.plan(0).exists()
    if is_planned and not (source.files and folder.read_label_failures()):
        return SessionStats(Usage(), 0, 0.0)
    if not source.files:
        raise UserError(
            f"`{folder.root}` is not planned yet and needs its file; run `safegen generate` with"
            f" `--prompts` and `{source.name}`"
        )
    usage, seconds = Usage(), 0.0
    with closing(await asyncio.to_thread(PromptImport.open, inputs, source)) as prompts:
        if prompts.open_rows and (inputs.recipe.judges.labellers or "labeller" in teachers):
            began = time.monotonic()
            labelled = await _label_open_rows(folder, prompts, teachers=teachers, watch=watch)
            prompts, usage = labelled
            seconds = time.monotonic() - began
        write = _extend_plan if is_planned else _write_plan
        await asyncio.to_thread(write, folder, prompts)
    return SessionStats(usage, 0, seconds)


class _LabelledImport(NamedTuple):
    """An import with its blind labels, and what they cost."""

    prompts: PromptImport
    usage: Usage


async def _label_open_rows(
    folder: RunFolder,
    prompts: PromptImport,
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> _LabelledImport:
    async with open_worker_factory(folder, prompts.inputs, teachers) as factory:
        judges = factory.make_labellers()
        labels = await _read_labels(folder, prompts, judges, watch=watch, meter=factory.meter)
    models = [str(getattr(judge, "model", "unknown")) for judge in judges]
    labelled = replace(prompts, blind_labels=labels, models=models)
    return _LabelledImport(labelled, factory.meter.usage())


async def _read_labels(
    folder: RunFolder,
    prompts: PromptImport,
    judges: tuple[Teacher, ...],
    *,
    watch: Watch | None,
    meter: Meter,
) -> dict[str, BlindLabels]:
    """Check the labellers on known prompts, then label the open rows.

    Raises:
        RunError: the labellers do not reach the bar, or the run cannot continue.
    """
    progress = Progress(stage="labelling")
    if watch:
        watch(progress, meter)
    labellers = Labellers(judges, prompts.inputs.tree.harms)
    asks_harm = any(harm for _, harm in prompts.open_rows.values())
    await check_labellers(
        folder,
        prompts.inputs,
        judges,
        labellers.labels,
        progress=progress,
        read_harm=labellers.read_harm if asks_harm else None,
    )
    progress.planned, progress.done, progress.stage = len(prompts.open_rows), 0, "labelling"

    def on_read() -> None:
        progress.done += 1

    return await labellers.read_all(prompts.iter_label_requests(), on_read=on_read)


def _extend_plan(folder: RunFolder, prompts: PromptImport) -> None:
    """Plan again if a text that a failed request left without labels is decided now.

    The cached replies to drafts stay, so that only new rows are drafted.
    """
    failed = {f.scenario_id for f in folder.read_label_failures()} - {KNOWN}
    report = import_sets(prompts, _skip_sets).report
    if failed - set(report.failed_texts):
        delete_plan(folder)
        _write_plan(folder, prompts)
    else:
        write_import_report(folder, prompts, report)


def _skip_sets(sets: Iterator[list[PlannedScenario]]) -> None:
    for _ in sets:
        pass


def _write_plan(folder: RunFolder, prompts: PromptImport) -> None:
    """Write the import report, then the plan.

    Raises:
        UserError: no row of the file can be planned.
        RunError: requests to labellers failed for all rows that could be planned.
    """
    first, candidates = folder.plan(0), prompts.inputs.recipe.plan.candidates

    transform = _make_transform(prompts)

    def write(sets: Iterator[list[PlannedScenario]]) -> None:
        plan.write_plan(first, group_shards(transform(sets), candidates=candidates))

    # Before the plan is complete: a plan makes the run resume, and then no report would be written.
    on_report = partial(write_import_report, folder, prompts)
    report = import_sets(prompts, write, on_report=on_report).report
    if plan.read_plan_size(first).scenarios:
        _log_warnings(prompts)
        if duplicates := find_repeats(prompts, report.kept):
            logger.warning(
                "%s: %s", prompts.source.name, format_warning(duplicates, most=MAX_NAMED)
            )
        return
    # An empty plan would make the next call resume instead of reading the file again.
    first.unlink()
    message = _explain_empty(report, prompts, f"listed in `{folder.unlabelled_rows}`")
    # The file may be right, so the caller has nothing to fix in it.
    if report.failed_texts:
        raise RunError(f"{message}; {make_retry_hint(folder)}")
    raise UserError(message)


Transform = Callable[[Iterator[list[PlannedScenario]]], Iterator[list[PlannedScenario]]]
"""A function that changes planned sets."""


def _make_transform(prompts: PromptImport) -> Transform:
    """Make the function that adds the plan's noise and wrappers to the rows of a file."""
    surface = prompts.inputs.make_surface()
    # Most rows are sets of their own, so both sides of a wrapper are balanced over the file.
    lone = import_sets(prompts, surface.count_lone).result if surface.wrappers else None
    return lambda sets: surface.apply(sets, lone=lone)


def _explain_empty(report: ImportReport, prompts: PromptImport, *places: str) -> str:
    excluded = [f"{n} excluded by `{by}`" for by, n in report.excluded.items()]
    listed = [f"{n} {cause}" for cause, n in name_causes(report.count_causes()).items()]
    counts = [*listed, *(places if listed else ()), *excluded]
    hints = ", ".join(_iter_hints(report, was_labelled=bool(prompts.models)))
    return f"no row of `{prompts.source.name}` can be planned: {', '.join(counts)}; {hints}"


def _log_warnings(prompts: PromptImport) -> None:
    name, profile = prompts.source.name, prompts.profile
    for warning in profile.list_warnings(prompts.fields):
        logger.warning("%s: %s", name, warning)
    if profile.personal_rows and prompts.inputs.recipe.redact is None:
        logger.warning("%s: %s", name, describe_personal_rows(profile.personal_rows, None))


def describe_personal_rows(rows: int, redaction: Redaction | None) -> str:
    """Describe the rows with likely personal data, and what the recipe does with them."""
    count = (
        f"{rows:,} {'row has' if rows == 1 else 'rows have'} likely personal data, keys or tokens"
    )
    if redaction is None:
        return f"{count}; set `redact: mask` or `redact: drop` in the recipe"
    return f"{count}, {'masked' if redaction == 'mask' else 'dropped'} before the first request"


def _iter_hints(report: ImportReport, *, was_labelled: bool) -> Iterator[str]:
    """Suggest one fix for each reason why rows are not planned."""
    causes = report.count_causes()
    if "label_request_failed" in causes:
        yield "repeat the failed requests of labellers"
    if "missing_label" in causes:
        yield "fill in the labels" + (
            "" if was_labelled else " or name `judges.labellers` in the recipe"
        )
    if "contradictory" in causes:
        yield "fix labels that contradict each other"
    if "profile_mismatch" in causes:
        yield "give rows with a profile mismatch another `profile`"
    if "unreadable" in causes:
        yield "fix rows that cannot be read"
    if "redact" in report.excluded:
        yield "set `redact: mask` to keep rows with personal data"
    if set(report.excluded) - {"duplicate", "redact"}:
        yield "widen `plan`"
    if set(causes) == {"red_line"}:
        yield "a red line is never drafted, so remove such rows"


@dataclass(frozen=True, slots=True)
class ImportEstimate:
    """The rows of a user's file by their use, without a model call."""

    rows: int
    taken: int
    """Rows with at least one label in the file."""
    labelled: int
    """Rows whose labels are all in the file."""
    planned: int
    """Rows that are planned without a labeller."""
    sets: int
    """Matched sets of the planned rows."""
    goals: int
    """Goals of the planned rows; a goal stays in one split."""
    to_read: int
    """Distinct texts for the labellers; their rows are planned if the labels have a majority."""
    label_calls: int
    """Requests: one or two per labeller and text, without retries of malformed replies."""
    unlabelled: tuple[Unlabelled, ...]
    """Rows that cannot be planned, with or without labellers."""
    excluded: Mapping[str, int]
    not_under: Mapping[str, int]
    """Planned rows by a profile that excludes them, because their prompt contradicts it."""
    recorded_otherwise: tuple[ChangedRow, ...]
    """Planned rows whose evidence is recorded otherwise than the file states it."""
    repeats: tuple[Repeat, ...]
    """Rows that repeat an earlier one, among the planned rows and those for labellers."""
    fields: Mapping[str, str]
    """Column by field."""
    not_read: tuple[str, ...]
    personal_rows: int
    """Readable rows with likely personal data, keys or tokens."""
    personal_kinds: Mapping[str, int]
    """The same by kind; a row can count for several kinds."""
    warnings: tuple[str, ...]
    """Columns that look like something else than their field, and splits without a goal."""
    by_domain_mode: Mapping[tuple[str, str], int]
    """Prompts of the planned rows."""
    problem: str | None = None
    """Reason why `generate` would fail, because no row can be planned; else None."""

    @property
    def causes(self) -> dict[str, int]:
        """Number of rows that cannot be planned, by cause in words."""
        return name_causes(Counter(row.cause for row in self.unlabelled))


class ImportDryRun(NamedTuple):
    """A resolved recipe and the estimate of a user's file."""

    inputs: ResolvedRecipe
    estimate: ImportEstimate
    unset: tuple[str, ...]
    """Environment variables that a teacher needs and that are not set."""
    folder: FolderState


def dry_run_import(
    recipe: Recipe | str,
    source: UserPrompts,
    *,
    output: Path | None = None,
    trusted: Sequence[str] = (),
    clock: UnixClock = time.time,
) -> ImportDryRun:
    """Check a recipe and a file of prompts, and estimate labels and drafts; no model is called.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        source: the file.
        output: the folder of the run; default the recipe's.
        trusted: modules that the recipe may name as `module:factory`.
        clock: returns seconds since 1970, for warnings about stale contacts.

    Raises:
        UserError: the file or the recipe is wrong, or no run can use the folder.
        StoreDamaged: the output folder holds a run that cannot be read.
    """
    from safegen.pipeline.preflight.estimate import read_folder

    inputs = resolve_recipe(recipe, trusted=trusted)
    _check_keys(inputs, teachers={})
    teachers = list_teacher_facts(inputs)
    folder = choose_folder(output, inputs.recipe)
    # As `generate` does, a run of the same file lends the options that are not repeated.
    resumed = snapshot.adopt_prompt_options(folder, replace(inputs, user_prompts=source))
    state = read_folder(resumed, folder)
    estimate = estimate_import(inputs, source)
    warnings = list_contact_warnings(inputs, today=day_of(clock()))
    estimate = replace(estimate, warnings=(*estimate.warnings, *warnings))
    return ImportDryRun(inputs, estimate, list_unset(teachers), state)


def estimate_import(inputs: ResolvedRecipe, source: UserPrompts) -> ImportEstimate:
    """Estimate labels and drafts of a file, without a model call and without writing.

    Raises:
        UserError: the file or the recipe is wrong.
    """
    with closing(PromptImport.open(inputs, source)) as prompts:
        return _estimate_rows(prompts)


class _SetCounts(NamedTuple):
    """Counts over the planned sets of a file."""

    by_domain_mode: Counter[tuple[str, str]]
    sets: int
    goals: frozenset[str]


def _count_sets(planned: Iterator[list[PlannedScenario]]) -> _SetCounts:
    counts: Counter[tuple[str, str]] = Counter()
    sets, goals = set[str](), set[str]()
    for items in planned:
        counts.update((item.scenario.domain, item.expectation.mode) for item in items)
        sets.update(item.scenario.set_id for item in items)
        goals.update(item.scenario.goal_id for item in items)
    return _SetCounts(counts, len(sets), frozenset(goals))


def _warn_empty_splits(prompts: PromptImport, goals: Iterable[str]) -> Iterator[str]:
    test = prompts.inputs.recipe.split.test
    warning = describe_empty_splits({split_of(goal, test=test) for goal in goals}, test=test)
    if warning is not None:
        yield warning


def _count_questions(prompts: PromptImport) -> int:
    """Count the questions for one labeller: those about known prompts, and those about the rows."""
    questions = list(prompts.open_rows.values())
    about_rows = sum(labels + harm for labels, harm in questions)
    about_known = 1 + any(harm for _, harm in questions) if questions else 0
    return about_rows + about_known * prompts.inputs.recipe.judges.known


def _estimate_rows(prompts: PromptImport) -> ImportEstimate:
    judges = len(prompts.inputs.recipe.judges.labellers)
    transform = _make_transform(prompts)
    report, counts = import_sets(prompts, lambda sets: _count_sets(transform(sets)))
    to_read = {
        row.number for row in prompts.iter_rows() if judges and row.text_key in prompts.open_rows
    }
    # Rows that labellers will read are no loss yet.
    waiting = {u for u in report.unlabelled if u.cause == "missing_label" and u.row in to_read}
    return ImportEstimate(
        rows=report.rows,
        taken=report.taken,
        labelled=report.labelled,
        planned=report.planned,
        sets=counts.sets,
        goals=len(counts.goals),
        to_read=len(prompts.open_rows) if judges else 0,
        label_calls=judges * _count_questions(prompts),
        unlabelled=tuple(u for u in report.unlabelled if u not in waiting),
        excluded=report.excluded,
        not_under=report.not_under,
        recorded_otherwise=tuple(report.recorded_otherwise),
        repeats=find_repeats(prompts, report.kept | {u.row for u in waiting}),
        fields=prompts.fields,
        not_read=prompts.unread,
        personal_rows=prompts.profile.personal_rows,
        personal_kinds=dict(sorted(prompts.profile.personal_kinds.items())),
        warnings=(
            *prompts.profile.list_warnings(prompts.fields),
            *(() if to_read else _warn_empty_splits(prompts, counts.goals)),
        ),
        by_domain_mode=dict(sorted(counts.by_domain_mode.items())),
        problem=None if report.planned or to_read else _explain_empty(report, prompts),
    )
