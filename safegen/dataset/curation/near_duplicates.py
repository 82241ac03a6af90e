"""Near-duplicates over all prompts of a corpus: MinHash, banded buckets, and an exact check of each hit.

Texts are streamed; only digests are kept, about 700 bytes for a prompt of 30 words. The hash functions
are fixed here, so that equal texts give equal results on every machine and version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from safegen.core import text_forms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Positions = NDArray[np.int64]

PERMUTATIONS = 128
"""Hash functions of a signature."""
SHINGLE_WORDS = 3
"""Words of a shingle."""
THRESHOLD = 0.6
"""Jaccard similarity from which two prompts are near-duplicates."""
MISS_PROBABILITY = 1e-4
"""Highest probability that a pair at the threshold shares no bucket."""
CHUNK_SIZE = 512
"""Texts hashed at once."""


class CorpusText(NamedTuple):
    """A prompt of a corpus, in canonical order. Texts of one group are not compared."""

    id: str
    text: str
    group: str = ""
    """The set, whose prompts another check compares; empty for a single text."""


class NearDuplicate(NamedTuple):
    """A prompt that nearly repeats an earlier, kept one."""

    id: str
    original: str
    similarity: float
    """Exact Jaccard similarity of word shingles."""


def find_near_duplicates(
    texts: Iterable[CorpusText], *, threshold: float = THRESHOLD, shingle: int = SHINGLE_WORDS
) -> list[NearDuplicate]:
    """Find the texts that nearly repeat an earlier text; the first of each group is kept.

    Similarity is Jaccard over word shingles, folded as `text_forms.words` does. Candidates share a band
    of their MinHash signatures of 128 permutations (Broder 1997), which misses a pair at the threshold
    with a probability of about 1 in 10,000. Each candidate is then compared exactly.

    Args:
        texts: in canonical order, read once. A text with fewer words than `shingle` matches only equal
            texts, a text without words none.
        threshold: similarity above 0, at most 1.
        shingle: words of a shingle.

    Raises:
        ValueError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` is {threshold}; it must be above 0 and at most 1")
    rows = choose_band_rows(threshold)
    ids: list[str] = []
    groups: list[str] = []
    flat: list[Hashes] = []
    sizes: list[int] = []
    bands: list[NDArray[np.uint32]] = []
    marks: list[NDArray[np.uint8]] = []
    for chunk in _iter_chunks(texts):
        runs = [_hash_runs(text_forms.words(t.text), shingle) for t in chunk]
        ids += [t.id for t in chunk]
        groups += [t.group for t in chunk]
        sizes += [len(r) for r in runs]
        flat += runs
        signed = minhash_signatures(runs)
        bands.append(_hash_bands(signed, rows))
        marks.append(_pack_marks(signed))
    corpus = _build_corpus(groups, flat, sizes, marks)
    del flat
    return [
        NearDuplicate(ids[one], ids[of], similarity)
        for one, of, similarity in _iter_matches(corpus, _iter_shared_buckets(bands), threshold)
    ]


@dataclass(frozen=True, slots=True)
class _Corpus:
    groups: list[str]
    runs: Hashes
    """The sorted shingle hashes of all texts, one text after the other."""
    starts: Positions
    """Start of each text in `runs`, and the end of the last."""
    marks: NDArray[np.uint8]
    """One byte of each signature, to filter dissimilar pairs before the exact comparison."""


def choose_band_rows(threshold: float) -> int:
    """Return the most rows of a band that keep `MISS_PROBABILITY` at the threshold."""
    fitting = [
        rows
        for rows in range(1, PERMUTATIONS + 1)
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISS_PROBABILITY
    ]
    return max(fitting, default=1)


def _iter_chunks(texts: Iterable[CorpusText]) -> Iterator[list[CorpusText]]:
    left = iter(texts)
    while chunk := list(islice(left, CHUNK_SIZE)):
        yield chunk


@lru_cache(maxsize=200_000)
def _hash_word(word: str) -> int:
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


@lru_cache(maxsize=1)
def _permutation_constants() -> tuple[list[int], list[int]]:
    """Return an odd factor and a summand for each permutation."""
    drawn = [
        _hash_word(f"{kind} {i}") for kind in ("factor", "summand") for i in range(PERMUTATIONS)
    ]
    return [d | 1 for d in drawn[:PERMUTATIONS]], drawn[PERMUTATIONS:]


def _mix_bits(values: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of MurmurHash3)."""
    import numpy as np

    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def _hash_runs(tokens: Sequence[str], size: int) -> Hashes:
    """Return the sorted, distinct shingle hashes of a text."""
    import numpy as np

    words = np.fromiter(map(_hash_word, tokens), dtype=np.uint64, count=len(tokens))
    size = min(size, len(words))
    hashed = np.zeros(len(words) - size + 1 if size else 0, dtype=np.uint64)
    for place in range(size):
        hashed = _mix_bits(hashed + words[place : place + len(hashed)]) if len(hashed) else hashed
    return np.unique(hashed)


def minhash_signatures(runs: Sequence[Hashes]) -> Hashes:
    """Return the MinHash of each permutation (rows) for each text (columns); arbitrary without shingles."""
    import numpy as np

    nothing = np.zeros(1, dtype=np.uint64)
    flat = np.concatenate([r if len(r) else nothing for r in runs])
    starts = np.cumsum([0, *(max(len(r), 1) for r in runs[:-1])])
    lowest = [
        np.minimum.reduceat(flat * np.uint64(factor) + np.uint64(summand), starts)
        for factor, summand in zip(*_permutation_constants(), strict=True)
    ]
    return np.stack(lowest)


def _hash_bands(signed: Hashes, rows: int) -> NDArray[np.uint32]:
    """Return the bucket of each band (rows) for each text (columns)."""
    import numpy as np

    count = PERMUTATIONS // rows
    buckets = np.zeros((count, signed.shape[1]), dtype=np.uint64)
    for row in range(rows):
        buckets = _mix_bits(buckets + signed[row : count * rows : rows])
    return (buckets >> np.uint64(32)).astype(np.uint32)


def _pack_marks(signed: Hashes) -> NDArray[np.uint8]:
    import numpy as np

    return np.ascontiguousarray((_mix_bits(signed) & np.uint64(255)).astype(np.uint8).T)


def _build_corpus(
    groups: list[str], runs: list[Hashes], sizes: list[int], marks: list[NDArray[np.uint8]]
) -> _Corpus:
    import numpy as np

    flat = np.concatenate([np.zeros(0, dtype=np.uint64), *runs])
    table = np.concatenate([np.zeros((0, PERMUTATIONS), dtype=np.uint8), *marks])
    return _Corpus(groups, flat, np.cumsum([0, *sizes], dtype=np.int64), table)


def _iter_shared_buckets(bands: Sequence[NDArray[np.uint32]]) -> Iterator[tuple[int, list[int]]]:
    """Yield each text that shares a bucket, in order, with the numbers of its shared buckets."""
    import numpy as np

    texts: list[Positions] = [np.zeros(0, dtype=np.int64)]
    numbers: list[Positions] = [np.zeros(0, dtype=np.int64)]
    taken = 0
    for band in range(len(bands[0]) if bands else 0):
        buckets = np.concatenate([chunk[band] for chunk in bands])
        _, inverse, counts = np.unique(buckets, return_inverse=True, return_counts=True)
        places = np.flatnonzero(counts[inverse] > 1)
        texts.append(places)
        numbers.append(inverse[places] + taken)
        taken += len(counts)
    owner, number = np.concatenate(texts), np.concatenate(numbers)
    order = np.argsort(owner, kind="stable")
    owner, number = owner[order], number[order]
    ends = np.flatnonzero(np.diff(owner, append=-1)) + 1
    start = 0
    for end in ends.tolist():
        yield int(owner[start]), number[start:end].tolist()
        start = end


def _iter_matches(
    corpus: _Corpus, shared: Iterable[tuple[int, list[int]]], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield text, earlier kept text and similarity. Only kept texts are put into buckets."""
    buckets: dict[int, list[int]] = {}
    for text, numbers in shared:
        if corpus.starts[text] == corpus.starts[text + 1]:
            continue
        met = {other for n in numbers for other in buckets.get(n, ())}
        match = _find_first_match(corpus, text, sorted(met), threshold) if met else None
        if match is not None:
            yield text, *match
            continue
        for number in numbers:
            buckets.setdefault(number, []).append(text)


def _find_first_match(
    corpus: _Corpus, text: int, others: Sequence[int], threshold: float
) -> tuple[int, float] | None:
    """Find the first of the others that is a near-duplicate by exact comparison."""
    import numpy as np

    group = corpus.groups[text]
    others = [o for o in others if not group or corpus.groups[o] != group]
    mine = corpus.runs[corpus.starts[text] : corpus.starts[text + 1]]
    places = _filter_likely(corpus, text, np.array(others, dtype=np.int64), threshold)
    sizes = corpus.starts[places + 1] - corpus.starts[places]
    if not len(places):
        return None
    ends = np.cumsum(sizes)
    offsets = np.repeat(corpus.starts[places] - (ends - sizes), sizes)
    theirs = corpus.runs[offsets + np.arange(ends[-1])]
    at = np.minimum(np.searchsorted(mine, theirs), len(mine) - 1)
    both = np.add.reduceat((mine[at] == theirs).astype(np.int64), ends - sizes)
    similarity = both / (sizes + len(mine) - both)
    hits: list[int] = np.flatnonzero(similarity >= threshold).tolist()
    return (int(places[hits[0]]), float(similarity[hits[0]])) if hits else None


def _filter_likely(corpus: _Corpus, text: int, others: Positions, threshold: float) -> Positions:
    """Drop candidates whose estimated similarity is four standard errors below the threshold."""
    import numpy as np

    least = threshold - 4 * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5
    equal = np.count_nonzero(corpus.marks[others] == corpus.marks[text], axis=1)
    return others[equal >= least * PERMUTATIONS]
