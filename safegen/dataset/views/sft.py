"""Supervised fine-tuning: the conversation with the selected answer as its last turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, View
from safegen.store.schema import Row

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
    return view.answer_schema(["messages"])


def _rows(group: ScenarioGroup) -> list[Row]:
    record = group.selected
    if record is None or view.given(record):
        return []
    messages = view.turns(record.scenario.messages) + view.answer(record.draft.response)
    return [{"messages": messages} | view.answer_facts(record)]
