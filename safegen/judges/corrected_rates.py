"""Means over many judged items, corrected by the human labels of some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from safegen.core.statistics import Z95, Interval


class CorrectedMean(NamedTuple):
    """A mean estimated from a judge's values and some human values."""

    mean: float
    interval: Interval
    raw: float
    """Mean of the judge's values over all items, without correction."""
    labelled: int
    """Items with a human value."""
    unlabelled: int


def correct_mean(
    human: Sequence[float], judged: Sequence[float], *, unlabelled: Sequence[float] = ()
) -> CorrectedMean | None:
    """Estimate a mean by prediction-powered inference (Angelopoulos et al., Science 2023).

    The estimate is the judge's mean over the unlabelled items plus the judge's mean error over the
    labelled ones. The 95 % interval is valid for any judge if the labelled items are a random
    sample. It is a normal approximation, so fewer than about 30 labels make it too narrow.
    Without unlabelled items the estimate is the mean of the human values.

    Args:
        human: human values of n items.
        judged: the judge's values of the same items.
        unlabelled: the judge's values of N other items.

    Returns:
        None with fewer than two human values.

    Raises:
        ValueError: `human` and `judged` differ in length.

    Example:
        >>> correct_mean([1, 0, 1, 1], [1, 0, 0, 1], unlabelled=[1, 0, 1, 0]).mean
        0.75
    """
    import numpy as np

    if len(human) != len(judged):
        raise ValueError(f"there are {len(human)} human values and {len(judged)} of the judge")
    if len(human) < 2:
        return None
    truth = np.asarray(human, dtype=np.float64)
    predictions = np.asarray(judged, dtype=np.float64)
    others = np.asarray(unlabelled, dtype=np.float64)
    raw = float(np.concatenate((predictions, others)).mean())
    errors = truth - predictions if len(others) else truth
    mean, variance = float(errors.mean()), float(errors.var()) / len(errors)
    if len(others):
        mean += float(others.mean())
        variance += float(others.var()) / len(others)
    half = Z95 * math.sqrt(variance)
    return CorrectedMean(mean, Interval(mean - half, mean + half), raw, len(truth), len(others))


def correct_rate(
    human: Sequence[bool], judged: Sequence[bool], *, unlabelled: Sequence[bool] = ()
) -> CorrectedMean | None:
    """Estimate a rate as `correct_mean` does, with estimate and bounds cut to [0, 1].

    If the labelled items show no variation, the interval is wider by 3/n on both sides: so many
    errors may exist unseen (rule of three, Hanley and Lippman-Hand 1983).
    """
    estimate = correct_mean(human, judged, unlabelled=unlabelled)
    if estimate is None:
        return None
    errors = {int(h) - int(j) for h, j in zip(human, judged, strict=True)}
    unseen = 3 / len(human) if len(errors if unlabelled else set(human)) == 1 else 0.0
    low, high = estimate.interval.low - unseen, estimate.interval.high + unseen
    return estimate._replace(
        mean=min(1.0, max(0.0, estimate.mean)),
        interval=Interval(min(1.0, max(0.0, low)), min(1.0, max(0.0, high))),
    )
