"""The checked rows of a user's file. An empty field stays open; no label is guessed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetPydanticSchema,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import no_info_plain_validator_function

from safegen.core.errors import ConfigError
from safegen.core.hashing import short_id
from safegen.core.spelling import match_spelling
from safegen.core.suggestions import suggest, suggest_names
from safegen.core.types import (
    EVIDENCE,
    INTENTS,
    PROFILES,
    Evidence,
    Intent,
    Message,
    Profile,
    Role,
    Task,
)
from safegen.scenarios.user_prompts.faults import FaultCollector, RowError, RowFault
from safegen.scenarios.user_prompts.reader import (
    MAX_NAME,
    NAME_PROBLEM,
    RawRow,
    UserPrompts,
    is_printable_name,
    list_columns,
    read_rows,
)

MAX_MESSAGE_CHARS = 131_072
"""Characters of a row's messages together, at most; also `csv.field_size_limit()`."""
MAX_TEXT_CHARS = 4_000
MAX_LISTED = 12
"""Allowed values that a message lists; a taxonomy has more harms, and many rows may be wrong."""
ROLES: tuple[Role, ...] = get_args(Role)
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
WHOLE_NUMBER = re.compile(r"([0-4])(?:\.0+)?")
CHOICES: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "task": get_args(Task),
}
"""Allowed values by field; those of `harm` come from the taxonomy."""


def _fault(code: RowFault, problem: str) -> PydanticCustomError:
    # An argument, because pydantic would read braces in a user's text as fields of the template.
    # Escaped, because it cannot encode a lone surrogate.
    text = problem.encode("utf-8", "backslashreplace").decode()
    return PydanticCustomError(code, "{problem}", {"problem": text})


def _parse_text(value: object, info: ValidationInfo) -> str:
    return _check_text(value, str(info.field_name), most=MAX_TEXT_CHARS)


def _check_text(value: object, name: str, *, most: int) -> str:
    if not isinstance(value, str):
        raise _fault("not_text", f"`{name}` is not text but {_type_name(value)}")
    if len(value) > most:
        raise _fault("too_long", f"`{name}` has more than {most} characters")
    return _require_encodable(value, name)


def _require_encodable(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        problem = f"`{name}` contains half a character (a lone surrogate)"
        raise _fault("not_encodable", problem) from None
    return value


def _parse_name(value: object, info: ValidationInfo) -> str:
    return _check_name(value, str(info.field_name))


def _check_name(value: object, name: str) -> str:
    # Tables often store ids as numbers.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _check_text(value, name, most=MAX_TEXT_CHARS)
    if not is_printable_name(text):
        raise _fault("invalid_name", f"`{name}` {NAME_PROBLEM}")
    return text


def _parse_licence(value: object) -> str:
    if value is None:
        problem = (
            "`licence` is missing; fill it in, or name one for such rows with `--licence NAME`"
        )
        raise _fault("missing_licence", problem)
    return _check_name(value, "licence")


def _parse_choice(value: object, info: ValidationInfo) -> str:
    name = str(info.field_name)
    choices = cast("Mapping[str, Sequence[str]]", info.context)
    allowed = choices[name]
    text = match_spelling(_check_text(value, name, most=MAX_TEXT_CHARS), allowed)
    if text in allowed:
        return text
    hint = suggest_names(text, allowed, listed=len(allowed) <= MAX_LISTED)
    hint = hint or f"; `safegen taxonomy show TAXONOMY` lists the {len(allowed)} known"
    raise _fault("unknown_value", f"`{name}` is `{text[:60]}`{hint}")


def _parse_detail(value: object) -> int:
    # A table may have made text or a fraction of the number.
    match = None if isinstance(value, bool) else WHOLE_NUMBER.fullmatch(str(value))
    if match is None:
        problem = f"`detail` is `{str(value)[:60]}`; give a whole number from 0 to 4"
        raise _fault("invalid_detail", problem)
    return int(match[1])


def _parse_language(value: object) -> str:
    tag = _check_text(value, "language", most=MAX_NAME)
    if not LANGUAGE_TAG.fullmatch(tag):
        problem = f"`language` is `{tag[:60]}`; give a BCP-47 tag such as `en`"
        raise _fault("invalid_language", problem)
    return tag


def _parse_conversation(cells: Mapping[str, object]) -> tuple[Message, ...]:
    """Read `prompt` or `messages`; a row has exactly one."""
    if not cells:
        raise _fault("missing_prompt", "has no `prompt`; write one or leave the row out")
    if len(cells) > 1:
        raise _fault("ambiguous_prompt", "has both `prompt` and `messages`; keep one")
    [(name, value)] = cells.items()
    if name == "messages":
        messages = _parse_turns(value)
    elif isinstance(value, list):
        raise _fault("not_text", "`prompt` is a list; a conversation belongs in `messages`")
    else:
        text = _check_text(value, name, most=MAX_MESSAGE_CHARS)
        messages = (Message(role="user", content=text),)
    if sum(len(m["content"]) for m in messages) > MAX_MESSAGE_CHARS:
        raise _fault("too_long", f"`messages` have more than {MAX_MESSAGE_CHARS} characters")
    if not messages[-1]["content"].strip():
        raise _fault("blank_prompt", f"`{name}` is blank")
    return messages


def _parse_turns(value: object) -> tuple[Message, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            problem = "`messages` is not the JSON of a list of messages"
            raise _fault("invalid_messages", problem) from None
    if not isinstance(value, list) or not value:
        problem = "`messages` is not a list of messages with `role` and `content`"
        raise _fault("invalid_messages", problem)
    turns = tuple(_parse_turn(turn) for turn in cast("list[object]", value))
    if any(m["role"] == "system" for m in turns[1:]):
        problem = "`messages` have a `system` turn that is not the first"
        raise _fault("invalid_messages", problem)
    roles = [m["role"] for m in turns if m["role"] != "system"]
    alternating = all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))
    if roles[-1:] != ["user"] or not alternating:
        problem = "`messages` must begin and end with a `user` turn, with one `assistant` turn"
        raise _fault("invalid_messages", f"{problem} between two")
    return turns


