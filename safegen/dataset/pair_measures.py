"""Measures of preference pairs: lengths, and how well words alone identify the chosen side.

A logistic regression reads the words that only one side of a pair has. It is fitted to the pairs of
one half of the sets and ranks those of the other half, both ways. Near 0.5, words reveal nothing;
near 1, a model may learn the words instead of the fault. Too few pairs are unmeasured.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, cast
from zlib import crc32

from safegen.core import text_forms
from safegen.core.hashing import digest, hash_fraction
from safegen.core.types import Severity
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MAX_PAIRS = 5_000
"""Pairs that are ranked, drawn by digest; more would cost time and not change the figure."""
# As for lexical artifacts: with fewer, chance alone is far from 0.5.
MIN_PAIRS = 40
MIN_SETS = 10
BUCKETS = 2**15
"""Columns of hashed words; the answers of a run have some thousand distinct ones."""
STEPS = 60
RIDGE = 1.0
MAX_WORDS = 20
"""Words of the largest weights on each side."""


class PairTexts(NamedTuple):
    """The answers of a pair, and the set of its prompt."""

    set_id: str
    chosen: str
    rejected: str


class PairWord(NamedTuple):
    """A word, with its weight: positive if it indicates the chosen side."""

    word: str
    weight: float


@dataclass(frozen=True, slots=True)
class WordRanking:
    """Result of ranking pairs by words alone."""

    hits: tuple[float, ...]
    """By pair: 1 if the chosen side ranks higher, 0.5 if both are equal, else 0."""
    words: tuple[PairWord, ...]
    """The words of the largest weights, those of the chosen side first."""

    @property
    def auc(self) -> float:
        """Probability that the chosen side ranks higher."""
        return sum(self.hits) / len(self.hits)


@dataclass(frozen=True, slots=True)
class PairMeasure:
    """Measures of a view of pairs."""

    pairs: int
    rated: int
    """Pairs of which the severity of both sides is known."""
    length_ratio: float | None
    """Median of the characters of the rejected side by those of the chosen one; None without pairs."""
    ranked: int
    """Pairs that words ranked."""
    auc: float | None
    """Probability that words alone rank the chosen side higher; None if unmeasured."""
    unmeasured_reason: str | None
    words: tuple[PairWord, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {
            "pairs": self.pairs,
            "rated": self.rated,
            "length_ratio": self.length_ratio,
            "ranked": self.ranked,
            "auc": self.auc,
            "unmeasured": self.unmeasured_reason,
            "words": {w.word: w.weight for w in self.words},
        }


class PairSample:
    """Pairs of a view, added one row at a time; keeps the texts of `MAX_PAIRS` of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, PairTexts]] = []
        self._ratios = array("d")
        self._pairs = self._rated = 0

    def add(self, row: ArrowRow, severities: Mapping[str, Severity | None]) -> None:
        """Count a row, with the severity of the drafts of its prompt by draft id."""
        self._pairs += 1
        sides = (row.get("chosen_draft_id"), row.get("rejected_draft_id"))
        self._rated += all(severities.get(str(id_)) is not None for id_ in sides)
        chosen, rejected = read_answer(row.get("chosen")), read_answer(row.get("rejected"))
        if not chosen or not rejected:
            return
        self._ratios.append(len(rejected) / len(chosen))
        texts = PairTexts(str(row.get("set_id", "")), chosen, rejected)
        # The heap's first item is the one with the largest fraction.
        item = (-hash_fraction("pair words", *texts), texts)
        if len(self._heap) < MAX_PAIRS:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    def measure(self) -> PairMeasure:
        """Measure the pairs; their order does not matter."""
        pairs = [texts for _, texts in sorted(self._heap, reverse=True)]
        reason = explain_unmeasured(pairs)
        ranking = None if reason else rank_pairs(pairs)
        return PairMeasure(
            pairs=self._pairs,
            rated=self._rated,
            length_ratio=round(median(self._ratios), 3) if self._ratios else None,
            ranked=len(ranking.hits) if ranking else 0,
            auc=round(ranking.auc, 4) if ranking else None,
            unmeasured_reason=reason,
            words=ranking.words if ranking else (),
        )


def read_answer(value: object) -> str:
    """Read the answer of one side: a text, a message or the last message of a list; empty for another value."""
    if isinstance(value, list):
        messages = cast("list[object]", value)
        return read_answer(messages[-1]) if messages else ""
    if isinstance(value, dict):
        content = cast("dict[str, object]", value)
        return read_answer(content.get("content", content.get("value")))
    return value if isinstance(value, str) else ""


def explain_unmeasured(pairs: Sequence[PairTexts]) -> str | None:
    """Explain why pairs are too few to rank; None if they are enough."""
    sets = len({pair.set_id for pair in pairs})
    if len(pairs) >= MIN_PAIRS and sets >= MIN_SETS:
        return None
    return f"{len(pairs)} pairs of {sets} sets; at least {MIN_PAIRS} pairs and {MIN_SETS} sets are needed"


