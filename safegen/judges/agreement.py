"""Agreement of raters: per cent agreement, Cohen's κ, Krippendorff's α and Gwet's AC1.

A coefficient is None if it is not defined, for example because no item has two labels or because
all labels are equal, so that agreement by chance is complete. It is never replaced by a number.

    ratings = make_ratings([["safe", "safe"], ["safe", "unsafe"], ["unsafe", None]])
    krippendorff_alpha(ratings), cohen_kappa(ratings), gwet_ac1(ratings)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from safegen.core.types import Scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]

Label = str | int | float
KappaWeights = Literal["none", "linear", "quadratic"]


@dataclass(frozen=True, slots=True)
class Ratings:
    """The labels of N items by R raters; `make_ratings` builds it."""

    codes: IntArray
    """P by R positions in `categories`, one row for all items with equal labels; -1 is a missing label."""
    weights: FloatArray
    """P numbers of items."""
    categories: tuple[Label, ...]
    """The possible labels in order."""

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self.weights.sum())

    def resample(self, random: np.random.Generator) -> Ratings:
        """Draw as many items with replacement."""
        size = len(self)
        drawn = random.multinomial(size, self.weights / size)
        return replace(self, weights=drawn.astype(self.weights.dtype))

    def count_labels(self, *, least: int) -> LabelCounts:
        """Count the labels of the items with `least` labels or more."""
        import numpy as np

        counts = np.zeros((len(self.codes), len(self.categories)))
        for column in self.codes.T:
            known = np.flatnonzero(column >= 0)
            counts[known, column[known]] += 1
        chosen = (counts.sum(axis=1) >= least) & (self.weights > 0)
        return LabelCounts(counts[chosen], self.weights[chosen])


class LabelCounts(NamedTuple):
    """Labels of items by category."""

    counts: FloatArray
    """P by number of categories."""
    weights: FloatArray
    """P numbers of items."""

    @property
    def sizes(self) -> FloatArray:
        """P numbers of labels of an item."""
        return self.counts.sum(axis=1)

    @property
    def totals(self) -> FloatArray:
        """Number of labels of each category over all items."""
        return self.weights @ self.counts


def make_ratings(
    rows: Sequence[Sequence[Label | None]], *, categories: Sequence[Label] | None = None
) -> Ratings:
    """Build ratings from one row per item with one label per rater.

    Args:
        rows: N rows of R labels; None is a missing label.
        categories: the possible labels in order; default those that appear, sorted.

    Raises:
        ValueError: the rows differ in length, a label is not one of `categories`, or two are equal.

    Example:
        >>> make_ratings([["a", "b"], ["b", None]]).codes.tolist()
        [[0, 1], [1, -1]]
    """
    import numpy as np

    if categories is None:
        categories = _sort_labels({label for row in rows for label in row if label is not None})
    positions = {label: number for number, label in enumerate(categories)}
    if len(positions) < len(categories):
        raise ValueError("two of `categories` are equal; name each one once")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the rows differ in length; give None for a missing label")
    for row in rows:
        for label in row:
            if label is not None and label not in positions:
                raise ValueError(f"label `{label}` is not one of `categories`")
    codes = [[-1 if label is None else positions[label] for label in row] for row in rows]
    width = len(rows[0]) if rows else 0
    table = np.array(codes, dtype=np.int64).reshape(len(rows), width)
    # Few rows are distinct, which makes resamples cheap.
    distinct, weights = np.unique(table, axis=0, return_counts=True)
    return Ratings(distinct, weights.astype(np.float64), tuple(categories))


def percent_agreement(ratings: Ratings) -> float | None:
    """Return the mean share of agreeing pairs of labels over the items with two labels or more.

    Example:
        >>> percent_agreement(make_ratings([["a", "a"], ["a", "b"]]))
        0.5
    """
    labels = ratings.count_labels(least=2)
    if not len(labels.weights):
        return None
    counts, sizes = labels.counts, labels.sizes
    shares = (counts * (counts - 1)).sum(axis=1) / (sizes * (sizes - 1))
    return float(shares @ labels.weights / labels.weights.sum())


def cohen_kappa(ratings: Ratings, *, weights: KappaWeights = "none") -> float | None:
    """Return Cohen's κ of two raters (Cohen 1960), with weights by distance (Cohen 1968).

    The distance of two categories is the difference of their positions, or its square.
    Items that lack a label are left out.

    Raises:
        ValueError: the ratings have another number of raters than two.

    Example:
        >>> cohen_kappa(make_ratings([["a", "a"], ["a", "b"], ["b", "b"], ["b", "b"]]))
        0.5
    """
    import numpy as np

    if ratings.codes.shape[1] != 2:
        raise ValueError(f"κ compares two raters; there are {ratings.codes.shape[1]}")
    known = (ratings.codes >= 0).all(axis=1)
    pairs, numbers = ratings.codes[known], ratings.weights[known]
    total = numbers.sum()
    if total == 0:
        return None
    size = len(ratings.categories)
    table = np.zeros((size, size))
    table[pairs[:, 0], pairs[:, 1]] = numbers / total
    distance = _kappa_distance(size, weights)
    expected = float((np.outer(table.sum(axis=1), table.sum(axis=0)) * distance).sum())
    observed = float((table * distance).sum())
    return None if expected == 0 else 1 - observed / expected


def krippendorff_alpha(ratings: Ratings, *, scale: Scale = "nominal") -> float | None:
    """Return Krippendorff's α of any number of raters with missing labels.

    α = 1 - D_o / D_e (Krippendorff, Content Analysis, 4th edition 2019, chapter 12). Only items with
    two labels or more count. The ordinal distance is the interval distance of mid-ranks.

    Args:
        ratings: the labels.
        scale: for `interval`, the categories must be numbers.

    Example:
        >>> krippendorff_alpha(make_ratings([["a", "a"], ["a", "b"], ["b", "b"]]))
        0.4444444444444444
    """
    if scale != "nominal":
        return _numeric_alpha(ratings, scale)
    labels = ratings.count_labels(least=2)
    return _nominal_alpha(labels) if (labels.totals > 0).sum() >= 2 else None


def gwet_ac1(ratings: Ratings) -> float | None:
    """Return Gwet's AC1 of any number of raters with missing labels.

    Source: Gwet, Computing inter-rater reliability in the presence of high agreement, 2008; with
    missing labels: Gwet, Handbook of Inter-Rater Reliability, 4th edition 2014, chapter 2.

    Example:
        >>> round(gwet_ac1(make_ratings([["a", "a"]] * 9 + [["a", "b"]])), 3)
        0.89
    """
    observed = percent_agreement(ratings)
    size = len(ratings.categories)
    if observed is None or size < 2:
        return None
    labels = ratings.count_labels(least=1)
    shares = (labels.weights / labels.sizes) @ labels.counts / labels.weights.sum()
    expected = float((shares * (1 - shares)).sum()) / (size - 1)
    # At most 1/q, so the denominator is at least 1/2.
    return (observed - expected) / (1 - expected)


def _sort_labels(labels: Iterable[Label]) -> list[Label]:
    # Numbers come before text, because Python does not order them.
    return sorted(labels, key=lambda label: (isinstance(label, str), label))


def _kappa_distance(size: int, weights: KappaWeights) -> FloatArray:
    import numpy as np

    steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    power = {"none": 0, "linear": 1, "quadratic": 2}[weights]
    return (steps > 0) * steps**power


def _nominal_alpha(labels: LabelCounts) -> float:
    sizes, totals = labels.sizes, labels.totals
    n = totals.sum()
    expected = (n * n - (totals * totals).sum()) / (n - 1)
    within = sizes * sizes - (labels.counts * labels.counts).sum(axis=1)
    return float(1 - (within / (sizes - 1)) @ labels.weights / expected)


def _numeric_alpha(ratings: Ratings, scale: Scale) -> float | None:
    """Return α for squared differences, from sums: an interval scale may have a value per item."""
    import numpy as np

    known = ratings.codes >= 0
    chosen = (known.sum(axis=1) >= 2) & (ratings.weights > 0)
    codes, known, weights = ratings.codes[chosen], known[chosen], ratings.weights[chosen]
    sizes = known.sum(axis=1)
    totals = np.bincount(
        codes[known], weights=np.repeat(weights, sizes), minlength=len(ratings.categories)
    ).astype(np.float64)
    # With one category, rounding could leave an expected disagreement above 0.
    if (totals > 0).sum() < 2:
        return None
    values, n = _category_values(ratings, totals, scale), totals.sum()
    # Centred, because squares of large numbers would cancel.
    centred = values - (totals @ values) / n
    expected = 2 * n * (totals @ centred**2) / (n - 1)
    table = np.where(known, centred[codes], 0)
    within = sizes * (table**2).sum(axis=1) - table.sum(axis=1) ** 2
    return float(1 - 2 * (within / (sizes - 1)) @ weights / expected)


def _category_values(ratings: Ratings, totals: FloatArray, scale: Scale) -> FloatArray:
    import numpy as np

    if scale == "interval":
        if any(isinstance(label, str) for label in ratings.categories):
            raise ValueError("the scale `interval` needs numbers; use `ordinal` or `nominal`")
        return np.array(ratings.categories, dtype=np.float64)
    return np.cumsum(totals) - totals / 2
