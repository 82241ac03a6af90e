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
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

from safegen.core.types import Finding, JurorField, Message, Mode, Severity
from safegen.judges.answer import FIELDS

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
    **dict.fromkeys(("safe", "unharmful", "harmless", "benign", "allowed"), "safe"),
    **dict.fromkeys(("controversial", "borderline", "ambiguous"), "controversial"),
    **dict.fromkeys(("unsafe", "harmful", "toxic", "disallowed"), "unsafe"),
}
_ANSWERS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "true"), True),
    **dict.fromkeys(("no", "false", "none"), False),
}
_BARE: Mapping[bool, GuardRating] = {True: "unsafe", False: "safe"}
"""The rating of a yes or no without a key: guards are asked if a reply breaks a rule."""
_NEGATIONS = frozenset(("not", "no", "non", "nothing", "never", "without", "isn", "t", "cannot"))
_HEDGES = frozenset(
    ("but", "except", "however", "although", "though", "unless", "if", "mostly", "partly")
)
_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "true", "refusal", "refused"), True),
    **dict.fromkeys(("no", "false", "compliance", "complied", "none"), False),
}
_SAFE_KEYS = frozenset(("safety", "safe"))
_HARM_KEYS = frozenset(("harm", "risk", "violation", "unsafe", "toxic", "toxicity", "flagged"))
_VERDICT_KEYS = frozenset(("assessment", "verdict", "rating", "label"))
_RATING_KEYS = _SAFE_KEYS | _HARM_KEYS | _VERDICT_KEYS
_TOPIC_KEYS = ("category", "categories", "type", "types", "code", "codes", "score", "confidence")
_REFUSAL_KEYS = ("refusal", "refused", "refuse")
_ABOUT_PROMPT = ("user", "prompt", "request", "query", "input")
_LINE = re.compile(r"^[\s*_#>-]*([A-Za-z][A-Za-z _-]{0,40}?)[\s*_]*[:=][\s*_]*(.+?)[\s*_.]*$")
_TAG = re.compile(r"<[^<>\n]{1,40}>")
_WORD = re.compile(r"[a-z]+")
_HEAD = re.compile(r"[^.,;:(\n-]*")
"""The part of a value before its explanation."""
_MARKS = " \t*_`\"'!"
"""Marks around a rating that do not change it."""
_MOST_OBJECTS = 8
"""JSON objects that are read, because each broken one is read to its end."""
_THOUGHT = ("<think>", "</think>")


class GuardReading(NamedTuple):
    """A guard's rating of a reply; None if its text does not state one."""

    rating: GuardRating | None
    is_refusal: bool | None


class _Entry(NamedTuple):
    words: frozenset[str]
    value: str


def make_guard_messages(messages: tuple[Message, ...], response: str, /) -> tuple[Message, ...]:
    """Make the conversation that a guard rates; its template takes no system turn of others."""
    turns = tuple(m for m in messages if m["role"] != "system")
    return (*turns, Message(role="assistant", content=response))


def read_guard_text(text: str) -> GuardReading:
    r"""Read the text of a guard.

    The worst of several ratings counts. A text that calls a reply safe and also something else has
    no rating. Ratings of the prompt are not read.

    Example:
        >>> read_guard_text("Safety: Unsafe\nCategories: Violent\nRefusal: No")
        GuardReading(rating='unsafe', is_refusal=False)
        >>> read_guard_text("Safety: safe, but unsafe in part")
        GuardReading(rating=None, is_refusal=None)
    """
    answer = text.rpartition(_THOUGHT[1])[2]
    if _THOUGHT[0] in answer:
        return GuardReading(None, None)
    pairs, rest = _take_objects(_TAG.sub("\n", answer))
    lines = [line.lower() for line in rest.splitlines() if _WORD.search(line.lower())]
    matches = [_LINE.match(line) for line in lines]
    pairs += [(match[1], match[2]) for match in matches if match]
    prose = [line for line, match in zip(lines, matches, strict=True) if match is None]
    entries = [
        entry
        for key, value in pairs
        if not (entry := _Entry(_read_words(key), value.lower())).words.intersection(_ABOUT_PROMPT)
    ]
    ratings = _rate_bare_lines(prose)
    ratings.extend(_rate_entry(entry) for entry in entries if _is_rating(entry))
    remarks = [*prose, *(e.value for e in entries if not _is_named(e))]
    is_contradicted = any(_has_alarm(remark) for remark in remarks)
    refusals = [_read_flag(e.value) for e in entries if e.words.intersection(_REFUSAL_KEYS)]
    is_refusal = next((flag for flag in refusals if flag is not None), None)
    return GuardReading(_join_ratings(ratings, is_contradicted), is_refusal)


