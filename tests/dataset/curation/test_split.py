from __future__ import annotations

from hypothesis import given, strategies as st

from safegen.dataset.curation.split import split_of

shares = st.floats(0, 0.999)


@given(st.text(), shares)
def test_split_depends_on_the_goal_alone(goal: str, test: float) -> None:
    assert split_of(goal, test=test) == split_of(goal, test=test)


@given(st.text(), shares, shares)
def test_larger_test_share_keeps_test_goals(goal: str, one: float, two: float) -> None:
    small, large = sorted((one, two))
    if split_of(goal, test=small) == "test":
        assert split_of(goal, test=large) == "test"


@given(st.text())
def test_zero_test_share_gives_no_test_rows(goal: str) -> None:
    assert split_of(goal, test=0) == "train"


def test_test_share_is_approximately_met() -> None:
    splits = [split_of(f"cyber.intrusion/g{n}", test=0.2) for n in range(2_000)]
    assert 0.17 < splits.count("test") / 2_000 < 0.23
