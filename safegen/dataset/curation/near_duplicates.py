"""Near-duplicates over all prompts of a corpus: MinHash, banded buckets, and an exact check of each hit.

Texts are streamed. Ids, shingle hashes, marks and buckets go to temporary files; memory holds the texts
that share a bucket, and one band of buckets. The hash functions are fixed here, so that equal texts give
equal results on every machine and version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from safegen.core import text_forms
from safegen.store.temporary import SPOOL_BYTES, name_temporary_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Signatures = NDArray[np.uint32]
    Flags = NDArray[np.bool_]
    Positions = NDArray[np.int64]
    Number = TypeVar("Number", np.uint32, np.uint64, np.int64)

# The fewest powers of two that allow bands of four rows at `MISS_PROBABILITY`. With three rows (128
# permutations) 68 % of the pairs with a similarity of 0.3 share a bucket, with four 41 %.
PERMUTATIONS = 256
"""Hash functions of a signature."""
# One bit of each permutation has a standard error of 0.05 at the threshold, in an eighth of the
# memory of 256 bytes (Li and Koenig 2010, b-bit minwise hashing).
MARK_WORDS = PERMUTATIONS // 64
"""64-bit words of a text that hold one bit of each permutation, to drop dissimilar candidates."""
# Far above chance: no two prompts of different written sets in `core` reach 0.2.
THRESHOLD = 0.6
"""Jaccard similarity from which two prompts are near-duplicates."""
MISS_PROBABILITY = 2e-4
"""Highest probability that a pair at the threshold shares no bucket."""
CHUNK_BITS = 9
CHUNK_SIZE = 1 << CHUNK_BITS
"""Texts hashed at once."""
# The number of the text and the hash of a shingle fit one integer, which sorts faster than a pair.
HASH_BITS = 64 - CHUNK_BITS
"""Bits of the hash of a shingle."""
# A block of signatures takes 128 kB, so that it stays in the processor's cache.
BLOCK_ROWS = 128
# Longer texts are cut, so that one long text does not fill a block alone.
BLOCK_SHINGLES = 32
# Each pair of copies in a group is estimated; more at once would be slow for a prompt of many copies.
GROUP_TEXTS = 32
"""Texts with a shared bucket that are compared at once."""
PAIRS_AT_ONCE = 1 << 16
"""Pairs whose similarity is estimated at once."""
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
    with (
        name_temporary_folder(),
        SpooledTemporaryFile(SPOOL_BYTES, "w+b") as id_file,
        SpooledTemporaryFile(SPOOL_BYTES, "w+b") as shingle_file,
        SpooledTemporaryFile(SPOOL_BYTES, "w+b") as signature_file,
    ):
        signatures = _SignatureStore(signature_file, PERMUTATIONS // rows)
        for chunk in _iter_chunks(texts):
            shingles = hash_chunk([text_forms.words(t.text) for t in chunk], shingle_words)
            id_file.writelines(_encode_id(t.id) for t in chunk)
            shingle_file.write(shingles.flat.tobytes())
            signed = minhash_signatures(shingles)
            signatures.append(
                _SignedChunk(
                    _digest_groups(chunk),
                    _pack_marks(signed),
                    shingles.sizes,
                    _hash_bands(signed, rows),
                )
            )
        matcher = _Matcher(signatures.number_shared_buckets(), shingle_file, threshold)
        matches = [match for chunk in signatures.read() for match in matcher.add(chunk)]
        ids = _read_ids(id_file, {text for match in matches for text in match[:2]})
        return [NearDuplicate(ids[m.text], ids[m.original], m.similarity) for m in matches]


def _encode_id(id_: str) -> bytes:
    # One line, whatever the id contains; a lone surrogate has no UTF-8.
    return id_.encode("unicode_escape") + b"\n"


def _read_ids(file: IO[bytes], texts: Container[int]) -> dict[int, str]:
    file.seek(0)
    return {
        text: line[:-1].decode("unicode_escape") for text, line in enumerate(file) if text in texts
    }


class _SignedChunk(NamedTuple):
    """The texts of a chunk as the comparison needs them."""

    groups: Hashes
    """Digest of the group; 0 without one."""
    marks: Hashes
    """Texts by `MARK_WORDS`."""
    sizes: Positions
    """Distinct shingles."""
    buckets: NDArray[np.uint32]
    """Bands by texts: the bucket, later its number, from 1 on, or 0 if only one text is in it."""


class _SharedBuckets(NamedTuple):
    """Buckets with several texts."""

    sizes: Positions
    """Texts by number of the bucket."""
    texts: int
    """Texts in any of them."""


class _SignatureStore:
    """The chunks in a file, one after the other."""

    def __init__(self, file: IO[bytes], bands: int) -> None:
        self._file, self._bands = file, bands
        self._counts: list[int] = []
        """Texts by chunk."""

    def append(self, chunk: _SignedChunk) -> None:
        for part in chunk:
            self._file.write(part.tobytes())
        self._counts.append(len(chunk.sizes))

    def read(self) -> Iterator[_SignedChunk]:
        import numpy as np

        self._file.seek(0)
        for count in self._counts:
            yield _SignedChunk(
                self._read(np.uint64, count),
                self._read(np.uint64, count * MARK_WORDS).reshape(count, MARK_WORDS),
                self._read(np.int64, count),
                self._read(np.uint32, self._bands * count).reshape(self._bands, count),
            )

    def number_shared_buckets(self) -> _SharedBuckets:
        """Replace each bucket by its number, and count the texts."""
        import numpy as np

        sizes: list[Positions] = [np.zeros(1, dtype=np.int64)]
        is_shared = np.zeros(sum(self._counts), dtype=bool)
        taken = 1
        for band in range(self._bands if self._counts else 0):
            numbers, counts = _number_shared(self._read_band(band), taken)
            self._write_band(band, numbers)
            is_shared |= numbers > 0
            sizes.append(counts)
            taken += len(counts)
        return _SharedBuckets(np.concatenate(sizes), int(is_shared.sum()))

    def _read_band(self, band: int) -> NDArray[np.uint32]:
        import numpy as np

        buckets = np.empty(sum(self._counts), dtype=np.uint32)
        first = 0
        for place, count in self._iter_places(band):
            self._file.seek(place)
            buckets[first : first + count] = self._read(np.uint32, count)
            first += count
        return buckets

    def _write_band(self, band: int, numbers: NDArray[np.uint32]) -> None:
        first = 0
        for place, count in self._iter_places(band):
            self._file.seek(place)
            self._file.write(numbers[first : first + count].tobytes())
            first += count

    def _iter_places(self, band: int) -> Iterator[tuple[int, int]]:
        """Yield the place in the file and the texts of each chunk's part of a band."""
        fixed = 8 * (1 + MARK_WORDS + 1)
        start = 0
        for count in self._counts:
            yield start + (fixed + 4 * band) * count, count
            start += (fixed + 4 * self._bands) * count

    def _read(self, kind: type[Number], count: int) -> NDArray[Number]:
        import numpy as np

        data = self._file.read(np.dtype(kind).itemsize * count)
        return np.frombuffer(data, dtype=kind)


