"""Whether single words of a prompt tell what it is: a bag-of-words classifier that should fail.

Naive Bayes over the words that a prompt holds, cross-validated with the prompts of a goal kept
together. An AUC near one half means that words alone tell nothing; near one, that a model trained on
the rows may learn the words in place of the matter. Too few rows are `unmeasured`, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from safegen.core import text_forms
from safegen.core.hashing import digest
from safegen.core.statistics import Z95, Interval
from safegen.core.types import MODES, Intent, Mode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MIN_ROWS = 40
MIN_CLASS_ROWS = 10
MIN_GOALS = 10
FOLDS = 5
RESAMPLES = 200
"""Bootstrap samples of goals behind an interval."""
MAX_WORDS = 10
MIN_Z = 3.0
"""Log odds over their standard error from which a word tells; by chance one word in 370 does."""
SMOOTHING = 0.5


class ArtifactRow(NamedTuple):
    """A prompt with what its words should not tell."""

    goal: str
    set_id: str
    text: str
    intent: Intent
    mode: Mode


class ArtifactWord(NamedTuple):
    """A word that tells."""

    word: str
    z: float
    """Log odds over their standard error; positive where the word speaks for the first kind."""
    first: int
    """Rows of the first kind that hold it."""
    second: int


@dataclass(frozen=True, slots=True)
class ArtifactMeasure:
    """How well words tell one kind of row from another."""

    auc: float
    """Chance that a row of the first kind is rated above one of the second, in unseen goals."""
    interval: Interval
    """95 %, from resampled goals."""
    first: int
    """Rows of the first kind."""
    second: int
    words: tuple[ArtifactWord, ...]
    """The most telling words, whichever way they speak."""


@dataclass(frozen=True, slots=True)
class UnmeasuredArtifacts:
    """Too little to measure."""

    reason: str


ArtifactResult = ArtifactMeasure | UnmeasuredArtifacts
ArtifactTarget = Literal["dual_use", "direct_answer", "safe_completion", "refuse_redirect"]
ARTIFACT_TARGETS: tuple[ArtifactTarget, ...] = ("dual_use", *MODES)
"""`dual_use` against `benign`, and each expected mode against the others."""


def measure_artifacts(rows: Sequence[ArtifactRow]) -> dict[ArtifactTarget, ArtifactResult]:
    """Measure every question. Equal rows in equal order give equal results."""
    return {question: measure_target(rows, question) for question in ARTIFACT_TARGETS}


def measure_target(rows: Sequence[ArtifactRow], question: ArtifactTarget) -> ArtifactResult:
    """Measure one question."""
    kinds = [target_label(row, question) for row in rows]
    relevant = [row for row, kind in zip(rows, kinds, strict=True) if kind is not None]
    return measure_auc(relevant, [kind for kind in kinds if kind is not None])


def target_label(row: ArtifactRow, question: ArtifactTarget) -> bool | None:
    """Whether a row is of a question's first kind; None where it is not asked about."""
    if question != "dual_use":
        return row.mode == question
    return None if row.intent == "malicious" else row.intent == "dual_use"


def measure_auc(rows: Sequence[ArtifactRow], kinds: Sequence[bool]) -> ArtifactResult:
    """Measure how well words tell rows of the first kind (true) from the others."""
    first, goals = sum(kinds), len({r.goal for r in rows})
    second = len(rows) - first
    if len(rows) < MIN_ROWS or min(first, second) < MIN_CLASS_ROWS or goals < MIN_GOALS:
        return UnmeasuredArtifacts(
            f"{first} rows against {second} in {goals} goals; at least {MIN_ROWS} in all,"
            f" {MIN_CLASS_ROWS} of each kind and {MIN_GOALS} goals are needed"
        )
    bag = _build_bag(rows, kinds)
    value = _measure_interval(bag)
    if value is None:
        return UnmeasuredArtifacts("no part of the goals holds both kinds")
    return ArtifactMeasure(*value, first, second, _top_words(bag)[:MAX_WORDS])


@dataclass(frozen=True, slots=True)
class _WordBag:
    """Rows as words: pairs of row and word, each once."""

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


def _build_bag(rows: Sequence[ArtifactRow], kinds: Sequence[bool]) -> _WordBag:
    import numpy as np

    numbers: dict[str, int] = {}
    row: list[int] = []
    word: list[int] = []
    for i, r in enumerate(rows):
        held = [
            numbers.setdefault(w, len(numbers)) for w in dict.fromkeys(text_forms.words(r.text))
        ]
        row += [i] * len(held)
        word += held
    # Goals are dealt out in the order of their digests: even parts, whatever the names look like.
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


def _count_words(bag: _WordBag, taken: Floats) -> tuple[Floats, Floats]:
    """Rows of each kind that hold a word, among the rows taken."""
    import numpy as np

    size = len(bag.names)
    first = np.bincount(bag.word, weights=(taken * bag.kind)[bag.row], minlength=size)
    every = np.bincount(bag.word, weights=taken[bag.row], minlength=size)
    return first.astype(np.float64), (every - first).astype(np.float64)


