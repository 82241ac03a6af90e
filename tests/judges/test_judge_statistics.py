"""Bootstrap, class scores, corrected rates and the alternative-annotator test."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from safegen.core.statistics import wilson_interval
from safegen.core.types import Scale
from safegen.judges.agreement import Label, krippendorff_alpha, make_ratings
from safegen.judges.alternative_annotator import (
    alternative_annotator_test,
    reject_hypotheses,
    student_t_cdf,
)
from safegen.judges.bootstrap import bootstrap_interval
from safegen.judges.classification import average_f1, score_classes, sweep_thresholds
from safegen.judges.corrected_rates import CorrectedMean, correct_mean, correct_rate


def test_bootstrap_interval_depends_on_its_seed() -> None:
    ratings = make_ratings([["a", "a"], ["a", "b"], ["b", "b"]] * 20)
    draw = partial(bootstrap_interval, ratings, krippendorff_alpha, resamples=100)
    first, same, other = draw(seed=1), draw(seed=1), draw(seed=2)
    alpha = krippendorff_alpha(ratings)
    assert first is not None
    assert alpha is not None
    assert first.low < alpha < first.high
    assert first == same != other


def test_bootstrap_interval_of_few_items_is_none() -> None:
    rows = [["a", "b"], ["a", "a"], ["b", "b"]] * 3
    assert bootstrap_interval(make_ratings(rows), krippendorff_alpha) is None
    assert bootstrap_interval(make_ratings([*rows, ["a", "a"]]), krippendorff_alpha) is not None


def test_bootstrap_interval_of_a_rare_class_is_none() -> None:
    ratings = make_ratings([["a", "a"]] * 50 + [["b", "b"]])
    assert bootstrap_interval(ratings, krippendorff_alpha, resamples=200) is None


def test_bootstrap_without_resamples_is_refused() -> None:
    with pytest.raises(ValueError, match="use 1 or more"):
        bootstrap_interval(make_ratings([["a", "b"]] * 2), krippendorff_alpha, resamples=0)


PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


@given(pairs=PAIRS)
def test_class_scores_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    ours = score_classes(gold, predicted, labels=["a", "b", "c"])
    theirs = precision_recall_fscore_support(
        gold,
        predicted,
        labels=["a", "b", "c"],
        zero_division=math.nan,  # pyright: ignore[reportArgumentType] (the stub lacks nan)
    )
    for column, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        own = [getattr(score, column) for score in ours]
        assert [math.nan if v is None else v for v in own] == pytest.approx(values, nan_ok=True)


def test_macro_f1_leaves_absent_classes_out() -> None:
    scores = score_classes(["a", "b"], ["a", "a"], labels=["a", "b", "c"])
    assert average_f1(scores) == pytest.approx((2 / 3 + 0) / 2)
    assert average_f1([]) is None


@given(
    items=st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1),
    threshold=st.sampled_from([-1.0, 0.25, 0.3, 2.0]),
)
def test_threshold_scores_equal_a_count(items: list[tuple[bool, float]], threshold: float) -> None:
    gold, scores = zip(*items, strict=True)
    swept = sweep_thresholds(gold, scores, thresholds=[threshold])[0]
    predicted = [score >= threshold for score in scores]
    expected = score_classes(gold, predicted, labels=[True])[0]
    assert swept[1:4] == expected[3:]
    assert swept.accuracy == np.mean([g == p for g, p in zip(gold, predicted, strict=True)])


def test_thresholds_are_the_distinct_scores() -> None:
    swept = sweep_thresholds([True, False, True], [0.9, 0.1, 0.9])
    assert [scores.threshold for scores in swept] == [0.1, 0.9]


def test_sweep_without_items_is_refused() -> None:
    with pytest.raises(ValueError, match="0 gold labels and 0 scores"):
        sweep_thresholds([], [])


# 40 labelled items: 18 hits of both, 2 only of people, 4 only of the judge, 16 of neither.
HUMAN = [1.0] * 20 + [0.0] * 20
JUDGED = [1.0] * 18 + [0.0] * 2 + [1.0] * 4 + [0.0] * 16
OTHERS = [1.0] * 90 + [0.0] * 30


def test_corrected_mean_equals_a_computed_example() -> None:
    """By hand: the covariance is (18 - 20·22/40)/39, the pooled variance 160·0.7·0.3/159."""
    estimate = correct_mean(HUMAN, JUDGED, unlabelled=OTHERS)
    assert estimate is not None
    weight = (7 / 39) / ((1 + 40 / 120) * (33.6 / 159))
    assert estimate.weight == pytest.approx(weight)
    assert weight == pytest.approx(0.637, abs=5e-4)
    mean = 0.5 + weight * (0.75 - 0.55)
    assert estimate.mean == pytest.approx(mean)
    # Squares of human - λ·judge around their mean: Σh² - 2λΣhj + λ²Σj² - n·mean².
    squares = 20 - 2 * weight * 18 + weight**2 * 22 - 40 * (0.5 - weight * 0.55) ** 2
    half = stats.norm.ppf(0.975) * math.sqrt(
        squares / 39 / 40 + weight**2 * (120 * 0.75 * 0.25 / 119) / 120
    )
    assert estimate.interval == pytest.approx((mean - half, mean + half))
    assert estimate.raw == pytest.approx(0.7)
    assert estimate[3:5] == (40, 120)


@pytest.mark.parametrize("labelled", [100, 200])
@pytest.mark.parametrize("unlabelled", [1, 5, 40, 800])
@pytest.mark.parametrize(
    ("rate", "noise"),
    [(0.3, 0.2), (0.3, 0.7), (0.08, 0.2)],
    ids=["good judge", "poor judge", "rare label"],
)
def test_corrected_rate_covers_the_truth(
    labelled: int, unlabelled: int, rate: float, noise: float
) -> None:
    """A judge that errs in one direction, at all numbers of unlabelled items."""
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(400):
        drawn = random.random(labelled + unlabelled) < rate
        truth: list[bool] = drawn.tolist()
        judged: list[bool] = (drawn | (random.random(len(drawn)) < noise)).tolist()
        estimate = correct_rate(truth[:labelled], judged[:labelled], unlabelled=judged[labelled:])
        assert estimate is not None
        hits += estimate.interval.low <= rate <= estimate.interval.high
    assert 0.92 <= hits / 400 <= 0.985


def test_unlabelled_items_make_the_rate_precise() -> None:
    random = np.random.default_rng(3)
    drawn = random.random(2_200) < 0.3
    truth: list[bool] = drawn.tolist()
    judged: list[bool] = (drawn ^ (random.random(2_200) < 0.03)).tolist()
    alone = correct_rate(truth[:200], judged[:200])
    helped = correct_rate(truth[:200], judged[:200], unlabelled=judged[200:])
    assert alone is not None
    assert helped is not None
    assert _width(helped) < 0.6 * _width(alone)
    assert helped.weight > 0.7


@pytest.mark.parametrize("count", [1, 3, 29])
@pytest.mark.parametrize("value", [True, False])
def test_few_unlabelled_items_change_no_rate(count: int, value: bool) -> None:
    human, judged = [True] * 60 + [False] * 140, [True] * 70 + [False] * 130
    alone = correct_rate(human, judged)
    estimate = correct_rate(human, judged, unlabelled=[value] * count)
    assert alone is not None
    assert estimate is not None
    assert (estimate.mean, estimate.interval) == (alone.mean, alone.interval)
    assert alone.mean == pytest.approx(0.3)
    assert (estimate.weight, estimate.unlabelled) == (0, count)


def test_unrelated_judge_has_no_weight() -> None:
    estimate = correct_mean([1.0, 0.0] * 20, [1.0, 1.0, 0.0, 0.0] * 10, unlabelled=[1.0] * 500)
    assert estimate is not None
    assert (estimate.mean, estimate.weight) == (0.5, 0)


def test_mean_without_unlabelled_items_is_the_human_mean() -> None:
    estimate = correct_mean([1, 0, 1, 1], [0, 0, 0, 0])
    assert estimate is not None
    assert (estimate.mean, estimate.raw, estimate.unlabelled) == (0.75, 0, 0)


def test_corrected_rate_is_cut_to_its_bounds() -> None:
    human, judged = [True] * 95 + [False] * 5, [True] * 90 + [False] * 10
    estimate = correct_rate(human, judged, unlabelled=[True] * 900)
    assert estimate is not None
    assert estimate.weight > 0
    assert estimate.mean <= estimate.interval.high <= 1.0


@pytest.mark.parametrize("unlabelled", [[], [False] * 100], ids=["all labelled", "unlabelled"])
def test_rate_without_variation_keeps_an_interval(unlabelled: list[bool]) -> None:
    estimate = correct_rate([False] * 30, [False] * 30, unlabelled=unlabelled)
    assert estimate is not None
    assert estimate.mean == 0
    assert estimate.interval == wilson_interval(0, 30)


def test_rate_without_errors_keeps_unseen_ones() -> None:
    labels = [True, False] * 50
    estimate = correct_rate(labels, labels, unlabelled=labels * 1_000)
    assert estimate is not None
    assert _width(estimate) >= 2 * 3 / 100


def _width(estimate: CorrectedMean) -> float:
    return estimate.interval.high - estimate.interval.low


def test_corrected_mean_of_one_label_is_none() -> None:
    assert correct_mean([1], [1], unlabelled=[1, 0]) is None
    with pytest.raises(ValueError, match="2 human values and 1"):
        correct_mean([1, 0], [1])


@given(t=st.floats(-50, 50), degrees=st.integers(1, 400))
def test_student_distribution_equals_scipy(t: float, degrees: int) -> None:
    assert student_t_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-8)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_rejected_hypotheses_equal_scipy(p_values: list[float]) -> None:
    adjusted = stats.false_discovery_control(p_values, method="by")
    near = {n for n, p in enumerate(adjusted) if abs(p - 0.05) < 1e-9}
    expected = {n for n, p in enumerate(adjusted) if p <= 0.05}
    assert reject_hypotheses(p_values, rate=0.05) - near == expected - near


def noisy(truth: list[int], errors: float, seed: int) -> list[Label | None]:
    """Copy labels with a share of random ones."""
    random = np.random.default_rng(seed)
    return [int(random.integers(4)) if random.random() < errors else label for label in truth]


TRUTH: list[int] = np.random.default_rng(3).integers(4, size=120).tolist()
RATERS = {name: noisy(TRUTH, 0.25, seed) for seed, name in enumerate("abc", start=10)}


@pytest.mark.parametrize("scale", ["nominal", "interval"])
@pytest.mark.parametrize(
    ("errors", "passes"), [(0.05, True), (0.9, False)], ids=["good judge", "random judge"]
)
def test_only_a_good_judge_passes(scale: Scale, errors: float, passes: bool) -> None:
    judge = noisy(TRUTH, errors, 99)
    result = alternative_annotator_test(judge, RATERS, epsilon=0.2, scale=scale)
    assert result is not None
    assert result.passes is passes
    assert result.winning_rate == (1.0 if passes else 0.0)
    assert (result.advantage > 0.8) is passes


def test_p_values_equal_a_paired_t_test() -> None:
    judge = noisy(TRUTH, 0.3, 99)
    judge[0] = RATERS["a"][1] = None
    result = alternative_annotator_test(judge, RATERS, epsilon=0.15)
    assert result is not None
    for rater in result.raters:
        differences: list[int] = []
        for n, label in enumerate(judge):
            own = RATERS[rater.rater][n]
            rest = [v[n] for k, v in RATERS.items() if k != rater.rater and v[n] is not None]
            if label is not None and own is not None:
                ours, theirs = rest.count(label), rest.count(own)
                differences.append(int(theirs >= ours) - int(ours >= theirs))
        _, expected = stats.ttest_1samp(differences, 0.15, alternative="less")
        assert rater.p_value == pytest.approx(expected)
        assert rater.items == len(differences)
        assert np.mean(differences) == pytest.approx(rater.rater_advantage - rater.advantage)


def test_identical_raters_win_only_with_a_cost() -> None:
    raters = {name: TRUTH for name in "abc"}
    with_cost = alternative_annotator_test(TRUTH, raters, epsilon=0.1)
    without = alternative_annotator_test(TRUTH, raters, epsilon=0)
    assert with_cost is not None
    assert without is not None
    assert (with_cost.winning_rate, without.winning_rate) == (1.0, 0.0)


@pytest.mark.parametrize(
    "raters",
    [{"a": TRUTH, "b": TRUTH}, {n: TRUTH[:20] + [None] * 100 for n in "abc"}],
    ids=["two raters", "few items"],
)
def test_too_little_data_gives_no_result(raters: dict[str, list[Label | None]]) -> None:
    assert alternative_annotator_test(TRUTH, raters) is None


def test_wrong_arguments_of_the_test_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        alternative_annotator_test(TRUTH, RATERS, epsilon=1.5)
    with pytest.raises(ValueError, match="rater `a` has 1 labels"):
        alternative_annotator_test(TRUTH, {"a": [1]})
