"""One curation per run state, and at most two reads of each shard of records per build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from safegen.dataset import curate as curation
from safegen.pipeline import api
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from safegen.teachers.scripted import scripted
from tests.pipeline.test_top_up import answer, recipe


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count how often each shard of records is opened for reading."""
    opened = Counter[str]()

    class CountingFile(pq.ParquetFile):
        def __init__(self, source: Path, **options: Any) -> None:
            if source.parent.name == "records":
                opened[source.name] += 1
            super().__init__(source, **options)

    monkeypatch.setattr(pq, "ParquetFile", CountingFile)
    yield opened


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """List the rounds and finished shards of each state that is curated."""
    states: list[tuple[int, int]] = []
    read = curation.read_plan_rows

    def note(plans: plan.Plans) -> object:
        states.append((plans.rounds, plans.shards))
        return read(plans)

    monkeypatch.setattr(curation, "read_plan_rows", note)
    yield states


async def test_each_state_of_a_run_is_curated_once(
    tmp_path: Path, opened: Counter[str], states: list[tuple[int, int]]
) -> None:
    run = await api.agenerate(recipe(), output=tmp_path, teachers={"drafter": scripted(answer)})
    assert plan.Plans(run.folder.plans).rounds > 1
    assert states == sorted(set(states))
    assert max(opened.values()) <= len(states) + 1


async def test_build_reads_each_shard_at_most_twice(
    tmp_path: Path, opened: Counter[str], states: list[tuple[int, int]]
) -> None:
    plain = await api.agenerate(recipe(), output=tmp_path, teachers={"drafter": scripted(answer)})
    shards = [f"{n:05d}.parquet" for n in RunFolder(tmp_path).finished_shards()]
    opened.clear()
    states.clear()
    api.rebuild(plain.output)
    assert (len(states), max(opened.values())) == (1, 2)
    assert set(opened) == set(shards)
