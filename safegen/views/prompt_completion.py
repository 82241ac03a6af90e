"""Supervised fine-tuning with loss on the selected answer alone: the conversation is the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.store.columns import Row
from safegen.views import _columns
from safegen.views._columns import ScenarioGroup, View

if TYPE_CHECKING:
    import pyarrow as pa


def prompt_completion() -> View:
    """Make the view: one row per scenario with a selected draft, in TRL's prompt-completion format."""
    return View("prompt_completion", _schema, _rows)


def _schema() -> pa.Schema:
    return _columns.answer_schema(["prompt", "completion"])


def _rows(group: ScenarioGroup) -> list[Row]:
    record = group.selected
    if record is None:
        return []
    row: Row = {
        "prompt": _columns.turns(record.scenario.messages),
        "completion": _columns.answer(record.draft.response),
    }
    return [row | _columns.answer_facts(record)]
