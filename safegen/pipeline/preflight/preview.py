"""Preview a recipe: run a few sets end to end and estimate the whole from them.

The sets run in an ordinary session in a temporary folder, which is deleted afterwards.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safegen.config.recipe import Recipe
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.core.types import PlannedScenario, Record, Teacher
from safegen.pipeline import session
from safegen.pipeline.preflight.estimate import CHARS_PER_TOKEN, Estimate, estimate
from safegen.pipeline.resolve import ResolvedRecipe, check_teachers
from safegen.scenarios.written import explain_empty, group_shards
from safegen.store import plan
from safegen.store.run_folder import RunFolder

MAX_SETS = 100
"""Largest number of sets of a preview."""
MIN_MEASURED = 20
"""Drafts below which a mean is too uncertain."""


class PreviewCell(NamedTuple):
    """A cell over which previewed sets are spread."""

    kind: str
    domain: str
    harm: str


@dataclass(frozen=True, slots=True)
class PreviewEstimate:
    """Calls and tokens of all drafts of a recipe, scaled from a preview."""

    prompts: int
    drafts: int
    calls: int
    most_calls: int
    """Upper bound: all revisions that the recipe allows."""
    author_calls: int
    """Upper bound of author calls; their tokens are not measured."""
    label_calls: int
    """Upper bound of labeller calls; their tokens are not measured."""
    judge_calls: int
    """Upper bound of judge calls; their tokens are not measured."""
    effect_calls: int
    """Answers without the spec; their tokens are not measured."""
    prompt_tokens: int
    answer_tokens: int
    measured: int
    """Drafts of the preview, revisions included."""
    counted: int
    """Drafts with token counts from the endpoint; the others are estimated from characters."""

    @property
    def source(self) -> str:
        """Source of the token counts, for people."""
        if self.counted == self.measured and self.measured:
            return "as the endpoint counts them"
        if not self.counted:
            return f"characters / {CHARS_PER_TOKEN}: the teacher gives no counts"
        rest = self.measured - self.counted
        return f"as the endpoint counts {format_plural(self.counted, 'draft')}, characters / {CHARS_PER_TOKEN} for {rest}"


@dataclass(frozen=True, slots=True)
class Preview:
    """The records of a few sets, and an estimate of the whole."""

    sets: int
    records: tuple[Record, ...]
    dropped: Mapping[str, int]
    """Prompts without a draft, by reason."""
    estimate: PreviewEstimate


async def preview_recipe(
    inputs: ResolvedRecipe,
    *,
    sets: int = 3,
    teachers: Mapping[str, Teacher] | None = None,
    watch: session.Watch | None = None,
) -> Preview:
    """Run a few sets to records; nothing stays on disk.

    Args:
        inputs: the resolved recipe.
        sets: number of sets, at most `MAX_SETS`.
        teachers: teachers by role in place of the recipe's.
        watch: receives the live counters.

    Raises:
        UserError: the plan is empty, or a teacher cannot be built.
        RunError: the endpoint or the budget ended the preview.
    """
    check_teachers(inputs, teachers=teachers or {})
    size = await asyncio.to_thread(estimate, inputs)
    counter = _PromptCounter()
    chosen = choose_sets(counter.count(session.plan_first_round(inputs)), min(sets, MAX_SETS))
    if not chosen:
        raise UserError(explain_empty(inputs.make_planning_context()))
    with tempfile.TemporaryDirectory(prefix="safegen-preview-") as place:
        folder = RunFolder(Path(place))
        folder.root.mkdir()
        plan.write_plan(
            folder.plan(0), group_shards(chosen, candidates=inputs.recipe.plan.candidates)
        )
        await session.run_session(folder, inputs, until="validate", teachers=teachers, watch=watch)
        # Read before the temporary folder is deleted.
        records = tuple(r for shard in folder.finished_shards() for r in folder.read_records(shard))
        dropped = Counter(f.reason for _, f in folder.read_failures() if f.reason)
    forecast = _scale_estimate(size, counter.prompts, records, inputs.recipe)
    return Preview(len(chosen), records, dict(sorted(dropped.items())), forecast)


class _PromptCounter:
    """A counter of the prompts in a stream of sets."""

    def __init__(self) -> None:
        self.prompts = 0

    def count(self, sets: Iterable[list[PlannedScenario]]) -> Iterator[list[PlannedScenario]]:
        for set_ in sets:
            self.prompts += len(set_)
            yield set_


def choose_sets(sets: Iterable[list[PlannedScenario]], most: int) -> list[list[PlannedScenario]]:
    """Choose sets that spread over kinds, then domains, then leaves; deterministic.

    Args:
        sets: planned sets.
        most: the number of sets to choose.
    """
    waiting: dict[PreviewCell, list[list[PlannedScenario]]] = {}
    for set_ in sets:
        queue = waiting.setdefault(_find_cell(set_), []) if set_ else []
        if set_ and len(queue) < most:
            queue.append(set_)
    kinds, domains, harms = Counter[str](), Counter[str](), Counter[str]()
    chosen: list[list[PlannedScenario]] = []
    while waiting and len(chosen) < most:
        # The least covered kind first; ties follow the plan, so a recipe always previews the same sets.
        cell = min(waiting, key=lambda c: (kinds[c.kind], domains[c.domain], harms[c.harm]))
        chosen.append(waiting[cell].pop(0))
        for counter, name in ((kinds, cell.kind), (domains, cell.domain), (harms, cell.harm)):
            counter[name] += 1
        if not waiting[cell]:
            del waiting[cell]
    return chosen


def _find_cell(set_: Sequence[PlannedScenario]) -> PreviewCell:
    """Return kind (plain, a probe type, a dialogue style or authored), domain and leaf of a set."""
    first = set_[0].scenario
    styles = (a.value for a in first.attributes if a.axis == "turn_style")
    kind = first.contrast or next(styles, "plain")
    return PreviewCell("authored" if set_[0].brief else kind, first.domain, first.harm)


def _scale_estimate(
    size: Estimate, prompts: int, records: Sequence[Record], recipe: Recipe
) -> PreviewEstimate:
    """Scale measured calls and tokens to all drafts of the recipe."""
    chars_sent = size.size.prompt_chars / max(size.drafts, 1)
    drafts = prompts * recipe.plan.candidates
    first_drafts = sum(1 for r in records if r.draft.revision == 0)
    scale = drafts / max(first_drafts, 1)
    measured = [r for r in records if r.draft.prompt_tokens is not None]
    prompt_tokens = sum(_tokens_or_chars(r.draft.prompt_tokens, chars_sent) for r in records)
    answer_tokens = sum(
        _tokens_or_chars(r.draft.completion_tokens, len(r.draft.response or "")) for r in records
    )
    return PreviewEstimate(
        prompts=prompts,
        drafts=drafts,
        calls=round(len(records) * scale),
        most_calls=drafts * (1 + recipe.revise),
        author_calls=size.author_calls,
        label_calls=size.label_calls,
        judge_calls=size.judge_calls,
        effect_calls=size.effect_calls,
        prompt_tokens=round(prompt_tokens * scale),
        answer_tokens=round(answer_tokens * scale),
        measured=len(records),
        counted=len(measured),
    )


def _tokens_or_chars(tokens: int | None, characters: float) -> float:
    return characters / CHARS_PER_TOKEN if tokens is None else tokens
