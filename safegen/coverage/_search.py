"""Greedy search of covering arrays: each row is the best of several random candidates (AETG, Cohen et al. 1997).

All choices use integers and `Xorshift`, so the same model gives the same rows on every platform.
Known arrays as starts and repeated rebuilding of parts are left out on purpose: they saved 2 of 59 rows of
the default axes and took more than ten times as long (measured 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from safegen.coverage._prng import Xorshift
from safegen.coverage._space import FactorSpace, Reach, iter_set_bits

CANDIDATES = 50
"""Candidates for each row; more gain little (Cohen et al. 1997)."""


@dataclass
class Demand:
    """Open tuples of one reach: a map from `t-1` values to their open partners."""

    reach: Reach
    values: int
    """The values of the reach's factors."""
    open: dict[int, int] = field(default_factory=dict[int, int])
    remaining: int = 0

    def add(self, mask: int) -> None:
        """Add an open tuple."""
        self.remaining += 1
        for b in iter_set_bits(mask):
            rest = mask ^ 1 << b
            self.open[rest] = self.open.get(rest, 0) | 1 << b

    def gain(self, row: int, value: int) -> int:
        """Count the open tuples that a value closes together with the values of a row."""
        if not value & self.values:
            return 0
        row &= self.values
        t = self.reach.t
        if t == 1:
            return int(bool(self.open.get(0, 0) & value))
        if t == 2:
            return (self.open.get(value, 0) & row).bit_count()
        others = combinations([1 << b for b in iter_set_bits(row)], t - 2)
        closed = sum((self.open.get(value | sum(o), 0) & row).bit_count() for o in others)
        # Each tuple was counted once for each of its other values.
        return closed // (t - 1)

    def close(self, row: int) -> None:
        """Remove the tuples that a row covers."""
        row &= self.values
        closed = 0
        for part in combinations([1 << b for b in iter_set_bits(row)], self.reach.t - 1):
            key = sum(part)
            partners = self.open.get(key, 0)
            if hit := partners & row:
                closed += hit.bit_count()
                self.open[key] = partners & ~hit
        # Each tuple is stored once for each of its values.
        self.remaining -= closed // self.reach.t


class ArrayBuilder:
    """An array that is being built."""

    def __init__(
        self,
        space: FactorSpace,
        demands: Sequence[Demand],
        *,
        weights: Sequence[float],
        dice: Xorshift,
    ) -> None:
        self.space = space
        self.demands = demands
        self.weights = weights
        self.dice = dice
        self.rows: list[int] = []
        self.used = [0] * len(weights)

    def add(self, row: int) -> None:
        """Append a full row."""
        for demand in self.demands:
            demand.close(row)
        for b in iter_set_bits(row):
            self.used[b] += 1
        self.rows.append(row)

    def count_open(self) -> int:
        """Count the open tuples."""
        return sum(d.remaining for d in self.demands)

    def fill(self, row: int, order: Sequence[int]) -> int:
        """Complete a possible partial row; each factor gets the value that closes most tuples."""
        for f in order:
            if not row & self.space.own[f]:
                ranked = sorted(self._rank_values(row, f))
                row |= next(1 << b for *_, b in ranked if self.space.allows(row, 1 << b))
        return row

    def _rank_values(self, row: int, f: int) -> Iterator[tuple[int, float, int, int]]:
        # Sorted, the best value comes first: by gain, then by use relative to its weight.
        size = self.space.sizes[f]
        # Ties would otherwise always prefer the first value of an axis.
        turn = self.dice.random_below(size)
        for v in range(size):
            b = self.space.first[f] + v
            share = (self.used[b] + 1) / self.weights[b] if self.weights[b] else float("inf")
            gain = sum(d.gain(row, 1 << b) for d in self.demands if d.remaining)
            yield -gain, share, (v + turn) % size, b

    def covers(self, row: int) -> int:
        """Count the open tuples that a full row closes."""
        # Adding the values one after the other counts each tuple once.
        done, gained = 0, 0
        for b in iter_set_bits(row):
            gained += sum(d.gain(done, 1 << b) for d in self.demands if d.remaining)
            done |= 1 << b
        return gained

    def finish(self) -> None:
        """Add rows until no tuple is open."""
        factors = range(len(self.space.sizes))
        while self.count_open():
            starts = self._start_masks()
            candidates = [
                self.fill(starts[self.dice.random_below(len(starts))], self.dice.shuffle(factors))
                for _ in range(CANDIDATES)
            ]
            self.add(max(candidates, key=self.covers))

    def _start_masks(self) -> list[int]:
        # Open tuples of the highest strength, at the values with most open partners.
        demand = max((d for d in self.demands if d.remaining), key=lambda d: d.reach.t)
        most = max(m.bit_count() for m in demand.open.values())
        keys = [k for k, m in demand.open.items() if m.bit_count() == most]
        return [k | 1 << b for k in keys for b in iter_set_bits(demand.open[k])]


def order_by_size(space: FactorSpace) -> list[int]:
    """Sort factors by number of values, largest first."""
    # The factor with the most values has the most open tuples and is chosen while the row is free.
    return sorted(range(len(space.sizes)), key=lambda f: (-space.sizes[f], f))


def build_demands(space: FactorSpace, reaches: Sequence[Reach]) -> list[Demand]:
    """List the demands of a model: every possible tuple of every reach."""
    out: list[Demand] = []
    for reach in reaches:
        demand = Demand(reach, sum(space.own[f] for f in reach.factors))
        for mask in space.iter_tuples(reach):
            if space.is_possible(mask):
                demand.add(mask)
        out.append(demand)
    return out


def search_array(
    space: FactorSpace,
    reaches: Sequence[Reach],
    *,
    weights: Sequence[float],
    musts: Sequence[int],
    seed: int,
) -> list[int]:
    """Search a small array and return its full rows, required rows first."""
    demands = build_demands(space, reaches)
    builder = ArrayBuilder(space, demands, weights=weights, dice=Xorshift(seed))
    columns = order_by_size(space)
    for must in musts:
        builder.add(builder.fill(must, columns))
    builder.finish()
    return builder.rows
