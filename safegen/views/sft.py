"""Supervised fine-tuning: the conversation with the selected answer as its last turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.store.columns import Row
from safegen.views import _columns
from safegen.views._columns import ScenarioGroup, View

if TYPE_CHECKING:
    import pyarrow as pa

LEAVES_OUT = (
    "their conversation holds an assistant turn that was given, such as a mistaken suspicion or the "
    "history of an imported prompt, and many trainers take loss on every assistant turn; "
    "`prompt_completion` has them"
)


def sft() -> View:
    """Make the view: one row per scenario with a selected draft.

    Every assistant turn of a row is an accepted draft. A scenario with another one is left out.
    """
    return View("sft", _schema, _rows, LEAVES_OUT)


def _schema() -> pa.Schema:
    return _columns.answer_schema(["messages"])


def _rows(group: ScenarioGroup) -> list[Row]:
    record = group.selected
    if record is None or _columns.given(record):
        return []
    messages = _columns.turns(record.scenario.messages) + _columns.answer(record.draft.response)
    return [{"messages": messages} | _columns.answer_facts(record)]
