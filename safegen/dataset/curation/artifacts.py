"""Lexical artifacts: words that reveal the label of a prompt, found by a bag-of-words classifier.

Naive Bayes over the words of a prompt, cross-validated with the prompts of a goal kept together. An
AUC near 0.5 means that words alone reveal nothing; near 1, a model trained on the rows may learn the
words instead of the content. Too few rows are `unmeasured`, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from safegen.core import text_forms
from safegen.core.hashing import digest
from safegen.core.plural import format_plural
from safegen.core.statistics import Z95, Interval
from safegen.core.types import MODES, Intent, Mode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Without artifacts the interval is 0.80 wide at 20 rows, 0.70 at 40 and 0.49 at 80.
MIN_ROWS = 40
# On average two rows of each kind and two goals in each fold; fewer leave folds without pairs.
MIN_CLASS_ROWS = 10
MIN_GOALS = 10
# Five or ten folds are usual (Hastie et al. 2009, 7.10); ten would leave a single goal in a fold.
FOLDS = 5
# 50 to 200 samples suffice for a standard error (Efron and Tibshirani 1993, chapter 6).
RESAMPLES = 100
"""Bootstrap samples of goals behind an interval."""
MAX_WORDS = 10
MIN_Z = 3.0
"""Least |log odds| over standard error of an artifact; by chance, one word in 370 reaches it."""
# Haldane-Anscombe correction: keeps the log odds of a word finite that only one kind contains.
SMOOTHING = 0.5


class ArtifactRow(NamedTuple):
    """A prompt with the labels that its words should not reveal."""

    goal: str
    set_id: str
    text: str
    intent: Intent
    mode: Mode


class ArtifactWord(NamedTuple):
    """A word that reveals a label."""

    word: str
    z: float
    """Log odds over their standard error; positive if the word indicates the first kind."""
    first: int
    """Rows of the first kind that contain it."""
    second: int


@dataclass(frozen=True, slots=True)
class ArtifactMeasure:
    """Separability of two kinds of rows by words alone."""

    auc: float
    """Probability that a row of the first kind scores above one of the second, in unseen goals."""
    interval: Interval
    """95 % interval from resampled goals."""
    first: int
    """Rows of the first kind."""
    second: int
    words: tuple[ArtifactWord, ...]
    """The strongest artifacts of both kinds."""


@dataclass(frozen=True, slots=True)
class UnmeasuredArtifacts:
    """Reason why there are too few rows to measure."""

    reason: str


ArtifactResult = ArtifactMeasure | UnmeasuredArtifacts
ArtifactTarget = Literal["dual_use", "direct_answer", "safe_completion", "refuse_redirect"]
ARTIFACT_TARGETS: tuple[ArtifactTarget, ...] = ("dual_use", *MODES)
"""`dual_use` against `benign`, and each expected mode against the others."""


def measure_artifacts(rows: Sequence[ArtifactRow]) -> dict[ArtifactTarget, ArtifactResult]:
    """Measure every target. Equal rows in equal order give equal results."""
    return {target: measure_target(rows, target) for target in ARTIFACT_TARGETS}


def measure_target(rows: Sequence[ArtifactRow], target: ArtifactTarget) -> ArtifactResult:
    """Measure one target."""
    kinds = [target_label(row, target) for row in rows]
    relevant = [row for row, kind in zip(rows, kinds, strict=True) if kind is not None]
    return measure_auc(relevant, [kind for kind in kinds if kind is not None])


def target_label(row: ArtifactRow, target: ArtifactTarget) -> bool | None:
    """Return True for a target's first kind; None if the target does not apply to the row."""
    if target != "dual_use":
        return row.mode == target
    return None if row.intent == "malicious" else row.intent == "dual_use"


