"""Scores of predicted labels against gold labels: by class, and by threshold of a numeric score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from safegen.judges.agreement import Label


class ClassScores(NamedTuple):
    """Precision, recall and F1 of one class; None if the denominator is 0."""

    label: Label
    support: int
    """Items with this gold label."""
    predicted: int
    """Items with this predicted label."""
    precision: float | None
    recall: float | None
    f1: float | None


class ThresholdScores(NamedTuple):
    """Scores of one threshold: an item is predicted positive from this score on."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    accuracy: float


def score_classes(
    gold: Sequence[Label], predicted: Sequence[Label], *, labels: Sequence[Label]
) -> list[ClassScores]:
    """Compute precision, recall and F1 of each class.

    Raises:
        ValueError: the two sequences differ in length.

    Example:
        >>> score_classes(["a", "a", "b"], ["a", "b", "b"], labels=["a"])[0].recall
        0.5
    """
    pairs = Counter(zip(gold, predicted, strict=True))
    support, found = Counter(gold), Counter(predicted)
    return [
        ClassScores(
            label,
            support[label],
            found[label],
            _divide(pairs[label, label], found[label]),
            _divide(pairs[label, label], support[label]),
            _divide(2 * pairs[label, label], support[label] + found[label]),
        )
        for label in labels
    ]


def average_f1(scores: Sequence[ClassScores]) -> float | None:
    """Return the macro F1: the mean over the classes with an F1."""
    known = [score.f1 for score in scores if score.f1 is not None]
    return sum(known) / len(known) if known else None


def sweep_thresholds(
    gold: Sequence[bool], scores: Sequence[float], *, thresholds: Sequence[float] | None = None
) -> list[ThresholdScores]:
    """Compute precision, recall, F1 and accuracy for each threshold of a numeric score.

    Args:
        gold: True for a positive item.
        scores: the score of each item.
        thresholds: the thresholds; default each distinct score.

    Returns:
        One entry for each threshold, in ascending order.

    Raises:
        ValueError: the sequences are empty or differ in length.

    Example:
        >>> [t.f1 for t in sweep_thresholds([False, True], [0.2, 0.7])]
        [0.6666666666666666, 1.0]
    """
    import numpy as np

    if not scores or len(gold) != len(scores):
        raise ValueError(f"there are {len(gold)} gold labels and {len(scores)} scores")
    order = np.argsort(scores, kind="stable")
    ascending = np.asarray(scores, dtype=np.float64)[order]
    # Positives among the items below each position.
    below = np.concatenate(([0], np.cumsum(np.asarray(gold, dtype=np.int64)[order])))
    steps = sorted(set(scores if thresholds is None else thresholds))
    cuts = np.searchsorted(ascending, steps, side="left")
    total, size = int(below[-1]), len(scores)
    swept: list[ThresholdScores] = []
    for step, cut in zip(steps, cuts.tolist(), strict=True):
        missed, predicted = int(below[cut]), size - cut
        hits = total - missed
        swept.append(
            ThresholdScores(
                float(step),
                _divide(hits, predicted),
                _divide(hits, total),
                _divide(2 * hits, predicted + total),
                (hits + cut - missed) / size,
            )
        )
    return swept


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None
