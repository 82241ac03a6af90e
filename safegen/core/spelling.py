"""British and American spellings of names that users type: both are accepted, the British one is stored."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import cast

from safegen.core.errors import UserError

STORED_SPELLINGS = {
    "license": "licence",
    "labelers": "labellers",
    "optimize": "optimise",
    "judgment": "judgement",
    "dialogs": "dialogues",
}
"""Stored spelling by other spelling, for each word of a key, value or option that has two."""
_OTHER_SPELLINGS = {stored: other for other, stored in STORED_SPELLINGS.items()}
# Words of a name, so that `authored_dialogs` is found by its part `dialogs`.
_WORD = re.compile(r"[a-z]+")


class SpellingConflict(ValueError):
    """Both spellings of one name."""

    def __init__(self, first: str = "", second: str = "") -> None:
        super().__init__(f"`{first}` and `{second}` are the same name; keep one")
        self.second = second


def stored_spelling(name: str) -> str:
    """Replace the words of a name by the spellings that safegen stores.

    Example:
        >>> stored_spelling("authored_dialogs")
        'authored_dialogues'
    """
    return _WORD.sub(lambda m: STORED_SPELLINGS.get(m[0], m[0]), name)


def other_spelling(name: str) -> str | None:
    """Return the other spelling of a stored name, or None if it has one spelling."""
    other = _WORD.sub(lambda m: _OTHER_SPELLINGS.get(m[0], m[0]), name)
    return None if other == name else other


def match_spelling(name: str, known: Collection[str]) -> str:
    """Return the known name that differs from a name only in spelling, else the name."""
    if name in known:
        return name
    stored = stored_spelling(name)
    return next((k for k in known if stored_spelling(k) == stored), name)


def choose_spelling(name: str, stored: str | None, other: str | None) -> str | None:
    """Return the value of an argument that has two spellings.

    Raises:
        UserError: both spellings have a value.
    """
    if stored is not None and other is not None:
        raise UserError(f"`{name}` and `{other_spelling(name)}` are the same argument; keep one")
    return other if stored is None else stored


def unify_names(names: Iterable[str], known: Collection[str] | None = None) -> dict[str, str]:
    """Map each name to the known name, or the stored spelling, that it means.

    Raises:
        SpellingConflict: two names are spellings of one.
    """
    unified: dict[str, str] = {}
    first: dict[str, str] = {}
    for name in names:
        meaning = stored_spelling(name) if known is None else match_spelling(name, known)
        if first.setdefault(meaning, name) != name:
            raise SpellingConflict(first[meaning], name)
        unified[name] = meaning
    return unified


def unify_keys(value: object, known: Collection[str] | None = None) -> object:
    """Unify the spelling of the keys of a mapping; other values stay unchanged.

    Raises:
        SpellingConflict: two keys are spellings of one name.
    """
    if not isinstance(value, dict):
        return value
    items = cast("dict[object, object]", value)
    unified = unify_names((key for key in items if isinstance(key, str)), known)
    return {unified[key] if isinstance(key, str) else key: item for key, item in items.items()}


def unify_spelling(value: object, known: Collection[str] | None = None) -> object:
    """Unify the spelling of a name, of a list of names, or of the keys of a mapping and their values.

    Other values, and names that are not known, stay unchanged.

    Raises:
        SpellingConflict: two names in a list or mapping are spellings of one.
    """
    if isinstance(value, str):
        return stored_spelling(value) if known is None else match_spelling(value, known)
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        return unify_keys({key: unify_spelling(item, known) for key, item in items.items()}, known)
    if isinstance(value, list | tuple):
        entries = cast("list[object] | tuple[object, ...]", value)
        unify_names((entry for entry in entries if isinstance(entry, str)), known)
        return [unify_spelling(entry, known) for entry in entries]
    return value
