"""Runs killed at random moments resume to equal bytes without paying twice."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from safegen.core.hashing import digest
from safegen.testing import FakeEndpoint
from tests.e2e.runs import cli, hashes, kill_counts, long_answer, shell, started, write_recipe

IN_FLIGHT = 4
LATENCY_S = 0.03
HARMS = ["cyber.*", "fraud.*", "deception.*", "property.*", "advice.*", "weapons.*"]


def recipe(folder: Path, url: str, harms: list[str], candidates: int) -> Path:
    return write_recipe(
        folder / "recipe.yaml",
        url,
        plan={"harms": harms, "candidates": candidates},
        endpoint={"concurrency": IN_FLIGHT, "seed": 0},  # so that the samples differ
    )


def wait_until(true: Callable[[], bool], *, most_s: float = 60) -> bool:
    """Wait until the condition holds; return false after the time limit."""
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.002)
    return False


def killed_at_work(fake: FakeEndpoint, folder: Path, *, after: int, wait_s: float) -> bool:
    """Start the command, kill it after some more requests, and return true if it was still running."""
    before = len(fake.requests)
    with started("generate", "recipe.yaml", "-o", "out", cwd=folder) as process:
        wait_until(lambda: len(fake.requests) >= before + after or process.poll() is not None)
        time.sleep(wait_s)
        process.kill()
        process.wait(10)
        return process.returncode == -signal.SIGKILL and len(fake.requests) > before


@kill_counts(10)
def test_kills_change_no_byte(
    kills: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
) -> None:
    if kills > 1:
        kills = pytestconfig.getoption("--kills") or kills
    harms = HARMS if kills > 1 else ["property.*"]
    candidates = 3 + kills // 14
    moments = random.Random(7)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        straight = cli(
            capsys, "generate", recipe(whole, fake.url, harms, candidates), "-o", whole / "out"
        )
        assert straight.code == 0, straight.err
        digests = {digest(body) for body in fake.requests}
        assert len(fake.requests) == len(digests) > kills * 3 * IN_FLIGHT
        port = int(fake.url.rsplit(":", 1)[1].removesuffix("/v1"))
    with FakeEndpoint(long_answer, latency_s=LATENCY_S, port=port) as fake:
        recipe(broken, fake.url, harms, candidates)
        hit = 0
        for _ in range(kills * 2):
            # Enough for requests interrupted by the last kill to be answered before the next one.
            after = moments.randint(2 * IN_FLIGHT, 5 * IN_FLIGHT)
            # The first kill is sure to come before the last request is answered.
            wait_s = moments.uniform(0, 2 * LATENCY_S) if hit else 0.0
            hit += killed_at_work(fake, broken, after=after, wait_s=wait_s)
            if hit == kills:
                break
        assert hit == kills
        last = shell("generate", "recipe.yaml", "-o", "out", cwd=broken)
        assert last.code == 0, last.err
        seen = Counter(digest(body) for body in fake.requests)
    assert set(seen) == digests
    # A request is rarely in flight at two kills, and hardly ever at three.
    assert max(seen.values()) <= 3
    repeated = sum(count - 1 for count in seen.values())
    assert 0 < repeated <= kills * IN_FLIGHT
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
    assert cli(capsys, "verify", broken / "out").code == 0


@kill_counts(6, slow_only=True)
def test_kills_during_writing_change_no_byte(
    kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = random.Random(11)
    (tmp_path / "recipe.yaml").write_text(
        "name: a\nplan: {harms: [property.*, advice.*], candidates: 3}\n", encoding="utf-8"
    )
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert cli(capsys, "generate", tmp_path / "recipe.yaml", "-o", whole).code == 0
    took = time.monotonic() - began
    broken = tmp_path / "broken"
    hit = 0
    for kill in range(kills):
        with started("generate", "recipe.yaml", "-o", broken, cwd=tmp_path) as process:
            if kill == 0:  # between the first shard and the dataset
                wait_until((broken / "run" / "records" / "00000.parquet").exists)
            else:
                wait_until((broken / "run" / "lock").exists)
                time.sleep(moments.uniform(0.1, 0.8) * took)
            process.kill()
            hit += process.wait(10) == -signal.SIGKILL
        assert kill or not (broken / "manifest.json").exists()
    assert hit >= 1
    last = shell("generate", "recipe.yaml", "-o", broken, cwd=tmp_path)
    assert last.code == 0, last.err
    assert hashes(broken / "data") == hashes(whole / "data")
    assert cli(capsys, "verify", broken).code == 0


@pytest.mark.slow
def test_interrupted_run_names_the_resume_command(tmp_path: Path) -> None:
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        plan = {"harms": ["property.*"], "candidates": 3}
        write_recipe(tmp_path / "recipe.yaml", fake.url, endpoint={"seed": 0}, plan=plan)
        with started("generate", "recipe.yaml", "-o", "out", cwd=tmp_path) as process:
            wait_until(lambda: len(fake.requests) >= 2 * IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "run the same command to resume" in stderr.decode()
        assert "Traceback" not in stderr.decode()
        before = len(fake.requests)
        assert shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path).code == 0
        seen = Counter(digest(body) for body in fake.requests)
    assert sum(seen.values()) - len(seen) <= IN_FLIGHT
    assert before < len(fake.requests)


def write_budgeted(path: Path, url: str, most: int) -> None:
    plan = {"harms": ["property.*"], "candidates": 3}
    write_recipe(path, url, budget={"requests": most}, plan=plan, endpoint={"seed": 0})


@kill_counts(2, slow_only=True)
def test_budget_counts_killed_sessions(
    kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    most = 30
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        write_budgeted(tmp_path / "recipe.yaml", fake.url, most)
        for _ in range(kills):
            assert killed_at_work(fake, tmp_path, after=10, wait_s=0.0)
        stopped = shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path)
        assert stopped.code == 1
        assert f"the budget of `{most}` requests is spent" in stopped.err
        # A request counts before it is sent, so a kill between the two loses it.
        assert most - kills * IN_FLIGHT <= len(fake.requests) <= most
        before = len(fake.requests)
        command = ("generate", tmp_path / "recipe.yaml", "-o", tmp_path / "out")
        assert cli(capsys, *command).code == 1
        assert len(fake.requests) == before
        write_budgeted(tmp_path / "recipe.yaml", fake.url, 10 * most)
        assert cli(capsys, *command).code == 0
        seen = Counter(digest(body) for body in fake.requests)
    assert sum(seen.values()) - len(seen) <= kills * IN_FLIGHT
