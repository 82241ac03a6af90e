"""Near-duplicates over all prompts of a corpus: MinHash, banded buckets, and an exact check of each hit.

Texts are streamed. Memory holds a position and `MARKS` bytes of each; shingle hashes and buckets go to
temporary files. The hash functions are fixed here, so that equal texts give equal results on every
machine and version.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, islice
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

from safegen.core import text_forms
from safegen.store.temporary import name_temporary_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Positions = NDArray[np.int64]

# The fewest powers of two that allow bands of four rows at `MISS_PROBABILITY`. With three rows (128
# permutations) 68 % of the pairs with a similarity of 0.3 share a bucket, with four 41 %.
PERMUTATIONS = 256
"""Hash functions of a signature."""
# A standard error of 0.06 at the threshold; all 256 bytes would cost four times the memory.
MARKS = 64
"""Permutations of which memory keeps one byte, to drop dissimilar candidates."""
# Far above chance: no two prompts of different written sets in `core` reach 0.2.
THRESHOLD = 0.6
"""Jaccard similarity from which two prompts are near-duplicates."""
MISS_PROBABILITY = 2e-4
"""Highest probability that a pair at the threshold shares no bucket."""
# The signatures of a chunk take 1 MiB.
CHUNK_SIZE = 512
"""Texts hashed at once."""
# A text of 30 words has about 250 bytes in each file, so that 30,000 texts need no disk.
SPOOL_BYTES = 8 * 1024 * 1024
"""Bytes of a temporary file that stay in memory."""
# The first hit often comes early, and a bucket of template prompts can hold thousands of texts.
COMPARED_AT_ONCE = 256
"""Candidates whose shingles are read at once."""


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
    texts: Iterable[CorpusText],
    *,
    threshold: float = THRESHOLD,
    shingle_words: int = text_forms.SHINGLE_WORDS,
) -> list[NearDuplicate]:
    """Find the texts that nearly repeat an earlier text; the first of each group is kept.

    Similarity is Jaccard over word shingles, folded as `text_forms.words` does. Candidates share a band
    of their MinHash signatures of 256 permutations (Broder 1997), which misses a pair at the threshold
    with a probability below 2 in 10,000. Each candidate is then compared exactly.

    Args:
        texts: in canonical order, read once. A text with fewer words than `shingle_words` matches only equal
            texts, a text without words none.
        threshold: similarity above 0, at most 1.
        shingle_words: words of a shingle.

    Raises:
        ValueError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` is {threshold}; it must be above 0 and at most 1")
    rows = choose_band_rows(threshold)
    ids = _StringStore()
    groups = array("Q")
    with (
        name_temporary_folder(),
        SpooledTemporaryFile(SPOOL_BYTES, "w+b") as shingle_file,
        SpooledTemporaryFile(SPOOL_BYTES, "w+b") as bucket_file,
    ):
        shingles = _ShingleStore(shingle_file)
        buckets = _BucketStore(bucket_file, PERMUTATIONS // rows)
        marks = bytearray()
        for chunk in _iter_chunks(texts):
            hashed = hash_chunk([text_forms.words(t.text) for t in chunk], shingle_words)
            ids.extend(t.id for t in chunk)
            groups.extend(_digest(t.group) if t.group else 0 for t in chunk)
            shingles.append(hashed)
            signed = minhash_signatures(hashed)
            buckets.append(_hash_bands(signed, rows))
            marks += _pack_marks(signed[:MARKS]).tobytes()
        corpus = _Corpus(groups, shingles, marks)
        return [
            NearDuplicate(ids[one], ids[of], similarity)
            for one, of, similarity in _iter_matches(corpus, buckets.iter_shared(), threshold)
        ]


class _StringStore:
    """A list of strings in one array: a Python string of 16 characters takes 65 bytes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("Q", [0])

    def extend(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._data += text.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._data))

    def __getitem__(self, index: int) -> str:
        data = self._data[self._ends[index] : self._ends[index + 1]]
        return data.decode("utf-8", "surrogatepass")


class _ShingleStore:
    """The sorted shingle hashes of all texts in a file, one text after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("q", [0])

    def append(self, texts: Sequence[Hashes]) -> None:
        for shingles in texts:
            self._file.write(shingles.tobytes())
            self._ends.append(self._ends[-1] + len(shingles))

    def size(self, text: int) -> int:
        """Return the number of distinct shingles of a text."""
        return self._ends[text + 1] - self._ends[text]

    def read(self, text: int) -> Hashes:
        import numpy as np

        self._file.seek(8 * self._ends[text])
        return np.frombuffer(self._file.read(8 * self.size(text)), dtype=np.uint64)


class _BucketStore:
    """The bucket of each band and text in a file, by chunk, then band, then text."""

    def __init__(self, file: IO[bytes], bands: int) -> None:
        self._file, self._bands = file, bands
        self._sizes: list[int] = []

    def append(self, buckets: NDArray[np.uint32]) -> None:
        """Append the buckets of a chunk: bands (rows) by texts (columns)."""
        self._file.write(buckets.tobytes())
        self._sizes.append(buckets.shape[1])

    def iter_shared(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each text that shares a bucket, in order, with the numbers of its shared buckets."""
        import numpy as np

        if self._sizes:
            self._number_shared_buckets()
        first = 0
        self._file.seek(0)
        for size in self._sizes:
            data = self._file.read(4 * self._bands * size)
            numbers = np.frombuffer(data, dtype=np.uint32).reshape(self._bands, size).T
            shared = numbers > 0
            for text in np.flatnonzero(shared.any(axis=1)).tolist():
                yield first + text, numbers[text][shared[text]].tolist()
            first += size

    def _number_shared_buckets(self) -> None:
        """Replace each bucket by its number, from 1 on, or by 0 if only one text is in it."""
        import numpy as np

        taken = 1
        for band in range(self._bands):
            places = self._places(band)
            column = np.concatenate([self._read(place, size) for place, size in places])
            _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
            is_shared = counts > 1
            numbers = np.where(is_shared, np.cumsum(is_shared) - 1 + taken, 0).astype(np.uint32)
            taken += int(is_shared.sum())
            renumbered = numbers[inverse]
            start = 0
            for place, size in places:
                self._file.seek(place)
                self._file.write(renumbered[start : start + size].tobytes())
                start += size

    def _places(self, band: int) -> list[tuple[int, int]]:
        """Return the place in the file and the texts of each chunk's part of a band."""
        starts = accumulate((4 * self._bands * size for size in self._sizes), initial=0)
        return [
            (start + 4 * band * size, size)
            for start, size in zip(starts, self._sizes, strict=False)
        ]

    def _read(self, place: int, size: int) -> NDArray[np.uint32]:
        import numpy as np

        self._file.seek(place)
        return np.frombuffer(self._file.read(4 * size), dtype=np.uint32)


class _Corpus:
    """The texts as the comparison needs them: digests of groups (0: none), marks and shingles."""

    def __init__(self, groups: Sequence[int], shingles: _ShingleStore, marks: bytearray) -> None:
        import numpy as np

        self.groups, self.shingles = groups, shingles
        self.marks = np.frombuffer(marks, dtype=np.uint8).reshape(-1, MARKS)


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


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


# Common words repeat; the bound matters for texts of invented words and numbers.
_hash_word = lru_cache(maxsize=200_000)(_digest)


@lru_cache(maxsize=1)
def _permutation_constants() -> tuple[list[int], list[int]]:
    """Return an odd factor and a summand for each permutation."""
    drawn = [
        _hash_word(f"{kind} {i}") for kind in ("factor", "summand") for i in range(PERMUTATIONS)
    ]
    # An odd factor has an inverse modulo 2**64, so that no two hashes become one.
    return [d | 1 for d in drawn[:PERMUTATIONS]], drawn[PERMUTATIONS:]


def _mix_bits(values: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of MurmurHash3)."""
    import numpy as np

    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def _hash_shingles(tokens: Sequence[str], size: int) -> Hashes:
    """Return the sorted, distinct shingle hashes of a text."""
    import numpy as np

    words = np.fromiter(map(_hash_word, tokens), dtype=np.uint64, count=len(tokens))
    size = min(size, len(words))
    hashed = np.zeros(len(words) - size + 1 if size else 0, dtype=np.uint64)
    for place in range(size):
        hashed = _mix_bits(hashed + words[place : place + len(hashed)]) if len(hashed) else hashed
    return np.unique(hashed)


def hash_chunk(texts: Sequence[Sequence[str]], size: int) -> list[Hashes]:
    """Return the sorted, distinct hashes of the shingles of `size` words, by text."""
    import numpy as np

    whole = [tokens for tokens in texts if len(tokens) >= size]
    if not whole:
        return [_hash_shingles(tokens, size) for tokens in texts]
    # One array for all texts: a shingle that starts in one text and ends in the next is dropped.
    lengths = np.fromiter(map(len, whole), dtype=np.int64, count=len(whole))
    words = np.fromiter(
        map(_hash_word, chain.from_iterable(whole)), dtype=np.uint64, count=int(lengths.sum())
    )
    hashed = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for place in range(size):
        hashed = _mix_bits(hashed + words[place : place + len(hashed)])
    counts = lengths - size + 1
    starts = np.cumsum(lengths) - lengths
    firsts = np.cumsum(counts) - counts
    hashed = hashed[np.repeat(starts - firsts, counts) + np.arange(counts.sum())]
    owner = np.repeat(np.arange(len(whole)), counts)
    order = np.lexsort((hashed, owner))
    hashed, owner = hashed[order], owner[order]
    is_new = np.ones(len(hashed), dtype=bool)
    is_new[1:] = (hashed[1:] != hashed[:-1]) | (owner[1:] != owner[:-1])
    ends = np.cumsum(np.bincount(owner[is_new], minlength=len(whole)))
    parts = iter(np.split(hashed[is_new], ends[:-1]))
    return [
        next(parts) if len(tokens) >= size else _hash_shingles(tokens, size) for tokens in texts
    ]


def minhash_signatures(shingles: Sequence[Hashes]) -> Hashes:
    """Return the MinHash of each permutation (rows) for each text (columns); arbitrary without shingles."""
    import numpy as np

    nothing = np.zeros(1, dtype=np.uint64)
    flat = np.concatenate([r if len(r) else nothing for r in shingles])
    starts = np.cumsum([0, *(max(len(r), 1) for r in shingles[:-1])])
    lowest = np.empty((PERMUTATIONS, len(starts)), dtype=np.uint64)
    permuted = np.empty_like(flat)
    for row, (factor, summand) in enumerate(zip(*_permutation_constants(), strict=True)):
        np.multiply(flat, np.uint64(factor), out=permuted)
        permuted += np.uint64(summand)
        np.minimum.reduceat(permuted, starts, out=lowest[row])
    return lowest


def _hash_bands(signed: Hashes, rows: int) -> NDArray[np.uint32]:
    """Return the bucket of each band (rows) for each text (columns)."""
    import numpy as np

    count = PERMUTATIONS // rows
    buckets = np.zeros((count, signed.shape[1]), dtype=np.uint64)
    for row in range(rows):
        buckets = _mix_bits(buckets + signed[row : count * rows : rows])
    # Half the bytes on disk. Two buckets that collide only cost an exact comparison.
    return (buckets >> np.uint64(32)).astype(np.uint32)


def _pack_marks(signed: Hashes) -> NDArray[np.uint8]:
    import numpy as np

    return np.ascontiguousarray((_mix_bits(signed) & np.uint64(255)).astype(np.uint8).T)


def _iter_matches(
    corpus: _Corpus, shared: Iterable[tuple[int, list[int]]], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield text, earlier kept text and similarity. Only kept texts are put into buckets."""
    buckets: dict[int, list[int]] = {}
    for text, numbers in shared:
        if not corpus.shingles.size(text):
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
    likely = _filter_likely(corpus, text, np.array(others, dtype=np.int64), threshold).tolist()
    mine = corpus.shingles.read(text)
    for start in range(0, len(likely), COMPARED_AT_ONCE):
        places = likely[start : start + COMPARED_AT_ONCE]
        theirs = [corpus.shingles.read(place) for place in places]
        similarity = _compare_exactly(mine, theirs)
        hits: list[int] = np.flatnonzero(similarity >= threshold).tolist()
        if hits:
            return places[hits[0]], float(similarity[hits[0]])
    return None


def _compare_exactly(mine: Hashes, theirs: Sequence[Hashes]) -> NDArray[np.float64]:
    """Return the Jaccard similarity of one text with each other text."""
    import numpy as np

    sizes = np.array([len(t) for t in theirs], dtype=np.int64)
    flat = np.concatenate(theirs)
    at = np.minimum(np.searchsorted(mine, flat), len(mine) - 1)
    both = np.add.reduceat((mine[at] == flat).astype(np.int64), np.cumsum(sizes) - sizes)
    return both / (sizes + len(mine) - both)


def _filter_likely(corpus: _Corpus, text: int, others: Positions, threshold: float) -> Positions:
    """Drop candidates whose estimated similarity is four standard errors below the threshold."""
    import numpy as np

    least = threshold - 4 * (threshold * (1 - threshold) / MARKS) ** 0.5
    equal = np.count_nonzero(corpus.marks[others] == corpus.marks[text], axis=1)
    return others[equal >= least * MARKS]
