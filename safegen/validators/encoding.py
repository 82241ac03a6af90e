"""Checks that a response has no damaged, invisible or disguised characters and no template tokens."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from safegen.core.control_tokens import find_control_token
from safegen.core.text_forms import MAX_READ_CHARS
from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict
from safegen.validators import _text

NAME = "encoding"
Code = Literal[
    "clean_text",
    "replacement_character",
    "mojibake",
    "control_character",
    "private_use",
    "zero_width",
    "mixed_script",
    "control_token",
    "unbalanced_fence",
    "escaped_text",
    "no_response",
]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(
    get_args(Code),
    labels=(),
    version="2",
    hard=(
        "replacement_character",
        "mojibake",
        "control_character",
        "private_use",
        "control_token",
    ),
)
_REASONS: dict[Code, str] = {
    "replacement_character": "has a character that could not be decoded",
    "mojibake": "was decoded with a wrong charset",
    "control_character": "has a control character",
    "private_use": "has a character without a meaning",
    "zero_width": "has invisible characters",
    "mixed_script": "mixes scripts within a word",
    "control_token": "has a token of a chat template",
    "unbalanced_fence": "opens a code block that it does not close",
    "escaped_text": "has escapes in place of characters",
}
_CONTEXT = 20
"""Characters of evidence on either side of a fault."""
# Most answers hold quotes, dashes and accents alone. One class is searched ten times as fast as all faults.
_SUSPECT = re.compile(
    "[\x80-\x9f\u00ad\u00c2\u00c3\u00d0\u00d1\u00e2\u00ef\u00f0\u0370-\u058f\u13a0-\u13fd\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u2069\uab70-\uabbf\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uff21-\uff5a\ufff9-\uffff\u251c"
    "\U0001d400-\U0001d7ff\U000e0000-\U0010ffff]"
)
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL = re.compile("[\x80-\x9f\u2028\u2029\u202d\u202e\ufff9-\ufffb]")
_DIRECTION = re.compile("[\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_UNDECODED = re.compile("[\ufffd\ud800-\udfff]")
# UTF-8 read as Windows-1252 or Latin-1: a lead byte and its continuation. A capital letter with a
# tilde or circumflex before a sign occurs in no language.
_MOJIBAKE = re.compile(
    "[\u00c3\u00c2][\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u2018\u2019\u201c\u201d\u2022"
    "\u2013\u2014\u02dc\u2122\u0161\u203a\u0153]|\u00e2(?:\u20ac|\u0080|\u2020|\u201a|\u201e\u00a2|\u0153)|\u00ef\u00bf\u00bd|\u00ef\u00bb\u00bf|\u00f0\u0178"
    "|[\u00d0\u00d1][\u0080-\u00bf\u2018-\u2022\u0160\u0161\u20ac\u0192]"
    # The same read as Windows-1251 and as code page 437
    "|(?:[\u0420\u0421][\u0402-\u040f\u0450-\u045f\u00a0-\u00bf\u2018-\u203a\u20ac\u2116\u2122]){2,}|[A-Za-z]\u251c[\u0080-\u02ff\u2500-\u25ff]"
)
_PRIVATE = re.compile("[\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010fffd]")
_HIDDEN = "\u180e\u200b-\u200d\u2060-\u2064\ufeff"
# Joiners are letters of Persian or of Indic scripts, and glue of emoji; between Latin letters they hide.
_ZERO_WIDTH = re.compile(
    f"(?<=[\\x21-\\x7e\u00c0-\u024f])[{_HIDDEN}]|[{_HIDDEN}](?=[\\x21-\\x7e\u00c0-\u024f])"
    f"|[{_HIDDEN}\u200e\u200f\u00ad]{{2,}}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{{2,}}"
    "|(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0020-\U000e007f]"
)
_LATIN = "A-Za-z\u00c0-\u024f"
_CYRILLIC = re.compile("[\u0400-\u052f]+")
# Letters of Cyrillic that are drawn as Latin ones.
_LOOKALIKES = frozenset("асеорухіјѕԁԛԝһӏвкмнтАВСЕНІЈКМОРЅТХУҮ")
_MIXED = re.compile(
    f"[{_LATIN}][\u0400-\u052f]|[\u0400-\u052f][{_LATIN}]|[{_LATIN}][\u0531-\u0587\u13a0-\u13fd\uab70-\uabbf]"
    f"|[\u0531-\u0587\u13a0-\u13fd\uab70-\uabbf][{_LATIN}]"
    # Greek letters next to Latin ones are usual in formulas, so only those that hide count.
    "|[A-Za-z]{2}[οΟΑΒΕΖΗΙΚΜΝΡΤΥΧ]|[οΟΑΒΕΖΗΙΚΜΝΡΤΥΧ][A-Za-z]{2}|[a-z][αενικρτυχ][a-z]"
    # Letters of mathematics and full width that spell a word
    "|[\U0001d400-\U0001d7ff]{3,}|[\uff21-\uff3a\uff41-\uff5a]{2,}|[A-Za-z][\uff21-\uff3a\uff41-\uff5a]"
)
_CYRILLIC_LANGUAGES = frozenset(("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"))
_FENCE_LINE = re.compile(r"^[ \t]{0,20}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_CODE = re.compile(
    r"^[ \t]{0,20}(```|~~~).*?(?:^[ \t]{0,20}\1|\Z)|`[^`\n]{1,300}`", re.DOTALL | re.M
)
# One escape may be a name or the topic; two are text that was encoded twice.
_ESCAPE = re.compile(
    r"\\[nrt](?![a-z])|\\u[0-9a-fA-F]{4}|&(?:amp|quot|lt|gt|nbsp|apos|rsquo|lsquo|rdquo|ldquo|mdash|ndash|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
)
# Named letters of HTML, which are never written on purpose but in a text on HTML.
_ENTITY = re.compile(
    r"&(?:[aeiouyAEIOUYnNcC](?:acute|grave|circ|uml|tilde|cedil|ring|slash)|szlig|euro|pound|hellip|copy|deg|frac12|times|amp|quot|nbsp|rsquo|lsquo|rdquo|ldquo|mdash|ndash|#\d{2,5}|#x[0-9a-fA-F]{2,5});"
)
_MARKUP = re.compile(
    r"</?(?:b|i|u|p|br|strong|em|span|div|li|ul|ol|h[1-6]|font|sup|sub)(?: [^<>]{0,80})?/?>"
    r"|\\x[0-9a-fA-F]{2}|(?<![\w/?=&.-])\w*%[0-9A-F]{2}(?!\d)|=[0-9A-F]{2}=[0-9A-F]{2}"
)
_ON_MARKUP = re.compile(
    r"html|entit|escap|unicode|encod|regex|json|\btags?\b|percent|url|markup|\bxml", re.IGNORECASE
)
MIN_ESCAPES = 2
"""Escapes in a text from which it was encoded twice."""


class _Fault(NamedTuple):
    code: Code
    start: int
    end: int


def encoding() -> DraftValidator:
    """Check that the characters of a response are those that its reader should see.

    It fails for characters that were not decoded or decoded with a wrong charset, control and
    private characters, invisible ones (joiners of emoji and of other scripts pass), words of mixed
    scripts or of letters that imitate Latin ones, tokens of chat templates, escapes in place of
    characters, and an open code block. Code is read for damaged characters alone.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        if draft.response is None:
            return _text.make_no_response_verdict(NAME, version=TRAITS.version)
        text = draft.response[:MAX_READ_CHARS]
        fault = _find_fault(text, context.scenario.language.split("-")[0])
        # A cut text has lost the ends of its blocks.
        if fault is None and len(draft.response) <= MAX_READ_CHARS:
            fault = _find_open_fence(text)
        if fault is None:
            return _text.make_verdict(
                NAME, TRAITS, passed=True, code="clean_text", reason="clean text"
            )
        return _text.make_verdict(
            NAME,
            TRAITS,
            passed=False,
            code=fault.code,
            reason=_REASONS[fault.code],
            evidence=_show(text[max(0, fault.start - _CONTEXT) : fault.end + _CONTEXT]),
        )

    return check


