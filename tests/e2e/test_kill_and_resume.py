"""Killed at random moments and run again with the same command: equal bytes, nothing paid twice."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from safegen.hashing import digest
from tests.e2e.runs import hashes, long_answer, shell, started, write_recipe
from tests.fake_endpoint import FakeEndpoint

KILLS = 20
IN_FLIGHT = 4
LATENCY_S = 0.03
HARMS = ["cyber.*", "fraud.*", "deception.*", "property.*", "advice.*", "weapons.*"]


def recipe(folder: Path, url: str) -> Path:
    return write_recipe(
        folder / "recipe.yaml",
        url,
        plan={"harms": HARMS, "candidates": 3},
        endpoint={"concurrency": IN_FLIGHT, "seed": 0},  # so that the three samples differ
    )


def wait_until(true: Callable[[], bool], *, most_s: float = 60) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.002)
    return False


def killed_at_work(fake: FakeEndpoint, folder: Path, *, after: int, wait_s: float) -> bool:
    """Start the command and kill it some time after so many more requests; whether it was alive."""
    before = len(fake.requests)
    with started("generate", "recipe.yaml", "-o", "out", cwd=folder) as process:
        wait_until(lambda: len(fake.requests) >= before + after or process.poll() is not None)
        time.sleep(wait_s)
        process.kill()
        process.wait(10)
        return process.returncode == -signal.SIGKILL and len(fake.requests) > before


def test_twenty_kills_change_no_byte_and_pay_for_nothing_twice_but_what_was_in_flight(
    tmp_path: Path,
) -> None:
    moments = random.Random(7)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        recipe(whole, fake.url)
        straight = shell("generate", "recipe.yaml", "-o", "out", cwd=whole)
        assert straight.code == 0, straight.err
        asked = {digest(body) for body in fake.requests}
        assert len(fake.requests) == len(asked) > KILLS * 3 * IN_FLIGHT
        port = int(fake.url.rsplit(":", 1)[1].removesuffix("/v1"))
    with FakeEndpoint(long_answer, latency_s=LATENCY_S, port=port) as fake:
        recipe(broken, fake.url)
        kills = 0
        for _ in range(KILLS * 2):
            # Enough that what the last kill interrupted is answered before the next one.
            after = moments.randint(2 * IN_FLIGHT, 5 * IN_FLIGHT)
            wait_s = moments.uniform(0, 2 * LATENCY_S)
            kills += killed_at_work(fake, broken, after=after, wait_s=wait_s)
            if kills == KILLS:
                break
        assert kills == KILLS
        last = shell("generate", "recipe.yaml", "-o", "out", cwd=broken)
        assert last.code == 0, last.err
        seen = Counter(digest(body) for body in fake.requests)
    assert set(seen) == asked
    assert max(seen.values()) <= 2
    repeated = sum(count - 1 for count in seen.values())
    assert 0 < repeated <= KILLS * IN_FLIGHT
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
    assert shell("verify", "out", cwd=broken).code == 0


def test_a_kill_while_shards_and_dataset_are_written_changes_no_byte(tmp_path: Path) -> None:
    moments = random.Random(11)
    (tmp_path / "recipe.yaml").write_text(
        "name: a\nplan: {harms: [property.*, advice.*], candidates: 3}\n", encoding="utf-8"
    )
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert shell("generate", "recipe.yaml", "-o", whole, cwd=tmp_path).code == 0
    took = time.monotonic() - began
    broken = tmp_path / "broken"
    hit = 0
    for _ in range(6):
        with started("generate", "recipe.yaml", "-o", broken, cwd=tmp_path) as process:
            wait_until((broken / "run" / "lock").exists)
            time.sleep(moments.uniform(0.1, 0.8) * took)
            process.kill()
            hit += process.wait(10) == -signal.SIGKILL
    assert hit >= 1
    last = shell("generate", "recipe.yaml", "-o", broken, cwd=tmp_path)
    assert last.code == 0, last.err
    assert hashes(broken / "data") == hashes(whole / "data")
    assert shell("verify", broken, cwd=tmp_path).code == 0


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(tmp_path: Path) -> None:
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        plan = {"harms": ["property.*"], "candidates": 16}
        write_recipe(tmp_path / "recipe.yaml", fake.url, endpoint={"seed": 0}, plan=plan)
        with started("generate", "recipe.yaml", "-o", "out", cwd=tmp_path) as process:
            wait_until(lambda: len(fake.requests) >= 2 * IN_FLIGHT)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "run it again" in said.decode()
        assert "Traceback" not in said.decode()
        before = len(fake.requests)
        assert shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path).code == 0
        seen = Counter(digest(body) for body in fake.requests)
    assert sum(seen.values()) - len(seen) <= IN_FLIGHT
    assert before < len(fake.requests)


def write_budgeted(path: Path, url: str, most: int) -> None:
    plan = {"harms": ["property.*"], "candidates": 3}
    write_recipe(path, url, budget={"requests": most}, plan=plan, endpoint={"seed": 0})


def test_a_budget_counts_over_sessions_that_were_killed(tmp_path: Path) -> None:
    most = 30
    with FakeEndpoint(long_answer, latency_s=LATENCY_S) as fake:
        write_budgeted(tmp_path / "recipe.yaml", fake.url, most)
        kills = [killed_at_work(fake, tmp_path, after=10, wait_s=0.0) for _ in range(2)]
        assert kills == [True, True]
        stopped = shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path)
        assert stopped.code == 1
        assert f"the budget of `{most}` requests is spent" in stopped.err
        assert most <= len(fake.requests) <= most + 2 * IN_FLIGHT
        before = len(fake.requests)
        again = shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path)
        assert again.code == 1
        assert len(fake.requests) == before
        write_budgeted(tmp_path / "recipe.yaml", fake.url, 10 * most)
        assert shell("generate", "recipe.yaml", "-o", "out", cwd=tmp_path).code == 0
        seen = Counter(digest(body) for body in fake.requests)
    assert sum(seen.values()) - len(seen) <= 2 * IN_FLIGHT
