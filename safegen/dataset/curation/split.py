"""The split: a function of the goal alone, so no goal is in two splits and no row changes its split."""

from __future__ import annotations

from typing import Literal

from safegen.core.hashing import hash_fraction

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")


def split_of(goal_id: str, *, test: float) -> SplitName:
    """Name the split of a goal.

    Args:
        goal_id: the goal, as declared by name.
        test: share of goals in `test`, from 0 to below 1. A larger share keeps what was in `test`.
    """
    return "test" if hash_fraction("split", goal_id) < test else "train"
