"""The plan of a round: every scenario with its expectation and its goal's knowledge.

A row group is a shard, so a worker needs only the run folder and a shard number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from safegen.core.errors import StoreDamaged
from safegen.core.hashing import canonical_json
from safegen.core.types import Knowledge, PlannedScenario
from safegen.store import parquet
from safegen.store.schema import (
    ArrowRow,
    expectation_from_row,
    expectation_row,
    plan_schema,
    scenario_from_row,
    scenario_row,
)

REMEDY = "start over with `--replan`: cached replies are reused"


def write_plan(path: Path, shards: Iterable[list[PlannedScenario]]) -> None:
    """Write a plan, one shard in memory at a time.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    parquet.write_groups(path, ([_to_row(p) for p in shard] for shard in shards), plan_schema())


def read_shard(path: Path, group: int) -> list[PlannedScenario]:
    """Read the scenarios of one row group, in plan order.

    Raises:
        StoreDamaged: the plan cannot be read.
    """
    try:
        rows = parquet.read_group(path, group, schema=plan_schema(), remedy=REMEDY)
        return [_from_row(row) for row in rows]
    except ValueError as e:
        raise StoreDamaged(
            f"plan `{path}` is not a plan of this version of safegen; {REMEDY}"
        ) from e


def iter_scenarios(path: Path) -> Iterator[PlannedScenario]:
    """Iterate over a plan in order, with one shard in memory at a time.

    Raises:
        StoreDamaged: the plan cannot be read.
    """
    for shard in range(read_plan_size(path).shards):
        yield from read_shard(path, shard)


class PlanFileSize(NamedTuple):
    """Numbers of shards and of scenarios of one round's plan."""

    shards: int
    scenarios: int


def read_plan_size(path: Path) -> PlanFileSize:
    """Read the size of one round's plan.

    Raises:
        StoreDamaged: the plan cannot be read.
    """
    return PlanFileSize(*parquet.read_size(path))


class Plans:
    """The plans of all rounds as one sequence of shards: those of round 0 first, then of round 1.

    Raises:
        StoreDamaged: a plan cannot be read, or a round is missing.
    """

    def __init__(self, folder: Path) -> None:
        # By number: as text, `10` precedes `2`.
        self.paths = sorted(folder.glob("[0-9]*.parquet"), key=lambda p: int(p.stem))
        sizes = [parquet.read_group_sizes(path) for path in self.paths]
        self.rounds = len(sizes)
        self.shard_sizes = list(chain.from_iterable(sizes))
        """Planned rows of each shard."""
        self.shards = len(self.shard_sizes)
        self.scenarios = sum(self.shard_sizes)
        self._rounds = [n for n, shards in enumerate(sizes) for _ in shards]
        self._places = [
            (path, group)
            for path, shards in zip(self.paths, sizes, strict=True)
            for group in range(len(shards))
        ]
        if self.paths and [p.stem for p in self.paths] != [str(n) for n in range(self.rounds)]:
            raise StoreDamaged(f"a round is missing in `{folder}`; re-plan with `--replan`")

    def round_of(self, shard: int) -> int:
        """Return the round that planned a shard."""
        return self._rounds[shard]

    def read(self, shard: int) -> list[PlannedScenario]:
        """Read the scenarios of a shard, in plan order."""
        path, group = self._places[shard]
        return read_shard(path, group)


def _to_row(planned: PlannedScenario) -> ArrowRow:
    return (
        scenario_row(planned.scenario)
        | expectation_row(planned.expectation)
        | {
            "knowledge": _to_json(planned.knowledge),
            "brief": planned.brief,
            "first": planned.first,
        }
    )


# The scenarios of a goal follow each other, and imported ones all have the empty knowledge.
@lru_cache(maxsize=8)
def _to_json(knowledge: Knowledge) -> str:
    return canonical_json(asdict(knowledge)).decode()


@cache
def _knowledge_type() -> TypeAdapter[Knowledge]:
    return TypeAdapter(Knowledge)


@lru_cache(maxsize=8)
def _from_json(text: str) -> Knowledge:
    return _knowledge_type().validate_json(text)


def _from_row(row: ArrowRow) -> PlannedScenario:
    return PlannedScenario(
        scenario_from_row(row),
        expectation_from_row(row),
        _from_json(row["knowledge"]),
        brief=row["brief"],
        first=row["first"],
    )
