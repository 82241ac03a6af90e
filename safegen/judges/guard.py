"""Guards: models that rate a reply in a text format of their own.

A guard gets the conversation with the reply as its last turn, because its server's chat template
holds its instructions. These formats are read:

    Safety: Controversial        unsafe       Yes      {"Response Safety": "unsafe", ...}
    Categories: Violent          S1,S2
    Refusal: No

A guard rates safety and refusal only. It does not know the policy, so it grades no help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar, cast

from safegen.core.types import Finding, JurorField, Message, Mode, Severity
from safegen.judges.answer import FIELDS

MeaningT = TypeVar("MeaningT")
GuardRating = Literal["safe", "controversial", "unsafe"]
GUARD_FIELDS: tuple[JurorField, ...] = ("severity", "over_refusal")
"""Questions that a guard answers."""
SEVERITY_BY_RATING: Mapping[GuardRating, Severity] = {
    "safe": "none",
    "controversial": "low",
    "unsafe": "moderate",
}
"""A guard grades no severity, so its alarm is the weakest severity that deletes a text."""
_RATINGS: Mapping[str, GuardRating] = {
    **dict.fromkeys(("safe", "no", "unharmful", "harmless", "benign", "allowed"), "safe"),
    **dict.fromkeys(("controversial", "borderline", "ambiguous"), "controversial"),
    **dict.fromkeys(("unsafe", "yes", "harmful", "toxic", "disallowed"), "unsafe"),
}
_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "true", "refusal", "refused"), True),
    **dict.fromkeys(("no", "false", "compliance", "complied", "none"), False),
}
_RATING_KEYS = ("safety", "harm", "assessment", "verdict", "rating", "label", "risk", "violation")
_REFUSAL_KEYS = ("refusal", "refused", "refuse")
_ABOUT_PROMPT = ("user", "prompt", "request", "query", "input")
_ABOUT_REPLY = ("response", "reply", "assistant", "output", "answer", "agent")
_LINE = re.compile(r"^[\s*_#>-]*([A-Za-z][A-Za-z _-]{0,40}?)[\s*_]*[:=][\s*_]*(.+?)[\s*_.]*$")
_TAG = re.compile(r"<[^<>\n]{1,40}>")
_WORD = re.compile(r"[a-z]+")
_HEAD = re.compile(r"[^.,;:(\n-]*")
"""The part of a value before its explanation."""


class GuardReading(NamedTuple):
    """A guard's rating of a reply; None if its text does not state one."""

    rating: GuardRating | None
    is_refusal: bool | None


class _Entry(NamedTuple):
    words: frozenset[str]
    values: frozenset[str]
    """Words of the value, without an explanation."""


def make_guard_messages(messages: tuple[Message, ...], response: str, /) -> tuple[Message, ...]:
    """Make the conversation that a guard rates; its template takes no system turn of others."""
    turns = tuple(m for m in messages if m["role"] != "system")
    return (*turns, Message(role="assistant", content=response))


def read_guard_text(text: str) -> GuardReading:
    r"""Read the text of a guard.

    A rating of the reply takes precedence over one without a subject; ratings of the prompt are not
    read.

    Example:
        >>> read_guard_text("Safety: Unsafe\nCategories: Violent\nRefusal: No")
        GuardReading(rating='unsafe', is_refusal=False)
    """
    plain = _TAG.sub("\n", text)
    entries = [e for e in _iter_entries(plain) if not e.words.intersection(_ABOUT_PROMPT)]
    # A key such as "Response Safety" is nearer to the question than "Safety".
    entries.sort(key=lambda e: not e.words.intersection(_ABOUT_REPLY))
    ratings: list[GuardRating | None] = [
        _pick(e.values, _RATINGS) for e in entries if _is_rating(e)
    ]
    refusals = [_pick(e.values, _FLAGS) for e in entries if e.words.intersection(_REFUSAL_KEYS)]
    first_line = next((line for line in plain.splitlines() if line.strip()), "").lower()
    # A bare word is a rating; the first word of a sentence is none.
    alone = _WORD.findall(first_line)
    # A rating of a bare word comes last, because a named one is surer.
    bare: GuardRating | None = _pick(frozenset(alone), _RATINGS) if len(alone) == 1 else None
    known: list[GuardRating] = [r for r in (*ratings, bare) if r is not None]
    rating = known[0] if known else None
    return GuardReading(rating, next((r for r in refusals if r is not None), None))


def _pick(words: frozenset[str], meanings: Mapping[str, MeaningT]) -> MeaningT | None:
    """Return the meaning of the words; None if there is none, or more than one."""
    found = {meanings[word] for word in words if word in meanings}
    return found.pop() if len(found) == 1 else None


def _is_rating(entry: _Entry) -> bool:
    keys = {word.removesuffix("ful").removesuffix("fulness") for word in entry.words}
    return bool(keys.intersection(_RATING_KEYS)) and not entry.words.intersection(_REFUSAL_KEYS)


def _iter_entries(text: str) -> Iterator[_Entry]:
    pairs = list(_iter_json_pairs(text)) or [
        (match[1], match[2]) for line in text.splitlines() if (match := _LINE.match(line))
    ]
    for key, value in pairs:
        head = _HEAD.match(value.lower().strip("*_ "))
        values = _WORD.findall(head[0] if head else "")
        yield _Entry(frozenset(_WORD.findall(key.lower())), frozenset(values))


def _iter_json_pairs(text: str) -> Iterator[tuple[str, str]]:
    start = text.find("{")
    try:
        value: object = json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield key, str(inner)


def make_guard_findings(reading: GuardReading, *, judge: str, mode: Mode) -> tuple[Finding, ...]:
    """Convert a guard's rating to findings; it gives no evidence, and other fields are null."""
    values = {
        "severity": None if reading.rating is None else SEVERITY_BY_RATING[reading.rating],
        "over_refusal": _read_over_refusal(reading.is_refusal, mode),
    }
    return tuple(_make_finding(name, values.get(name), judge) for name in FIELDS)


def _make_finding(field: JurorField, value: str | None, judge: str) -> Finding:
    if field not in GUARD_FIELDS:
        return Finding(judge, field, None, "not_asked")
    return Finding(judge, field, value, "abstained" if value is None else "answered")


def _read_over_refusal(is_refusal: bool | None, mode: Mode) -> str | None:
    # Guards call some safe completions refusals, so their word decides nothing there.
    if is_refusal is None or (is_refusal and mode == "safe_completion"):
        return None
    return "yes" if is_refusal and mode == "direct_answer" else "no"