def _find_fault(text: str, language: str) -> _Fault | None:
    if match := _ASCII_CONTROL.search(text):
        return _Fault("control_character", *match.span())
    is_suspect = not text.isascii() and _SUSPECT.search(text) is not None
    if is_suspect and (fault := _find_odd_character(text, language)):
        return fault
    # A short form of these marks is missing from most answers, and removing code costs more.
    if not any(mark in text for mark in ("<", "[", "\\", "&", "%", "=")):
        return None
    prose = _CODE.sub(lambda match: " " * len(match[0]), text)
    if token := find_control_token(prose):
        start = prose.index(token)
        return _Fault("control_token", start, start + len(token))
    escapes = list(_ESCAPE.finditer(prose))
    if len(escapes) >= MIN_ESCAPES:
        return _Fault("escaped_text", *escapes[0].span())
    return _find_markup(prose)


def _find_markup(prose: str) -> _Fault | None:
    found = _ENTITY.search(prose)
    if found is None:
        marks = list(_MARKUP.finditer(prose))
        found = (
            marks[0] if len(marks) >= MIN_ESCAPES or "=" in "".join(m[0] for m in marks) else None
        )
    if found is None or _ON_MARKUP.search(prose):
        return None
    return _Fault("escaped_text", *found.span())


def _find_odd_character(text: str, language: str) -> _Fault | None:
    patterns: tuple[tuple[Code, re.Pattern[str]], ...] = (
        ("replacement_character", _UNDECODED),
        ("mojibake", _MOJIBAKE),
        ("control_character", _CONTROL),
        ("private_use", _PRIVATE),
        ("zero_width", _ZERO_WIDTH),
    )
    for code, pattern in patterns:
        if match := pattern.search(text):
            return _Fault(code, *match.span())
    # Text in Hebrew or Arabic needs marks of direction.
    if (match := _DIRECTION.search(text)) and not _RIGHT_TO_LEFT.search(text):
        return _Fault("control_character", *match.span())
    return _find_mixed_script(text, language)


def _find_mixed_script(text: str, language: str) -> _Fault | None:
    uses_cyrillic = language in _CYRILLIC_LANGUAGES
    for match in _MIXED.finditer(text):
        # Russian inflects foreign abbreviations: SMSка.
        before = text[max(0, match.start() - 1) : match.start() + 1]
        if not (uses_cyrillic and before.isupper() and before.isascii()):
            return _Fault("mixed_script", *match.span())
    if uses_cyrillic:
        return None
    words = list(_CYRILLIC.finditer(text))
    # A quoted foreign word has letters of its own; a disguised Latin word has none.
    if words and all(_LOOKALIKES.issuperset(word[0]) for word in words):
        return _Fault("mixed_script", *words[0].span())
    return None


def _find_open_fence(text: str) -> _Fault | None:
    """Find a fence of CommonMark without its end: the same mark, as long or longer, alone on its line."""
    if "```" not in text and "~~~" not in text:
        return None
    opened: re.Match[str] | None = None
    for line in _FENCE_LINE.finditer(text):
        mark, rest = line[1], line[2].strip()
        if opened is None:
            # A mark within a line of backticks is inline code.
            opened = None if "`" in rest else line
        elif mark[0] == opened[1][0] and len(mark) >= len(opened[1]) and not rest:
            opened = None
    return _Fault("unbalanced_fence", *opened.span()) if opened else None


def _show(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
