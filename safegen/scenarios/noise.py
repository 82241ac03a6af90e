"""Noise as people type it: typing mistakes, missing marks, short forms, fragments, case, emoji.

Noise changes function words, marks and case only. Names, numbers, quotations, code and every word that
carries meaning keep their letters, so that labels stay true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from safegen.config.language_pack import NoiseWords
from safegen.core.hashing import hash_fraction
from safegen.core.types import NoiseKind

TYPO_SHARE = 0.3
"""Share of the eligible words that get a typing mistake."""
SHORT_SHARE = 0.7
"""Share of the eligible words that are abbreviated or left out."""
# Fenced and inline code, quotations, addresses, tags, lines of tables, of code and of quoted mails,
# and whatever contains a digit.
_FIXED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"]*\"|“[^”]*”|«[^»]*»|‘[^’]*’|(?<!\w)'[^'\n]+'(?!\w)"
    r"|\S+(?:://|@)\S+|<[^>\n]+>|^(?:>|\||    |\t).*$|^.*[{}|;=\\<>].*$|\S*[\d_]\S*",
    re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_ENDS = tuple(".!?:…")


class _PromptPart(NamedTuple):
    """A part of a prompt."""

    text: str
    is_fixed: bool
    """True if no kind of noise may change it."""


class Noiser(NamedTuple):
    """The words of a language and the key of a prompt, from which every draw follows."""

    words: NoiseWords
    key: tuple[object, ...]

    def draw(self, *parts: object) -> float:
        """Draw a number in [0, 1) for a place in the prompt."""
        return hash_fraction("noise", *self.key, *parts)


def add_noise(
    text: str, kind: NoiseKind, *, words: NoiseWords, key: tuple[object, ...] = ()
) -> str:
    """Add one kind of noise to a prompt; return it unchanged if the kind finds nothing to change.

    Args:
        text: the prompt.
        kind: the kind of noise.
        words: the words that may change.
        key: plain values from which the draws follow; equal keys give equal texts.
    """
    return _KINDS[kind](text, Noiser(words, (kind, *key)))


def _split(text: str) -> Iterator[_PromptPart]:
    end = 0
    for match in _FIXED.finditer(text):
        if match.start() > end:
            yield _PromptPart(text[end : match.start()], is_fixed=False)
        yield _PromptPart(match.group(), is_fixed=True)
        end = match.end()
    if end < len(text):
        yield _PromptPart(text[end:], is_fixed=False)


def _map_free(text: str, change: Callable[[str], str]) -> str:
    return "".join(part.text if part.is_fixed else change(part.text) for part in _split(text))


def _map_words(text: str, change: Callable[[str, int, bool], str]) -> str:
    """Replace words by word, number and whether it starts a sentence."""
    done, number = "", 0
    for part in _split(text):
        if part.is_fixed:
            done += part.text
            continue
        end = 0
        for match in _WORD.finditer(part.text):
            done += part.text[end : match.start()]
            done += change(match.group(), number, _ends_before_sentence(done))
            number, end = number + 1, match.end()
        done += part.text[end:]
    return done


def _ends_before_sentence(text: str) -> bool:
    # A pattern would search the whole text for each of its words.
    before = text.rstrip("\"'([")
    body = before.rstrip()
    gap = before[len(body) :]
    return not before or "\n" in gap or (bool(gap) and body.endswith(_SENTENCE_ENDS))


# A private character, which no prompt needs, for a word that is left out.
_GAP = "\ue000"


def _keep_case(word: str, changed: str) -> str:
    return changed[:1].upper() + changed[1:] if word[:1].isupper() else changed


def _replace_some(
    text: str, noiser: Noiser, replacements: Callable[[str, int], str | None], share: float
) -> str:
    """Replace a share of the words that have a replacement, at least one of them."""
    places: list[int] = []

    def collect(word: str, number: int, is_start: bool) -> str:
        # A capital within a sentence marks a name.
        is_name = word[:1].isupper() and not is_start
        if not is_name and replacements(word.lower(), number) is not None:
            places.append(number)
        return word

    _map_words(text, collect)
    if not places:
        return text
    chosen = {n for n in places if noiser.draw("word", n) < share}
    chosen = chosen or {min(places, key=lambda n: noiser.draw("word", n))}

    def replace(word: str, number: int, _: bool) -> str:
        new = replacements(word.lower(), number) if number in chosen else None
        return word if new is None else _keep_case(word, new)

    return _map_words(text, replace)


def _make_typos(text: str, noiser: Noiser) -> str:
    slips = frozenset(noiser.words.slips)

    def slip(word: str, number: int) -> str | None:
        if word not in slips:
            return None
        # The first and the last letter stay: readers recognise words by them.
        at = 1 + int(noiser.draw("place", number) * (len(word) - 2))
        kind = int(noiser.draw("slip", number) * 3)
        swapped = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
        if kind == 0 and at + 1 < len(word) - 1 and swapped != word:
            return swapped
        if kind == 1:
            return word[:at] + word[at] + word[at:]
        return word[:at] + word[at + 1 :]

    return _replace_some(text, noiser, slip, TYPO_SHARE)


def _drop_apostrophes(text: str, noiser: Noiser) -> str:
    known = frozenset(noiser.words.contractions)

    def change(word: str, _: int, __: bool) -> str:
        plain = word.replace("’", "'")
        return plain.replace("'", "") if plain.lower() in known else word

    return _map_words(text, change)


def _abbreviate(text: str, noiser: Noiser) -> str:
    forms: Mapping[str, str] = noiser.words.short_forms

    def shorten(word: str, _: int) -> str | None:
        return forms.get(word)

    return _replace_some(text, noiser, shorten, SHORT_SHARE)


def _make_fragments(text: str, noiser: Noiser) -> str:
    openings = "|".join(map(re.escape, noiser.words.openings))
    text = re.sub(rf"\A(?:{openings})\s+(?=\w)", "", text, flags=re.IGNORECASE)
    dropped = frozenset(noiser.words.dropped)

    def drop(word: str, _: int) -> str | None:
        return _GAP if word in dropped else None

    changed = _replace_some(text, noiser, drop, SHORT_SHARE) if _GAP not in text else text
    return re.sub(rf"{_GAP}\s?", "", changed)


def _lower_case(text: str, noiser: Noiser) -> str:
    words = noiser.words
    # Any other word at the start of a sentence may be a name.
    known = {*words.openers, *words.slips, *words.contractions, *words.short_forms, *words.dropped}

    def change(word: str, _: int, is_start: bool) -> str:
        lower = word.lower()
        plain = lower.replace("’", "'")
        # `I` is no name within a sentence either.
        is_known = plain in known and (is_start or len(plain.partition("'")[0]) == 1)
        return lower if is_known else word

    return _map_words(text, change)


def _upper_case(text: str, _: Noiser) -> str:
    def change(word: str, _: int, is_start: bool) -> str:
        # A capital within a sentence marks a name.
        is_name = word[:1].isupper() and not is_start
        return word if is_name or len(word.upper()) != len(word) else word.upper()

    return _map_words(text, change)


def _drop_punctuation(text: str, noiser: Noiser) -> str:
    # Full stops within the prompt keep its sentences apart.
    text = _drop_apostrophes(text, noiser)
    changed = _map_free(text, lambda part: re.sub(r"[,;](?=\s)", "", part))
    parts = list(_split(changed))
    if parts and not parts[-1].is_fixed:
        return "".join(p.text for p in parts[:-1]) + re.sub(r"[.!?…]+\s*\Z", "", parts[-1].text)
    return changed


def _add_emoji(text: str, noiser: Noiser) -> str:
    emoji = noiser.words.emoji
    if not emoji or not text.strip() or text.rstrip().endswith("```"):
        return text
    return f"{text.rstrip()} {emoji[int(noiser.draw('emoji') * len(emoji))]}"


_KINDS: Mapping[NoiseKind, Callable[[str, Noiser], str]] = {
    "typos": _make_typos,
    "apostrophes": _drop_apostrophes,
    "abbreviations": _abbreviate,
    "fragments": _make_fragments,
    "lower_case": _lower_case,
    "upper_case": _upper_case,
    "punctuation": _drop_punctuation,
    "emoji": _add_emoji,
}
