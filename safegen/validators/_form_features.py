"""Features of a prompt and its response for the classifier of response forms.

Words and punctuation in runs of one to three, again for the first, last and middle sentences,
character sequences of words, and measures of length, repetition and overlap with the prompt. One
pass of a regular expression and a few array operations read a text.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from math import log1p
from typing import TYPE_CHECKING, Any, NamedTuple

from safegen.core.function_words import list_function_words
from safegen.core.text_forms import MAX_READ_CHARS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LANGUAGE = "en"
CHAR_BUCKETS = 1 << 13
"""Buckets of the hashed character sequences."""
GROUP_SCALES = (5.5, 5.5, 4.5, 4.5, 4.5, 3.2)
"""Norm of each group of runs: 1, 2 and 3 words of the text, then first, last and middle sentences."""
CHAR_SCALE = 5.5
DENSE_SCALE = 0.5
"""Standard deviation of the measures, on the scale of the groups."""
STEM = 5
"""First characters that two forms of a content word share."""

_GROUP_SHIFT = 29
"""Bits of a hash below the number of its group."""
_TOKEN = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]|\n+")
_FOLDS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "*": None}
)
_FUNCTION, _DIGIT, _ALPHA, _END, _NEWLINE, _QUESTION, _OTHER, _CONTENT = (1 << i for i in range(8))
_FUNCTION_WORDS = list_function_words(LANGUAGE)
_CACHED_WORDS = 1 << 16


class FormFeatures(NamedTuple):
    """Features of one prompt and response."""

    hashes: Array
    """uint32, one for each run of words of each group."""
    scales: Array
    """float32, the value of each hash."""
    words: tuple[str, ...]
    """The distinct words and marks in order; each has character sequences."""
    dense: Array
    """float32, the measures, not standardised."""


def _tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text[:MAX_READ_CHARS].translate(_FOLDS).lower())


# The hash in the upper 32 bits, then 24 bits of the stem, then 8 flags.
@lru_cache(maxsize=_CACHED_WORDS)
def _encode_token(token: str) -> int:
    first = token[0]
    shown = "0" * min(len(token), 3) if token.isdigit() else token
    flags = (
        _FUNCTION * (token in _FUNCTION_WORDS)
        | _DIGIT * first.isdigit()
        | _ALPHA * first.isalpha()
        | _END * (first in ".!?\n")
        | _NEWLINE * (first == "\n")
        | _QUESTION * (first == "?")
        | _OTHER * (first > "\u024f" and not "\u2000" <= first <= "\u206f")
    )
    stem = 0
    if flags & _ALPHA and not flags & _FUNCTION and len(token) > 2:
        flags |= _CONTENT
        stem = zlib.crc32(token[:STEM].encode("utf-8", "surrogatepass")) & 0xFFFFFF
    return zlib.crc32(shown.encode("utf-8", "surrogatepass")) << 32 | stem << 8 | flags


def list_char_buckets(word: str) -> tuple[int, ...]:
    """Return the bucket of each character sequence of a word."""
    framed = f"<{word[:30]}>".encode("utf-8", "surrogatepass")
    return tuple(
        zlib.crc32(framed[i : i + size]) % CHAR_BUCKETS
        for size in (3, 4)
        for i in range(len(framed) - size + 1)
    )


def extract_features(prompt: str, response: str) -> FormFeatures:
    """Extract the features of a prompt and its response; any text has some."""
    import numpy as np

    tokens = _tokenize(response) or ["."]
    codes = np.array([_encode_token(token) for token in tokens], dtype=np.uint64)
    asked = [_encode_token(token) for token in _tokenize(prompt)]
    first, last = _find_sentences((codes & np.uint64(_END)).astype(bool), len(tokens))
    hashes, numbers, distinct = _hash_runs((codes >> np.uint64(32)).astype(np.uint32), first, last)
    counts = np.maximum(np.bincount(numbers, minlength=len(GROUP_SCALES)), 1)
    values = (np.array(GROUP_SCALES) / np.sqrt(counts)).astype(np.float32)
    dense = _measure(tokens, codes, asked, distinct)
    return FormFeatures(hashes, values[numbers], tuple(dict.fromkeys(tokens)), dense)


# Returns the end of the first sentence and the start of the last one.
def _find_sentences(is_end: Array, count: int) -> tuple[int, int]:
    ends = is_end.nonzero()[0]
    ends = ends[(ends >= 1) & (ends < count - 2)]
    return (int(ends[0]) + 1, int(ends[-1]) + 1) if len(ends) else (count, 0)


def _hash_runs(words: Array, first: int, last: int) -> tuple[Array, Array, Array]:
    """Return the sorted hashes of the runs, their groups, and the shares of distinct words and pairs."""
    import numpy as np

    one, two, three = (np.uint32(n) for n in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35))
    # An edge marks start and end, so that a run can hold a position.
    framed = np.concatenate(([1], words, [2])).astype(np.uint32)
    pairs = (framed[:-1] * one) ^ (framed[1:] * two)
    triples = (pairs[:-1] * one) ^ (framed[2:] * three)
    groups = (
        framed,
        pairs,
        triples,
        np.concatenate((framed[: first + 1], pairs[:first] * two)),
        np.concatenate((framed[last + 1 :], pairs[last + 1 :] * two)),
        framed[first + 1 : max(last + 1, first + 1)],
    )
    sizes = [len(group) for group in groups]
    marks = np.repeat(np.arange(len(groups), dtype=np.uint32) << np.uint32(_GROUP_SHIFT), sizes)
    hashes = (np.concatenate(groups) * three >> np.uint32(32 - _GROUP_SHIFT)) | marks
    # A run counts once in a group. Sorted hashes are looked up faster, too.
    hashes.sort()
    hashes = hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))]
    numbers = (hashes >> np.uint32(_GROUP_SHIFT)).astype(np.intp)
    distinct = np.bincount(numbers, minlength=2)[:2] / np.array(sizes[:2])
    return hashes, numbers, distinct


def _measure(tokens: list[str], codes: Array, asked_codes: list[int], distinct: Array) -> Array:
    import numpy as np

    count = len(tokens)
    flags = (codes & np.uint64(255)).astype(np.uint8)
    bits = np.unpackbits(flags[:, None], axis=1, bitorder="little").sum(axis=0).tolist()
    function, digits, alpha, ends, lines, questions, others, _ = bits
    stems = set((codes >> np.uint64(8) & np.uint64(0xFFFFFF)).tolist())
    asked = {code >> 8 & 0xFFFFFF for code in asked_codes}
    stems.discard(0)
    asked.discard(0)
    shared = len(stems & asked)
    return np.array(
        [
            log1p(count) / 4,
            log1p(ends) / 2,
            shared / (len(asked) or 1),
            float(shared == 0),
            min(shared, 5) / 5,
            shared / (len(stems) or 1),
            float(not asked),
            *distinct.tolist(),
            function / (alpha or 1),
            questions / (ends or 1),
            log1p(questions),
            (count - alpha - digits) / count,
            digits / count,
            log1p(lines),
            *(float(count < size) for size in (12, 30, 60)),
            *(float(count > size) for size in (120, 250)),
            float(tokens[-1][0] in '.!?)"`:'),
            log1p(len(asked_codes)) / 3,
            float(any(code & _QUESTION for code in asked_codes)),
            others / count,
            float(alpha < 3),
        ],
        dtype=np.float32,
    )


def digest_features(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a digest of the features of prompts with responses; it changes with the extraction."""
    import numpy as np

    digest = hashlib.sha256()
    for prompt, response in pairs:
        features = extract_features(prompt, response)
        digest.update(features.hashes.astype("<u4").tobytes())
        digest.update(" ".join(features.words).encode("utf-8", "surrogatepass"))
        # Rounded, because the last bit of a logarithm depends on the machine.
        digest.update(np.round(features.dense * 1_000).astype("<i4").tobytes())
    return digest.hexdigest()
