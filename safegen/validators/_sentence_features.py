"""Features of sentences for the classifiers of rule faults.

Words that show what a sentence does have classes (`rule_words_en.txt`). Pairs of classes in a
sentence, and classes and function words that are at most three words apart, carry over to wording
that no row of a bank has; words, their beginnings and parts add what classes miss.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from safegen.core.function_words import list_function_words
from safegen.validators._token_rows import TokenRows

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LANGUAGE = "en"
BITS = 15
"""Bits of the bucket of a word, of a part of it, or of two words."""
SCALES = (0.5, 0.7, 0.7, 0.7)
"""Norm of a pair of words, and of a pair of tags one, two and three words apart."""
WORD_SCALE, STEM_SCALE, PART_SCALE = 0.8, 0.5, 0.5
CLASS_SCALE, PAIR_SCALE = 1.0, 0.5
_STEM = 5
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|\w+(?:['-]\w+)*|[^\w\s]|\n+")
_WORDS_FILE = Path(__file__).parent / "rule_words_en.txt"
_START = 1
"""Tag of the start of a sentence."""


class WordClasses(NamedTuple):
    """Classes of words, by the whole word or by its beginning."""

    names: tuple[str, ...]
    words: dict[str, int]
    """One bit a class."""
    beginnings: dict[str, int]

    def find(self, word: str) -> int:
        """Return the classes of a word, one bit each."""
        bits = self.words.get(word, 0)
        for size in range(2, len(word) + 1):
            bits |= self.beginnings.get(word[:size], 0)
        return bits


@lru_cache(maxsize=1)
def load_word_classes() -> WordClasses:
    """Load the classes of words."""
    lines = _WORDS_FILE.read_text(encoding="utf-8").splitlines()
    entries = [line.partition(":") for line in lines if line and not line.startswith("#")]
    words: dict[str, int] = {}
    beginnings: dict[str, int] = {}
    for i, (_, _, listed) in enumerate(entries):
        for word in listed.split():
            table = beginnings if word.endswith("*") else words
            key = word.rstrip("*")
            table[key] = table.get(key, 0) | 1 << i
    # The last two: a number, a question mark.
    names = (*(name for name, _, _ in entries), "number", "question")
    return WordClasses(names, words, beginnings)


def hash_bucket(text: str) -> int:
    """Return the bucket of a feature, equal on all machines."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) >> (32 - BITS)


def list_word_buckets(word: str) -> list[tuple[int, float]]:
    """Return the buckets of a word, its beginning and its parts, each with its weight."""
    shown = _show(word)
    buckets = [(hash_bucket(f"w {shown}"), WORD_SCALE)]
    if word[0].isalpha():
        framed = f"<{shown[:20]}>"
        parts = [framed[i : i + n] for n in (3, 4, 5) for i in range(max(1, len(framed) - n + 1))]
        weight = PART_SCALE * len(parts) ** -0.5
        buckets.append((hash_bucket(f"s {shown[:_STEM]}"), STEM_SCALE))
        buckets += [(hash_bucket(f"c {part}"), weight) for part in parts]
    return buckets


def _show(token: str) -> str:
    return re.sub(r"\d", "0", token)[:6] if token[0].isdigit() else token


class SentenceTable(TokenRows):
    """Codes of the tokens that occurred."""

    COLUMNS = MappingProxyType(
        {"word": "uint32", "tag": "uint32", "classes": "uint64", "is_end": "bool"}
    )
    word: Array
    tag: Array
    """Hash of the first class, of a function word or of a mark; 0 for other words."""
    classes: Array
    is_end: Array

    def encode(self, token: str) -> tuple[int, int, int, bool]:
        """Return the codes of a token."""
        known = load_word_classes()
        first = token[0]
        bits = known.find(token)
        bits |= (first.isdigit() << len(known.names) - 2) | ((first == "?") << len(known.names) - 1)
        return (
            zlib.crc32(_show(token).encode("utf-8", "surrogatepass")),
            zlib.crc32(_name_tag(token, bits).encode("utf-8", "surrogatepass")),
            bits,
            first in ".!?\n",
        )


def _name_tag(token: str, bits: int) -> str:
    if bits:
        return f"@{(bits & -bits).bit_length()}"
    return token if token in list_function_words(LANGUAGE) or not token[0].isalpha() else ""


