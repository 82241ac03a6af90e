"""Features of prompts and responses for the classifier of response forms.

Each token has an identity and a class: words that show what a response does have one of about forty
classes, other content words only an ending. Runs of words and of classes, runs by the place of the
sentence, pairs of classes in one sentence, and measures of length, repetition and overlap with the
prompt describe a response. A batch of texts is read by a few array operations.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from safegen.core.function_words import list_function_words
from safegen.core.text_forms import MAX_READ_CHARS
from safegen.validators._token_rows import TokenRows

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LANGUAGE = "en"
RUN_BITS = 18
"""Bits of the bucket of a run."""
CHAR_BUCKETS = 1 << 13
"""Buckets of the hashed character sequences."""
WORD_SCALE, STEM_SCALE, CHAR_SCALE = 1.6, 1.0, 1.4
RUN_SCALES = (1.0, 0.7, 1.0, 1.2, 1.0, 0.7)
"""Norm of each kind of run: word pairs and triples, class triples; by place, words, pairs and class triples."""
STEM = 5
"""First characters that two forms of a word share."""

_TOKEN = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]|\n+")
_FOLDS = (
    ("\u2019", "'"),
    ("\u2018", "'"),
    ("\u201c", '"'),
    ("\u201d", '"'),
    ("\u00a0", " "),
    ("*", ""),
)
_FLAGS = ("function", "digit", "alpha", "end", "newline", "question", "other", "content", "item")
_FUNCTION, _DIGIT, _ALPHA, _END, _NEWLINE, _QUESTION, _OTHER, _CONTENT, _ITEM = (
    1 << i for i in range(len(_FLAGS))
)
_ENDINGS = ("ing", "ed", "ly", "tion", "s")
_WORDS_FILE = Path(__file__).parent / "form_words_en.txt"


class TokenCodes(NamedTuple):
    """Codes of one token."""

    word: int
    kind: int
    """Hash of the class, or of the ending of a content word."""
    stem: int
    """Hash of the first characters of a content word, else 0."""
    classes: int
    """One bit for each class of words."""
    flags: int


@lru_cache(maxsize=1)
def load_word_classes() -> dict[str, tuple[int, ...]]:
    """Load the classes of each word as indices of lines."""
    classes: dict[str, tuple[int, ...]] = {}
    lines = _WORDS_FILE.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(line for line in lines if not line.startswith("#")):
        for word in line.partition(":")[2].split():
            classes[word] = (*classes.get(word, ()), i)
    return classes


@lru_cache(maxsize=1)
def count_classes() -> int:
    """Count the classes of words."""
    return 1 + max(i for numbers in load_word_classes().values() for i in numbers)


@lru_cache(maxsize=1)
def _function_words() -> frozenset[str]:
    return list_function_words(LANGUAGE)


def hash_text(text: str) -> int:
    """Return a hash of 32 bits that is equal on all machines."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def tokenize(text: str) -> list[str]:
    """Return the words, marks and line breaks of a text in lower case; at least one token."""
    text = text[:MAX_READ_CHARS].lower()
    # A chain of `replace` takes a third of the time of `translate`.
    for old, new in _FOLDS:
        text = text.replace(old, new)
    return _TOKEN.findall(text) or ["."]


def encode_token(token: str) -> TokenCodes:
    """Return the codes of a token."""
    first = token[0]
    is_function = token in _function_words()
    flags = (
        _FUNCTION * is_function
        | _DIGIT * first.isdigit()
        | _ALPHA * first.isalpha()
        | _END * (first in ".!?\n")
        | _NEWLINE * (first == "\n")
        | _QUESTION * (first == "?")
        | _OTHER * (first > "\u024f" and not "\u2000" <= first <= "\u206f")
        | _ITEM * (token.isdigit() or first in "-\u2022\u2013#|")
    )
    stem = 0
    if first.isalpha() and not is_function and len(token) > 2:
        flags |= _CONTENT
        stem = hash_text(token[:STEM]) | 1
    shown = "0" * min(len(token), 3) if token.isdigit() else token
    numbers = load_word_classes().get(token, ())
    kind = _name_kind(token, shown, numbers, is_function)
    return TokenCodes(hash_text(shown), hash_text(kind), stem, sum(1 << i for i in numbers), flags)


