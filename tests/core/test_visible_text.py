"""Visible characters and characters that names must not contain."""

from __future__ import annotations

import pytest

from safegen.core.visible_text import (
    find_forbidden_character,
    find_unprintable_character,
    has_visible_character,
)


@pytest.mark.parametrize(
    "text",
    ["", " \t\n", "\u200d\u2060", "\u115f\uffa0", "\u2800\u2800", "\ufe0f\u00ad", "\u202e\u202c"],
)
def test_text_of_invisible_characters_is_blank(text: str) -> None:
    assert not has_visible_character(text)


@pytest.mark.parametrize("text", ["\u200ba", "क्‍ष", "ㅎ", "🪴", "٣", "。", "-"])
def test_text_with_a_drawn_character_is_visible(text: str) -> None:
    assert has_visible_character(text)


@pytest.mark.parametrize(
    "name", ["می‌خواهم", "表　七", "क्‍ष-१", "a\u00a0b", "שלום\u200f", "መ፩", "🪴"]
)
def test_name_in_any_script_is_allowed(name: str) -> None:
    assert find_forbidden_character(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ab\x1bc", ("a control character (U+001B)", 3)),
        ("a\r", ("a carriage return (U+000D)", 2)),
        ("\u2028", ("a line separator (U+2028)", 1)),
        ("x\u2067y", ("an invisible control of text (U+2067)", 2)),
        ("\ufeffid", ("an invisible control of text (U+FEFF)", 1)),
        ("a\ud800", ("half a character (U+D800)", 2)),
        ("a\uffff", ("a code that is not a character (U+FFFF)", 2)),
    ],
)
def test_forbidden_character_is_named_with_position(name: str, expected: tuple[str, int]) -> None:
    assert find_forbidden_character(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u200bb", ("an invisible character (U+200B)", 2)),
        ("a\x07", ("a control character (U+0007)", 2)),
        ("a\tb", None),
        ("plain", None),
    ],
)
def test_unprintable_character_is_named(text: str, expected: tuple[str, int] | None) -> None:
    assert find_unprintable_character(text, allowed="\t") == expected
