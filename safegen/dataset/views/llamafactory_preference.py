"""Preference pairs for LLaMA-Factory, which reads each side of a pair as one message and not as a list."""

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
        "LLaMA-Factory",
        "yaml",
        """\
stage: dpo
dataset_dir: {folder}
dataset: llamafactory_preference_{split}
""",
        "`dataset_info.json` in this folder describes the entries.",
    ),
)


def llamafactory_preference(*, pairs_per_scenario: int = 1) -> View:
    """Make the view: the pairs of `preference` in LLaMA-Factory's ranking format.

    `conversations` ends with the user's turn; `chosen` and `rejected` are one message each.

    Args:
        pairs_per_scenario: at most this many pairs of one scenario, at least 1.

    Raises:
        ValueError: fewer than one pair.
    """
    return _pairs.make_pair_view(
        "llamafactory_preference",
        _build_schema,
        _to_row,
        pairs_per_scenario=pairs_per_scenario,
        examples=EXAMPLES,
        dataset_info={
            "ranking": True,
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        },
    )


def _build_schema() -> pa.Schema:
    return view.build_schema(
        messages=["conversations"], message=["chosen", "rejected"], text=_pairs.TEXT_COLUMNS
    )


def _to_row(pair: Pair) -> ArrowRow:
    (chosen,) = view.assistant_turn(pair.chosen.draft.response)
    (rejected,) = view.assistant_turn(pair.rejected.draft.response)
    row: ArrowRow = {
        "conversations": view.message_rows(pair.chosen.scenario.messages),
        "chosen": chosen,
        "rejected": rejected,
    }
    return row | _pairs.pair_columns(pair)
