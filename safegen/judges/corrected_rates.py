"""Means over many judged items, corrected by the human labels of some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from safegen.core.statistics import Z95, Interval, wilson_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_ITEMS = 30
"""Items of each kind, labelled and unlabelled, below which the judge's values have no weight.

The interval is a normal approximation, and the variance of fewer items is too uncertain for it.
"""


class CorrectedMean(NamedTuple):
    """A mean estimated from a judge's values and some human values."""

    mean: float
    interval: Interval
    raw: float
    """Mean of the judge's values over all items, without correction."""
    labelled: int
    """Items with a human value."""
    unlabelled: int
    weight: float
    """Weight λ of the judge's values, 0 to 1; 0 if only the human values count."""


def correct_mean(
    human: Sequence[float], judged: Sequence[float], *, unlabelled: Sequence[float] = ()
) -> CorrectedMean | None:
    """Estimate a mean by power-tuned prediction-powered inference (PPI++).

    The estimate is the human mean plus λ times the difference of the judge's mean over the
    unlabelled items and its mean over the labelled ones. λ gives the least variance, so a judge that
    does not follow people, or few unlabelled items, hardly count (Angelopoulos, Duchi and Zrnic,
    PPI++, 2023). With fewer than `MIN_ITEMS` labelled or unlabelled items, λ is 0.
    The 95 % interval is valid for any judge if the labelled items are a random sample. It is a normal
    approximation, which is too narrow for fewer than about 30 labels or values that are rare.

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
    weight = _tune_weight(truth, predictions, others)
    mean, variance = _mean_and_variance(truth - weight * predictions)
    if weight:
        other_mean, other_variance = _mean_and_variance(weight * others)
        mean, variance = mean + other_mean, variance + other_variance
    half = Z95 * math.sqrt(variance)
    interval = Interval(mean - half, mean + half)
    return CorrectedMean(mean, interval, raw, len(truth), len(others), weight)


def correct_rate(
    human: Sequence[bool], judged: Sequence[bool], *, unlabelled: Sequence[bool] = ()
) -> CorrectedMean | None:
    """Estimate a rate as `correct_mean` does, cut to [0, 1].

    The interval is Wilson's (Wilson 1927), for as many items as give the variance of the estimate;
    the normal one is too narrow for rare labels. If the judge makes no error on the labelled items,
    the interval is wider by 3/n on both sides: so many errors may exist unseen (rule of three, Hanley
    and Lippman-Hand 1983).
    """
    estimate = correct_mean(human, judged, unlabelled=unlabelled)
    if estimate is None:
        return None
    mean = min(1.0, max(0.0, estimate.mean))
    standard_error = (estimate.interval.high - estimate.interval.low) / (2 * Z95)
    is_useful = 0 < mean < 1 and estimate.weight > 0 and standard_error > 0
    items = mean * (1 - mean) / standard_error**2 if is_useful else len(human)
    low, high = wilson_interval(mean * items, items)
    errors = {int(h) - int(j) for h, j in zip(human, judged, strict=True)}
    unseen = 3 / len(human) if estimate.weight and len(errors) == 1 else 0.0
    interval = Interval(max(0.0, low - unseen), min(1.0, high + unseen))
    return estimate._replace(mean=mean, interval=interval)


def _tune_weight(
    truth: NDArray[np.float64], predictions: NDArray[np.float64], others: NDArray[np.float64]
) -> float:
    """Return the weight with the least variance: Cov(human, judge) / ((1 + n/N) Var(judge))."""
    import numpy as np

    n, size = len(truth), len(others)
    if min(n, size) < MIN_ITEMS:
        return 0.0
    variance = float(np.concatenate((predictions, others)).var(ddof=1))
    if variance == 0:
        return 0.0
    covariance = float(np.cov(truth, predictions, ddof=1)[0, 1])
    return min(1.0, max(0.0, covariance / ((1 + n / size) * variance)))


def _mean_and_variance(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return a sample's mean, and the variance of that mean."""
    return float(values.mean()), float(values.var(ddof=1)) / len(values)
