"""Proof of coverage: combinations in total, void, covered and missing, before a run and after filtering."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice, product

from safegen.coverage._space import Space
from safegen.coverage.covering_array import Code, Model, Row

LISTED = 100
"""Missing combinations that a certificate lists."""
BATCH = 4_096


@dataclass(frozen=True, slots=True)
class Counts:
    """Combinations of values: `total` = `void` + `covered` + `missing`."""

    total: int
    void: int
    covered: int

    @property
    def missing(self) -> int:
        """Possible, and in no row."""
        return self.total - self.void - self.covered


@dataclass(frozen=True, slots=True)
class Strength:
    """The counts of one group of factors; the first group is all of them."""

    factors: tuple[str, ...]
    t: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Certificate:
    """What rows cover of a model. A combination of two groups counts once in `counts`."""

    rows: int
    breaking: int
    """Rows that break a constraint; what is possible in them still counts."""
    counts: Counts
    groups: tuple[Strength, ...]
    missing: tuple[Mapping[str, str], ...]
    """The first `LISTED` missing combinations."""


def certificate(model: Model, rows: Iterable[Row]) -> Certificate:
    """Count what rows cover; they may be read once, and a factor absent from a row covers nothing.

    A combination is void if and only if no full row that satisfies the constraints contains it.
    """
    code = Code(model)
    parts = [list(combinations(reach.factors, reach.t)) for reach in code.reaches]
    seen: dict[tuple[int, ...], set[int]] = {part: set() for group in parts for part in group}
    read = breaking = 0
    for batch in _batches(code.mask(row) for row in rows):
        for mask in set(batch):
            _note(code.space, seen, mask)
        read += len(batch)
        breaking += sum(not code.space.possible(mask) for mask in batch)
    counted: dict[tuple[int, ...], Counts] = {}
    missing: list[Mapping[str, str]] = []
    for part, masks in seen.items():
        possible = [m for m in _values(code.space, part) if code.space.possible(m)]
        total = _size(code.space, part)
        counted[part] = Counts(total, total - len(possible), sum(m in masks for m in possible))
        missing += [code.row(m) for m in possible if m not in masks][: LISTED - len(missing)]
    strengths = tuple(
        Strength(
            tuple(code.names[f] for f in reach.factors), reach.t, _sum(counted[p] for p in group)
        )
        for reach, group in zip(code.reaches, parts, strict=True)
    )
    return Certificate(read, breaking, _sum(counted.values()), strengths, tuple(missing))


def _note(space: Space, seen: Mapping[tuple[int, ...], set[int]], mask: int) -> None:
    """Mark what a row, or a part of one, covers."""
    held = [mask & own for own in space.own]
    for part, masks in seen.items():
        values = [held[f] for f in part]
        if all(values):
            masks.add(sum(values))


def _values(space: Space, part: tuple[int, ...]) -> Iterator[int]:
    for values in product(*(range(space.sizes[f]) for f in part)):
        yield sum(space.bit(f, v) for f, v in zip(part, values, strict=True))


def _size(space: Space, part: tuple[int, ...]) -> int:
    size = 1
    for f in part:
        size *= space.sizes[f]
    return size


def _sum(counts: Iterable[Counts]) -> Counts:
    total = void = covered = 0
    for c in counts:
        total, void, covered = total + c.total, void + c.void, covered + c.covered
    return Counts(total, void, covered)


def _batches(masks: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(masks, BATCH)):
        yield batch
