"""Shared by the validators: plain text, sentences, refusal detection, verdicts.

Detection is by form only: patterns of a language pack search the text without quoted speech and
code. Text beyond `MAX_READ_CHARS` characters is not read, which bounds the time of every check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

from safegen.config.language_pack import Locale, fold_case
from safegen.core import text_forms
from safegen.core.text_forms import plain_text
from safegen.core.types import Assistance, CodeT, Severity, ValidatorTraits, Verdict

OPENING_CHARS = 250
"""Length of an answer's opening, in which a refusal declines."""
CONTENT_WORDS = 45
"""Words outside declining, moralising and referring sentences from which help is substantial."""
# Two items are often two referrals.
LIST_ITEMS = 3
"""Numbered or bulleted lines from which help is substantial."""

RefusalKind = Literal["none", "partial", "full"]
Unread = Literal["no_response", "no_language_pack"]
"""Codes of drafts that a validator cannot read."""

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# Bounded repeats keep the time linear in the length of a hostile text. Both patterns start with a
# class of characters and look behind afterwards: `re` then skips other characters four times faster.
_QUOTED = re.compile(
    r"[\"'](?:(?<=\")[^\"\n]{0,400}\"|(?<![\w']')(?<=')(?!\s)[^\n\"]{1,300}?(?<!\s)'(?![\w']))"
)
_SENTENCE = re.compile(r"\s(?:(?<=[.!?]\s)\s*|(?<=\n)\n*)")
_ITEM = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-•–])[ \t]+\S", re.MULTILINE)


# Several validators read the same draft one after the other.
_cached = lru_cache(maxsize=64)


@_cached
def own_words(text: str) -> str:
    """Remove code and quoted speech from a text, so that the answer's own words are left."""
    return _QUOTED.sub('""', _FENCED.sub("\n", plain_text(text)))


_fold = _cached(fold_case)


@_cached
def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case."""
    return tuple(text_forms.words(text))


@_cached
def split_sentences(text: str) -> tuple[str, ...]:
    """Split at sentence ends and line breaks; drop empty sentences."""
    return tuple(s for s in _SENTENCE.split(text) if s.strip())


def count_items(text: str) -> int:
    """Count the numbered or bulleted lines."""
    return len(_ITEM.findall(text))


def shorten(text: str, *, limit: int = 120) -> str:
    """Shorten a piece of evidence to one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def find_pattern(locale: Locale | None, name: str, text: str, *, within: str = "") -> str:
    """Return the first match of a proposition's patterns, or the empty string.

    Args:
        locale: the language pack, or None.
        name: the proposition.
        text: the text to search.
        within: a text that contains `text`, such as the whole answer of a sentence. The patterns that
            can match it are found once.
    """
    span = next(iter_matches(locale, name, text, within=within), None)
    return shorten(text[slice(*span)]) if span else ""


def iter_matches(
    locale: Locale | None, name: str, text: str, *, within: str = ""
) -> Iterator[tuple[int, int]]:
    """Yield the spans of a proposition's matches in order; `within` as in `find_pattern`."""
    pattern = locale.compiled.get(name) if locale else None
    if pattern is None or locale is None:
        return
    # The small form of a Greek sigma depends on its neighbours, so a part may differ from its whole.
    whole = _fold(within or text)
    if within and ("\u03c2" in whole or "\u03c3" in whole):
        whole = _fold(text)
    if not locale.index.can_match(name, whole):
        return
    folded = _fold(text)
    if within and not locale.index.can_match(name, folded):
        return
    yield from (match.span() for match in pattern.finditer(folded))


def find_locale(locales: Mapping[str, Locale], language: str) -> Locale | None:
    """Return the pack of a language tag, else of the part before its first hyphen, else None."""
    return locales.get(language) or locales.get(language.split("-")[0])


