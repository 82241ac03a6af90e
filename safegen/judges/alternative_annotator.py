"""The alternative-annotator test: may a judge replace a human rater?

Source: Calderon, Reichart and Dror, The Alternative Annotator Test for LLM-as-a-Judge (ACL 2025,
arXiv 2501.10970). Each rater in turn is left out. The test asks if the judge agrees with the other
raters at least as well as that rater does, up to a cost ε, and controls the false discovery rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from safegen.core.types import Scale
from safegen.judges.agreement import Label

LEAST_RATERS = 3
LEAST_ITEMS = 30
"""Items of a rater from which the t-test holds, as in the paper; a rater with fewer is not tested."""
FALSE_DISCOVERY_RATE = 0.05
PASSING_RATE = 0.5
"""Winning rate from which the judge may replace raters, as in the paper."""


class RaterResult(NamedTuple):
    """The test of the judge against one rater."""

    rater: str
    items: int
    advantage: float
    """Share of the items on which the judge agrees with the others at least as well as the rater."""
    rater_advantage: float
    """The reverse; ties count for both."""
    p_value: float
    wins: bool
    """True if the judge is as good as the rater, minus ε, after the correction."""


@dataclass(frozen=True, slots=True)
class AlternativeAnnotatorResult:
    """The result over all raters."""

    epsilon: float
    raters: tuple[RaterResult, ...]

    @property
    def winning_rate(self) -> float:
        """Share of the raters that the judge matches: ω."""
        return sum(rater.wins for rater in self.raters) / len(self.raters)

    @property
    def advantage(self) -> float:
        """Mean advantage over the raters: ρ."""
        return sum(rater.advantage for rater in self.raters) / len(self.raters)

    @property
    def passes(self) -> bool:
        """True if the winning rate is 0.5 or more."""
        return self.winning_rate >= PASSING_RATE


def alternative_annotator_test(
    judge: Sequence[Label | None],
    raters: Mapping[str, Sequence[Label | None]],
    *,
    epsilon: float = 0.1,
    scale: Scale = "nominal",
) -> AlternativeAnnotatorResult | None:
    """Test if a judge may replace human raters.

    Args:
        judge: the judge's label of each item; None leaves the item out.
        raters: the labels of each rater for the same items.
        epsilon: cost of a human label. The paper uses 0.2 for experts, 0.15 for trained raters and 0.1
            for crowd workers; a larger value makes it easier to pass.
        scale: `nominal` compares equality; else the labels are numbers, and the distance counts.

    Returns:
        None with fewer than three raters that share 30 items or more with another rater.

    Raises:
        ValueError: `epsilon` is not in [0, 1], or a rater has another number of labels.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"`epsilon` is `{epsilon}`; use a number from 0 to 1")
    for name, labels in raters.items():
        if len(labels) != len(judge):
            raise ValueError(f"rater `{name}` has {len(labels)} labels, the judge {len(judge)}")
    compared = {name: _compare(judge, raters, name, scale=scale) for name in raters}
    compared = {name: wins for name, wins in compared.items() if len(wins) >= LEAST_ITEMS}
    if len(compared) < LEAST_RATERS:
        return None
    p_values = [
        _p_value([rater - own for own, rater in wins], epsilon) for wins in compared.values()
    ]
    rejected = reject_hypotheses(p_values, rate=FALSE_DISCOVERY_RATE)
    results = [
        RaterResult(
            name,
            len(wins),
            sum(own for own, _ in wins) / len(wins),
            sum(rater for _, rater in wins) / len(wins),
            p_value,
            wins=number in rejected,
        )
        for number, ((name, wins), p_value) in enumerate(
            zip(compared.items(), p_values, strict=True)
        )
    ]
    return AlternativeAnnotatorResult(epsilon, tuple(results))


def reject_hypotheses(p_values: Sequence[float], *, rate: float) -> set[int]:
    """Return the rejected hypotheses (Benjamini and Yekutieli 2001, for any dependence).

    Example:
        >>> reject_hypotheses([0.001, 0.4, 0.02], rate=0.05)
        {0}
    """
    size = len(p_values)
    harmonic = sum(1 / n for n in range(1, size + 1))
    order = sorted(range(size), key=lambda n: p_values[n])
    passing = [
        rank
        for rank, n in enumerate(order, start=1)
        if p_values[n] <= rank * rate / (size * harmonic)
    ]
    return set(order[: max(passing, default=0)])


class _Wins(NamedTuple):
    judge: int
    rater: int


def _compare(
    judge: Sequence[Label | None],
    raters: Mapping[str, Sequence[Label | None]],
    left_out: str,
    *,
    scale: Scale,
) -> list[_Wins]:
    """Compare the judge with one rater on each item that another rater labelled too."""
    wins: list[_Wins] = []
    for number, own in enumerate(judge):
        label = raters[left_out][number]
        others = [
            other
            for name, labels in raters.items()
            if name != left_out and (other := labels[number]) is not None
        ]
        if own is None or label is None or not others:
            continue
        ours, theirs = _alignment(own, others, scale), _alignment(label, others, scale)
        wins.append(_Wins(int(ours >= theirs), int(theirs >= ours)))
    return wins


def _alignment(label: Label, others: Sequence[Label], scale: Scale) -> float:
    if scale == "nominal":
        return sum(label == other for other in others) / len(others)
    return -math.sqrt(sum((float(label) - float(other)) ** 2 for other in others) / len(others))


def _p_value(differences: Sequence[int], epsilon: float) -> float:
    """Return the p-value of the one-sided t-test that the mean difference is below ε."""
    size = len(differences)
    mean = sum(differences) / size
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (size - 1))
    if deviation == 0:
        return 0.0 if mean < epsilon else 1.0
    return student_t_cdf((mean - epsilon) / (deviation / math.sqrt(size)), size - 1)


def student_t_cdf(t: float, degrees: int) -> float:
    """Return P(T <= t) of Student's t with a whole number of degrees of freedom.

    Source: the finite series 26.7.3 and 26.7.4 of Abramowitz and Stegun, 1964. The absolute error is
    near 1e-15.

    Example:
        >>> round(student_t_cdf(1.833113, 9), 4)
        0.95
    """
    angle = math.atan(t / math.sqrt(degrees))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    is_odd = degrees % 2 == 1
    term = math.cos(angle) if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for n in range(3 if is_odd else 2, degrees - 1, 2):
        term *= square * (n - 1) / n
        total += term
    central = 2 / math.pi * (angle + sine * total) if is_odd else sine * total
    return (1 + central) / 2
