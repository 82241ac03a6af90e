"""Preference pairs: the selected draft of a scenario against drafts that answered it worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.dataset import view
from safegen.dataset.view import TrainingExample, View
from safegen.dataset.views import _pairs
from safegen.dataset.views._pairs import Pair
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import pyarrow as pa


EXAMPLES = (
    TrainingExample(
        "TRL",
        "python",
        """\
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer

pairs = load_dataset("{folder}", "preference", split="{split}")
DPOTrainer("MODEL", train_dataset=pairs, args=DPOConfig(output_dir="student")).train()
""",
    ),
    TrainingExample(
        "Axolotl",
        "yaml",
        """\
rl: dpo
datasets:
  - path: {folder}/data/preference/{split}
    ds_type: parquet
    split: train
    type: chat_template.default
    field_messages: prompt
""",
    ),
    TrainingExample(
        "OpenRLHF",
        "text",
        """\
--data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected --data.apply_chat_template
""",
    ),
)


def preference(*, pairs_per_scenario: int = 1) -> View:
    """Make the view: pairs of a chosen and a rejected answer to one prompt.

    Args:
        pairs_per_scenario: at most this many pairs of one scenario, at least 1. A digest chooses
            the rejected drafts, so that all kinds of faults occur.

    Raises:
        ValueError: fewer than one pair.
    """
    return _pairs.make_pair_view(
        "preference",
        _build_schema,
        _to_row,
        pairs_per_scenario=pairs_per_scenario,
        examples=EXAMPLES,
    )


def _build_schema() -> pa.Schema:
    return view.build_schema(messages=["prompt", "chosen", "rejected"], text=_pairs.TEXT_COLUMNS)


def _to_row(pair: Pair) -> ArrowRow:
    row: ArrowRow = {
        "prompt": view.message_rows(pair.chosen.scenario.messages),
        "chosen": view.assistant_turn(pair.chosen.draft.response),
        "rejected": view.assistant_turn(pair.rejected.draft.response),
    }
    return row | _pairs.pair_columns(pair)