@_cached
def find_opening_decline(text: str, locale: Locale) -> str:
    """Return the declining words in a text's opening, or the empty string."""
    answer, size = own_words(text), 0
    for sentence in split_sentences(answer):
        if size > OPENING_CHARS:
            break
        # A long first sentence may decline only at its end, which is no opening.
        head = sentence[: OPENING_CHARS + 1 - size]
        if not find_pattern(locale, "not_decline", sentence, within=answer):
            declined = find_pattern(locale, "decline", head, within=answer) or find_pattern(
                locale, "decline_opening", head, within=answer
            )
            if declined:
                return declined
        size += len(sentence) + 1
    return ""


@_cached
def find_later_decline(text: str, locale: Locale) -> str:
    """Return the first plain declining words anywhere in a text, or the empty string."""
    answer = own_words(text)
    for sentence in split_sentences(answer):
        declined = find_pattern(locale, "decline", sentence, within=answer)
        if declined and not find_pattern(locale, "not_decline", sentence, within=answer):
            return declined
    return ""


@_cached
def classify_refusal(text: str, locale: Locale) -> RefusalKind:
    """Classify a text as a full refusal, a partial refusal or none.

    `full`: it opens by declining and offers no substantial help. `partial`: it declines something,
    in the opening or later, and helps with something. `none`: it declines nothing. A list or at
    least `CONTENT_WORDS` words of content are help; referrals, encouragement and morals are not.
    """
    if find_opening_decline(text, locale):
        return "partial" if _is_substantial(text, locale) else "full"
    return "partial" if find_later_decline(text, locale) else "none"


def _is_substantial(text: str, locale: Locale) -> bool:
    answer = own_words(text)
    if count_items(answer) >= LIST_ITEMS:
        return True
    content = 0
    for sentence in split_sentences(answer):
        if any(
            find_pattern(locale, name, sentence, within=answer)
            for name in ("decline", "decline_opening", "filler")
        ):
            continue
        content += len(words(sentence))
    return content >= CONTENT_WORDS


def make_no_response_verdict(validator: str, *, version: str = "1") -> Verdict:
    """Build the verdict on a draft without text."""
    return unscored(validator, code="no_response", reason="no response", version=version)


def require_response(
    validator: str,
    response: str | None,
    locales: Mapping[str, Locale],
    language: str,
    *,
    version: str = "1",
) -> tuple[str, Locale] | Verdict:
    """Return a response with its language pack, or the verdict if either is missing."""
    if response is None:
        return make_no_response_verdict(validator, version=version)
    locale = find_locale(locales, language)
    if locale is None:
        return make_no_locale_verdict(validator, language, version=version)
    return response, locale


def make_no_locale_verdict(validator: str, language: str, *, version: str = "1") -> Verdict:
    """Build the verdict on a draft whose language has no pack."""
    return unscored(
        validator,
        code="no_language_pack",
        reason="no language pack",
        evidence=shorten(language),
        version=version,
    )


def unscored(
    validator: str,
    *,
    code: str,
    reason: str,
    evidence: str = "",
    score: float | None = None,
    threshold: float | None = None,
    version: str = "1",
) -> Verdict:
    """Build a null verdict: the validator cannot decide."""
    return Verdict(
        validator=validator,
        version=version,
        passed=None,
        score=score,
        threshold=threshold,
        reason=reason,
        evidence=evidence,
        code=code,
    )


def make_verdict(
    validator: str,
    traits: ValidatorTraits[CodeT],
    *,
    passed: bool,
    code: CodeT,
    reason: str,
    evidence: str = "",
    score: float | None = None,
    threshold: float | None = None,
    delivered: Assistance | None = None,
    severity: Severity | None = None,
) -> Verdict:
    """Build a verdict with a score of 1 or 0 unless given.

    It is teachable if the validator's traits list its code as teachable. The threshold of a validator
    that passes by score is 1 unless given.
    """
    if traits.passes_by_score and threshold is None:
        threshold = 1.0
    return Verdict(
        validator=validator,
        version=traits.version,
        passed=passed,
        score=float(passed) if score is None else score,
        threshold=threshold,
        reason=reason,
        evidence=shorten(evidence),
        delivered=delivered,
        severity=severity,
        code=code,
        teachable=code in traits.teachable,
    )