def _name_kind(token: str, shown: str, numbers: tuple[int, ...], is_function: bool) -> str:
    # "not" and "no" are too frequent and too important to share a class.
    if numbers and token not in ("not", "no"):
        return f"@{numbers[0]}"
    if is_function or not token[0].isalpha():
        return shown[:1] if token[0] == "\n" else shown
    return "_" + next((ending for ending in _ENDINGS if token.endswith(ending)), "")


def list_char_buckets(word: str) -> tuple[int, ...]:
    """Return the bucket of each character sequence of a word."""
    framed = f"<{word[:30]}>".encode("utf-8", "surrogatepass")
    return tuple(
        zlib.crc32(framed[i : i + size]) % CHAR_BUCKETS
        for size in (3, 4, 5)
        for i in range(max(1, len(framed) - size + 1))
    )


def list_word_buckets(word: str) -> tuple[int, int]:
    """Return the buckets of a word and of its first characters among the runs."""
    shown = "0" * min(len(word), 3) if word.isdigit() else word
    shift = 32 - RUN_BITS
    return hash_text(f"word {shown}") >> shift, hash_text(f"stem {shown[:STEM]}") >> shift


class TokenTable(TokenRows):
    """Codes of the tokens that occurred, one column for each field of `TokenCodes`."""

    COLUMNS = MappingProxyType(
        {
            "word": "uint32",
            "kind": "uint32",
            "stem": "uint64",
            "classes": "uint64",
            "flags": "uint16",
        }
    )
    word: Array
    kind: Array
    stem: Array
    classes: Array
    flags: Array

    def encode(self, token: str) -> TokenCodes:
        """Return the codes of a token."""
        return encode_token(token)


class FormBatch(NamedTuple):
    """Features of N responses with T tokens in S sentences."""

    rows: Array
    """Row of each token in the table, shape (T,)."""
    runs: Array
    """Bucket of each run that ends at a token, shape (kinds, T)."""
    texts: Array
    """First token of each response, shape (N,)."""
    sentences: Array
    """First token of each sentence, shape (S,)."""
    sentence_texts: Array
    """Response of each sentence, shape (S,)."""
    lengths: Array
    """Tokens of each response, shape (N,)."""
    pairs: Array
    """Pairs of classes in one sentence, float32 of shape (N, pairs)."""
    measures: Array
    """float32 of shape (N, measures), not standardised."""


def extract_batch(table: TokenTable, pairs: Sequence[tuple[str, str]]) -> FormBatch:
    """Extract the features of prompts with their responses; any text has some."""
    import numpy as np

    if table.is_full:
        table.clear()
    responses = [tokenize(response) for _, response in pairs]
    prompts = [tokenize(prompt) for prompt, _ in pairs]
    rows = table.find_rows(list(chain.from_iterable(responses)))
    asked = table.find_rows(list(chain.from_iterable(prompts)))
    lengths = np.array([len(tokens) for tokens in responses])
    texts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    flags = table.flags[rows]
    sentences = _find_sentences(flags, texts)
    sentence_texts = np.searchsorted(texts, sentences, side="right") - 1
    places = _find_places(sentence_texts, len(texts))
    sizes = np.diff(np.append(sentences, len(rows)))
    token_places = np.repeat(places, sizes)
    layout = _Layout(texts, lengths, sentences, sentence_texts, sizes, token_places)
    runs = _hash_runs(table.word[rows], table.kind[rows], texts, token_places)
    asked_texts = np.repeat(np.arange(len(prompts)), [len(tokens) for tokens in prompts])
    measures = np.concatenate(
        (
            _measure_tokens(flags, layout),
            _measure_repetition(table.word[rows], layout),
            _measure_overlap(table, rows, asked, asked_texts, layout),
        ),
        axis=1,
    ).astype(np.float32)
    return FormBatch(
        rows,
        runs,
        texts,
        sentences,
        sentence_texts,
        lengths,
        _pair_classes(table.classes[rows], layout),
        measures,
    )


class _Layout(NamedTuple):
    texts: Array
    lengths: Array
    sentences: Array
    sentence_texts: Array
    sizes: Array
    places: Array

    def sum_tokens(self, values: Array) -> Array:
        import numpy as np

        return np.add.reduceat(values, self.texts, axis=0)


