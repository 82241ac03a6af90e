"""The split: a function of the goal alone, so no goal is in two splits and no row changes its split."""

from __future__ import annotations

from collections.abc import Collection
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
    # A hash of the id instead of a random draw, so that new goals do not move old ones.
    return "test" if hash_fraction("split", goal_id) < test else "train"


def describe_empty_splits(filled: Collection[str], *, test: float) -> str | None:
    """Warn about a split without rows; None without rows at all, or if no `test` is wanted.

    Args:
        filled: the splits that have rows, or will have some.
        test: the recipe's share of `test`.
    """
    empty = [f"`{name}`" for name in SPLITS if name not in filled and (name != "test" or test)]
    if not filled or not empty:
        return None
    return (
        f"no rows in {' and '.join(empty)}: no goal fell into it; plan more goals or change"
        f" `split.test` ({test:g})"
    )