def _parse_turn(value: object) -> Message:
    turn = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    role, content = turn.get("role"), turn.get("content")
    # Parquet gives every turn all keys of the column, and null for those that it lacks.
    extra = sorted(k for k, v in turn.items() if k not in ("role", "content") and not is_missing(v))
    if extra:
        problem = f"`messages` have the key `{extra[0][:60]}`; known: content, role"
        raise _fault("invalid_messages", problem)
    if not isinstance(content, str):
        problem = f"`messages` have a `content` that is not text but {_type_name(content)}"
        raise _fault("invalid_messages", problem)
    content = _require_encodable(content, "messages")
    for known in ROLES:
        if role == known:
            return Message(role=known, content=content)
    problem = f"`messages` have the role `{str(role)[:60]}`{suggest_names(str(role), ROLES)}"
    raise _fault("invalid_messages", problem)


def _type_name(value: object) -> str:
    if value is None:
        return "nothing"
    names = {"list": "a list", "dict": "an object", "bytes": "bytes", "bool": "true or false"}
    name = type(value).__name__
    return names.get(name, f"a number ({name})" if isinstance(value, int | float) else name)


def is_missing(value: object) -> bool:
    """Check for an empty cell: null, an empty text, or NaN, which tables use for null."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


CellText = Annotated[str, BeforeValidator(_parse_text)]
Name = Annotated[str | None, BeforeValidator(_parse_name)]
Choice = BeforeValidator(_parse_choice)
# `Message` is a `typing.TypedDict`, for which pydantic makes no schema before Python 3.12.
Conversation = Annotated[
    tuple[Message, ...],
    GetPydanticSchema(lambda _type, _next: no_info_plain_validator_function(_parse_conversation)),
]


class PromptRow(BaseModel):
    """A checked row; an open field is None. Errors are reported in the order of the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    place: str
    licence: Annotated[str, BeforeValidator(_parse_licence)]
    messages: Conversation
    id: Name = None
    goal: Name = None
    set: Name = None
    intent: Annotated[Intent | None, Choice] = None
    evidence: Annotated[Evidence | None, Choice] = None
    profile: Annotated[Profile | None, Choice] = None
    task: Annotated[Task | None, Choice] = None
    harm: Annotated[str | None, Choice] = None
    detail: Annotated[int | None, BeforeValidator(_parse_detail)] = None
    """Requested detail, 0 to 4."""
    language: Annotated[str | None, BeforeValidator(_parse_language)] = None
    """BCP-47 tag."""
    benign_use: CellText = ""
    misuse_risk: CellText = ""

    @property
    def text_key(self) -> str:
        """Key of the messages, without labels."""
        return short_id([[m["role"], m["content"]] for m in self.messages])

    @property
    def key(self) -> tuple[str, ...]:
        """Identity of the row: its id, otherwise its messages and profile."""
        return ("id", self.id) if self.id else ("text", self.text_key, self.profile or "")

    @property
    def has_system(self) -> bool:
        """True if the row has an operator's turn of its own."""
        return self.messages[0]["role"] == "system"


