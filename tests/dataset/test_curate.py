from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from safegen.core.types import Draft, Failure, Record
from safegen.dataset.curate import curate
from safegen.store import frame_spool
from safegen.store.run_folder import RunFolder
from safegen.testing import make_draft, make_record, make_scenario, make_verdict


def rejected(draft: Draft, *, score: float = 0.0, reason: str | None = "style") -> Record:
    verdicts = (make_verdict(passed=False, score=score),)
    return make_record(draft=draft, verdicts=verdicts, accepted=False, reason=reason)


LOST = rejected(make_draft(outcome="filtered"), score=1.0, reason="filtered")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        pytest.param([LOST], "filtered", id="no answer"),
        pytest.param(
            [LOST, rejected(make_draft(candidate=1))], "style", id="an answer ranks first"
        ),
        pytest.param(
            [
                rejected(make_draft(candidate=1), score=0.2),
                rejected(make_draft(candidate=2), score=0.7, reason="language"),
            ],
            "language",
            id="highest sum of scores",
        ),
        pytest.param(
            [
                rejected(make_draft(candidate=2), reason="language"),
                rejected(make_draft(candidate=1)),
            ],
            "style",
            id="tie by draft id",
        ),
        pytest.param(
            [make_record(draft=make_draft(response=None, withheld=True))], "withheld", id="withheld"
        ),
        pytest.param([rejected(make_draft(), reason=None)], "not_accepted", id="no reason"),
        pytest.param([rejected(make_draft(), reason="x" * 99)], "x" * 80, id="long reason"),
    ],
)
def test_reason_is_that_of_nearest_draft(
    tmp_path: Path, records: Sequence[Record], reason: str
) -> None:
    run = RunFolder(tmp_path)
    run.write_shard(run.records(0), list(records), [])
    rows = curate(run).stats.scenarios.collect()
    assert rows.select("kept", "reason").rows() == [(False, reason)]


@pytest.mark.parametrize("rows", [1, 3, 10_000])
def test_state_is_equal_in_memory_and_spooled(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_spool, "GROUP_ROWS", rows)
    run = RunFolder(tmp_path)
    first = make_record()
    scenarios = [make_scenario(scenario_id=f"s000{n}") for n in range(5)]
    same_prompt = replace(scenarios[1], messages=first.scenario.messages)
    same_answer = make_draft(scenario_id="s0002", response=first.draft.response)
    missed = make_record(scenario=scenarios[3], accepted=False)
    topped_up = make_record(
        scenario=scenarios[3], draft=make_draft(scenario_id="s0003", candidate=1)
    )
    run.write_shard(
        run.records(0),
        [
            first,
            make_record(scenario=same_prompt),
            make_record(scenario=scenarios[2], draft=same_answer),
            missed,
        ],
        [Failure("s0009", "s0009-0-0", "draft", "filtered", "ContentFiltered", "filtered")],
    )
    run.write_shard(run.records(1), [make_record(scenario=scenarios[4]), topped_up], [])
    curated = curate(run)
    table = curated.stats.scenarios.select("scenario_id", "shard", "kept", "reason").collect()
    assert table.rows() == [
        ("s0000", 0, True, None),
        ("s0001", 0, False, "duplicate_prompt"),
        ("s0002", 0, False, "duplicate_response"),
        ("s0003", 0, True, None),
        ("s0004", 1, True, None),
        ("s0009", None, False, "filtered"),
    ]
    assert curated.extra_shards == {"s0003": (1,)}
    assert [group.selected for group in curated.iter_groups()] == [
        first,
        topped_up,
        make_record(scenario=scenarios[4]),
    ]