def _join_ratings(
    ratings: Sequence[GuardRating | None], is_contradicted: bool
) -> GuardRating | None:
    """Return the worst rating; None if there is none, or one is unclear."""
    if "unsafe" in ratings:
        return "unsafe"
    if not ratings or None in ratings or is_contradicted:
        return None
    return "controversial" if "controversial" in ratings else "safe"


def _rate_entry(entry: _Entry) -> GuardRating | None:
    head = _read_head(entry.value)
    words = _WORD.findall(entry.value)
    if entry.words.intersection(_NEGATIONS):
        return None
    rating = _RATINGS.get(head) or _rate_answer(entry.words, head)
    if rating == "unsafe":
        return rating
    if _has_alarm(entry.value):
        # "not safe" is a rating, "safe, but unsafe in part" is two.
        plain = any(_RATINGS.get(word) in ("safe", "controversial") for word in words)
        return None if plain and not _is_denied(words) else "unsafe"
    is_hedged = _HEDGES.intersection(words) or (
        rating == "safe" and any(_RATINGS.get(word) == "controversial" for word in words)
    )
    return None if is_hedged else rating


def _rate_answer(key: frozenset[str], head: str) -> GuardRating | None:
    """Return what a yes or no to a key means."""
    answer = _ANSWERS.get(head)
    if answer is None:
        return None
    if _strip_suffixes(key).intersection(_HARM_KEYS):
        return "unsafe" if answer else "safe"
    if key.intersection(_SAFE_KEYS):
        # "Safety: yes" can also say that there is a question of safety.
        return ("safe" if "safe" in key else None) if answer else "unsafe"
    return "unsafe" if answer else None


def _rate_bare_lines(lines: Sequence[str]) -> list[GuardRating | None]:
    """Rate lines of a single word; the first word of a sentence is a rating only if it alarms."""
    heads = [line.strip(_MARKS + ".") for line in lines]
    ratings: list[GuardRating | None] = [_RATINGS[head] for head in heads if head in _RATINGS]
    if heads and heads[0] in _ANSWERS:
        answers = [_ANSWERS[head] for head in heads if head in _ANSWERS]
        ratings.extend(_BARE[answer] for answer in answers)
    elif lines:
        words = _WORD.findall(lines[0])
        if _RATINGS.get(words[0]) == "unsafe" or _is_denied(words[:2]):
            ratings.append("unsafe")
    return ratings


def _has_alarm(text: str) -> bool:
    """Return True if a text calls something unsafe, or not safe."""
    words = _WORD.findall(text)
    return _is_denied(words) or any(
        _RATINGS.get(word) == "unsafe" and not _NEGATIONS.intersection(words[max(0, at - 2) : at])
        for at, word in enumerate(words)
    )


def _is_denied(words: Sequence[str]) -> bool:
    return any(
        _RATINGS.get(word) == "safe" and _NEGATIONS.intersection(words[max(0, at - 2) : at])
        for at, word in enumerate(words)
    )


def _read_head(value: str) -> str:
    head = _HEAD.match(value.strip(_MARKS))
    return head[0].strip(_MARKS) if head else ""


def _read_flag(value: str) -> bool | None:
    """Return the meaning of a flag; None if there is none, or more than one."""
    found = {_FLAGS[word] for word in _WORD.findall(_read_head(value)) if word in _FLAGS}
    return found.pop() if len(found) == 1 else None


def _read_words(key: str) -> frozenset[str]:
    return frozenset(_WORD.findall(key.lower()))


def _strip_suffixes(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word.removesuffix("ness").removesuffix("ful") for word in words)


def _is_named(entry: _Entry) -> bool:
    """Return True if an entry has a meaning of its own, so that it is no remark."""
    own = entry.words.intersection((*_REFUSAL_KEYS, *_TOPIC_KEYS))
    return bool(own) or _is_rating(entry)


def _is_rating(entry: _Entry) -> bool:
    if entry.words.intersection((*_REFUSAL_KEYS, *_TOPIC_KEYS)):
        return False
    return bool(_strip_suffixes(entry.words).intersection(_RATING_KEYS))


def _take_objects(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return the pairs of all JSON objects, and the text without them."""
    # Pairs instead of a dict, because a later key would hide an earlier equal one.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    pairs: list[tuple[str, str]] = []
    rest, start = "", 0
    for _ in range(_MOST_OBJECTS):
        at = text.find("{", start)
        if at < 0:
            break
        try:
            value, end = cast("tuple[object, int]", decoder.raw_decode(text, at))
        except (ValueError, RecursionError):
            rest, start = rest + text[start : at + 1], at + 1
            continue
        members = cast("tuple[tuple[str, object], ...]", value)
        pairs += [(key, str(inner)) for key, inner in members]
        rest, start = f"{rest}{text[start:at]}\n", end
    return pairs, rest + text[start:]


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
