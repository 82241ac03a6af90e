from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given, settings, strategies as st

from safegen.config.language_pack import fold_case, load_locale
from safegen.core import text_forms
from safegen.core.pattern_index import PatternIndex, trim_edges

ODD_PATTERNS = [
    ("word of any script", r"^caf\w$", "café"),
    ("class with letters of any script", r"[\w-]+ñ", "ññ"),
    ("negated class of other signs", r"x[^\W]", "xé"),
    ("digit of another script", r"\d{2}kg", "\u0663\u0664kg"),
    ("blank of another kind", r"a\sb", "a\u2003b"),
    ("vertical tab", r"a\sb", "a\x0bb"),
    ("look-behind with a class", r"(?<![)\]])zorb(?!(?:a|[)]b))", "the zorb"),
    ("quantified look-ahead", r"a(?=b)?c", "ac"),
    ("repeat without lower bound", r"a{,3}b", "aab"),
    ("brace as itself", r"\{zorb}", "{zorb}"),
    ("possessive repeat", r"zo++rb", "zoorb"),
    ("atomic group", r"(?>zo)rb", "zorb"),
    ("backreference", r"(zo)\1", "zozo"),
    ("named backreference", r"(?P<a>zo)(?P=a)", "zozo"),
    ("condition", r"(z)?(?(1)o|x)", "zo"),
    ("flags", r"(?i:kelvin)", "\u212aelvin"),
    ("number of a letter", r"\x7aorb", "zorb"),
    ("backspace in a class", r"[\b]z", "\x08z"),
    ("class that looks like a POSIX name", r"[a[:x:]+\]z", "a:]z"),
    ("bracket first in a class", r"[]a]z", "]z"),
    ("bracket first in a negated class", r"[^]a]z", "bz"),
    ("end of a line", r"(?:zorb$)|\Abox", "the zorb\n"),
    ("empty branch", r"(?:\b|x)zorb", "zorb"),
    ("lazy repeat", r"z.{0,5}?b", "zorb"),
    ("comment", r"zo(?#a (b)rb", "zorb"),
    ("null", r"a\nb", "a\nb"),
]


@pytest.mark.parametrize(
    ("pattern", "text"), [case[1:] for case in ODD_PATTERNS], ids=[case[0] for case in ODD_PATTERNS]
)
def test_odd_pattern_with_a_match_is_possible(pattern: str, text: str) -> None:
    assert re.search(pattern, text)
    assert PatternIndex({"odd": pattern, "other": "box"}).possible_names(text) >= {"odd"}


def test_patterns_without_a_match_are_excluded() -> None:
    patterns = {"lid": r"\blid\b", "card": r"(?<!the )card", "any": "(?i:x)"}
    index = PatternIndex(patterns)
    assert index.possible_names("close the lid") == {"lid", "any"}
    assert index.possible_names("the card") == {"card", "any"}


def test_large_patterns_are_searched_in_groups() -> None:
    patterns = {name: "|".join(f"{name}{i:04d}" for i in range(900)) for name in ("lid", "card")}
    index = PatternIndex({**patterns, "box": "box"})
    text = "a card0007 in a box"
    assert [index.can_match(name, text) for name in ("lid", "card", "box")] == [False, True, True]
    assert index.possible_names(text) == {"card", "box"}


EDGES = [
    ("optional word", r"(?:very )?(?:old )*lid[s]?", "lid"),
    ("branch that may be empty", r"(?:a|\s*)lid", "lid"),
    ("edge inside of a group", r"(?:(?:the )*lid|a?card)(?:s|)", "(?:lid|card)"),
    ("repeated group", r"(?:the )+lid", r"(?:the )+lid"),
    ("optional inside", "lid(?:s)?card", "lid(?:s)?card"),
    ("sign that is no repeat", r"\?lid[?*]", r"\?lid[?*]"),
    ("bar in a class", r"[|]lid\|x*", r"[|]lid\|"),
    ("pattern of any text", "(?:lid)?|card", "(?:lid)?|card"),
]


@pytest.mark.parametrize(
    ("pattern", "trimmed"), [case[1:] for case in EDGES], ids=[case[0] for case in EDGES]
)
def test_edges_that_may_be_empty_are_dropped(pattern: str, trimmed: str) -> None:
    assert trim_edges(pattern) == trimmed


def test_text_that_cannot_be_encoded_excludes_nothing() -> None:
    assert PatternIndex({"lid": "lid", "card": "card"}).possible_names("\ud800") == {"lid", "card"}


def test_index_survives_pickling() -> None:
    index = PatternIndex({"lid": "lid", "card": "card"})
    assert index.possible_names("a lid") == {"lid"}
    assert pickle.loads(pickle.dumps(index)).possible_names("a card") == {"card"}


ENGLISH = load_locale("en")
PIECES = (
    *"i can't sorry won't help with that but you should never ask why as an ai model wrong".split(),
    *("I'm unable to", "talk to", "I'm an adult", "my policy", "instead,", "you could", "café"),
    *(text for texts in (ENGLISH.phrases.limits, ENGLISH.phrases.refusals) for text in texts),
    *(text for texts in (ENGLISH.phrases.sermons, ENGLISH.phrases.frames) for text in texts),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from([" ", ". ", "\n"]))
def test_index_of_a_pack_loses_no_match(pieces: list[str], joint: str) -> None:
    text = fold_case(joint.join(pieces))
    matching = {name for name, pattern in ENGLISH.compiled.items() if pattern.search(text)}
    assert matching <= ENGLISH.index.possible_names(text)


UNITS = (
    "milligrams grams kilogram litres liter centilitres ounce pounds cup tablespoons tea\u017fpoons "
    "drops degrees percent volts amps watt l\u0130ter"
).split()


@pytest.mark.parametrize("unit", UNITS)
def test_every_spelled_unit_is_an_amount(unit: str) -> None:
    for text in (f"take Twenty-Two {unit} now", f"take TWENTY {unit.upper()} now"):
        assert text_forms.amounts(text) == text_forms._SPELLED_NUMBER.findall(text)
        assert len(text_forms.amounts(text)) == 1
