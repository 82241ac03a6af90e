"""Intervals of coefficients by resampling items."""

from __future__ import annotations

from collections.abc import Callable

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