def _number_shared(
    buckets: NDArray[np.uint32], first: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Number the buckets with several texts from `first` on; the others are 0. Count the texts of each."""
    import numpy as np

    # Bucket and text in one integer: a plain sort is three times as fast as one of positions.
    # In place: each temporary array would take 8 bytes a text.
    keys = buckets.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(buckets), dtype=np.uint32)
    keys.sort()
    repeats = np.zeros(len(keys) + 1, dtype=bool)
    repeats[1:-1] = (keys[1:] ^ keys[:-1]) < np.uint64(1 << 32)
    shared = np.flatnonzero(repeats[:-1] | repeats[1:])
    number = np.cumsum(~repeats[shared]) - 1
    numbers = np.zeros(len(keys), dtype=np.uint32)
    numbers[(keys[shared] & np.uint64(0xFFFFFFFF)).astype(np.int64)] = number + first
    return numbers, np.bincount(number)


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
def _permutation_constants() -> tuple[Signatures, Signatures]:
    """Return an odd factor and a summand for each permutation."""
    import numpy as np

    factors, summands = (
        np.array([_digest(f"{kind} {i}") >> 32 for i in range(PERMUTATIONS)], dtype=np.uint32)
        for kind in ("factor", "summand")
    )
    # An odd factor has an inverse modulo 2**32, so that no two hashes become one.
    return factors | np.uint32(1), summands


def _mix_bits(values: Hashes) -> Hashes:
    """Spread every bit over all (the finaliser of MurmurHash3)."""
    import numpy as np

    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


class ShingleChunk(NamedTuple):
    """The sorted, distinct shingle hashes of some texts, one text after the other."""

    flat: Hashes
    sizes: Positions
    """Shingles of each text; 0 for a text without words."""


def hash_chunk(texts: Sequence[Sequence[str]], size: int) -> ShingleChunk:
    """Hash the shingles of `size` words of at most `CHUNK_SIZE` texts; a shorter text is one shingle."""
    import numpy as np

    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    words = np.fromiter(
        map(_hash_word, chain.from_iterable(texts)), dtype=np.uint64, count=int(lengths.sum())
    )
    owners = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    keys = [_hash_runs(words, np.flatnonzero(left >= size), size, owners)]
    for short in range(1, size) if lengths.min(initial=size) < size else ():
        whole = np.flatnonzero((left == short) & (lengths[owners] == short))
        keys.append(_hash_runs(words, whole, short, owners))
    joined = np.sort(np.concatenate(keys))
    joined = joined[np.append(True, joined[1:] != joined[:-1])[: len(joined)]]
    owners = (joined >> np.uint64(HASH_BITS)).astype(np.int64)
    mask = np.uint64((1 << HASH_BITS) - 1)
    return ShingleChunk(joined & mask, np.bincount(owners, minlength=len(texts)))


def _hash_runs(words: Hashes, starts: Positions, size: int, owners: Positions) -> Hashes:
    """Hash the runs of `size` words at some places; the number of the text is in the highest bits."""
    import numpy as np

    hashed = np.zeros(len(starts), dtype=np.uint64)
    for place in range(size):
        hashed = _mix_bits(hashed + words[starts + place])
    owner = owners[starts].astype(np.uint64) << np.uint64(HASH_BITS)
    return owner | (hashed >> np.uint64(CHUNK_BITS))


def minhash_signatures(shingles: ShingleChunk) -> Signatures:
    """Return the MinHash of each text (rows) by permutation (columns); arbitrary without shingles."""
    import numpy as np

    values = shingles.flat.astype(np.uint32)
    # Parts of at most `BLOCK_SHINGLES`, in the order of the texts.
    parts = -(-shingles.sizes // BLOCK_SHINGLES)
    owner = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = (np.cumsum(shingles.sizes) - shingles.sizes)[owner] + within * BLOCK_SHINGLES
    sizes = np.minimum(shingles.sizes[owner] - within * BLOCK_SHINGLES, BLOCK_SHINGLES)
    signed = np.full((len(parts), PERMUTATIONS), np.iinfo(np.uint32).max, dtype=np.uint32)
    for first in range(0, len(owner), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        lowest = _sign_block(values, starts[block], sizes[block])
        texts, firsts = np.unique(owner[block], return_index=True)
        signed[texts] = np.minimum(signed[texts], np.minimum.reduceat(lowest, firsts, axis=0))
    return signed


def _sign_block(values: NDArray[np.uint32], starts: Positions, sizes: Positions) -> Signatures:
    """Return the lowest permuted value of each row of values, by permutation."""
    import numpy as np

    factors, summands = _permutation_constants()
    order = np.argsort(-sizes, kind="stable")
    starts = starts[order]
    lowest = np.full((len(order), PERMUTATIONS), np.iinfo(np.uint32).max, dtype=np.uint32)
    permuted = np.empty_like(lowest)
    # The first shingle of all rows, then the second of the rows that have one, and so on.
    for place, rows in enumerate(np.cumsum(np.bincount(sizes)[::-1])[::-1][1:].tolist()):
        some = permuted[:rows]
        np.multiply(values[starts[:rows] + place, None], factors, out=some)
        some += summands
        np.minimum(lowest[:rows], some, out=lowest[:rows])
    signed = np.empty_like(lowest)
    signed[order] = lowest
    return signed


def _hash_bands(signed: Signatures, rows: int) -> NDArray[np.uint32]:
    """Return the bucket of each band (rows) for each text (columns)."""
    import numpy as np

    count = PERMUTATIONS // rows
    buckets = np.zeros((len(signed), count), dtype=np.uint64)
    for row in range(rows):
        buckets ^= signed[:, row : count * rows : rows]
        buckets *= np.uint64(0xC4CEB9FE1A85EC53)
    # Half the bytes on disk. Two buckets that collide only cost an exact comparison.
    return np.ascontiguousarray((_mix_bits(buckets) >> np.uint64(32)).astype(np.uint32).T)


def _pack_marks(signed: Signatures) -> Hashes:
    """Return one bit of each permutation, texts by `MARK_WORDS`."""
    import numpy as np

    # The lowest bit alone would be that of the shingle's hash, whatever the permutation.
    bits = (signed * np.uint32(0x9E3779B1)) >> np.uint32(31)
    return np.packbits(bits.astype(np.uint8), axis=1).view(np.uint64)


def _digest_groups(chunk: Sequence[CorpusText]) -> Hashes:
    import numpy as np

    groups = (_digest(t.group) if t.group else 0 for t in chunk)
    return np.fromiter(groups, dtype=np.uint64, count=len(chunk))


class _Match(NamedTuple):
    """A text and the earlier, kept text that it nearly repeats."""

    text: int
    original: int
    similarity: float


class _KeptTexts:
    """The kept texts that share a bucket, in order."""

    def __init__(self, capacity: int) -> None:
        import numpy as np

        # The system provides a page of an empty array when it is written.
        self.texts = np.empty(capacity, dtype=np.int64)
        """Number in the corpus."""
        self.places = np.empty(capacity, dtype=np.int64)
        """First shingle in the file."""
        self.sizes = np.empty(capacity, dtype=np.int64)
        self.groups = np.empty(capacity, dtype=np.uint64)
        self.marks = np.empty((capacity, MARK_WORDS), dtype=np.uint64)
        self.count = 0

    @property
    def _columns(self) -> tuple[NDArray[Any], ...]:
        return (self.texts, self.places, self.sizes, self.groups, self.marks)

    def extend(self, *columns: NDArray[Any]) -> int:
        """Append texts by column, and return the number of the first."""
        first = self.count
        self.count += len(columns[0])
        for column, values in zip(self._columns, columns, strict=True):
            column[first : self.count] = values
        return first

    def drop(self, first: int, is_dropped: Flags) -> None:
        """Remove some of the last texts, from `first` on."""
        import numpy as np

        stay = first + np.flatnonzero(~is_dropped)
        self.count = first + len(stay)
        for column in self._columns:
            column[first : self.count] = column[stay]


class _Matcher:
    """Comparison of each text with the kept ones that share a bucket; texts are added in order."""

    def __init__(self, buckets: _SharedBuckets, shingle_file: IO[bytes], threshold: float) -> None:
        import numpy as np

        self._file, self._threshold = shingle_file, threshold
        self._most_different = _bound_differences(threshold)
        self._texts = self._shingles = 0
        """Texts and shingles so far."""
        self._kept = _KeptTexts(buckets.texts)
        # The members of each bucket follow each other; the bucket is filled up to a count.
        self._starts = np.cumsum(buckets.sizes) - buckets.sizes
        self._filled = np.zeros(len(buckets.sizes), dtype=np.int64)
        self._members = np.empty(int(buckets.sizes.sum()), dtype=np.uint32)

    def add(self, chunk: _SignedChunk) -> Iterator[_Match]:
        """Yield the matches of a chunk, and keep its other texts that share a bucket."""
        import numpy as np

        is_shared = (chunk.buckets > 0).any(axis=0) & (chunk.sizes > 0)
        texts = self._texts + np.arange(len(chunk.sizes))
        places = self._shingles + np.cumsum(chunk.sizes) - chunk.sizes
        chosen = np.flatnonzero(is_shared)
        for start in range(0, len(chosen), GROUP_TEXTS):
            some = chosen[start : start + GROUP_TEXTS]
            columns = (texts, places, chunk.sizes, chunk.groups, chunk.marks)
            first = self._kept.extend(*(column[some] for column in columns))
            yield from self._match(chunk.buckets[:, some], first)
        self._texts += len(texts)
        self._shingles += int(chunk.sizes.sum())

    def _match(self, buckets: NDArray[np.uint32], first: int) -> list[_Match]:
        """Compare the kept texts from `first` on, drop those that match, and fill their buckets."""
        import numpy as np

        bands, rows = np.nonzero(buckets)
        numbers = buckets[bands, rows].astype(np.int64)
        order = np.lexsort((rows, numbers))
        numbers, rows = numbers[order], rows[order]
        earlier = self._fill(numbers, first + rows)
        is_dropped = np.zeros(buckets.shape[1], dtype=bool)
        matches: list[_Match] = []
        for text, others in self._iter_likely(numbers, first + rows, earlier):
            is_old = others < first
            is_old[~is_old] = ~is_dropped[others[~is_old] - first]
            match = self._find_first_match(text, others[is_old])
            if match is not None:
                matches.append(match)
                is_dropped[text - first] = True
        if matches:
            stays = ~is_dropped[rows]
            numbers, rows = numbers[stays], (np.cumsum(~is_dropped) - 1)[rows[stays]]
            earlier = self._fill(numbers, first + rows)
            self._kept.drop(first, is_dropped)
        # Of equal numbers the last one remains, which has the highest count.
        self._filled[numbers] = earlier + 1
        return matches

    def _fill(self, numbers: Positions, texts: Positions) -> Positions:
        """Write texts, sorted by bucket, after the members of their buckets; return how many are before each."""
        import numpy as np

        place = np.arange(len(numbers))
        earlier = self._filled[numbers] + place - np.searchsorted(numbers, numbers)
        self._members[self._starts[numbers] + earlier] = texts
        return earlier

    def _iter_likely(
        self, numbers: Positions, texts: Positions, earlier: Positions
    ) -> Iterator[tuple[int, Positions]]:
        """Yield each text, in order, and the earlier ones in its buckets that are probably similar."""
        import numpy as np

        ends = np.cumsum(earlier)
        starts = self._starts[numbers] + earlier - ends
        keys = [np.zeros(0, dtype=np.int64)]
        for low in range(0, int(ends[-1]), PAIRS_AT_ONCE):
            high = min(low + PAIRS_AT_ONCE, int(ends[-1]))
            lengths = np.minimum(ends, high) - np.maximum(ends - earlier, low)
            entry = np.repeat(np.arange(len(ends)), np.maximum(lengths, 0))
            text, other = texts[entry], self._members[starts[entry] + np.arange(low, high)]
            likely = self._are_likely(text, other)
            keys.append(np.unique(text[likely] << 32 | other[likely]))
        pairs = np.unique(np.concatenate(keys))
        chosen, firsts = np.unique(pairs >> 32, return_index=True)
        yield from zip(chosen.tolist(), np.split(pairs & 0xFFFFFFFF, firsts[1:]), strict=False)

    def _are_likely(self, texts: Positions, others: NDArray[np.uint32]) -> Flags:
        """Return False for pairs of one group, or estimated four standard errors below the threshold."""
        import numpy as np

        groups, marks = self._kept.groups, self._kept.marks
        bits = np.bitwise_count(marks.take(texts, axis=0) ^ marks.take(others, axis=0))
        different = bits[:, 0].astype(np.uint16)
        for word in range(1, MARK_WORDS):
            different += bits[:, word]
        group = groups[texts]
        return (different <= self._most_different) & ((group == 0) | (group != groups[others]))

    def _find_first_match(self, text: int, others: Positions) -> _Match | None:
        """Find the first of the others that is a near-duplicate by exact comparison."""
        import numpy as np

        mine = self._read_shingles(text)
        for start in range(0, len(others), COMPARED_AT_ONCE):
            some = others[start : start + COMPARED_AT_ONCE].tolist()
            similarity = _compare_exactly(mine, [self._read_shingles(other) for other in some])
            hits: list[int] = np.flatnonzero(similarity >= self._threshold).tolist()
            if hits:
                original = int(self._kept.texts[some[hits[0]]])
                return _Match(int(self._kept.texts[text]), original, float(similarity[hits[0]]))
        return None

    def _read_shingles(self, text: int) -> Hashes:
        import numpy as np

        self._file.seek(8 * int(self._kept.places[text]))
        return np.frombuffer(self._file.read(8 * int(self._kept.sizes[text])), dtype=np.uint64)


def _bound_differences(threshold: float) -> int:
    """Return how many bits of a pair at the threshold differ at most, with four standard errors."""
    # A permutation has different minima with 1 - threshold, and then different bits with 1/2.
    share = (1 - threshold) / 2
    return int(PERMUTATIONS * share + 4 * (PERMUTATIONS * share * (1 - share)) ** 0.5)


def _compare_exactly(mine: Hashes, theirs: Sequence[Hashes]) -> NDArray[np.float64]:
    """Return the Jaccard similarity of one text with each other text."""
    import numpy as np

    sizes = np.array([len(t) for t in theirs], dtype=np.int64)
    flat = np.concatenate(theirs)
    at = np.minimum(np.searchsorted(mine, flat), len(mine) - 1)
    both = np.add.reduceat((mine[at] == flat).astype(np.int64), np.cumsum(sizes) - sizes)
    return both / (sizes + len(mine) - both)
