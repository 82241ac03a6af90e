"""The checked rows of a user's files. An empty field stays open; no label is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple, cast, get_args

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
from safegen.core.personal_data import mask_name, mask_personal_data, mask_values
from safegen.core.spelling import match_spelling
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    EVIDENCE,
    INTENTS,
    PROFILES,
    Evidence,
    Intent,
    Message,
    Profile,
    Task,
)
from safegen.scenarios.user_prompts.cell_checks import (
    MAX_NAME,
    MAX_TEXT_CHARS,
    check_name,
    check_text,
    is_missing,
    make_fault,
)
from safegen.scenarios.user_prompts.conversations import PromptCells, parse_conversation
from safegen.scenarios.user_prompts.faults import FaultCollector, RowError, RowFault
from safegen.scenarios.user_prompts.languages import find_language_tag
from safegen.scenarios.user_prompts.mapping import UNREAD, ColumnMap, map_columns
from safegen.scenarios.user_prompts.raw_rows import RawRow
from safegen.scenarios.user_prompts.reader import UserPrompts, list_columns, read_rows

MAX_LISTED = 12
"""Allowed values that a message lists; a taxonomy has more harms, and many rows may be wrong."""
WHOLE_NUMBER = re.compile(r"([0-4])(?:\.0+)?")
CHOICES: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "task": get_args(Task),
}
"""Allowed values by field; those of `harm` come from the taxonomy."""


class _CheckContext(NamedTuple):
    """The inputs of the checks of a row."""

    choices: Mapping[str, Sequence[str]]
    has_hints: bool
    """False after the errors that are shown, because the nearest name takes most of the time."""


def _parse_text(value: object, info: ValidationInfo) -> str:
    return check_text(value, str(info.field_name), most=MAX_TEXT_CHARS)


def _parse_name(value: object, info: ValidationInfo) -> str:
    return check_name(value, str(info.field_name))


def _parse_licence(value: object) -> str:
    if value is None:
        problem = (
            "`licence` is missing; fill it in, or name one for such rows with `--licence NAME`"
        )
        raise make_fault("missing_licence", problem)
    return check_name(value, "licence")


def _parse_choice(value: object, info: ValidationInfo) -> str:
    name = str(info.field_name)
    context = cast("_CheckContext", info.context)
    allowed = context.choices[name]
    text = match_spelling(check_text(value, name, most=MAX_TEXT_CHARS), allowed)
    if text in allowed:
        return text
    problem = f"`{name}` is `{text[:60]}`"
    if context.has_hints:
        hint = suggest_names(text, allowed, listed=len(allowed) <= MAX_LISTED)
        problem += hint or f"; `safegen taxonomy show TAXONOMY` lists the {len(allowed)} known"
        problem += f"; `--column {name}=` leaves the column unread"
    raise make_fault("unknown_value", problem)


def _parse_detail(value: object) -> int:
    # A table may have made text or a fraction of the number.
    match = None if isinstance(value, bool) else WHOLE_NUMBER.fullmatch(str(value)[:60])
    if match is None:
        problem = f"`detail` is `{str(value)[:60]}`; give a whole number from 0 to 4"
        raise make_fault(
            "invalid_detail", f"{problem}; `--column detail=` leaves the column unread"
        )
    return int(match[1])


def _parse_language(value: object) -> str:
    text = check_text(value, "language", most=MAX_NAME)
    if (tag := find_language_tag(text)) is None:
        problem = f"`language` is `{text[:60]}`; give a BCP-47 tag such as `en`, or an English name"
        problem += "; `--column language=` leaves the column unread"
        raise make_fault("invalid_language", problem)
    return tag


CellText = Annotated[str, BeforeValidator(_parse_text)]
Name = Annotated[str | None, BeforeValidator(_parse_name)]
Choice = BeforeValidator(_parse_choice)
# `Message` is a `typing.TypedDict`, for which pydantic makes no schema before Python 3.12.
Conversation = Annotated[
    tuple[Message, ...],
    GetPydanticSchema(lambda _type, _next: no_info_plain_validator_function(parse_conversation)),
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
    twin: Name = None
    """Name that rows share if they differ only in the group that they name."""
    group: Name = None
    """The group that the row names."""
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


class UnreadableRow(NamedTuple):
    """A row that cannot be read, and is skipped on request."""

    number: int
    id: str | None
    fault: RowFault
    message: str
    """The errors with their place."""


def check_columns(source: UserPrompts) -> ColumnMap:
    """Find the column of each field of a file.

    Raises:
        ConfigError: a mapped column is missing or named for two fields, or there is no prompt or no
            licence.
    """
    _check_distinct(source)
    return map_columns(
        source.columns,
        list_columns(source.files),
        shown=source.shown,
        has_licence=source.licence is not None,
        is_table=any(file.format != "json" for file in source.files),
    )


def _check_distinct(source: UserPrompts) -> None:
    field_by_column: dict[str, str] = {}
    for name, column in source.columns:
        other = field_by_column.setdefault(column, name)
        if column != UNREAD and other != name:
            file = source.files[0] if source.files else None
            is_text = file is not None and file.format in ("csv", "json")
            place = f"{file.path}:1" if file is not None and is_text else source.shown
            raise ConfigError(
                f"{place}: column `{column[:60]}` is named for `{other}` and for `{name}`; name each"
                " column for one field"
            )


def iter_rows(
    source: UserPrompts, columns: ColumnMap, harms: Sequence[str], *, redacts: bool = False
) -> Iterator[PromptRow | UnreadableRow]:
    """Yield the rows of a file in order. This is the only entry to the content of a user's file.

    A row that cannot be read is yielded if the source skips such rows. Otherwise the errors of all
    rows are raised together at the end.

    Args:
        source: the file.
        columns: its columns, from `check_columns`.
        harms: every harm of the taxonomy, including red lines.
        redacts: mask likely personal data in errors and in the ids of rows that cannot be read.

    Raises:
        PromptFileError: every error with file and row, or the first ones and their number. An id
            that an earlier row has is an error, too.
    """
    choices = {**CHOICES, "harm": harms}
    faults, row_by_id = FaultCollector(), dict[str, int]()
    rows = skipped = 0
    with faults.collect():
        for raw in read_rows(source.files, columns.names):
            rows += 1
            context = _CheckContext(choices, faults.count + skipped < faults.MAX_SHOWN)
            checked = _check_raw(raw, source, columns, context)
            # A skipped row does not take its id from a later one.
            if checked.id is not None and not (checked.errors and source.skip_unreadable):
                checked = checked.check_id(row_by_id.setdefault(checked.id, checked.number))
            if checked.row is not None and not checked.errors:
                yield checked.row
                continue
            if redacts:
                checked = _redact_errors(checked, raw, source, columns, context)
            if source.skip_unreadable:
                skipped += 1
                yield _join_errors(checked.errors)
            else:
                for error in checked.errors:
                    faults.add(_add_skip_hint(error))
                if faults.is_full:
                    break
        if not rows:
            raise ConfigError(f"{source.shown}: has no rows; it needs rows with a `prompt`")
    faults.raise_any()


class _CheckedRow(NamedTuple):
    """A row with its errors; without a row there is at least one."""

    place: str
    number: int
    id: str | None
    """Its id, if that can be read."""
    row: PromptRow | None
    errors: list[RowError]

    def check_id(self, first: int) -> _CheckedRow:
        """Add an error if `first`, the first row with this id, is another one."""
        if self.id is None or first == self.number:
            return self
        name = f"id `{self.id[:60]}`"
        message = f"{self.place}: {name} is used in row {first} already; give each row its own"
        error = RowError(message, code="duplicate_id", row=self.number, id_=self.id)
        return self._replace(errors=[*self.errors, error])


def _check_raw(
    raw: RawRow | RowError, source: UserPrompts, columns: ColumnMap, context: _CheckContext
) -> _CheckedRow:
    if isinstance(raw, RowError):
        return _CheckedRow("", raw.row, None, None, [raw])
    if conflict := columns.find_conflict(raw.values):
        error = RowError(f"{raw.place}: {conflict}", code="two_spellings", row=raw.number)
        return _CheckedRow(raw.place, raw.number, None, None, [error])
    values = _read_values(raw, source, columns)
    row: PromptRow | None = None
    errors: list[RowError] = []
    try:
        row = PromptRow.model_validate(values, context=context)
    except ValidationError as e:
        errors += _iter_errors(raw, values.get("id"), e)
    return _CheckedRow(raw.place, raw.number, _read_id(values.get("id")), row, errors)


def _redact_errors(
    checked: _CheckedRow,
    raw: RawRow | RowError,
    source: UserPrompts,
    columns: ColumnMap,
    context: _CheckContext,
) -> _CheckedRow:
    """Mask likely personal data in the errors of a row.

    A message may cut a value, and a cut address has no form, so the messages of the masked row are used.
    """
    if isinstance(raw, RowError):
        # Its cells were not read; such a message names the place and the syntax.
        return checked._replace(errors=[_replace_message(raw, mask_personal_data(raw.message))])
    values = {name: mask_values(value) for name, value in raw.values.items()}
    if values == dict(raw.values):
        return checked
    masked = _check_raw(raw._replace(values=values), source, columns, context)
    messages: dict[RowFault, list[str]] = {}
    for error in masked.errors:
        messages.setdefault(error.code, []).append(error.message)
    name = mask_name(checked.id)
    errors: list[RowError] = []
    for error in checked.errors:
        hidden = f"{checked.place}: `{error.code}`; the value is not shown, because the row has personal data"
        known = messages.get(error.code)
        errors.append(_replace_message(error, known.pop(0) if known else hidden, id_=name))
    return checked._replace(id=name, errors=errors)


def _replace_message(error: RowError, message: str, *, id_: str | None = None) -> RowError:
    return RowError(message, code=error.code, row=error.row, id_=id_ or error.id)


def _add_skip_hint(error: RowError) -> RowError:
    if error.code != "missing_prompt":
        return error
    return _replace_message(error, f"{error.message}, or skip such rows with `--skip-unreadable`")


def _read_values(raw: RawRow, source: UserPrompts, columns: ColumnMap) -> dict[str, object]:
    """Read the cells of a row by field, without the empty ones."""
    values = {k: v for k, v in columns.read(raw.values).items() if not is_missing(v)}
    prompt, messages, context = (values.pop(n, None) for n in ("prompt", "messages", "context"))
    values.setdefault("licence", source.licence)
    cells = PromptCells(prompt, messages, context, source.drop_answer)
    return values | {"number": raw.number, "place": raw.place, "messages": cells}


def _iter_errors(raw: RawRow, id_: object, error: ValidationError) -> Iterator[RowError]:
    name = _read_id(id_)
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        # Every validator raises a fault, whose type is a code.
        code = cast("RowFault", detail["type"])
        yield RowError(f"{raw.place}: {detail['msg']}", code=code, row=raw.number, id_=name)


def _join_errors(errors: Sequence[RowError]) -> UnreadableRow:
    message = "; ".join(error.message for error in errors)
    return UnreadableRow(errors[0].row, errors[0].id, errors[0].code, message)


def _read_id(value: object) -> str | None:
    try:
        return None if value is None else check_name(value, "id")
    except PydanticCustomError:
        return None