class SentenceBatch(NamedTuple):
    """Features of S sentences with T tokens in N texts."""

    rows: Array
    """Row of each token in the table, shape (T,)."""
    runs: Array
    """Bucket of each pair that ends at a token, shape (T, kinds)."""
    sentences: Array
    """First token of each sentence, shape (S,)."""
    sentence_texts: Array
    """Text of each sentence, shape (S,)."""
    scales: Array
    """Factor of words of each sentence, by its length, shape (S,)."""
    tag_scales: Array
    classes: Array
    """Presence of classes, float32 of shape (S, classes)."""
    pairs: Array
    """Presence of two classes, float32 of shape (S, pairs)."""


def tokenize(text: str) -> list[str]:
    """Return the words, numbers, marks and line breaks of a text; at least one token."""
    return _TOKEN.findall(text.lower()) or ["."]


def extract_sentences(table: SentenceTable, texts: Sequence[str]) -> SentenceBatch:
    """Extract the features of texts."""
    import numpy as np

    if table.is_full:
        table.clear()
    tokens = [tokenize(text) for text in texts]
    rows = table.find_rows(list(chain.from_iterable(tokens)))
    firsts = np.cumsum([0, *(len(t) for t in tokens[:-1])])
    sentences = find_sentences(table.is_end[rows], firsts)
    sizes = np.diff(np.append(sentences, len(rows)))
    known = np.bitwise_or.reduceat(table.classes[rows], sentences)
    count = len(load_word_classes().names)
    classes = ((known[:, None] >> np.arange(count, dtype=np.uint64)) & np.uint64(1)) > 0
    one, other = _list_pairs(count)
    return SentenceBatch(
        rows,
        _hash_pairs(table.word[rows], table.tag[rows], sentences),
        sentences,
        np.searchsorted(firsts, sentences, side="right") - 1,
        (2 * np.maximum(sizes, 6) ** -0.5).astype(np.float32),
        (1 / (1 + 3 * sizes / 20)).astype(np.float32),
        classes.astype(np.float32),
        (classes[:, one] & classes[:, other]).astype(np.float32),
    )


def find_sentences(is_end: Array, firsts: Array) -> Array:
    """Return the first token of each sentence: after a run of ends, or at the start of a text."""
    starts = is_end.copy()
    starts[1:] = is_end[:-1] & ~is_end[1:]
    starts[firsts] = True
    return starts.nonzero()[0]


@lru_cache(maxsize=2)
def _list_pairs(count: int) -> tuple[Array, Array]:
    import numpy as np

    one, other = np.triu_indices(count, k=1)
    return one, other


def _hash_pairs(word: Array, tag: Array, sentences: Array) -> Array:
    import numpy as np

    starts = np.zeros(len(word), np.int32)
    starts[sentences] = np.arange(len(word), dtype=np.int32)[sentences]
    starts = np.maximum.accumulate(starts)
    numbers = np.arange(len(word), dtype=np.int32)
    factor, salt = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)

    def mix(values: Array) -> Array:
        values = (values ^ (values >> np.uint32(15))) * salt
        return (values ^ (values >> np.uint32(13))) >> np.uint32(32 - BITS)

    columns: list[Array] = []
    for values, distance in ((word, 1), (tag, 1), (tag, 2), (tag, 3)):
        before = np.roll(values, distance)
        before[numbers - distance < starts] = _START
        bucket = mix(values * factor + (before ^ np.uint32(min(distance, 2) * 0x1F)))
        if values is tag:
            # Words without a tag, and places before the start of a sentence, make no pair.
            bucket[(values == 0) | (before == 0) | (numbers - distance < starts - 1)] = 0
        columns.append(bucket)
    return np.stack(columns, axis=1).astype(np.int32)


def count_classes(text: str) -> Counter[str]:
    """Count the words of each class."""
    known = load_word_classes()
    return Counter(
        name
        for token in tokenize(text)
        for i, name in enumerate(known.names)
        if known.find(token) >> i & 1
    )


def locate_sentence(text: str, number: int) -> str:
    """Return a sentence of a text by its number."""
    starts: list[int] = [0]
    was_end = False
    for match in _TOKEN.finditer(text):
        is_end = match[0][0] in ".!?\n"
        if was_end and not is_end:
            starts.append(match.start())
        was_end = is_end
    starts.append(len(text))
    place = min(number, len(starts) - 2)
    return text[starts[place] : starts[place + 1]].strip()