def check_columns(source: UserPrompts) -> list[str]:
    """Check that the file has the columns of the fields, and return the columns that are ignored.

    Raises:
        ConfigError: a mapped column is missing, or there is no prompt or no licence.
    """
    assert source.path is not None
    known = list_columns(source.path)
    for name, column in source.columns:
        if column not in known:
            hint = suggest_names(column, known)
            raise ConfigError(f"{source.path}: no column `{column[:60]}` for `{name}`{hint}")
    mapping, spelled = source.mapping, source.spelled_columns
    is_table = source.path.suffix.lower() in {".csv", ".parquet"}  # each row has every column
    for column, name in spelled.items():
        if is_table and column in known and name in known:
            raise ConfigError(f"{source.path}: has columns `{name}` and `{column}`; keep one")
    if not {mapping["prompt"], mapping["messages"]} & set(known):
        is_near = suggest("prompt", known) is not None
        listed = f" among {', '.join(f'`{c[:40]}`' for c in known[:20])}"
        hint = suggest_names("prompt", known) if is_near else listed
        raise ConfigError(
            f"{source.path}: no column `prompt` or `messages`{hint};"
            " name one with `--column prompt=COLUMN`"
        )
    used = {*mapping.values(), *spelled}
    fields = {name for name, column in mapping.items() if column in known}
    fields |= {name for column, name in spelled.items() if column in known}
    if source.licence is None and "licence" not in fields:
        raise ConfigError(
            f"{source.path}: no column `licence`; name one with `--column licence=COLUMN`, or the"
            " licence of all rows with `--licence NAME`"
        )
    return [column for column in known if column not in used]


def iter_rows(source: UserPrompts, harms: Sequence[str]) -> Iterator[PromptRow]:
    """Yield the valid rows of a file, and raise the errors of all others together at the end.

    Args:
        source: the file and its columns.
        harms: every harm of the taxonomy, including red lines.

    Raises:
        PromptFileError: every error with file and row, or the first ones and their number. An id
            that an earlier row has is an error, too.
    """
    choices = {**CHOICES, "harm": harms}
    faults, row_by_id = FaultCollector(), dict[str, int]()
    with faults.collect():
        for raw, values in _iter_values(source, faults):
            row: PromptRow | None = None
            try:
                row = PromptRow.model_validate(values, context=choices)
            except ValidationError as e:
                for error in _iter_errors(raw, e):
                    faults.add(error)
            duplicate = _find_duplicate(raw, values.get("id"), row_by_id)
            if duplicate is not None:
                faults.add(duplicate)
            elif row is not None:
                yield row
    faults.raise_any()


def _iter_values(
    source: UserPrompts, faults: FaultCollector
) -> Iterator[tuple[RawRow, dict[str, object]]]:
    """Yield the cells of each row by field, without the empty ones."""
    assert source.path is not None
    mapping, spelled = source.mapping, source.spelled_columns
    raw = None
    for raw in read_rows(source.path, {*mapping.values(), *spelled}, faults=faults):
        cells = {name: raw.values.get(column) for name, column in mapping.items()}
        others = {c: n for c, n in spelled.items() if not is_missing(raw.values.get(c))}
        both = [(n, c) for c, n in others.items() if not is_missing(cells[n])]
        for name, column in both:
            problem = f"{raw.place}: has both `{name}` and `{column}`; keep one"
            faults.add(RowError(problem, code="two_spellings"))
        if both:
            continue
        cells |= {name: raw.values[column] for column, name in others.items()}
        values = {name: value for name, value in cells.items() if not is_missing(value)}
        prompt = {name: values.pop(name) for name in ("prompt", "messages") if name in values}
        values.setdefault("licence", source.licence)
        yield raw, values | {"number": raw.number, "place": raw.place, "messages": prompt}
    if raw is None and not faults.count:
        raise ConfigError(f"{source.path}: has no rows; it needs rows with a `prompt`")


def _iter_errors(raw: RawRow, error: ValidationError) -> Iterator[RowError]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        # Every validator raises `_fault`, whose type is a code.
        yield RowError(f"{raw.place}: {detail['msg']}", code=cast("RowFault", detail["type"]))


def _find_duplicate(raw: RawRow, value: object, row_by_id: dict[str, int]) -> RowError | None:
    """Find an earlier row with the same id, which `row_by_id` records even for rows with errors."""
    try:
        id_ = None if value is None else _check_name(value, "id")
    except PydanticCustomError:
        return None
    first = raw.number if id_ is None else row_by_id.setdefault(id_, raw.number)
    if id_ is None or first == raw.number:
        return None
    message = f"{raw.place}: id `{id_[:60]}` is used in row {first} already; give each row its own"
    return RowError(message, code="duplicate_id")
