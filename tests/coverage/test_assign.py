from __future__ import annotations

from collections import Counter

import pytest

from safegen.core.errors import ConfigError
from safegen.coverage.assign import assign_rows


def test_each_round_holds_each_row_once_shuffled() -> None:
    dealt = list(assign_rows(7, 70))
    rounds = [dealt[i : i + 7] for i in range(0, 70, 7)]
    assert all(sorted(r) == list(range(7)) for r in rounds)
    assert len({tuple(r) for r in rounds}) > 5


def test_row_counts_differ_by_at_most_one() -> None:
    counts = Counter(assign_rows(49, 10_007))
    assert max(counts.values()) - min(counts.values()) == 1


def test_assignment_depends_on_the_position_alone() -> None:
    whole = list(assign_rows(5, 40, seed=3, key="cyber.intrusion"))
    assert whole[13:31] == list(assign_rows(5, 18, start=13, seed=3, key="cyber.intrusion"))
    assert list(assign_rows(5, 0, start=9)) == []


def test_seed_and_key_change_the_order() -> None:
    plain = list(assign_rows(20, 20))
    assert plain != list(assign_rows(20, 20, seed=1)) != list(assign_rows(20, 20, seed=1, key="x"))


def test_weights_are_shares_and_zero_excludes_rows() -> None:
    counts = Counter(assign_rows(3, 4_000, weights=[3, 0, 1]))
    assert counts == {0: 3_000, 2: 1_000}


@pytest.mark.parametrize(
    ("rows", "n", "start", "weights"),
    [
        (0, 1, 0, None),
        (2, 1, 0, [1]),
        (2, 1, 0, [0, 0]),
        (2, 1, 0, [2, -1]),
        (2, -1, 0, None),
        (2, 1, -1, None),
    ],
)
def test_invalid_arguments_are_refused(
    rows: int, n: int, start: int, weights: list[int] | None
) -> None:
    with pytest.raises(ConfigError):
        assign_rows(rows, n, start=start, weights=weights)