def measure_auc(rows: Sequence[ArtifactRow], kinds: Sequence[bool]) -> ArtifactResult:
    """Measure how well words separate rows of the first kind (True) from the others."""
    first, goals = sum(kinds), len({r.goal for r in rows})
    second = len(rows) - first
    if len(rows) < MIN_ROWS or min(first, second) < MIN_CLASS_ROWS or goals < MIN_GOALS:
        return UnmeasuredArtifacts(
            f"{format_plural(first, 'row')} against {second} in {format_plural(goals, 'goal')}; at least {MIN_ROWS} in all,"
            f" {MIN_CLASS_ROWS} of each kind and {MIN_GOALS} goals are needed"
        )
    bag = _build_bag(rows, kinds)
    value = _measure_interval(bag)
    if value is None:
        return UnmeasuredArtifacts("no part of the goals holds both kinds")
    return ArtifactMeasure(*value, first, second, _top_words(bag)[:MAX_WORDS])


@dataclass(frozen=True, slots=True)
class _WordBag:
    """Distinct pairs of row and word."""

    row: Ints
    word: Ints
    names: list[str]
    kind: Floats
    """1 for the first kind, 0 for the second, by row."""
    goal: Ints
    fold: Ints
    """By row."""

    @property
    def rows(self) -> int:
        return len(self.kind)


# Each target reads the same texts, of which a sample has about 2,000.
@lru_cache(maxsize=4_000)
def _distinct_words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text_forms.words(text)))


def _build_bag(rows: Sequence[ArtifactRow], kinds: Sequence[bool]) -> _WordBag:
    import numpy as np

    numbers: dict[str, int] = {}
    row: list[int] = []
    word: list[int] = []
    for i, r in enumerate(rows):
        word_ids = [numbers.setdefault(w, len(numbers)) for w in _distinct_words(r.text)]
        row += [i] * len(word_ids)
        word += word_ids
    # Goals are assigned in the order of their digests, so that folds are even for any names.
    goals = {g: i for i, g in enumerate(sorted({r.goal for r in rows}, key=digest))}
    goal = np.array([goals[r.goal] for r in rows], dtype=np.int64)
    return _WordBag(
        np.array(row, dtype=np.int64),
        np.array(word, dtype=np.int64),
        list(numbers),
        np.array(kinds, dtype=np.float64),
        goal,
        goal % FOLDS,
    )


def _count_words(bag: _WordBag, row_weights: Floats) -> tuple[Floats, Floats]:
    """Count rows of each kind that contain a word, weighted by `row_weights`."""
    import numpy as np

    size = len(bag.names)
    first = np.bincount(bag.word, weights=(row_weights * bag.kind)[bag.row], minlength=size)
    total = np.bincount(bag.word, weights=row_weights[bag.row], minlength=size)
    return first.astype(np.float64), (total - first).astype(np.float64)


def _log_odds(bag: _WordBag, row_weights: Floats) -> tuple[Floats, Floats]:
    """Return the log odds ratio of each word between the kinds, and its standard error."""
    import numpy as np

    first, second = _count_words(bag, row_weights)
    n_first = float((row_weights * bag.kind).sum())
    n_second = float(row_weights.sum()) - n_first
    cells = [first, n_first - first, second, n_second - second]
    a, b, c, d = (cell + SMOOTHING for cell in cells)
    return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _measure_interval(bag: _WordBag) -> tuple[float, Interval] | None:
    """Return the AUC over pairs within folds, with an interval from goals drawn with replacement."""
    import numpy as np

    # The classifier is trained again on every draw. Folds share most of their training rows, so an
    # interval from the scores alone is too narrow: it contained 0.5 in 86 of 100 corpora without
    # artifacts, this one in 97.
    goals = int(bag.goal.max()) + 1
    counter = _FoldCounter.of(bag)
    value = _weighted_auc(counter, np.ones(goals))
    # A fixed seed and a named generator: `default_rng` may change its algorithm.
    draws = [_weighted_auc(counter, draw.astype(np.float64)) for draw in _draw_goals(goals)]
    error = float(np.std([d for d in draws if d is not None]))
    if value is None:
        return None
    return value, Interval(max(0.0, value - Z95 * error), min(1.0, value + Z95 * error))


# Most targets have the same goals.
@lru_cache(maxsize=1)
def _draw_goals(goals: int) -> list[Ints]:
    """Draw as many goals as there are, with replacement, `RESAMPLES` times; return their counts."""
    import numpy as np

    rng = np.random.Generator(np.random.PCG64(0))
    return [rng.multinomial(goals, np.full(goals, 1 / goals)) for _ in range(RESAMPLES)]


