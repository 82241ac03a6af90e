"""A few sets of a recipe end to end, nothing kept, and what they foretell of the whole.

The sets go through the same session as a run's, in a temporary folder that is gone afterwards.
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
from safegen.core.types import PlannedScenario, Record, Teacher
from safegen.pipeline import session
from safegen.pipeline.preflight.estimate import CHARS_PER_TOKEN, Estimate, estimate
from safegen.pipeline.resolve import ResolvedRecipe, check_teachers
from safegen.scenarios.written import explain_empty, group_shards
from safegen.store import plan
from safegen.store.run_folder import RunFolder

MAX_SETS = 100
"""Sets of a preview; more is a run."""
MIN_MEASURED = 20
"""Drafts below which a mean says little."""


class PreviewCell(NamedTuple):
    """What sets are spread over: the kind first, then the domain, then the leaf."""

    kind: str
    domain: str
    harm: str


@dataclass(frozen=True, slots=True)
class PreviewEstimate:
    """Calls and tokens of all the drafts of a recipe, from what a preview measured."""

    prompts: int
    drafts: int
    calls: int
    most_calls: int
    """With every revision that the recipe allows."""
    author_calls: int
    """Of the author, at most; their tokens are not measured."""
    label_calls: int
    """Of labellers, at most; their tokens are not measured."""
    prompt_tokens: int
    answer_tokens: int
    measured: int
    """Drafts of the preview."""
    counted: int
    """Of these, how many the endpoint gave token counts for; the rest is characters / 4."""

    @property
    def source(self) -> str:
        """Where the tokens come from."""
        if self.counted == self.measured and self.measured:
            return "as the endpoint counts them"
        if not self.counted:
            return f"characters / {CHARS_PER_TOKEN}: the teacher gives no counts"
        rest = self.measured - self.counted
        return f"as the endpoint counts {self.counted} drafts, characters / {CHARS_PER_TOKEN} for {rest}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a few sets came to."""

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
    """Take a few sets to records and forget them on disk.

    Args:
        inputs: what the recipe names.
        sets: how many, at most `MAX_SETS`.
        teachers: teachers by role in place of the recipe's, for tests.
        watch: called once with the live counters.

    Raises:
        UserError: the plan is empty, or a teacher cannot be made.
        RunError: the endpoint or the budget ends it.
    """
    check_teachers(inputs, teachers=teachers or {})
    size = await asyncio.to_thread(estimate, inputs)
    whole = _PromptCounter()
    chosen = choose_sets(whole.count(session.plan_first_round(inputs)), min(sets, MAX_SETS))
    if not chosen:
        raise UserError(explain_empty(inputs.make_planning_context()))
    with tempfile.TemporaryDirectory(prefix="safegen-preview-") as place:
        folder = RunFolder(Path(place))
        folder.root.mkdir()
        plan.write_plan(
            folder.plan(0), group_shards(chosen, candidates=inputs.recipe.plan.candidates)
        )
        await session.run_session(folder, inputs, until="validate", teachers=teachers, watch=watch)
        records = tuple(r for shard in folder.finished_shards() for r in folder.read_records(shard))
        dropped = Counter(f.reason for _, f in folder.read_failures() if f.reason)
    ahead = _estimate_rest(size, whole.prompts, records, inputs.recipe)
    return Preview(len(chosen), records, dict(sorted(dropped.items())), ahead)


class _PromptCounter:
    """Counts the prompts of sets that pass by."""

    def __init__(self) -> None:
        self.prompts = 0

    def count(self, sets: Iterable[list[PlannedScenario]]) -> Iterator[list[PlannedScenario]]:
        for set_ in sets:
            self.prompts += len(set_)
            yield set_


def choose_sets(sets: Iterable[list[PlannedScenario]], most: int) -> list[list[PlannedScenario]]:
    """Pick sets of as many kinds, domains and leaves as their number allows; always the same ones."""
    waiting: dict[PreviewCell, list[list[PlannedScenario]]] = {}
    for set_ in sets:
        held = waiting.setdefault(_find_cell(set_), []) if set_ else []
        if set_ and len(held) < most:
            held.append(set_)
    kinds, domains, harms = Counter[str](), Counter[str](), Counter[str]()
    chosen: list[list[PlannedScenario]] = []
    while waiting and len(chosen) < most:
        cell = min(waiting, key=lambda c: (kinds[c.kind], domains[c.domain], harms[c.harm]))
        chosen.append(waiting[cell].pop(0))
        for counter, name in ((kinds, cell.kind), (domains, cell.domain), (harms, cell.harm)):
            counter[name] += 1
        if not waiting[cell]:
            del waiting[cell]
    return chosen


def _find_cell(set_: Sequence[PlannedScenario]) -> PreviewCell:
    """Plain prompts, a type of probe, a kind of dialogue or sets of an author; and where."""
    first = set_[0].scenario
    styles = (a.value for a in first.attributes if a.axis == "turn_style")
    written = first.contrast or next(styles, "plain")
    return PreviewCell("authored" if set_[0].brief else written, first.domain, first.harm)


def _estimate_rest(
    size: Estimate, prompts: int, records: Sequence[Record], recipe: Recipe
) -> PreviewEstimate:
    """Scale what was measured to all the drafts of the recipe."""
    prompts_measured = size.size
    sent = prompts_measured.prompt_chars / max(prompts_measured.prompts, 1)
    drafts = prompts * recipe.plan.candidates
    first = sum(1 for r in records if r.draft.revision == 0)
    scale = drafts / max(first, 1)
    measured = [r for r in records if r.draft.prompt_tokens is not None]
    prompt_tokens = sum(_mean_or(r.draft.prompt_tokens, sent) for r in records)
    came = sum(_mean_or(r.draft.completion_tokens, len(r.draft.response or "")) for r in records)
    return PreviewEstimate(
        prompts=prompts,
        drafts=drafts,
        calls=round(len(records) * scale),
        most_calls=drafts * (1 + recipe.revise),
        author_calls=size.author_calls,
        label_calls=size.label_calls,
        prompt_tokens=round(prompt_tokens * scale),
        answer_tokens=round(came * scale),
        measured=len(records),
        counted=len(measured),
    )


def _mean_or(counted: int | None, characters: float) -> float:
    return characters / CHARS_PER_TOKEN if counted is None else counted
