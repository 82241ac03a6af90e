"""Supervised fine-tuning with loss on the selected answer alone: the conversation is the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, TrainingExample, View
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import pyarrow as pa


EXAMPLES = (
    TrainingExample(
        "TRL",
        "python",
        """\
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

rows = load_dataset("{folder}", "prompt_completion", split="{split}")
SFTTrainer("MODEL", train_dataset=rows, args=SFTConfig(output_dir="student")).train()
""",
        "The loss is on the answer only.",
    ),
)


def prompt_completion() -> View:
    """Make the view: one row per scenario with a selected draft, in TRL's prompt-completion format."""
    return View(
        "prompt_completion",
        _build_schema,
        _to_rows,
        # The default of TRL is right for this view: other views need a switch of the trainer.
        preferred=True,
        one_row_per_scenario=True,
        last_answer_only=True,
        examples=EXAMPLES,
    )


def _build_schema() -> pa.Schema:
    return view.build_answer_schema(["prompt", "completion"])


def _to_rows(group: ScenarioGroup) -> list[ArrowRow]:
    record = group.selected
    if record is None:
        return []
    row: ArrowRow = {
        "prompt": view.message_rows(record.scenario.messages),
        "completion": view.assistant_turn(record.draft.response),
    }
    return [row | view.answer_columns(record)]