def _log_odds(bag: _WordBag, taken: Floats) -> tuple[Floats, Floats]:
    """Log odds ratio of each word between the kinds, and its standard error."""
    import numpy as np

    first, second = _count_words(bag, taken)
    n_first = float((taken * bag.kind).sum())
    n_second = float(taken.sum()) - n_first
    cells = [first, n_first - first, second, n_second - second]
    a, b, c, d = (cell + SMOOTHING for cell in cells)
    return np.log(a * d / (b * c)), np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _measure_interval(bag: _WordBag) -> tuple[float, Interval] | None:
    """AUC over the pairs within folds, with an interval from goals drawn with replacement.

    The classifier learns anew from every draw. Folds share most of what they learn from, so an
    interval from the scores alone is too narrow: it held one half in 86 of 100 corpora without a
    tell, this one in 97.
    """
    import numpy as np

    goals = int(bag.goal.max()) + 1
    value = _weighted_auc(bag, np.ones(goals))
    rng = np.random.Generator(np.random.PCG64(0))
    drawn = (rng.multinomial(goals, np.full(goals, 1 / goals)) for _ in range(RESAMPLES))
    draws = [_weighted_auc(bag, draw.astype(np.float64)) for draw in drawn]
    error = float(np.std([d for d in draws if d is not None]))
    if value is None:
        return None
    return value, Interval(max(0.0, value - Z95 * error), min(1.0, value + Z95 * error))


def _weighted_auc(bag: _WordBag, weights: Floats) -> float | None:
    """AUC with goals weighted; None where no fold holds both kinds."""
    import numpy as np

    by_row = weights[bag.goal]
    above = every = 0.0
    for fold in range(FOLDS):
        inside = bag.fold == fold
        scores = _score_rows(bag, np.where(inside, 0.0, by_row))[inside]
        pairs = _pair_weights(scores, bag.kind[inside], by_row[inside])
        above, every = above + pairs[0], every + pairs[1]
    return above / every if every else None


def _score_rows(bag: _WordBag, taken: Floats) -> Floats:
    """Score every row by the words of the rows taken: the mean of their log odds, so that length is mute."""
    import numpy as np

    odds, _ = _log_odds(bag, taken)
    seen = np.bincount(bag.word, weights=taken[bag.row], minlength=len(bag.names)) > 0
    weight = np.where(seen, odds, 0.0)
    sums = np.bincount(bag.row, weights=weight[bag.word], minlength=bag.rows)
    return np.round(sums / np.maximum(np.bincount(bag.row, minlength=bag.rows), 1), 12)


def _pair_weights(scores: Floats, kind: Floats, weights: Floats) -> tuple[float, float]:
    """Weight of the pairs in which the first kind is above, ties by half, and of all pairs."""
    import numpy as np

    _, tie = np.unique(scores, return_inverse=True)
    first = np.bincount(tie, weights=weights * kind)
    second = np.bincount(tie, weights=weights * (1 - kind))
    below = np.cumsum(second) - second
    return float((first * (below + second / 2)).sum()), float(first.sum() * second.sum())


def _top_words(bag: _WordBag) -> tuple[ArtifactWord, ...]:
    """Words that tell, the most telling first."""
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
    """A set to drop, and why."""

    set_id: str
    word: ArtifactWord

    @property
    def reason(self) -> str:
        """The word with its counts, for people."""
        w = self.word
        return f"holds `{w.word}`: {w.first} rows of the kind, {w.second} of the other"


@dataclass(frozen=True, slots=True)
class ArtifactReduction:
    """Which sets to drop so that words tell less."""

    before: ArtifactResult
    after: ArtifactResult
    excluded: tuple[ExcludedSet, ...]
    is_reached: bool
    """Whether what is left was measured, and is at or under the bound."""


def reduce_artifacts(
    rows: Sequence[ArtifactRow], question: ArtifactTarget, *, bound: float, most: float = 0.5
) -> ArtifactReduction:
    """Choose sets to drop, word by word, until the AUC of a question is at or under the bound.

    The most telling word comes first; its sets are those in which it stands on the side it speaks for. A word that too many sets hold is passed over: it is no slip of a few sets but the way in
    which the author writes, and dropping cannot mend it.

    Args:
        rows: all prompts, in canonical order.
        question: what words should not tell.
        bound: highest AUC to reach, from 0.5 on.
        most: largest share of the sets that may be dropped.
    """
    room = int(most * len({r.set_id for r in rows}))
    before = result = measure_target(rows, question)
    dropped: list[ExcludedSet] = []
    while isinstance(result, ArtifactMeasure) and result.auc > bound:
        step = _next_exclusion(rows, question, result, room - len(dropped))
        if step is None:
            break
        rows, sets, result = step
        dropped += sets
    if isinstance(result, ArtifactMeasure) and result.auc <= bound:
        return ArtifactReduction(before, result, tuple(dropped), is_reached=True)
    return ArtifactReduction(before, before, (), is_reached=False)


def _next_exclusion(
    rows: Sequence[ArtifactRow], question: ArtifactTarget, result: ArtifactMeasure, room: int
) -> tuple[list[ArtifactRow], list[ExcludedSet], ArtifactMeasure] | None:
    """What is left without the sets of the most telling word that fits the room."""
    for word in result.words:
        carriers = _sets_with_word(rows, question, word)
        if not 0 < len(carriers) <= room:
            continue
        left = [r for r in rows if r.set_id not in carriers]
        measured = measure_target(left, question)
        if isinstance(measured, ArtifactMeasure):
            return left, [ExcludedSet(set_id, word) for set_id in carriers], measured
    return None


def _sets_with_word(
    rows: Sequence[ArtifactRow], question: ArtifactTarget, word: ArtifactWord
) -> dict[str, None]:
    """Sets in which the word stands on the side it speaks for, in the order of the rows."""
    return dict.fromkeys(
        r.set_id
        for r in rows
        if target_label(r, question) is (word.z > 0) and word.word in text_forms.words(r.text)
    )
