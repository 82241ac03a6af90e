"""A run whose endpoint moved to another address resumes with its cached replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.core.hashing import digest
from safegen.testing import FakeEndpoint
from tests.e2e.runs import cli, fails, hashes, long_answer, write_recipe

PLAN = {"harms": ["property.*"]}


@pytest.mark.slow
def test_moved_endpoint_answers_only_the_rest(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer) as former, FakeEndpoint(long_answer) as moved:
        write_recipe(workdir / "r.yaml", former.url, plan=PLAN)
        assert cli(capsys, "generate", "r.yaml", "-o", "whole").code == 0
        total = len(former.requests)
        former.requests.clear()
        write_recipe(workdir / "r.yaml", former.url, plan=PLAN, budget={"requests": 4})
        assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 1
        write_recipe(workdir / "r.yaml", moved.url, plan=PLAN)
        fails(cli(capsys, "generate", "r.yaml", "-o", "out"), 2, "teachers", "`cache_address`")
        assert moved.requests == []
        write_recipe(
            workdir / "r.yaml", moved.url, plan=PLAN, endpoint={"cache_address": former.url}
        )
        result = cli(capsys, "generate", "r.yaml", "-o", "out", "--json")
        assert result.code == 0, result.err
        assert len(former.requests) == 4
        assert len(moved.requests) == total - 4 == json.loads(result.out)["requests"]
        assert not {digest(b) for b in former.requests} & {digest(b) for b in moved.requests}
    assert hashes(workdir / "out" / "data") == hashes(workdir / "whole" / "data")


@pytest.mark.slow
def test_finished_run_sends_nothing_to_the_moved_endpoint(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer) as former, FakeEndpoint(long_answer) as moved:
        write_recipe(workdir / "r.yaml", former.url, plan=PLAN)
        assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 0
        write_recipe(
            workdir / "r.yaml", moved.url, plan=PLAN, endpoint={"cache_address": former.url}
        )
        for options in ((), ("--replan",)):
            assert cli(capsys, "generate", "r.yaml", "-o", "out", *options).code == 0
        assert moved.requests == []
