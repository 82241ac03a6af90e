"""Greedy search of covering arrays: each row is the best of several candidates (AETG), then parts are rebuilt.

The best of several starts is kept: an empty one, and the arrays of `_known_arrays`. All choices use
integers and `Xorshift`, so the same model gives the same rows on every platform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations

from safegen.coverage._known_arrays import Table, iter_tables
from safegen.coverage._prng import Xorshift
from safegen.coverage._space import FactorSpace, Reach, iter_set_bits

MAX_TRIES = 12
"""Candidates for each row."""
MAX_REBUILDS = 120
"""Maximum number of times that a part of the array is removed and built again."""
MAX_WORK = 150_000
"""Bound on rows × values × rebuilds; a time limit would make the rows depend on the machine."""


@dataclass
class Demand:
    """Open tuples of one reach: a map from `t-1` values to their open partners."""

    reach: Reach
    values: int
    """The values of the reach's factors."""
    open: dict[int, int] = field(default_factory=dict[int, int])
    remaining: int = 0

    def copy(self) -> Demand:
        """Copy the demand for another array."""
        return Demand(self.reach, self.values, dict(self.open), self.remaining)

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
        return closed // (t - 1)

    def close(self, row: int) -> int:
        """Remove the tuples that a row, also a partial one, covers; return their number."""
        row &= self.values
        closed = 0
        for part in combinations([1 << b for b in iter_set_bits(row)], self.reach.t - 1):
            key = sum(part)
            partners = self.open.get(key, 0)
            if hit := partners & row:
                closed += hit.bit_count()
                self.open[key] = partners & ~hit
        self.remaining -= closed // self.reach.t
        return closed // self.reach.t


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
        self.demands = [d.copy() for d in demands]
        self.weights = weights
        self.dice = dice
        self.rows: list[int] = []
        self.used = [0] * len(weights)

    def add(self, row: int) -> None:
        """Append a full row."""
        self.close(row)
        for b in iter_set_bits(row):
            self.used[b] += 1
        self.rows.append(row)

    def close(self, row: int) -> int:
        """Remove the tuples that a row covers; return their number."""
        return sum(d.close(row) for d in self.demands)

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

    def finish(self, *, below: int) -> bool:
        """Add rows until no tuple is open; return False if that takes `below` rows or more."""
        factors = range(len(self.space.sizes))
        while self.count_open():
            if len(self.rows) + 1 >= below:
                return False
            starts = self._start_masks()
            tries = [
                self.fill(starts[self.dice.random_below(len(starts))], self.dice.shuffle(factors))
                for _ in range(MAX_TRIES)
            ]
            self.add(max(tries, key=self.covers))
        return len(self.rows) < below

    def _start_masks(self) -> list[int]:
        # Open tuples of the highest strength, at the values with most open partners.
        demand = max((d for d in self.demands if d.remaining), key=lambda d: d.reach.t)
        most = max(m.bit_count() for m in demand.open.values())
        keys = [k for k, m in demand.open.items() if m.bit_count() == most]
        return [k | 1 << b for k in keys for b in iter_set_bits(demand.open[k])]

    def use_table(self, table: Table) -> None:
        """Use the rows of a known array that are possible and close an open tuple."""
        columns = order_by_size(self.space)
        kept: list[int] = []
        for cells in table:
            row = 0
            for f, value in zip(columns, cells, strict=False):
                bit = self.space.bit(f, value) if value < self.space.sizes[f] else 0
                if bit and self.space.allows(row, bit):
                    row |= bit
            if self.close(row):
                kept.append(row)
        for row in kept:
            self.add(self.fill(row, columns))


def order_by_size(space: FactorSpace) -> list[int]:
    """Sort factors by number of values, largest first."""
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
    open_demands = build_demands(space, reaches)
    dice = Xorshift(seed)
    best: list[int] = []
    columns = order_by_size(space)
    sizes = [space.sizes[f] for f in columns]
    tables = iter_tables(len(sizes), sizes, Xorshift(seed)) if len(sizes) > 1 else iter(())
    bound = max(space.lower_bound(reaches), len(musts))
    for table in chain((None,), tables):
        builder = ArrayBuilder(space, open_demands, weights=weights, dice=dice)
        for must in musts:
            builder.add(builder.fill(must, columns))
        if table is not None:
            builder.use_table(table)
        if builder.finish(below=len(best) or 1 << 60):
            best = builder.rows
        if len(best) == bound:
            return best
    rebuilds = min(MAX_REBUILDS, MAX_WORK // (len(best) * len(weights) + 1))
    for _ in range(rebuilds):
        best = _rebuild(space, open_demands, best, weights=weights, fixed=len(musts), dice=dice)
        if len(best) == bound:
            break
    return best


def _rebuild(
    space: FactorSpace,
    open_demands: Sequence[Demand],
    rows: list[int],
    *,
    weights: Sequence[float],
    fixed: int,
    dice: Xorshift,
) -> list[int]:
    # Remove a quarter to all of the free rows. Equal length is accepted too, to leave local optima.
    free = range(fixed, len(rows))
    out = set(dice.shuffle(free)[: max(2, len(free) // (1 + dice.random_below(4)))])
    builder = ArrayBuilder(space, open_demands, weights=weights, dice=dice)
    for i, row in enumerate(rows):
        if i not in out:
            builder.add(row)
    return builder.rows if builder.finish(below=len(rows) + 1) else rows
