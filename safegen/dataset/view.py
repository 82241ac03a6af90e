"""What the views share: the group that they read, and the columns that they write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safegen.core.types import GIVEN, Message, Record
from safegen.store.schema import Row, message_type

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER_TEXT = (
    "scenario_id draft_id set_id goal_id policy_id taxonomy harm domain task intent evidence mode "
    "language profile teacher model accepted_by grade source_licence"
).split()
ANSWER_DERIVED = ["source_id", "contrast", "turn_style", "dialogue_intent", "rule"]
ANSWER_INTEGER = ["requested_detail", "ceiling", "floor", "paraphrase", "turn"]


@dataclass(frozen=True, slots=True)
class ScenarioGroup:
    """Every draft of one scenario, and the one that was selected."""

    records: tuple[Record, ...]
    selected: Record | None


@dataclass(frozen=True, slots=True)
class View:
    """A trainer format: its name, its columns, and what it makes of a scenario."""

    name: str
    columns: Callable[[], pa.Schema]
    cut: Callable[[ScenarioGroup], list[Row]]
    leaves_out: str = ""
    """Which prompts of a dataset have no row, as a sentence for the card."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema; pyarrow is loaded here."""
        return self.columns()

    def rows(self, group: ScenarioGroup) -> list[Row]:
        """Cut the rows of one scenario; none where the format has no use for it."""
        return self.cut(group)


def schema(
    *, messages: Sequence[str], text: Sequence[str], integer: Sequence[str] = ()
) -> pa.Schema:
    """Build a schema of non-null columns: messages first, then text, then whole numbers."""
    import pyarrow as pa

    fields = [pa.field(name, pa.list_(message_type()), nullable=False) for name in messages]
    fields += [pa.field(name, pa.string(), nullable=False) for name in text]
    fields += [pa.field(name, pa.int64(), nullable=False) for name in integer]
    return pa.schema(fields)


def turns(messages: Sequence[Message]) -> list[Row]:
    """Write messages as rows with role and content, and nothing else."""
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def answer(response: str | None) -> list[Row]:
    """Write a response as the assistant's turn."""
    return [{"role": "assistant", "content": response or ""}]


def answer_schema(messages: Sequence[str]) -> pa.Schema:
    """Build the schema of a view with one answer a row: its messages, and what is known of the answer."""
    return schema(messages=messages, text=[*ANSWER_TEXT, *ANSWER_DERIVED], integer=ANSWER_INTEGER)


def answer_facts(record: Record) -> Row:
    """What `answer_schema` says beside the messages."""
    row = metadata(record, [*ANSWER_TEXT, *ANSWER_INTEGER])
    row["accepted_by"] = row["accepted_by"] or "unknown"
    row["source_id"] = source_id(record)
    row["contrast"] = record.scenario.contrast or "none"
    row["turn_style"] = _attribute(record, "turn_style", "single")
    row["dialogue_intent"] = _attribute(record, "dialogue_intent", "none")
    row["rule"] = ",".join(record.expectation.rule_ids)
    return row


def source_id(record: Record) -> str:
    """The id of a prompt in its user's file; nothing where it has none."""
    return _attribute(record, "source_id", "")


def given(record: Record) -> bool:
    """Whether an assistant turn among the messages was given, so that nobody judged it."""
    return GIVEN in record.scenario.attributes


def _attribute(record: Record, axis: str, default: str) -> str:
    return next((a.value for a in record.scenario.attributes if a.axis == axis), default)


def metadata(record: Record, names: Sequence[str]) -> Row:
    """Read columns by name from a record's scenario, expectation, draft or the record itself."""
    parts = (record.scenario, record.expectation, record.draft, record)
    return {name: _value(parts, name) for name in names}


def _value(parts: Sequence[object], name: str) -> object:
    part = next(p for p in parts if hasattr(p, name))
    return getattr(part, name)