def rank_pairs(pairs: Sequence[PairTexts]) -> WordRanking:
    """Rank each pair by a model of words that was fitted to the other half of the sets.

    Args:
        pairs: pairs of at least two sets.

    Example:
        >>> same = [PairTexts(str(n), "take the lid", "no") for n in range(4)]
        >>> rank_pairs(same).auc
        1.0
    """
    import numpy as np

    sides = [(_read_words(pair.chosen), _read_words(pair.rejected)) for pair in pairs]
    bag, halves = _build_bag(sides), _halve_sets(pairs)
    scores = np.zeros(bag.pairs)
    weights = np.zeros(BUCKETS)
    for half in (0, 1):
        is_fitted = halves != half
        fitted = _fit(bag.select(is_fitted))
        scores += np.where(is_fitted, 0, bag.score(fitted))
        weights += fitted / 2
    # Sums differ in the last digits by the order of their words, so equal sides must tie.
    scores = np.round(scores, 9)
    hits = (scores > 0) + (scores == 0) / 2
    return WordRanking(tuple(hits.tolist()), _top_words(sides, weights))


@dataclass(frozen=True, slots=True)
class _SideWords:
    """Words that one side of a pair has and the other lacks."""

    pairs: int
    pair: Ints
    bucket: Ints
    sign: Floats
    """1 for a word of the chosen side, -1 for one of the rejected side."""

    def select(self, is_used: NDArray[np.bool_]) -> _SideWords:
        """Return the words of some pairs."""
        kept = is_used[self.pair]
        return _SideWords(self.pairs, self.pair[kept], self.bucket[kept], self.sign[kept])

    def score(self, weights: Floats) -> Floats:
        """Sum the weights of each pair's words."""
        import numpy as np

        values = weights[self.bucket] * self.sign
        return np.bincount(self.pair, weights=values, minlength=self.pairs).astype(np.float64)

    def sum_words(self, by_pair: Floats) -> Floats:
        """Sum the values of the pairs of each word."""
        import numpy as np

        values = by_pair[self.pair] * self.sign
        return np.bincount(self.bucket, weights=values, minlength=BUCKETS).astype(np.float64)


def _hash_word(word: str) -> int:
    return crc32(word.encode("utf-8", "replace")) % BUCKETS


def _read_words(text: str) -> frozenset[str]:
    return frozenset(text_forms.words(text))


def _build_bag(sides: Sequence[tuple[frozenset[str], frozenset[str]]]) -> _SideWords:
    import numpy as np

    pair: list[int] = []
    bucket: list[int] = []
    sign: list[int] = []
    for number, (chosen, rejected) in enumerate(sides):
        for words, value in ((chosen - rejected, 1), (rejected - chosen, -1)):
            buckets = sorted(map(_hash_word, words))
            pair += [number] * len(buckets)
            bucket += buckets
            sign += [value] * len(buckets)
    return _SideWords(
        len(sides),
        np.array(pair, dtype=np.int64),
        np.array(bucket, dtype=np.int64),
        np.array(sign, dtype=np.float64),
    )


def _halve_sets(pairs: Sequence[PairTexts]) -> Ints:
    """Return the half of each pair's set, 0 or 1."""
    import numpy as np

    # In the order of digests, so that the halves are even for any names.
    sets = sorted({texts.set_id for texts in pairs}, key=digest)
    halves = {set_id: number % 2 for number, set_id in enumerate(sets)}
    return np.array([halves[texts.set_id] for texts in pairs], dtype=np.int64)


def _fit(bag: _SideWords) -> Floats:
    """Fit weights that put the chosen side higher, with Nesterov's accelerated gradient."""
    import numpy as np

    step = 1 / (_largest_eigenvalue(bag) / 4 + RIDGE)
    weights = previous = np.zeros(BUCKETS)
    for number in range(STEPS):
        ahead = weights + number / (number + 3) * (weights - previous)
        # A pair of the other half has no words here, so its error adds nothing.
        wrong = 1 / (1 + np.exp(np.clip(bag.score(ahead), -30, 30)))
        previous = weights
        weights = ahead + step * (bag.sum_words(wrong) - RIDGE * ahead)
    return weights


def _largest_eigenvalue(bag: _SideWords) -> float:
    """Estimate the curvature of the loss by power iteration."""
    import numpy as np

    # A fixed seed. Equal entries would cancel out if both sides have equally many words.
    vector = np.random.Generator(np.random.PCG64(0)).standard_normal(BUCKETS)
    value = 0.0
    for _ in range(10):
        vector = bag.sum_words(bag.score(vector))
        value = float(np.linalg.norm(vector))
        if not value:
            return 0.0
        vector /= value
    # The iteration approaches the value from below.
    return 1.2 * value


def _top_words(
    sides: Sequence[tuple[frozenset[str], frozenset[str]]], weights: Floats
) -> tuple[PairWord, ...]:
    names = frozenset[str]().union(*(words for pair in sides for words in pair))
    words = [PairWord(name, round(float(weights[_hash_word(name)]), 2)) for name in names]
    ranked = sorted((w for w in words if w.weight), key=lambda w: (-w.weight, w.word))
    chosen = [w for w in ranked[:MAX_WORDS] if w.weight > 0]
    rejected = [w for w in ranked[-MAX_WORDS:] if w.weight < 0]
    return (*chosen, *rejected)
