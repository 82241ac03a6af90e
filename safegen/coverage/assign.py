"""Assignment of array rows to any number of sets: balanced, in constant memory, by position alone."""

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
    """Assign an array row to each of the positions `start` … `start + n - 1`.

    Rows are assigned in passes, each in its own random order. A pass contains every row as often as its
    weight. So the first pass covers all that the array covers, and the counts of two rows of equal
    weight differ by at most one. The row of a position depends on no other position, so a later plan
    continues where an earlier one stopped.

    Args:
        rows: number of rows of the array.
        n: number of positions.
        start: the first position.
        weights: integer shares by row; 0 excludes a row. Default 1 each.
        seed: seed of the recipe.
        key: scope in which positions are counted, such as a leaf.

    Yields:
        Row numbers in [0, rows).

    Raises:
        ConfigError: no rows, a negative number, or weights that do not match the rows.
    """
    if weights is None:
        weights = [1] * rows
    if len(weights) != rows or any(w < 0 for w in weights) or not any(weights):
        raise ConfigError(
            f"{rows} rows need as many weights of 0 or more, at least one of them above 0"
        )
    if n < 0 or start < 0:
        raise ConfigError(f"start `{start}` and number of positions `{n}` must be 0 or more")
    weighted_rows = [row for row, weight in enumerate(weights) for _ in range(weight)]
    return _assign_passes(weighted_rows, start, start + n, seed=seed, key=key)


def _assign_passes(
    weighted_rows: list[int], start: int, end: int, *, seed: int, key: str
) -> Iterator[int]:
    size = len(weighted_rows)
    for number in range(start // size, -(-end // size)):
        # A seed for each pass, so that a later one needs no earlier one.
        rng = Xorshift(int(digest(["deal", seed, key, number])[:15], 16))
        order = rng.shuffle(weighted_rows)
        low, high = max(start - number * size, 0), min(end - number * size, size)
        yield from order[low:high]
