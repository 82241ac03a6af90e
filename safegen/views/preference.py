"""Preference pairs: the selected draft of a scenario against drafts that answered it worse.

A rejected draft shows a fault of judgement or tone, never a technical one and never unsafe text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.store.columns import Row
from safegen.types import UNSAFE, Record
from safegen.views import _columns
from safegen.views._columns import ScenarioGroup, View

if TYPE_CHECKING:
    import pyarrow as pa

TEXT = (
    "set_id goal_id scenario_id policy_id harm domain intent mode language profile "
    "teacher model grade"
).split()
PAIR_TEXT = ["chosen_draft_id", "rejected_draft_id", "rejected_by"]
FAULTS = frozenset({"refusal_form", "style", "mode_fit"})
"""Validators whose failure a student can learn from."""


def preference(*, pairs_per_scenario: int = 1) -> View:
    """Make the view: pairs of a chosen and a rejected answer to one prompt.

    Args:
        pairs_per_scenario: at most this many pairs of one scenario, the worst drafts first; at least 1.

    Raises:
        ValueError: fewer than one pair.
    """
    if pairs_per_scenario < 1:
        raise ValueError(f"`pairs_per_scenario` is `{pairs_per_scenario}`; allow at least 1")

    def rows(group: ScenarioGroup) -> list[Row]:
        return _rows(group, pairs_per_scenario)

    return View("preference", _schema, rows)


def _schema() -> pa.Schema:
    return _columns.schema(messages=["prompt", "chosen", "rejected"], text=[*TEXT, *PAIR_TEXT])


def _rows(group: ScenarioGroup, pairs: int) -> list[Row]:
    chosen = group.selected
    if chosen is None:
        return []
    seen = {chosen.draft.response}
    rows: list[Row] = []
    for rejected in sorted(group.records, key=lambda r: (_score(r), r.draft.draft_id)):
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
        and any(v.passed is False and v.validator in FAULTS for v in record.verdicts)
        and not any(v.severity in UNSAFE for v in record.verdicts)
    )


def _score(record: Record) -> float:
    return sum(v.score for v in record.verdicts if v.score is not None)


def _pair(chosen: Record, rejected: Record) -> Row:
    failed = [v.validator for v in rejected.verdicts if v.passed is False]
    row: Row = {
        "prompt": _columns.turns(chosen.scenario.messages),
        "chosen": _columns.answer(chosen.draft.response),
        "rejected": _columns.answer(rejected.draft.response),
        "chosen_draft_id": chosen.draft.draft_id,
        "rejected_draft_id": rejected.draft.draft_id,
        "rejected_by": ",".join(dict.fromkeys(failed)),
    }
    return row | _columns.metadata(chosen, TEXT)