@dataclass(frozen=True, slots=True)
class _FoldCounter:
    """Weighted counts of rows and of words in all folds at once; the same pairs serve every draw.

    Words of a single fold are left out: outside that fold they are unseen, so their odds are 0.
    """

    bag: _WordBag
    words: int
    row: Ints
    """By pair of row and word."""
    cell: Ints
    """Number of fold and word, by pair of row and word."""
    first: tuple[Ints, Ints]
    """Rows and cells of the pairs whose row is of the first kind."""
    second: tuple[Ints, Ints]
    lengths: Floats
    """Words of each row, at least 1."""

    @staticmethod
    def of(bag: _WordBag) -> _FoldCounter:
        import numpy as np

        size = len(bag.names)
        counts = np.bincount(bag.fold[bag.row] * size + bag.word, minlength=FOLDS * size)
        is_shared = (counts.reshape(FOLDS, -1) > 0).sum(axis=0) > 1
        is_used = is_shared[bag.word]
        words, row = int(is_shared.sum()), bag.row[is_used]
        cell = bag.fold[row] * words + (np.cumsum(is_shared) - 1)[bag.word[is_used]]
        # The first word of each row, then the second of each, and so on: additions to one row that
        # follow each other directly take twice as long.
        place = np.arange(len(row)) - np.searchsorted(row, row)
        order = np.lexsort((row, place))
        row, cell = row[order], cell[order]
        is_first = bag.kind[row] > 0
        lengths = np.maximum(np.bincount(bag.row, minlength=bag.rows), 1).astype(np.float64)
        return _FoldCounter(
            bag,
            words,
            row,
            cell,
            (row[is_first], cell[is_first]),
            (row[~is_first], cell[~is_first]),
            lengths,
        )

    def count_outside(self, pairs: tuple[Ints, Ints], by_row: Floats) -> Floats:
        """Count the words (columns) in the rows that are outside each fold (rows)."""
        import numpy as np

        row, cell = pairs
        counts = np.bincount(cell, weights=by_row[row], minlength=FOLDS * self.words)
        counts = counts.reshape(FOLDS, self.words)
        return np.subtract(counts.sum(axis=0), counts, dtype=np.float64)

    def count_rows_outside(self, by_row: Floats) -> Floats:
        """Count the rows outside each fold, as a column."""
        import numpy as np

        counts = np.bincount(self.bag.fold, weights=by_row, minlength=FOLDS)
        return np.subtract(counts.sum(), counts, dtype=np.float64)[:, None]

    def score_rows(self, by_row: Floats) -> Floats:
        """Score each row by the mean log odds of its words outside its fold, whatever its length."""
        import numpy as np

        first = self.count_outside(self.first, by_row)
        second = self.count_outside(self.second, by_row)
        n_first = self.count_rows_outside(by_row * self.bag.kind)
        n_second = self.count_rows_outside(by_row) - n_first
        # In place: a new array of this size for each step would cost more than the arithmetic.
        unseen = first + second == 0
        numerator = n_second + SMOOTHING - second
        denominator = n_first + SMOOTHING - first
        first += SMOOTHING
        second += SMOOTHING
        numerator *= first
        denominator *= second
        numerator /= denominator
        odds = np.log(numerator, out=numerator)
        odds[unseen] = 0.0
        sums = np.bincount(self.row, weights=odds.take(self.cell), minlength=self.bag.rows)
        # Sums depend on the order of the words in the last digits; rounding makes equal texts tie.
        return np.round(sums / self.lengths, 12)


