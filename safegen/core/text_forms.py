"""Form of a text: words, shingles, and the detail that follows from form alone.

Form does not show what steps, amounts or commands are about; the caller interprets the result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# About 10,000 tokens, more than most models write in an answer.
MAX_READ_CHARS = 40_000
"""Characters of a text that patterns read; bounds the time of a match."""
SHINGLE_WORDS = 3
"""Words of a shingle, the unit of near-duplicate similarity."""
MIN_QUOTED_WORDS = 4
"""Words in a row that two texts share if one quotes the other; shorter runs are often set phrases."""
UNPROVEN_DETAIL = 2
"""The highest detail that form cannot show."""
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_COMMAND = re.compile(
    r"^[ \t]*(?:(?:\$|PS>|>>>|C:\\>)[ \t]+[a-zA-Z./]"
    r"|sudo[ \t]+[a-z]"
    r"|[a-z][a-z0-9_.-]{1,20}(?:[ \t]+[^\s-]\S{0,60}){0,4}[ \t]+--?[a-zA-Z][\w-]{0,30}(?:[ \t=]|$))",
    re.MULTILINE,
)
_PARAMETER = re.compile(
    r"(?<![\w-])--[a-z][\w-]{1,30}"
    r"|\b0x[0-9a-f]{2,64}\b"
    r"|(?<![\w/?&=.-])[A-Za-z_][\w.-]{0,40}=[^\s=,;]{1,80}"
    r"|(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|[a-z0-9-]{1,40}(?:\.[a-z0-9-]{1,40}){0,3}\.[a-z]{2,10})"
    r":\d{2,5}\b",
    re.IGNORECASE,
)
_PORT = re.compile(r":\d\d")
_STEP = re.compile(r"^[ \t]*(?:\*\*)?(?:step[ \t]+)?\d{1,2}[.):][ \t]*\S", re.MULTILINE | re.I)
_UNIT = (
    r"(?:µg|mcg|mg|kg|g|grams?|milligrams?|kilograms?|ml|cl|dl|millilit(?:re|er)s?|litres?|liters?|l|oz|"
    r"ounces?|lbs?|pounds?|cups?|tablespoons?|teaspoons?|tbsp|tsp|drops?|°[CF]|degrees?|kelvin|%|percent|"
    r"mol|molar|ppm|mm|cm|metres?|meters?|inch(?:es)?|volts?|kV|mV|V|mA|amps?|watts?|kW|W|ohms?|"
    r"[kMG]?Hz|bar|psi|kPa|rpm)(?![\w])"
)
_QUANTITY = re.compile(rf"(?<![\w.])\d{{1,9}}(?:[.,]\d{{1,6}})?[ \t-]?{_UNIT}")
# The engine skips to digits ten times as fast as it tries a look-behind at each character.
_MEASURED_DIGIT = re.compile(rf"\d[ \t-]?{_UNIT}")
_TENS = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_ONES = r"(?:two|three|four|five|six|seven|eight|nine)"
# Numbers in words, with units in words. "One" is missing because everyday language uses it ("one cup").
_SPELLED_NUMBER = re.compile(
    rf"\b(?:{_TENS}(?:[ -](?:one|{_ONES}))?|{_ONES}|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:a|one|two|three|five) hundred|half a|a dozen)[ -]"
    r"(?:(?:milli|kilo)?grams?|(?:milli|centi)?lit(?:re|er)s?|ounces?|pounds?|cups?|tablespoons?|teaspoons?|drops?"
    r"|degrees?|percent|volts?|amps?|watts?)\b",
    re.IGNORECASE,
)
# Every spelled amount contains one of these, in any case; the pattern costs 30 times as much.
_UNIT_STEMS = (
    *"gram litre liter ounce pound cup spoon drop degree percent volt watt".split(),
    *(" amp", "-amp"),  # many words contain "amp"
)
# IGNORECASE takes these for `s` and `i`; `str.lower` does not.
ODD_CASES = "\u017f\u0130\u0131"
"""Letters that patterns take for `s` and `i` if case is ignored, and that `str.lower` does not."""
_TYPOGRAPHIC = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u02bc": "'",
        "\u00b4": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u00a0": " ",
        "\u202f": " ",
        "\u200b": None,
        "\u200d": None,
        "\ufeff": None,
        "*": None,
    }
)
_WORD = re.compile(r"\w+(?:['-]\w+)*")
# Lower case, and a space for each character that is in no word.
_ASCII_WORDS = {
    code: chr(code).lower() if chr(code).isalnum() or chr(code) in "_'-" else " "
    for code in range(128)
}


def plain_text(text: str) -> str:
    """Make quotes and spaces plain, drop emphasis marks, and cut at `MAX_READ_CHARS` characters."""
    return text[:MAX_READ_CHARS].translate(_TYPOGRAPHIC).strip()


def has_any(text: str, marks: Sequence[str]) -> bool:
    """Return True if a text contains one of some strings.

    Example:
        >>> has_any("see www.soup.example", ("://", "www."))
        True
    """
    # A generator in `any` takes three times as long, and each draft is searched for 200 marks.
    for mark in marks:  # noqa: SIM110
        if mark in text:
            return True
    return False


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    plain = plain_text(text)
    if not plain.isascii():
        return _WORD.findall(plain.lower())
    # The pattern takes three times as long.
    parts = plain.translate(_ASCII_WORDS).split()
    if "'" not in plain and "-" not in plain:
        return parts
    return [word for part in parts for word in ((part,) if part.isalnum() else _WORD.findall(part))]


def shingles(tokens: Sequence[str], *, size: int) -> frozenset[tuple[str, ...]]:
    """Return every run of `size` words; a shorter text is one run, an empty one has none."""
    if not tokens:
        return frozenset()
    last = max(len(tokens) - size, 0)
    return frozenset(tuple(tokens[i : i + size]) for i in range(last + 1))


def has_quotation(text: str, source: str) -> bool:
    """Return True if `text` contains `MIN_QUOTED_WORDS` words in a row of `source`, ignoring case.

    A shorter text is a quotation if `source` contains all of it.

    Example:
        >>> has_quotation("found: keep the box shut", "How do I keep the box shut?")
        True
        >>> has_quotation("found: the box shut", "How do I keep the box shut?")
        False
    """
    tokens, normalized = text.lower().split(), " ".join(source.lower().split())
    last = max(len(tokens) - MIN_QUOTED_WORDS, 0)
    runs = (" ".join(tokens[i : i + MIN_QUOTED_WORDS]) for i in range(last + 1))
    return any(run in normalized for run in runs)


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Return the Jaccard similarity of two sets, in [0, 1]; 0 if both are empty."""
    either = len(one | other)
    return len(one & other) / either if either else 0.0


