from __future__ import annotations

import pytest

from safegen.core.statistics import pair_kappa, wilson_interval


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 20, 0.0, 0.1611), (15, 20, 0.5313, 0.8881), (20, 20, 0.8389, 1.0)],
)
def test_wilson_interval_equals_published_values(
    hits: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_kappa_equals_the_textbook_value() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.70, by chance 0.50
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert pair_kappa(pairs) == pytest.approx(0.4)


def test_kappa_is_none_if_chance_explains_all() -> None:
    assert pair_kappa([]) is None
    assert pair_kappa([("y", "y")] * 5) is None
