"""Deal the rows of an array out to any number of sets: balanced, flat in memory, by position alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safegen.core.errors import ConfigError
from safegen.core.hashing import digest
from safegen.coverage._prng import Xorshift


def assign_rows(
    rows: int,
    n: int,
    *,
    start: int = 0,
    weights: Sequence[int] | None = None,
    seed: int = 0,
    key: str = "",
) -> Iterator[int]:
    """The row number of each of the positions `start` … `start + n - 1`.

    Rows are dealt in rounds, each in an order of its own; a round holds every row once, or as often
    as its weight says. So the first round covers what the array covers, and any two rows of equal
    weight differ by one at most. The answer for a position depends on nothing that came before: a
    later plan goes on where an earlier one stopped, and no order of arrival changes it.

    Args:
        rows: how many rows the array has.
        n: how many positions to deal.
        start: the first position.
        weights: shares by row, whole numbers; 0 leaves a row out. Default 1 each.
        seed: the recipe's number.
        key: what the positions are counted within, such as a leaf.

    Raises:
        ConfigError: no rows, or weights that do not fit them.
    """
    if weights is None:
        weights = [1] * rows
    if len(weights) != rows or any(w < 0 for w in weights) or not any(weights):
        raise ConfigError(f"{rows} rows need as many weights, none below 0 and one above")
    if n < 0 or start < 0:
        raise ConfigError(f"positions `{start}` and `{n}` must not be below 0")
    pack = [row for row, weight in enumerate(weights) for _ in range(weight)]
    return _deal_pack(pack, start, start + n, seed=seed, key=key)


def _deal_pack(pack: list[int], start: int, end: int, *, seed: int, key: str) -> Iterator[int]:
    size = len(pack)
    for round_ in range(start // size, -(-end // size)):
        dice = Xorshift(int(digest(["deal", seed, key, round_])[:15], 16))
        order = dice.shuffle(pack)
        low, high = max(start - round_ * size, 0), min(end - round_ * size, size)
        yield from order[low:high]
