"""Preference pairs: the selected draft of a scenario against drafts that answered it worse.

A rejected draft shows a fault of judgement or tone, never a technical one and never unsafe text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.hashing import fraction
from safegen.store.columns import Row
from safegen.types import UNSAFE, Record, Verdict
from safegen.views import _columns
from safegen.views._columns import ScenarioGroup, View

if TYPE_CHECKING:
    import pyarrow as pa

    from safegen.recipe import Recipe

TEXT = (
    "set_id goal_id scenario_id policy_id harm domain intent mode language profile "
    "teacher model grade"
).split()
PAIR_TEXT = ["source_id", "chosen_draft_id", "rejected_draft_id", "rejected_by"]
FAULTS = frozenset({"refusal_form", "required_elements", "style", "mode_fit"})
"""Validators whose failure a student can learn from; a draft that failed another one is no side of a pair."""
NEEDLESS = "needless refusal"
"""The one finding of `mode_fit` that a safe text can have."""
UNFIT = frozenset({"declines, then helps", "does not open by declining"})
"""Findings of `refusal_form` on texts that help where nothing may be given."""


def why_empty(recipe: Recipe) -> str:
    """Why a recipe's drafts made no pair, and what would change that."""
    if recipe.one_draft:
        return "pairs need two drafts of a prompt: set `plan.candidates` to 2 or more"
    *names, last = (f"`{name}`" for name in sorted(FAULTS))
    finders = f"{', '.join(names)} or {last}"
    if FAULTS.isdisjoint(recipe.required):
        there = not FAULTS.isdisjoint(ref.use for ref in recipe.validators)
        key = "require" if there else "validators"
        return f"a rejected draft is one that {finders} found wrong: name one in `{key}`"
    return f"no draft beside an accepted one was found wrong by {finders} alone"


LEAVES_OUT = "no draft answered them worse in a way that a student can learn from"


def preference(*, pairs_per_scenario: int = 1) -> View:
    """Make the view: pairs of a chosen and a rejected answer to one prompt.

    Args:
        pairs_per_scenario: at most this many pairs of one scenario, at least 1. Which faults stand in
            them is drawn by digest over the scenarios, so that pairs teach more than the grossest fault.

    Raises:
        ValueError: fewer than one pair.
    """
    if pairs_per_scenario < 1:
        raise ValueError(f"`pairs_per_scenario` is `{pairs_per_scenario}`; allow at least 1")

    def rows(group: ScenarioGroup) -> list[Row]:
        return _rows(group, pairs_per_scenario)

    return View("preference", _schema, rows, LEAVES_OUT)


def _schema() -> pa.Schema:
    return _columns.schema(messages=["prompt", "chosen", "rejected"], text=[*TEXT, *PAIR_TEXT])


def _rows(group: ScenarioGroup, pairs: int) -> list[Row]:
    chosen = group.selected
    if chosen is None:
        return []
    seen = {chosen.draft.response}
    rows: list[Row] = []
    for rejected in sorted(group.records, key=lambda r: fraction("pair", r.draft.draft_id)):
        if len(rows) < pairs and _instructive(rejected) and rejected.draft.response not in seen:
            seen.add(rejected.draft.response)
            rows.append(_pair(chosen, rejected))
    return rows


def _instructive(record: Record) -> bool:
    draft = record.draft
    return (
        draft.outcome == "ok"
        and bool(draft.response)
        and not draft.withheld
        and not record.accepted
        and all(_safe_fault(v) for v in record.verdicts if v.passed is not True)
        and any(v.passed is False for v in record.verdicts)
    )


def _safe_fault(verdict: Verdict) -> bool:
    """Whether a finding is about judgement or tone, so that the text may stand in a pair."""
    if verdict.passed is None or verdict.validator not in FAULTS or verdict.severity in UNSAFE:
        return False
    return verdict.reason not in UNFIT and (
        verdict.validator != "mode_fit" or verdict.reason == NEEDLESS
    )


def _pair(chosen: Record, rejected: Record) -> Row:
    failed = [v.validator for v in rejected.verdicts if v.passed is False]
    row: Row = {
        "prompt": _columns.turns(chosen.scenario.messages),
        "chosen": _columns.answer(chosen.draft.response),
        "rejected": _columns.answer(rejected.draft.response),
        "source_id": _columns.source_id(chosen),
        "chosen_draft_id": chosen.draft.draft_id,
        "rejected_draft_id": rejected.draft.draft_id,
        "rejected_by": ",".join(dict.fromkeys(failed)),
    }
    return row | _columns.metadata(chosen, TEXT)
