"""Supervised fine-tuning: the conversation with the selected answer as its last turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, TrainingExample, View
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import pyarrow as pa

    from safegen.config.recipe import Recipe

LEAVES_OUT = (
    "their conversation holds an assistant turn that was given, such as a mistaken suspicion or the "
    "history of an imported prompt, and many trainers take loss on every assistant turn; "
    "`prompt_completion` has them"
)


EXAMPLES = (
    TrainingExample(
        "TRL",
        "python",
        """\
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

rows = load_dataset("{folder}", "sft", split="{split}")
config = SFTConfig(output_dir="student", assistant_only_loss=True)
SFTTrainer("MODEL", train_dataset=rows, args=config).train()
""",
        "Without `assistant_only_loss=True`, the loss is also on system and user turns, malicious prompts included.",
    ),
    TrainingExample(
        "LLaMA-Factory",
        "yaml",
        """\
stage: sft
dataset_dir: {folder}
dataset: sft_{split}
mask_history: true
""",
        "`dataset_info.json` in this folder describes the entries. `mask_history` limits the loss to the last answer.",
    ),
    TrainingExample(
        "Axolotl",
        "yaml",
        """\
datasets:
  - path: {folder}/data/sft/{split}
    ds_type: parquet
    split: train
    type: chat_template
    field_messages: messages
""",
        "Axolotl calls the rows of any file `split: train`; the folder decides which rows they are.",
    ),
    TrainingExample(
        "verl",
        "text",
        """\
data.train_files=[every file of {folder}/data/sft/{split}] data.messages_key=messages
""",
    ),
    TrainingExample(
        "OpenRLHF",
        "text",
        """\
--data.input_key messages --data.apply_chat_template
""",
    ),
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
        one_row_per_scenario=True,
        dataset_info={"columns": {"messages": "messages"}},
        examples=EXAMPLES,
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
    # A loss on every assistant turn would also train on a turn that no validator judged.
    if record is None or view.has_given_turn(record):
        return []
    messages = view.message_rows(record.scenario.messages) + view.assistant_turn(
        record.draft.response
    )
    return [{"messages": messages} | view.answer_columns(record)]
