"""Visible and forbidden characters of a text, in any script."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# Unicode's Default_Ignorable_Code_Point, spaces, controls, and two letters and a symbol that are
# drawn as nothing (Hangul fillers, the blank Braille pattern).
_INVISIBLE = re.compile(
    r"[\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc"
    r"\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
# Embeddings, overrides and isolates of text direction make a name look like another one.
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_FORBIDDEN_FORMATS = f"{_DIRECTIONS}\ufeff\u206a\u206b\u206c\u206d\u206e\u206f\ufff9\ufffa\ufffb"
_FORBIDDEN_KINDS = {
    "Cc": "a control character",
    "Cs": "half a character",
    "Co": "a private character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_NAMES = {"\n": "a line feed", "\r": "a carriage return", "\t": "a tab", "\0": "a NUL"}


class ForbiddenCharacter(NamedTuple):
    """A character that a name must not contain."""

    description: str
    """Kind and code, such as `a tab (U+0009)`."""
    position: int
    """Position in the text, from 1."""


def has_visible_character(text: str) -> bool:
    r"""Check that a text has a character that is drawn.

    Example:
        >>> has_visible_character("\u200b \u3164"), has_visible_character(" a")
        (False, True)
    """
    return _INVISIBLE.fullmatch(text) is None


def find_unprintable_character(text: str, *, allowed: str = "") -> ForbiddenCharacter | None:
    r"""Find the first character that is no letter, mark, sign or space, zero-width characters included.

    Example:
        >>> find_unprintable_character("a\u200bb")
        ForbiddenCharacter(description='an invisible character (U+200B)', position=2)
    """
    if text.isprintable():
        return None
    for position, character in enumerate(text, 1):
        if not character.isprintable() and character not in allowed:
            kind = _FORBIDDEN_KINDS.get(unicodedata.category(character), "an invisible character")
            description = f"{_NAMES.get(character, kind)} (U+{ord(character):04X})"
            return ForbiddenCharacter(description, position)
    return None


def find_forbidden_character(text: str) -> ForbiddenCharacter | None:
    r"""Find the first control character, line end or change of direction; joiners of a script are allowed.

    Example:
        >>> find_forbidden_character("a\tb")
        ForbiddenCharacter(description='a tab (U+0009)', position=2)
    """
    if text.isprintable():
        return None
    for position, character in enumerate(text, 1):
        kind = _FORBIDDEN_KINDS.get(unicodedata.category(character))
        if character in _FORBIDDEN_FORMATS:
            kind = "an invisible control of text"
        # Noncharacters: the last two codes of each plane, and 32 in the Arabic block.
        elif ord(character) & 0xFFFE == 0xFFFE or "\ufdd0" <= character <= "\ufdef":
            kind = "a code that is not a character"
        if kind:
            description = f"{_NAMES.get(character, kind)} (U+{ord(character):04X})"
            return ForbiddenCharacter(description, position)
    return None
