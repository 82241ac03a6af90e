"""Hides the parts of a server's message that repeat a prompt.

Servers echo prompts with line breaks and quotes escaped, in another case, as HTML or as a URL, and cut
off. Words are compared after all of these are undone, and the message keeps its own form.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

MIN_HIDDEN_WORDS = 5
"""Words in a row that a message shares with a prompt only by quotation."""
MARK = "…"
MAX_ECHO_CHARS = 20_000
"""Characters of a prompt that are compared; a message has at most some hundred."""
# The escapes of one character. An escape may be escaped again, so backslashes repeat.
_FORM = re.compile(
    r"\\+u\{?(?P<hex>[0-9a-fA-F]{4,6})\}?|\\+x(?P<byte>[0-9a-fA-F]{2})|\\+(?P<blank>[nrtbf])"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});)|(?P<url>(?:%[0-9a-fA-F]{2})+)",
)
_MARKUP = str.maketrans(dict.fromkeys("\u00ad\u200b\u200c\u200d\ufeff*_`"))
"""Removes characters inside of words that an echo may drop."""
# Thai, Japanese and Chinese put no blanks between words, so each letter counts as one.
_OWN_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
_WORD = re.compile(rf"{_OWN_WORD.pattern}|(?:(?!{_OWN_WORD.pattern})[^\W_])+")


class _Word(NamedTuple):
    text: str
    start: int
    end: int


def hide_quotation(message: str, sources: Iterable[str]) -> str:
    r"""Replace each part of a message that repeats 5 or more words of a source by `…`.

    A source of 2 to 4 words is replaced if the message has all of it. A word that the message cuts off
    at its start or end counts if the rest of it fits.

    Example:
        >>> hide_quotation("bad input: WHERE DO I keep\\nthe box?", ["Where do I keep the box?"])
        'bad input: …?'
    """
    words = list(_iter_words(message))
    if len(words) < 2:
        return message
    hidden = [False] * len(words)
    for source in sources:
        _mark_quotes(_list_words(source[:MAX_ECHO_CHARS]), words, hidden)
    return _cut(message, words, hidden) if any(hidden) else message


def _mark_quotes(source: Sequence[str], words: Sequence[_Word], hidden: list[bool]) -> None:
    size = min(MIN_HIDDEN_WORDS, len(source))
    if size < 2:
        return
    runs = {tuple(source[i : i + size]) for i in range(len(source) - size + 1)}
    tokens = [word.text for word in words]
    for start in range(len(tokens) - size + 1):
        part = tuple(tokens[start : start + size])
        if part in runs or _is_cut_quote(part, runs, start, len(tokens)):
            hidden[start : start + size] = [True] * size


def _is_cut_quote(
    part: tuple[str, ...], runs: Iterable[tuple[str, ...]], start: int, length: int
) -> bool:
    if start + len(part) == length:
        return any(r[:-1] == part[:-1] and r[-1].startswith(part[-1]) for r in runs)
    return start == 0 and any(r[1:] == part[1:] and r[0].endswith(part[0]) for r in runs)


def _cut(message: str, words: Sequence[_Word], hidden: Sequence[bool]) -> str:
    parts: list[str] = []
    end = 0
    for index, word in enumerate(words):
        if not hidden[index]:
            continue
        if not index or not hidden[index - 1]:
            parts += [message[end : word.start], MARK]
        end = word.end
    return "".join([*parts, message[end:]])


def _list_words(text: str) -> list[str]:
    # A prompt is long, and its words need no places, so they are found in C.
    return _WORD.findall(_normalise(_FORM.sub(_decode, text)))


def _iter_words(text: str) -> Iterator[_Word]:
    """Yield the words of a text in lower case, each with its place in the text as it is."""
    letters: list[str] = []
    start = end = 0
    for char, first, last in _iter_chars(text):
        own = _OWN_WORD.fullmatch(char)
        if own or not char.isalnum():
            if letters:
                yield _Word("".join(letters), start, end)
            letters = []
            if own:
                yield _Word(char, first, last)
            continue
        start = start if letters else first
        letters.append(char)
        end = last
    if letters:
        yield _Word("".join(letters), start, end)


def _iter_chars(text: str) -> Iterator[tuple[str, int, int]]:
    position = 0
    for match in _FORM.finditer(text):
        yield from _iter_plain(text, position, match.start())
        for char in _normalise(_decode(match)):
            yield char, match.start(), match.end()
        position = match.end()
    yield from _iter_plain(text, position, len(text))


def _iter_plain(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    for index in range(start, end):
        for char in _normalise(text[index]):
            yield char, index, index + 1


def _normalise(text: str) -> str:
    if not text.isascii():
        # An echo may drop accents.
        text = "".join(
            c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
        )
    return text.casefold().translate(_MARKUP)


def _decode(match: re.Match[str]) -> str:
    if digits := match["hex"] or match["byte"]:
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF else " "
    if entity := match["entity"]:
        return html.unescape(entity)
    if url := match["url"]:
        return unquote(url, errors="replace")
    return " "
