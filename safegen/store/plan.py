"""The plan of a round: every scenario with its expectation and its goal's knowledge.

One row group is one shard, so a worker needs the run folder and a shard number, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from safegen.errors import StoreDamaged
from safegen.hashing import canonical
from safegen.store import parquet
from safegen.store.columns import (
    Row,
    expectation_fields,
    expectation_of,
    expectation_row,
    scenario_fields,
    scenario_of,
    scenario_row,
)
from safegen.types import Knowledge, Planned, SafeTask


def write(path: Path, shards: Iterable[list[Planned]]) -> None:
    """Write a plan, one shard in memory at a time."""
    import pyarrow as pa

    schema = pa.schema(
        [
            *scenario_fields(),
            *expectation_fields(),
            pa.field("knowledge", pa.string(), nullable=False),
        ]
    )
    parquet.write_groups(path, ([_row(p) for p in shard] for shard in shards), schema)


def read(path: Path, shard: int) -> list[Planned]:
    """The scenarios of one shard, in plan order.

    Raises:
        StoreDamaged: the plan cannot be read.
    """
    try:
        return [_planned(row) for row in parquet.read_group(path, shard)]
    except (KeyError, TypeError, ValueError) as e:
        raise StoreDamaged(
            f"plan `{path}` is not what this safegen writes; start over with `--replan`"
        ) from e


def every(path: Path) -> Iterator[Planned]:
    """Every scenario of a plan in order, one shard in memory at a time."""
    for shard in range(size(path)[0]):
        yield from read(path, shard)


def size(path: Path) -> tuple[int, int]:
    """Shards and scenarios of a plan."""
    return parquet.metadata(path)


def _row(planned: Planned) -> Row:
    knowledge = canonical(asdict(planned.knowledge)).decode()
    return (
        scenario_row(planned.scenario)
        | expectation_row(planned.expectation)
        | {"knowledge": knowledge}
    )


def _planned(row: Row) -> Planned:
    told = json.loads(row["knowledge"])
    knowledge = Knowledge(
        answer=tuple(told["answer"]),
        concepts=tuple(told["concepts"]),
        safe_task=SafeTask(told["safe_task"]["offer"], tuple(told["safe_task"]["steps"])),
        redirections=tuple(told["redirections"]),
        left_out=told["left_out"],
        decline=told["decline"],
    )
    return Planned(scenario_of(row), expectation_of(row), knowledge)
