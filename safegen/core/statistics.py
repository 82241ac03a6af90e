"""Confidence interval of a rate, and agreement of two raters beyond chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson_interval(hits: float, n: float) -> Interval:
    """Return Wilson's score interval of a rate (Wilson 1927); [0, 1] if `n` is 0.

    The numbers may be effective ones, which are not whole.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = hits / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # Rounding can miss the exact bounds 0 and 1.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == n else min(1.0, middle + half)
    return Interval(low, high)


def pair_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two raters (Cohen 1960); None without pairs, or if chance agreement is 1.

    A label may be of any kind, and None is a label too: a reader that gives none disagrees.
    `judges.agreement.cohen_kappa` has weights, and leaves items without a label out.
    """
    n = len(pairs)
    if n == 0:
        return None
    observed = sum(a == b for a, b in pairs) / n
    labels = {label for pair in pairs for label in pair}
    chance = sum(
        sum(a == label for a, _ in pairs) * sum(b == label for _, b in pairs) for label in labels
    ) / (n * n)
    return None if chance == 1 else (observed - chance) / (1 - chance)
