"""Supervised fine-tuning with loss on the selected answer alone: the conversation is the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, View
from safegen.store.schema import Row

if TYPE_CHECKING:
    import pyarrow as pa


def prompt_completion() -> View:
    """Make the view: one row per scenario with a selected draft, in TRL's prompt-completion format."""
    return View("prompt_completion", _schema, _rows)


def _schema() -> pa.Schema:
    return view.answer_schema(["prompt", "completion"])


def _rows(group: ScenarioGroup) -> list[Row]:
    record = group.selected
    if record is None:
        return []
    row: Row = {
        "prompt": view.turns(record.scenario.messages),
        "completion": view.answer(record.draft.response),
    }
    return [row | view.answer_facts(record)]
