"""Checks of single cells, with an error that has a code and a message."""

from __future__ import annotations

import math
from datetime import date, time, timedelta
from decimal import Decimal
from uuid import UUID

from pydantic_core import PydanticCustomError

from safegen.core.visible_text import find_forbidden_character, has_visible_character
from safegen.scenarios.user_prompts.faults import RowFault
from safegen.scenarios.user_prompts.raw_rows import find_text_problem

MAX_MESSAGE_CHARS = 131_072
"""Characters of a row's messages together, at most; also `csv.field_size_limit()`."""
MAX_TEXT_CHARS = 4_000
MAX_NAME = 200
"""Characters of an id, a licence, a set or a goal, at most."""
MAX_WHOLE_FLOAT = 2**53
"""Up to here a float holds every whole number exactly."""
NAME_PROBLEM = f"is not one line of 1 to {MAX_NAME} printable characters"
UNREAD_FIELDS = ("set", "goal")
"""Names that a file often has with another meaning."""


def make_fault(code: RowFault, problem: str) -> PydanticCustomError:
    """Make the error of a cell; its type is the code."""
    # An argument, because pydantic would read braces in a user's text as fields of the template.
    # Escaped, because it cannot encode a lone surrogate.
    text = problem.encode("utf-8", "backslashreplace").decode()
    return PydanticCustomError(code, "{problem}", {"problem": text})


def check_text(value: object, name: str, *, most: int) -> str:
    """Return a text; bytes are read as UTF-8.

    Raises:
        PydanticCustomError: the value is not text, or too long.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise make_fault("not_text", f"`{name}` has bytes that are not UTF-8") from None
    if not isinstance(value, str):
        raise make_fault("not_text", f"`{name}` is not text but {describe_type(value)}")
    if len(value) > most:
        raise make_fault("too_long", f"`{name}` has more than {most} characters")
    return require_encodable(value, name)


def require_encodable(value: str, name: str) -> str:
    """Return a text that UTF-8 can encode and that contains no NUL.

    Raises:
        PydanticCustomError: it contains a lone surrogate or a NUL.
    """
    if (problem := find_text_problem(value)) is not None:
        raise make_fault("not_encodable", f"`{name}` {problem}")
    return value


def check_name(value: object, name: str) -> str:
    """Return a name of one line; numbers, which tables use as ids, become text.

    Raises:
        PydanticCustomError: the value is not a short line of text or a whole number.
    """
    if (number := _whole_number(value)) is not None:
        return str(number)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float | Decimal):
        problem = f"`{name}` is not text but a number with a fraction (`{str(value)[:40]}`); write it as text"
        raise make_fault("not_text", f"{problem}{_unread_hint(name)}")
    text = check_text(value, name, most=MAX_TEXT_CHARS)
    if problem := find_name_problem(text):
        raise make_fault(
            "invalid_name", f"`{name}` {problem}; write a short name{_unread_hint(name)}"
        )
    return text


def _whole_number(value: object) -> int | None:
    """Return the whole number that a cell means: pandas makes floats of integers if a cell is empty."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float | Decimal) and abs(value) <= MAX_WHOLE_FLOAT:
        return int(value) if value == int(value) else None
    return None


def find_name_problem(text: str) -> str | None:
    """Describe the reason why a text is not a name; None if it is one."""
    if character := find_forbidden_character(text):
        return f"{NAME_PROBLEM}: it has {character.description} at position {character.position}"
    is_name = has_visible_character(text) and len(text) <= MAX_NAME
    return None if is_name else NAME_PROBLEM


def _unread_hint(name: str) -> str:
    return f", or leave the column unread with `--column {name}=`" if name in UNREAD_FIELDS else ""


def is_missing(value: object) -> bool:
    """Check for an empty cell: null, an empty text, or NaN, which tables use for null."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def describe_type(value: object) -> str:
    """Describe the type of a cell in words."""
    if value is None:
        return "nothing"
    if isinstance(value, date | time | timedelta):
        return "a time"
    names = {"list": "a list", "dict": "an object", "bytes": "bytes", "bool": "true or false"}
    name = type(value).__name__
    is_number = isinstance(value, int | float | Decimal)
    return names.get(name, f"a number ({name})" if is_number else name)
