"""Supervised fine-tuning: the conversation with the selected answer as its last turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.store.columns import Row
from safegen.views import _columns
from safegen.views._columns import ScenarioGroup, View

if TYPE_CHECKING:
    import pyarrow as pa

TEXT = (
    "scenario_id draft_id set_id goal_id policy_id taxonomy harm domain task intent evidence mode "
    "language profile teacher model accepted_by grade source_licence"
).split()
DERIVED = ["contrast", "turn_style", "rule"]
INTEGER = ["requested_detail", "ceiling", "floor", "paraphrase", "turn"]


def sft() -> View:
    """Make the view: one row per scenario with a selected draft."""
    return View("sft", _schema, _rows)


def _schema() -> pa.Schema:
    return _columns.schema(messages=["messages"], text=[*TEXT, *DERIVED], integer=INTEGER)


def _rows(group: ScenarioGroup) -> list[Row]:
    record = group.selected
    if record is None:
        return []
    messages = _columns.turns(record.scenario.messages) + _columns.answer(record.draft.response)
    row: Row = {"messages": messages} | _columns.metadata(record, [*TEXT, *INTEGER])
    row["accepted_by"] = row["accepted_by"] or "unknown"
    row["contrast"] = record.scenario.contrast or "none"
    row["turn_style"] = next(
        (a.value for a in record.scenario.attributes if a.axis == "turn_style"), "single"
    )
    row["rule"] = ",".join(record.expectation.rule_ids)
    return [row]
