from __future__ import annotations

import pickle
import re

import pytest

from safegen.core.errors import ConfigError, RunError
from safegen.core.timed_pattern import TimedPattern

PLACE = "language pack `acme`: patterns.decline"
ENDLESS = {
    "a repeat in a repeat": r"(?:a+)+[bc]",
    "three levels": r"(?:(?:a+)*)*[bc]",
    "overlapping alternatives": r"(?:a|aa|a)*[bc]",
    "a back-reference": r"(a+)(a+)+\1\2[bc]",
    "a look-ahead": r"(?=(?:a+)+[bc])a",
    "letters and classes": r"(?:\w+\w*)+[!?]",
}
evil = pytest.mark.parametrize("pattern", ENDLESS.values(), ids=ENDLESS)


@evil
@pytest.mark.parametrize("method", ["search", "finditer", "sub"])
def test_endless_search_is_error_with_place(pattern: str, method: str) -> None:
    timed = TimedPattern(pattern, place=PLACE, burst_s=0.05)
    arguments = [lambda _: ""] if method == "sub" else []
    with pytest.raises(RunError, match=r"^language pack `acme`: patterns\.decline: .*rewrite"):
        getattr(timed, method)(*arguments, "a" * 5_000)


def test_slow_searches_add_up_to_error() -> None:
    timed = TimedPattern(r"(?:a|aa)+b", place=PLACE, burst_s=0.2)
    text = "a" * 25 + "c"
    with pytest.raises(RunError, match="takes too long"):
        for _ in range(10_000):
            timed.search(text)


def test_quick_searches_do_not_add_up() -> None:
    timed = TimedPattern(r"\bthe (?:cat|dog)\b", place=PLACE, burst_s=0.05)
    text = "the mouse and the hat " * 50
    assert {timed.search(text) for _ in range(3_000)} == {None}


def test_short_search_gives_same_matches() -> None:
    timed = pickle.loads(pickle.dumps(TimedPattern(r"\bno(?P<role>t)?\b", place=PLACE)))
    match = timed.search("it is not so")
    assert match is not None
    assert (match.span(), match.lastgroup) == ((6, 9), "role")
    assert [m.span() for m in timed.finditer("no not nob no")] == [(0, 2), (3, 6), (11, 13)]
    assert timed.sub(lambda m: "-" * len(m[0]), "no not nob") == "-- --- nob"


@pytest.mark.parametrize(
    ("pattern", "text"),
    {
        "a brace with a name": (r"zorb{e}", "zorb{e}"),
        "a brace with a comparison": (r"zorb{e<=2}", "zorb{e<=2} zrb"),
        "empty braces": (r"a{}", "a{}"),
        "a count without a lower bound": (r"ba{,2}", "baaa"),
        "a count without bounds": (r"ba{,}", "baaa"),
        "an escaped brace": (r"a\{2}", "aa a{2}"),
        "a POSIX name in a class": (r"[a[:x:]+", "a:[x"),
        "a bracket first in a class": (r"[]{a]+", "]{a"),
        "a negated bracket": (r"[^]a]+", "b]c"),
        "an escaped bracket in a class": (r"[\]\[:]+", "[:]"),
        "a brace behind a class": (r"[ab]{2}{?", "ab{"),
    }.values(),
)
def test_text_of_re_keeps_its_meaning(pattern: str, text: str) -> None:
    timed = [m.span() for m in TimedPattern(pattern, place=PLACE).finditer(text)]
    assert timed == [m.span() for m in re.finditer(pattern, text)]


def test_invalid_pattern_is_error_with_place() -> None:
    with pytest.raises(ConfigError, match=r"patterns\.decline: is not a regular expression"):
        TimedPattern("(", place=PLACE).compile()