# A sentence starts after a run of ends: `.`, `!`, `?` or a line break.
def _find_sentences(flags: Array, texts: Array) -> Array:
    ends = (flags & _END) > 0
    starts = ends.copy()
    starts[1:] = ends[:-1] & ~ends[1:]
    starts[texts] = True
    return starts.nonzero()[0]


# 0: first sentence, 1: second, 2: last, 3: others.
def _find_places(sentence_texts: Array, count: int) -> Array:
    import numpy as np

    numbers = np.bincount(sentence_texts, minlength=count)
    firsts = np.concatenate(([0], np.cumsum(numbers)[:-1]))
    lasts = firsts + numbers - 1
    places = np.full(len(sentence_texts), 3, np.uint32)
    places[np.minimum(firsts + 1, lasts)] = 1
    places[lasts] = 2
    places[firsts] = 0
    return places


def _hash_runs(word: Array, kind: Array, texts: Array, places: Array) -> Array:
    import numpy as np

    one, two, three = (np.uint32(n) for n in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35))

    def shift(values: Array) -> Array:
        moved = np.empty_like(values)
        moved[1:] = values[:-1]
        # An edge marks the start of a text.
        moved[texts] = 3
        return moved

    def mix(values: Array) -> Array:
        values = (values ^ (values >> np.uint32(15))) * two
        return (values ^ (values >> np.uint32(13))) * three

    before, kind_before = shift(word), shift(kind)
    word_pair = mix(word * one + before)
    word_triple = mix(word_pair * one + shift(before))
    kind_triple = mix(mix(kind * one + kind_before) * one + shift(kind_before) + np.uint32(1))
    salt = (places + np.uint32(1)) * two
    runs = np.stack(
        (
            word_pair,
            word_triple,
            kind_triple,
            mix(word ^ salt),
            mix(word_pair ^ salt),
            mix(kind_triple ^ salt),
        )
    )
    return (mix(runs) >> np.uint32(32 - RUN_BITS)).astype(np.int32)


