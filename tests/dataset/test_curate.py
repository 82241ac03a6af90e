from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from safegen.core.types import Draft, Record
from safegen.dataset.curate import curate
from safegen.store.run_folder import RunFolder
from safegen.testing import make_draft, make_record, make_verdict


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
    rows = curate(run).stats.scenarios
    assert rows.select("kept", "reason").rows() == [(False, reason)]
