"""Intervals of coefficients by resampling items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from safegen.core.statistics import Interval
from safegen.judges.agreement import Ratings

LEAST_ITEMS = 10
"""Items below which a percentile interval is meaningless."""
LEAST_DEFINED = 0.9
"""Share of the resamples in which the coefficient must be defined, else the interval would be biased."""


def bootstrap_interval(
    ratings: Ratings,
    coefficient: Callable[[Ratings], float | None],
    *,
    resamples: int = 1_000,
    seed: int = 0,
) -> Interval | None:
    """Return the 95 % percentile interval of a coefficient, from resampled items (Efron 1979).

    Items are drawn with all their labels, so raters may depend on each other. Equal arguments give
    equal intervals.

    Args:
        ratings: the labels.
        coefficient: the statistic.
        resamples: number of resamples.
        seed: seed of the draws.

    Returns:
        None with fewer than 10 items, or if the coefficient is undefined in more than 10 % of the
        resamples.

    Raises:
        ValueError: `resamples` is below 1.
    """
    import numpy as np

    if resamples < 1:
        raise ValueError(f"`resamples` is `{resamples}`; use 1 or more")
    if len(ratings) < LEAST_ITEMS:
        return None
    random = np.random.default_rng(seed)
    drawn = (coefficient(ratings.resample(random)) for _ in range(resamples))
    values = [value for value in drawn if value is not None]
    if len(values) < LEAST_DEFINED * resamples:
        return None
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(low), float(high))


class Cluster(NamedTuple):
    """The values of items that depend on each other, such as the prompts of a set."""

    total: float
    """Sum of the values."""
    n: int


RESAMPLED_VALUES = 2_000_000
"""Values that are drawn at once, which bounds the memory."""


def bootstrap_mean_interval(
    clusters: Sequence[Cluster], *, resamples: int = 1_000, seed: int = 0
) -> Interval | None:
    """Return the 95 % percentile interval of a mean, from resampled clusters.

    Equal arguments give equal intervals, and the order of the clusters does not count.

    Args:
        clusters: sum and number of the values of each cluster.
        resamples: number of resamples.
        seed: seed of the draws.

    Returns:
        None with fewer than 10 clusters.

    Example:
        >>> bootstrap_mean_interval([Cluster(1.0, 2)] * 10)
        Interval(low=0.5, high=0.5)
    """
    import numpy as np

    filled = sorted(cluster for cluster in clusters if cluster.n)
    if len(filled) < LEAST_ITEMS:
        return None
    totals = np.array([cluster.total for cluster in filled], dtype=np.float64)
    counts = np.array([cluster.n for cluster in filled], dtype=np.float64)
    random = np.random.default_rng(seed)
    batch = max(1, RESAMPLED_VALUES // len(filled))
    means: list[float] = []
    for start in range(0, resamples, batch):
        size = (min(batch, resamples - start), len(filled))
        drawn = random.integers(0, len(filled), size=size)
        means += (totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)).tolist()
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(low), float(high))
