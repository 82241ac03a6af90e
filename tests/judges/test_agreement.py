"""Coefficients of agreement: published examples, properties, and equality with other libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from nltk.metrics.agreement import AnnotationTask
from nltk.metrics.distance import interval_distance
from sklearn.metrics import cohen_kappa_score

from safegen.core.types import Scale
from safegen.judges.agreement import (
    KappaWeights,
    Label,
    Ratings,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    make_ratings,
    percent_agreement,
)

Rows = list[list[Label | None]]
Codes = list[list[int | None]]


def columns(*raters: str) -> Ratings:
    """Build ratings from one text per rater; a dot is a missing label, a digit a number."""
    cells = [[None if c == "." else int(c) if c.isdigit() else c for c in r] for r in raters]
    return make_ratings(list(zip(*cells, strict=True)))


def table(counts: Sequence[Sequence[int]]) -> Ratings:
    """Build the ratings of two raters from a table of counts."""
    rows = [
        (row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        for _ in range(count)
    ]
    return make_ratings(rows)


# Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011: examples A, B and C.
BINARY = columns("0100000010", "1110010000")
NOMINAL = columns("aabbdcccedda", "babbbccceddd")
OBSERVERS = columns("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


@pytest.mark.parametrize(
    ("ratings", "scale", "expected"),
    [
        (BINARY, "nominal", 0.095),
        (NOMINAL, "nominal", 0.692),
        (OBSERVERS, "nominal", 0.743),
        (OBSERVERS, "ordinal", 0.815),
        (OBSERVERS, "interval", 0.849),
    ],
    ids=["binary", "nominal", "observers nominal", "observers ordinal", "observers interval"],
)
def test_alpha_equals_krippendorffs_examples(
    ratings: Ratings, scale: Scale, expected: float
) -> None:
    assert krippendorff_alpha(ratings, scale=scale) == pytest.approx(expected, abs=5e-4)


# Cohen 1960, table 2 (N = 200); Agresti, Categorical Data Analysis, 1990, table 10.8 (91 couples).
COHEN = table([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
COUPLES = table([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]])


@pytest.mark.parametrize(
    ("ratings", "weights", "expected"),
    [
        (COHEN, "none", 0.492),
        (COUPLES, "none", 0.129),
        (COUPLES, "linear", 0.237),
        (COUPLES, "quadratic", 0.332),
    ],
    ids=["Cohen 1960", "unweighted", "linear", "quadratic"],
)
def test_kappa_equals_published_examples(
    ratings: Ratings, weights: KappaWeights, expected: float
) -> None:
    assert cohen_kappa(ratings, weights=weights) == pytest.approx(expected, abs=5e-4)


def test_ac1_equals_gwets_examples() -> None:
    # Gwet, Kappa Statistic is not Satisfactory, 2002: kappa is negative at 94 % agreement.
    rare = table([[118, 5], [2, 0]])
    assert cohen_kappa(rare) == pytest.approx(-0.0234, abs=5e-5)
    assert gwet_ac1(rare) == pytest.approx(0.9408, abs=5e-5)
    # Gwet, Handbook of Inter-Rater Reliability, 4th edition 2014: four raters, missing labels.
    assert percent_agreement(OBSERVERS) == pytest.approx(0.81818, abs=5e-6)
    assert gwet_ac1(OBSERVERS) == pytest.approx(0.77544, abs=5e-6)


WEIGHTS: tuple[KappaWeights, ...] = ("none", "linear", "quadratic")
SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "interval")
COEFFICIENTS: dict[str, Callable[[Ratings], float | None]] = {
    "percent_agreement": percent_agreement,
    "gwet_ac1": gwet_ac1,
    **{f"alpha {s}": lambda r, s=s: krippendorff_alpha(r, scale=s) for s in SCALES},
}
KAPPAS: dict[str, Callable[[Ratings], float | None]] = {
    f"kappa {w}": lambda r, w=w: cohen_kappa(r, weights=w) for w in WEIGHTS
}
LABELS = st.integers(0, 3)


def rows_of(raters: int, *, missing: bool = True) -> st.SearchStrategy[Codes]:
    label = st.none() | LABELS if missing else LABELS
    return st.lists(st.lists(label, min_size=raters, max_size=raters), min_size=1, max_size=25)


@pytest.mark.parametrize("name", COEFFICIENTS)
@given(rows=rows_of(3), seed=st.randoms())
def test_order_of_items_and_raters_is_irrelevant(name: str, rows: Codes, seed: Random) -> None:
    coefficient = COEFFICIENTS[name]
    shuffled = [row[::-1] for row in rows]
    seed.shuffle(shuffled)
    categories = range(4)
    first = coefficient(make_ratings(rows, categories=categories))
    second = coefficient(make_ratings(shuffled, categories=categories))
    assert first == pytest.approx(second)
    assert first is None or first <= 1


@pytest.mark.parametrize("name", KAPPAS)
@given(rows=rows_of(2))
def test_kappa_is_symmetric_and_bounded(name: str, rows: Codes) -> None:
    kappa = KAPPAS[name]
    first = kappa(make_ratings(rows, categories=range(4)))
    swapped = [row[::-1] for row in rows]
    assert first == pytest.approx(kappa(make_ratings(swapped, categories=range(4))))
    assert first is None or -1 - 1e-9 <= first <= 1


@pytest.mark.parametrize("name", COEFFICIENTS)
@given(labels=st.lists(LABELS, min_size=2), raters=st.integers(2, 5))
def test_perfect_agreement_gives_one(name: str, labels: list[int], raters: int) -> None:
    assume(len(set(labels)) > 1)
    ratings = make_ratings([[label] * raters for label in labels])
    assert COEFFICIENTS[name](ratings) == pytest.approx(1)


@pytest.mark.parametrize("name", [*COEFFICIENTS, *KAPPAS])
def test_coefficient_without_pairs_is_none(name: str) -> None:
    coefficient = (COEFFICIENTS | KAPPAS)[name]
    assert coefficient(make_ratings([[1, None], [None, 2]])) is None


@pytest.mark.parametrize("name", [*COEFFICIENTS, *KAPPAS])
def test_equal_labels_leave_chance_undefined(name: str) -> None:
    coefficient = (COEFFICIENTS | KAPPAS)[name]
    expected = 1.0 if name == "percent_agreement" else None
    assert coefficient(make_ratings([[0.1, 0.1]] * 3)) == expected


@pytest.mark.parametrize("weights", WEIGHTS)
@given(rows=rows_of(2, missing=False))
def test_kappa_equals_scikit_learn(weights: KappaWeights, rows: Codes) -> None:
    ours = cohen_kappa(make_ratings(rows, categories=range(4)), weights=weights)
    assume(ours is not None)
    first, second = zip(*rows, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of categories that do not appear
        theirs = cohen_kappa_score(
            first, second, labels=range(4), weights=None if weights == "none" else weights
        )
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("scale", ["nominal", "interval"])
@given(rows=rows_of(3))
def test_alpha_equals_nltk(scale: Scale, rows: Codes) -> None:
    ours = krippendorff_alpha(make_ratings(rows, categories=range(4)), scale=scale)
    assume(ours is not None)
    triples = [
        (rater, item, label)
        for item, row in enumerate(rows)
        for rater, label in enumerate(row)
        if label is not None
    ]
    task = (
        AnnotationTask(triples)
        if scale == "nominal"
        else AnnotationTask(triples, distance=interval_distance)
    )
    assert ours == pytest.approx(task.alpha())


@given(rows=rows_of(3))
def test_ordinal_alpha_equals_definition(rows: Codes) -> None:
    ours = krippendorff_alpha(make_ratings(rows, categories=range(4)), scale="ordinal")
    assume(ours is not None)
    coincidences = np.zeros((4, 4))
    for row in rows:
        labels = [label for label in row if label is not None]
        for a, first in enumerate(labels):
            for b, second in enumerate(labels):
                if a != b:
                    coincidences[first, second] += 1 / (len(labels) - 1)
    totals = coincidences.sum(axis=0)
    distance = np.zeros((4, 4))
    for c in range(4):
        for k in range(c, 4):
            step = totals[c : k + 1].sum() - (totals[c] + totals[k]) / 2
            distance[c, k] = distance[k, c] = step * step if k > c else 0
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    assert ours == pytest.approx(1 - (coincidences * distance).sum() / expected)


@pytest.mark.parametrize(
    ("rows", "categories", "message"),
    [
        ([["a"], ["a", "b"]], None, "differ in length"),
        ([["a", "x"]], ["a", "b"], "label `x` is not one of"),
        ([["a", "a"]], ["a", "a"], "are equal"),
    ],
    ids=["lengths", "unknown label", "equal categories"],
)
def test_wrong_rows_are_refused(rows: Rows, categories: list[Label] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_ratings(rows, categories=categories)


def test_kappa_of_three_raters_is_refused() -> None:
    with pytest.raises(ValueError, match="two raters; there are 3"):
        cohen_kappa(make_ratings([["a", "a", "b"]]))


def test_interval_scale_of_text_is_refused() -> None:
    with pytest.raises(ValueError, match="needs numbers"):
        krippendorff_alpha(make_ratings([["a", "b"], ["b", "b"]]), scale="interval")
