from __future__ import annotations

import pytest

from safegen import locales
from safegen.locales import Locale, folded
from safegen.validators._text import find, places


def pack(*patterns: str) -> Locale:
    """The English pack with one proposition of its own."""
    return locales.load("en").model_copy(update={"patterns": {"told": patterns}})


@pytest.mark.parametrize("text", ["I Won't", "İİ İstanbul IS big", "ẞtraße", "K and Å", ""])
def test_folding_keeps_the_place_of_every_character(text: str) -> None:
    assert len(folded(text)) == len(text)


def test_folding_does_not_tell_capitals_from_small_letters() -> None:
    assert folded("As An AI") == folded("AS AN ai") == "as an ai"


@pytest.mark.parametrize(
    ("pattern", "text"),
    {
        "capitals in the pattern": (r"\bAn AI\b", "so an ai it is"),
        "capitals in the text": (r"\ban ai\b", "so AN AI it is"),
        "a class of capitals": (r"[A-Z]{3}-\d", "abc-7"),
        "escapes that are capitals": (r"\Aan\W\S+\Z", "AN apple"),
        "a character by its number": (r"\u00c9clair", "éclair"),
        "a named group": (r"(?P<Word>THE) (?P=Word)", "The the"),
    }.values(),
)
def test_a_pattern_is_matched_without_regard_to_case(pattern: str, text: str) -> None:
    assert list(places(pack(pattern), "told", text))


def test_an_escaped_capital_keeps_its_meaning() -> None:
    assert not list(places(pack(r"\S\S\D"), "told", " 1 1 "))


def test_what_is_found_is_shown_in_the_case_of_the_text() -> None:
    assert find(pack(r"\bas an ai\b"), "told", "İ think, As An AI, that") == "As An AI"
