"""A covering model as bit masks: one bit per value, one mask per partial row.

`covering_array` maps names to bits. `is_possible` is exact: a partial row is impossible if and only if
no valid full row contains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

MEMO_SIZE = 1 << 18
"""Maximum number of memoised answers; the memo is emptied at this size, so that memory is bounded."""


class Reach(NamedTuple):
    """Factors whose `t`-value combinations must all be covered."""

    factors: tuple[int, ...]
    t: int


class FactorSpace:
    """Factors and forbidden partial rows; decides if a partial row can be completed."""

    def __init__(self, sizes: Sequence[int], voids: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.first = [sum(sizes[:f]) for f in range(len(sizes))]
        self.own = [((1 << n) - 1) << at for n, at in zip(sizes, self.first, strict=True)]
        self.factor = [f for f, n in enumerate(sizes) for _ in range(n)]
        self.voids = minimal_voids(voids)
        bits = 0
        for void in self.voids:
            bits |= void
        self.bound = sum(own for own in self.own if own & bits)
        """Mask of all values of the factors that a constraint names."""
        self._named = bits
        self._known: dict[int, bool] = {}

    def bit(self, factor: int, value: int) -> int:
        """Return the mask of one value."""
        return 1 << (self.first[factor] + value)

    def is_possible(self, mask: int) -> bool:
        """Return True if a full row without a broken constraint contains the partial row."""
        key = mask & self.bound
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MEMO_SIZE:
                self._known.clear()
            known = self._known[key] = self._can_complete(key, self.voids)
        return known

    def allows(self, row: int, value: int) -> bool:
        """Return True if a possible partial row stays possible with one more value."""
        # A value that no constraint names is possible in every full row.
        return not value & self._named or self.is_possible(row | value)

    def _can_complete(self, mask: int, voids: Sequence[int]) -> bool:
        # Branch on the factor with the fewest values left, while a constraint is active.
        rivals = sum(own for own in self.own if own & mask) & ~mask
        live = [void for void in voids if not void & rivals]
        if any(not void & ~mask for void in live):
            return False
        live, named = self._active_constraints(live, mask)
        if not live:
            return True
        lefts = [void & ~mask for void in live]
        banned = sum({left for left in lefts if not left & (left - 1)})
        choices = (own & ~banned for own in self.own if own & named)
        narrowest = min(choices, key=int.bit_count)
        return any(self._can_complete(mask | 1 << b, live) for b in iter_set_bits(narrowest))

    def _active_constraints(self, live: list[int], mask: int) -> tuple[list[int], int]:
        # An open factor with a value that no constraint names can take it, which satisfies all
        # constraints on the factor. Returns the other constraints and the open values that they name.
        while True:
            named = 0
            for void in live:
                named |= void & ~mask
            free = sum(own for own in self.own if own & named and own & ~named)
            if not free:
                return live, named
            live = [void for void in live if not void & ~mask & free]

    def iter_tuples(self, reach: Reach) -> Iterator[int]:
        """Iterate over every combination of `t` values of the factors, as masks, in a fixed order."""
        for factors in combinations(reach.factors, reach.t):
            for values in product(*(range(self.sizes[f]) for f in factors)):
                yield sum(self.bit(f, v) for f, v in zip(factors, values, strict=True))


def minimal_voids(voids: Sequence[int]) -> tuple[int, ...]:
    """Keep the constraints that no smaller one implies, smallest first."""
    kept: list[int] = []
    # Smallest first, so that each constraint meets those that can imply it.
    for void in sorted(set(voids), key=lambda v: (v.bit_count(), v)):
        if not any(small & ~void == 0 for small in kept):
            kept.append(void)
    return tuple(kept)


def iter_set_bits(mask: int) -> Iterator[int]:
    """Iterate over the positions of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
