"""Checks of arguments, with messages that name the argument, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from safegen.core.errors import UserError

MAX_VALUE_CHARS = 60


def describe_argument(name: str, value: object, allowed: str) -> str:
    """Compose the message about a wrong argument; a value of a user's class is named by its type."""
    # `repr` of a user's class can be long, can hold secrets, and can fail.
    is_scalar = value is None or type(value) in (bool, int, float, str)
    text = repr(value) if is_scalar else type(value).__qualname__
    shown = text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"
    return f"`{name}` is {'' if is_scalar else 'of type '}`{shown}`; use {allowed}"


@contextmanager
def raise_user_errors() -> Generator[None]:
    """Turn the error of an argument check in the block into a `UserError`.

    Raises:
        UserError: a check in the block failed.
    """
    try:
        yield
    except (TypeError, ValueError) as e:
        raise UserError(str(e)) from e


def check_path(name: str, value: object, *, optional: bool = False) -> None:
    """Check a path, or a text that is not blank.

    Raises:
        TypeError: the value is neither.
        ValueError: it is a blank text, or holds a NUL.
    """
    if isinstance(value, str):
        check_text(name, value)
    elif not isinstance(value, Path) and not (optional and value is None):
        allowed = f"a path or a text{' or None' if optional else ''}"
        raise TypeError(describe_argument(name, value, allowed))
    if "\0" in str(value):
        raise ValueError(describe_argument(name, value, "a path without a NUL"))


def check_mapping(name: str, value: object, allowed: str) -> None:
    """Check a mapping whose keys are texts, or None.

    Raises:
        TypeError: the value is neither, or a key is no text.
        ValueError: a key is blank.
    """
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise TypeError(describe_argument(name, value, allowed))
    for key in cast("Mapping[object, object]", value):
        check_text(f"{name}: key", key)


def check_count(name: str, value: object, *, least: int = 1, optional: bool = False) -> None:
    """Check a whole number.

    Raises:
        TypeError: the value is no whole number.
        ValueError: it is below `least`.
    """
    if optional and value is None:
        return
    allowed = f"a whole number from {least}{' or None' if optional else ''}"
    # A truth value is an `int` in Python, and never a count.
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(describe_argument(name, value, allowed))
    if value < least:
        raise ValueError(describe_argument(name, value, allowed))


def check_text(name: str, value: object, *, optional: bool = False) -> None:
    """Check a text that is not blank.

    Raises:
        TypeError: the value is no text.
        ValueError: it is blank, or UTF-8 cannot encode it.
    """
    if optional and value is None:
        return
    allowed = f"a text that is not blank{' or None' if optional else ''}"
    if not isinstance(value, str):
        raise TypeError(describe_argument(name, value, allowed))
    try:
        is_empty = not value.encode().strip()
    except UnicodeEncodeError:
        is_empty = True
    if is_empty:
        raise ValueError(describe_argument(name, value, allowed))


def check_flag(name: str, value: object, *, optional: bool = False) -> None:
    """Check a truth value.

    Raises:
        TypeError: the value is neither True nor False.
    """
    if not isinstance(value, bool) and not (optional and value is None):
        allowed = "True, False or None" if optional else "True or False"
        raise TypeError(describe_argument(name, value, allowed))


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check a text of a fixed set.

    Raises:
        TypeError: the value is no text.
        ValueError: it is not in the set.
    """
    allowed = f"one of {', '.join(f'`{choice}`' for choice in choices)}"
    if not isinstance(value, str):
        raise TypeError(describe_argument(name, value, allowed))
    if value not in choices:
        raise ValueError(describe_argument(name, value, allowed))


def check_callable(name: str, value: object, *, optional: bool = False) -> None:
    """Check a function or an object that can be called.

    Raises:
        TypeError: the value cannot be called.
    """
    if not callable(value) and not (optional and value is None):
        allowed = f"a function{' or None' if optional else ''}"
        raise TypeError(describe_argument(name, value, allowed))


def check_names(name: str, value: object, *kinds: type) -> None:
    """Check a collection of texts that are not blank; a single text is none.

    Raises:
        TypeError: the value is no such collection, or an item is no text.
        ValueError: an item is blank.
    """
    if not isinstance(value, kinds):
        raise TypeError(describe_argument(name, value, f"a {kinds[0].__name__} of texts"))
    for item in cast("Iterable[object]", value):
        check_text(f"{name}: item", item)