def _pair_classes(classes: Array, layout: _Layout) -> Array:
    import numpy as np

    count = count_classes()
    sums = np.bitwise_or.reduceat(classes, layout.sentences)
    bits = (sums[:, None] >> np.arange(count, dtype=np.uint64)) & np.uint64(1)
    # For each class, the classes of all sentences in which it occurs.
    partners = np.bitwise_or.reduceat(
        bits * sums[:, None], _firsts(layout.sentence_texts, len(layout.texts)), axis=0
    )
    unpacked = np.unpackbits(partners.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    return unpacked[:, _list_pairs(count)].astype(np.float32)


@lru_cache(maxsize=2)
def _list_pairs(count: int) -> Array:
    import numpy as np

    upper, lower = np.triu_indices(count)
    return upper * 64 + lower


def _measure_tokens(flags: Array, layout: _Layout) -> Array:
    import numpy as np

    count = layout.lengths.astype(np.float64)
    bits = ((flags[:, None] >> np.arange(len(_FLAGS), dtype=np.uint16)) & 1).astype(np.float64)
    function, digits, alpha, ends, lines, questions, others, content, _ = layout.sum_tokens(bits).T
    items = np.zeros(len(flags))
    items[1:] = ((flags[1:] & _ITEM) > 0) & ((flags[:-1] & _NEWLINE) > 0)
    # A line break at the end of the text before it in the batch starts no item.
    items[layout.texts] = 0
    items = layout.sum_tokens(items)
    sentences = np.bincount(layout.sentence_texts, minlength=len(count)).astype(np.float64)
    firsts = np.searchsorted(layout.sentence_texts, np.arange(len(count)))
    shares = np.add.reduceat(bits[:, 0], layout.sentences) / layout.sizes
    last = flags[layout.texts + layout.lengths - 1]
    sizes = layout.sizes
    return np.stack(
        (
            np.log1p(count) / 4,
            np.log1p(sentences) / 2,
            function / np.maximum(alpha, 1),
            content / count,
            np.minimum.reduceat(shares, firsts),
            np.maximum.reduceat(shares, firsts),
            questions / sentences,
            np.log1p(questions),
            ((last & _QUESTION) > 0).astype(float),
            ((last & _END) > 0).astype(float),
            (count - alpha - digits) / count,
            digits / count,
            ends / count,
            np.log1p(lines),
            np.log1p(items),
            (items >= 3).astype(float),
            *((count < size).astype(float) for size in (12, 30, 60)),
            *((count > size).astype(float) for size in (120, 200, 300)),
            others / count,
            (alpha < 3).astype(float),
            np.log1p(np.minimum.reduceat(sizes, firsts)),
            np.log1p(np.maximum.reduceat(sizes, firsts)),
            count / sentences / 20,
        ),
        axis=1,
    )


def _measure_repetition(word: Array, layout: _Layout) -> Array:
    import numpy as np

    numbers = np.repeat(np.arange(len(layout.texts), dtype=np.uint64), layout.lengths)
    after = np.concatenate((word[1:], [0])).astype(np.uint32)
    # The last word of a text has no next word, whatever text follows in the batch.
    after[layout.texts[1:] - 1] = 0
    shares: list[Array] = []
    for values in (word, word * np.uint32(0x9E3779B1) ^ after):
        keys = np.sort(numbers << np.uint64(32) | values)
        is_new = np.ones(len(keys))
        is_new[1:] = keys[1:] != keys[:-1]
        share = layout.sum_tokens(is_new) / layout.lengths
        shares += [share, share * np.log1p(layout.lengths)]
    return np.stack(shares, axis=1)


def _measure_overlap(
    table: TokenTable, rows: Array, asked: Array, asked_texts: Array, layout: _Layout
) -> Array:
    import numpy as np

    count = len(layout.texts)
    numbers = np.repeat(np.arange(count, dtype=np.uint64), layout.lengths)
    stems, asked_stems = table.stem[rows], table.stem[asked]
    is_content = stems > 0
    keys = numbers << np.uint64(32) | stems
    asked_keys = (asked_texts.astype(np.uint64) << np.uint64(32) | asked_stems)[asked_stems > 0]
    asked_keys = np.unique(asked_keys)
    wanted = np.bincount((asked_keys >> np.uint64(32)).astype(np.int64), minlength=count)
    if not len(asked_keys):
        asked_keys = np.zeros(1, np.uint64)
    found = np.minimum(np.searchsorted(asked_keys, keys), len(asked_keys) - 1)
    is_shared = (asked_keys[found] == keys) & is_content
    covered = np.unique(found[is_shared])
    covered = np.bincount((asked_keys[covered] >> np.uint64(32)).astype(np.int64), minlength=count)
    columns = [
        covered / np.maximum(wanted, 1),
        (covered == 0).astype(float),
        np.minimum(covered, 5) / 5,
        (wanted == 0).astype(float),
        np.log1p(np.bincount(asked_texts, minlength=count)) / 3,
        np.maximum.reduceat((table.flags[asked] & _QUESTION) > 0, _firsts(asked_texts, count)),
    ]
    for place in (None, 0, 2, 3):
        chosen = is_content if place is None else is_content & (layout.places == place)
        shared = layout.sum_tokens((is_shared & chosen).astype(np.float64))
        size = layout.sum_tokens(chosen.astype(np.float64))
        columns += [shared / np.maximum(size, 1), np.minimum(shared, 4) / 4]
    return np.stack(columns, axis=1)


def _firsts(numbers: Array, count: int) -> Array:
    import numpy as np

    return np.searchsorted(numbers, np.arange(count))


def digest_features(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a digest of the features of prompts with responses; it changes with the extraction."""
    import numpy as np

    digest = hashlib.sha256()
    table = TokenTable()
    for chunk in _chunks(list(pairs)):
        batch = extract_batch(table, chunk)
        for values in (table.word[batch.rows], table.stem[batch.rows], batch.runs, batch.sentences):
            digest.update(values.astype("<u4").tobytes())
        # Rounded, because the last bit of a logarithm depends on the machine.
        for values in (batch.pairs, batch.measures):
            digest.update(np.round(values * 1_000).astype("<i4").tobytes())
    for word in table.rows:
        digest.update(repr(list_char_buckets(word)).encode())
    return digest.hexdigest()


def _chunks(
    pairs: Sequence[tuple[str, str]], size: int = 64
) -> Iterator[Sequence[tuple[str, str]]]:
    yield from (pairs[i : i + size] for i in range(0, len(pairs), size))
