"""Rows of a file that have an answer: a conversation, its response, and the labels that the row states."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic_core import PydanticCustomError

from safegen.core.errors import ConfigError
from safegen.core.spelling import match_spelling
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    EVIDENCE,
    INTENTS,
    MODES,
    PROFILES,
    Evidence,
    Intent,
    Message,
    Mode,
    Profile,
)
from safegen.scenarios.user_prompts.cell_checks import (
    MAX_MESSAGE_CHARS,
    MAX_NAME,
    check_name,
    check_text,
    describe_type,
    is_missing,
    make_fault,
)
from safegen.scenarios.user_prompts.conversations import (
    PromptCells,
    ends_with_answer,
    parse_conversation,
    split_answer,
)
from safegen.scenarios.user_prompts.faults import RowError, RowFault
from safegen.scenarios.user_prompts.languages import find_language_tag
from safegen.scenarios.user_prompts.mapping import UNREAD
from safegen.scenarios.user_prompts.raw_rows import RawRow
from safegen.scenarios.user_prompts.rows import WHOLE_NUMBER

TEXT_FIELDS = ("messages", "prompt", "response")
LABEL_FIELDS = (
    "mode",
    "ceiling",
    "floor",
    "requested_detail",
    "evidence",
    "required",
    "profile",
    "harm",
    "intent",
    "language",
    "policy_id",
)
ANSWER_FIELDS = (*TEXT_FIELDS, "id", "set_id", *LABEL_FIELDS)
"""Fields that a column of the same name feeds."""
ID_COLUMNS = ("id", "draft_id", "scenario_id")
"""Columns that hold the id if the user names none; the first that exists is read."""
MAX_ELEMENTS = 100


@dataclass(frozen=True, slots=True)
class AnswerLabels:
    """The labels of a row; None for a label that it does not state."""

    mode: Mode | None = None
    ceiling: int | None = None
    floor: int | None = None
    requested_detail: int | None = None
    evidence: Evidence | None = None
    required: tuple[str, ...] | None = None
    profile: Profile | None = None
    harm: str | None = None
    intent: Intent | None = None
    language: str | None = None
    policy_id: str | None = None


class AnsweredRow(NamedTuple):
    """A row with its answer."""

    number: int
    place: str
    id: str
    set_id: str
    messages: tuple[Message, ...]
    """The conversation before the answer."""
    response: str
    labels: AnswerLabels
    values: Mapping[str, object]
    """The cells of the row by column, for groups."""


def choose_answer_columns(
    chosen: Mapping[str, str | None], known: Sequence[str] | None, *, shown: str
) -> dict[str, str]:
    """Find the column of each field.

    Args:
        chosen: column by field, as the user names them; None or an empty name leaves a field unread.
        known: the columns of the file; None if its rows may have any.
        shown: the file, for messages.

    Raises:
        ConfigError: a field or a column is unknown, a column feeds two fields, or there is no answer.
    """
    for name in chosen:
        if name not in ANSWER_FIELDS:
            raise ConfigError(f"`{name[:60]}` is not a field{suggest_names(name, ANSWER_FIELDS)}")
    columns = {name: column for name, column in chosen.items() if column and column != UNREAD}
    for name, column in columns.items():
        if known is not None and column not in known:
            hint = suggest_names(column, known)
            raise ConfigError(f"{shown}: no column `{column[:60]}` for `{name}`{hint}")
    _refuse_two_fields(columns, shown=shown)
    taken = frozenset(columns.values())
    free = [name for name in ANSWER_FIELDS if name not in chosen and name not in taken]
    columns |= {name: name for name in free if known is None or name in known}
    if "id" not in chosen and known is not None:
        id_ = next((c for c in ID_COLUMNS if c in known and c not in taken), None)
        columns |= {} if id_ is None else {"id": id_}
    if (
        known is not None
        and "messages" not in columns
        and not {"prompt", "response"} <= set(columns)
    ):
        listed = ", ".join(f"`{column[:40]}`" for column in known[:20])
        raise ConfigError(
            f"{shown}: no column `messages`, and not both `prompt` and `response`, among {listed}; name"
            " them with `--column prompt=COLUMN` and `--column response=COLUMN`"
        )
    return columns


def _refuse_two_fields(columns: Mapping[str, str], *, shown: str) -> None:
    field_by_column: dict[str, str] = {}
    for name, column in columns.items():
        if (other := field_by_column.setdefault(column, name)) != name:
            raise ConfigError(
                f"{shown}: column `{column[:60]}` is named for `{other}` and for `{name}`; name each"
                " column for one field"
            )


def read_answer(raw: RawRow, columns: Mapping[str, str]) -> AnsweredRow:
    """Read the conversation, the answer and the labels of a row.

    Raises:
        RowError: with the place and the first problem.
    """
    cells = {name: raw.values.get(column) for name, column in columns.items()}
    try:
        messages, response = _read_texts(cells)
        id_ = check_name(cells["id"], "id") if not is_missing(cells.get("id")) else ""
        set_id = (
            check_name(cells["set_id"], "set_id") if not is_missing(cells.get("set_id")) else ""
        )
        labels = _read_labels(cells)
    except PydanticCustomError as e:
        code = cast("RowFault", e.type)
        raise RowError(f"{raw.place}: {e.message()}", code=code, row=raw.number) from e
    id_ = id_ or str(raw.number)
    return AnsweredRow(raw.number, raw.place, id_, set_id, messages, response, labels, raw.values)


def _read_texts(cells: Mapping[str, object]) -> tuple[tuple[Message, ...], str]:
    messages, prompt, response = (cells.get(name) for name in TEXT_FIELDS)
    # A row of a table has every column; an empty prompt next to messages is none.
    prompt = None if is_missing(prompt) else prompt
    messages = None if is_missing(messages) else messages
    if prompt is None and messages is None:
        raise make_fault("missing_prompt", "has neither `messages` nor `prompt`")
    if response is None and messages is not None:
        return split_answer(messages)
    if response is None:
        raise make_fault("missing_response", "has no `response`")
    text = _read_response(response)
    if isinstance(prompt, list) and messages is None:
        prompt, messages = None, cast("object", prompt)
    if messages is not None and ends_with_answer(messages):
        problem = "`messages` end with an answer, and the row has a `response`; leave one unread"
        raise make_fault("ambiguous_prompt", f"{problem} with `--column response=`")
    return parse_conversation(PromptCells(prompt, messages)), text


def _read_response(value: object) -> str:
    if isinstance(value, list):
        return split_answer(cast("object", value), alone=True)[1]
    return check_text(value, "response", most=MAX_MESSAGE_CHARS)


# Any: each field has the type that its reader returns.
def _read_labels(cells: Mapping[str, object]) -> AnswerLabels:
    labels: dict[str, Any] = {
        name: read(cells[name], name)
        for name, read in _READERS.items()
        if not is_missing(cells.get(name))
    }
    return AnswerLabels(**labels)


def _choice(allowed: Sequence[str]) -> Callable[[object, str], str]:
    def read(value: object, name: str) -> str:
        text = match_spelling(check_text(value, name, most=MAX_NAME), allowed)
        if text not in allowed:
            hint = suggest_names(text, allowed)
            problem = (
                f"`{name}` is `{text[:60]}`{hint}; `--column {name}=` leaves the column unread"
            )
            raise make_fault("unknown_value", problem)
        return text

    return read


def _read_level(value: object, name: str) -> int:
    match = None if isinstance(value, bool) else WHOLE_NUMBER.fullmatch(str(value)[:60])
    if match is None:
        problem = f"`{name}` is `{str(value)[:60]}`; give a whole number from 0 to 4"
        raise make_fault("invalid_detail", problem)
    return int(match[1])


def _read_required(value: object, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = cast("object", json.loads(value))
        except (ValueError, RecursionError):
            problem = f'`{name}` is `{value[:60]}`; give a list of names, such as `["limit"]`'
            raise make_fault("unknown_value", problem) from None
    if not isinstance(value, list) or len(cast("list[object]", value)) > MAX_ELEMENTS:
        raise make_fault(
            "unknown_value", f"`{name}` is not a list but {describe_type(cast('object', value))}"
        )
    return tuple(check_name(item, name) for item in cast("list[object]", value))


def _read_language(value: object, name: str) -> str:
    text = check_text(value, name, most=MAX_NAME)
    if (tag := find_language_tag(text)) is None:
        problem = f"`{name}` is `{text[:60]}`; give a BCP-47 tag such as `en`, or an English name"
        raise make_fault("invalid_language", problem)
    return tag


_READERS: Mapping[str, Callable[[object, str], object]] = {
    "mode": _choice(MODES),
    "ceiling": _read_level,
    "floor": _read_level,
    "requested_detail": _read_level,
    "evidence": _choice(EVIDENCE),
    "required": _read_required,
    "profile": _choice(PROFILES),
    "harm": check_name,
    "intent": _choice(INTENTS),
    "language": _read_language,
    "policy_id": check_name,
}
