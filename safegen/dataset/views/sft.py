"""Supervised fine-tuning: the conversation with the selected answer as its last turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, View
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import pyarrow as pa

    from safegen.config.recipe import Recipe

LEAVES_OUT = (
    "their conversation holds an assistant turn that was given, such as a mistaken suspicion or the "
    "history of an imported prompt, and many trainers take loss on every assistant turn; "
    "`prompt_completion` has them"
)


def sft() -> View:
    """Make the view: one row per scenario with a selected draft.

    Every assistant turn of a row is an accepted draft. A scenario with another one is left out.
    """
    return View(
        "sft",
        _build_schema,
        _to_rows,
        LEAVES_OUT,
        preferred=True,
        one_row_per_scenario=True,
        warnings=_warnings,
    )


def _warnings(recipe: Recipe, views: Sequence[View], trusted: Sequence[str]) -> Iterator[str]:
    if recipe.plan.dialogues and not any(view.last_answer_only for view in views):
        yield (
            "`sft` leaves out turns after a written assistant turn and repeats earlier answers of a conversation;"
            " add the view `prompt_completion` for loss on the last answer alone"
        )


def _build_schema() -> pa.Schema:
    return view.build_answer_schema(["messages"])


def _to_rows(group: ScenarioGroup) -> list[ArrowRow]:
    record = group.selected
    if record is None or view.has_given_turn(record):
        return []
    messages = view.message_rows(record.scenario.messages) + view.assistant_turn(
        record.draft.response
    )
    return [{"messages": messages} | view.answer_columns(record)]