def _weighted_auc(counter: _FoldCounter, weights: Floats) -> float | None:
    """Return the AUC with weighted goals; None if no fold contains both kinds."""
    import numpy as np

    bag = counter.bag
    by_row = weights[bag.goal]
    # Weights are whole numbers, so the order of additions does not change a count.
    _, ties = np.unique(counter.score_rows(by_row), return_inverse=True)
    cell = bag.fold * bag.rows + ties
    first, second = (
        np.bincount(cell, weights=part, minlength=FOLDS * bag.rows).reshape(FOLDS, -1)
        for part in (by_row * bag.kind, by_row * (1 - bag.kind))
    )
    # Pairs of a fold with the first kind above; ties count half.
    below = np.cumsum(second, axis=1) - second / 2
    every = float((first.sum(axis=1) * second.sum(axis=1)).sum())
    return float((first * below).sum()) / every if every else None


def _top_words(bag: _WordBag) -> tuple[ArtifactWord, ...]:
    """Return the artifacts, the strongest first."""
    import numpy as np

    everything = np.ones(bag.rows)
    odds, error = _log_odds(bag, everything)
    first, second = _count_words(bag, everything)
    words = [
        ArtifactWord(
            bag.names[i], round(float(odds[i] / error[i]), 2), int(first[i]), int(second[i])
        )
        for i in np.flatnonzero(np.abs(odds / error) >= MIN_Z).tolist()
    ]
    return tuple(sorted(words, key=lambda w: (-abs(w.z), w.word)))


class ExcludedSet(NamedTuple):
    """An excluded set and its artifact."""

    set_id: str
    word: ArtifactWord

    @property
    def reason(self) -> str:
        """The word with its counts, for people."""
        w = self.word
        return f"contains `{w.word}`: {format_plural(w.first, 'row')} of the kind, {w.second} of the other"


@dataclass(frozen=True, slots=True)
class ArtifactReduction:
    """Sets to exclude so that words reveal less."""

    before: ArtifactResult
    after: ArtifactResult
    excluded: tuple[ExcludedSet, ...]
    is_reached: bool
    """True if the remaining rows were measured at or under the bound."""


def reduce_artifacts(
    rows: Sequence[ArtifactRow], target: ArtifactTarget, *, bound: float, most: float = 0.5
) -> ArtifactReduction:
    """Choose sets to exclude, word by word, until the AUC of a target is at or under the bound.

    The strongest artifact comes first; its sets are those that contain it on the side that it indicates.
    A word in too many sets is skipped: it is the author's style, which exclusion cannot fix.

    Args:
        rows: all prompts, in canonical order.
        target: the label that words should not reveal.
        bound: highest AUC to reach, from 0.5 on.
        most: largest share of the sets that may be excluded.
    """
    room = int(most * len({r.set_id for r in rows}))
    before = result = measure_target(rows, target)
    dropped: list[ExcludedSet] = []
    while isinstance(result, ArtifactMeasure) and result.auc > bound:
        step = _next_exclusion(rows, target, result, room - len(dropped))
        if step is None:
            break
        rows, sets, result = step
        dropped += sets
    if isinstance(result, ArtifactMeasure) and result.auc <= bound:
        return ArtifactReduction(before, result, tuple(dropped), is_reached=True)
    # Nothing is excluded then: the artifact would remain, with fewer rows.
    return ArtifactReduction(before, before, (), is_reached=False)


def _next_exclusion(
    rows: Sequence[ArtifactRow], target: ArtifactTarget, result: ArtifactMeasure, room: int
) -> tuple[list[ArtifactRow], list[ExcludedSet], ArtifactMeasure] | None:
    """Exclude the sets of the strongest artifact that fits `room`; None if none fits."""
    for word in result.words:
        carriers = _sets_with_word(rows, target, word)
        if not 0 < len(carriers) <= room:
            continue
        left = [r for r in rows if r.set_id not in carriers]
        measured = measure_target(left, target)
        if isinstance(measured, ArtifactMeasure):
            return left, [ExcludedSet(set_id, word) for set_id in carriers], measured
    return None


def _sets_with_word(
    rows: Sequence[ArtifactRow], target: ArtifactTarget, word: ArtifactWord
) -> dict[str, None]:
    """Return the sets with the word on the side that it indicates, in the order of the rows."""
    return dict.fromkeys(
        r.set_id
        for r in rows
        if target_label(r, target) is (word.z > 0) and word.word in _distinct_words(r.text)
    )
