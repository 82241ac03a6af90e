"""Coverage certificate: total, excluded, covered and missing combinations, before a run and after filtering."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice, product

from safegen.coverage._space import FactorSpace
from safegen.coverage.covering_array import AxisRow, BitCode, CoverageModel

MAX_LISTED = 100
"""Maximum number of missing combinations in a certificate."""
# Equal rows of a batch are marked once; most plans repeat few distinct rows.
BATCH_SIZE = 4_096


@dataclass(frozen=True, slots=True)
class CombinationCounts:
    """Combinations of values: `total` = `void` + `covered` + `missing`."""

    total: int
    void: int
    covered: int

    @property
    def missing(self) -> int:
        """Number of possible combinations that no row contains."""
        return self.total - self.void - self.covered


@dataclass(frozen=True, slots=True)
class GroupCoverage:
    """The counts of one group of factors; the first group is all of them."""

    factors: tuple[str, ...]
    t: int
    counts: CombinationCounts


@dataclass(frozen=True, slots=True)
class Certificate:
    """Coverage of a model by rows. A combination of two groups counts once in `counts`."""

    rows: int
    invalid_rows: int
    """Number of rows that break a constraint; their possible combinations still count."""
    counts: CombinationCounts
    groups: tuple[GroupCoverage, ...]
    missing: tuple[Mapping[str, str], ...]
    """The first `MAX_LISTED` missing combinations."""


def certify(model: CoverageModel, rows: Iterable[AxisRow]) -> Certificate:
    """Count the combinations that rows cover.

    Rows are read once. A factor that a row lacks covers nothing. A combination is excluded (`void`) if and
    only if no full row that satisfies the constraints contains it.
    """
    code = BitCode(model)
    parts = [list(combinations(reach.factors, reach.t)) for reach in code.reaches]
    seen: dict[tuple[int, ...], set[int]] = {part: set() for group in parts for part in group}
    read = breaking = 0
    for batch in _iter_batches(code.to_mask(row) for row in rows):
        for mask in set(batch):
            for part, values in _iter_covered(code.space, seen, mask):
                seen[part].add(values)
        read += len(batch)
        breaking += sum(not code.space.is_possible(mask) for mask in batch)
    counted: dict[tuple[int, ...], CombinationCounts] = {}
    missing: list[Mapping[str, str]] = []
    for part, masks in seen.items():
        # Excluded combinations are counted exactly: a pair can be impossible only because of a
        # third axis.
        possible = [m for m in _iter_value_masks(code.space, part) if code.space.is_possible(m)]
        total = _count_combinations(code.space, part)
        counted[part] = CombinationCounts(
            total, total - len(possible), sum(m in masks for m in possible)
        )
        missing += [code.to_row(m) for m in possible if m not in masks][: MAX_LISTED - len(missing)]
    strengths = tuple(
        GroupCoverage(
            tuple(code.names[f] for f in reach.factors),
            reach.t,
            _sum_counts(counted[p] for p in group),
        )
        for reach, group in zip(code.reaches, parts, strict=True)
    )
    return Certificate(read, breaking, _sum_counts(counted.values()), strengths, tuple(missing))


def _iter_covered(
    space: FactorSpace, parts: Iterable[tuple[int, ...]], mask: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the factors and the combination of each part of which a row has all values."""
    held = [mask & own for own in space.own]
    for part in parts:
        values = [held[f] for f in part]
        if all(values):
            yield part, sum(values)


def _iter_value_masks(space: FactorSpace, part: tuple[int, ...]) -> Iterator[int]:
    for values in product(*(range(space.sizes[f]) for f in part)):
        yield sum(space.bit(f, v) for f, v in zip(part, values, strict=True))


def _count_combinations(space: FactorSpace, part: tuple[int, ...]) -> int:
    size = 1
    for f in part:
        size *= space.sizes[f]
    return size


def _sum_counts(counts: Iterable[CombinationCounts]) -> CombinationCounts:
    total = void = covered = 0
    for c in counts:
        total, void, covered = total + c.total, void + c.void, covered + c.covered
    return CombinationCounts(total, void, covered)


def _iter_batches(masks: Iterator[int]) -> Iterator[list[int]]:
    while batch := list(islice(masks, BATCH_SIZE)):
        yield batch