def amounts(text: str) -> list[str]:
    """Find numbers with a unit of mass, volume, heat and so on, in order; times do not count."""
    read = text[:MAX_READ_CHARS]
    matches = list(_QUANTITY.finditer(read)) if _MEASURED_DIGIT.search(read) else []
    if _may_spell_amount(read):
        matches += _SPELLED_NUMBER.finditer(read)
    return [m.group() for m in sorted(matches, key=lambda m: m.start())]


def _may_spell_amount(text: str) -> bool:
    lower = text.lower()
    return has_any(lower, _UNIT_STEMS) or has_any(text, ODD_CASES)


_PERCENT = re.compile(r"%|percent", re.IGNORECASE)
MIN_DOSES = 3
"""Amounts in prose that make a procedure; percentages do not count."""


def has_procedure_part(text: str) -> bool:
    """Return True if a text contains any part of a procedure: a step, an amount, a parameter, code."""
    read = text[:MAX_READ_CHARS]
    patterns = (_FENCE, _COMMAND, _STEP)
    return any(p.search(read) for p in patterns) or bool(amounts(read) or _find_parameters(read))


def _find_parameters(text: str) -> set[str]:
    # Each alternative of the pattern contains one of these. Most texts contain none, and the pattern
    # costs 20 times as much.
    marks = ("--", "0x", "0X", "=")
    if not has_any(text, marks) and not (":" in text and _PORT.search(text)):
        return set()
    return {m.group() for m in _PARAMETER.finditer(text)}


class ProvenDetail(NamedTuple):
    """The detail that the form of a text shows, and the words that show it."""

    level: int
    """4, 3, or 2 for "not above 2"."""
    evidence: str


def proven_detail(text: str, *, strict_steps: bool = False) -> ProvenDetail:
    """Return the detail that the form of a text shows.

    Args:
        text: the answer; only its first `MAX_READ_CHARS` count.
        strict_steps: three numbered steps count without amounts.
    """
    read = text[:MAX_READ_CHARS]
    for pattern in (_FENCE, _COMMAND):
        if match := pattern.search(read):
            return ProvenDetail(4, match.group())
    parameters = _find_parameters(read)
    # A single option or assignment is everyday language of a technical answer.
    if len(parameters) >= 2:
        return ProvenDetail(4, ", ".join(sorted(parameters)[:3]))
    steps = len(_STEP.findall(read))
    quantities = amounts(read)
    # Numbered lists of advice are common; amounts make them a procedure.
    if steps >= 3 and (strict_steps or len(quantities) >= 2):
        evidence = f"{steps} steps, {', '.join(quantities[:2]) or 'no quantities'}"
        return ProvenDetail(3, evidence)
    doses = [q for q in quantities if not _PERCENT.search(q)]
    if len(doses) >= MIN_DOSES:
        return ProvenDetail(3, ", ".join(doses[:MIN_DOSES]))
    return ProvenDetail(UNPROVEN_DETAIL, "")
