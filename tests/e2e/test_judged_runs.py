"""A judged run that is killed asks no juror twice for a stored reply and gives equal bytes.

Also if the judges rate drafts unsafe, disagree, abstain, break their JSON or contradict themselves.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from safegen.core.hashing import digest
from safegen.testing import Body, FakeEndpoint, make_judge_answer, read_judged_reply
from tests.e2e.runs import cli, hashes, long_answer, shell, started, write_recipe
from tests.e2e.test_kill_and_resume import IN_FLIGHT, LATENCY_S, wait_until

JUDGES = ("judge-a", "judge-b")


def answer(body: Body) -> str:
    if body["model"] not in JUDGES:
        return long_answer(body)
    return make_judge_answer(read_judged_reply(body["messages"]).response)


def recipe(folder: Path, url: str) -> Path:
    panel: list[dict[str, Any]] = [
        {"openai_chat": {"base_url": url, "model": name, "attempts": 2}} for name in JUDGES
    ]
    return write_recipe(
        folder / "recipe.yaml",
        url,
        plan={"harms": ["property.*"], "candidates": 2},
        endpoint={"concurrency": IN_FLIGHT, "seed": 0},
        judges={"panel": panel, "traps": 0},
    )


class StraightRun(NamedTuple):
    """The requests of a run without a kill, and the port of its endpoint."""

    requests: list[Body]
    port: int


def run_straight(
    folder: Path, capsys: pytest.CaptureFixture[str], respond: Callable[[Body], str]
) -> StraightRun:
    folder.mkdir()
    with FakeEndpoint(respond, latency_s=LATENCY_S) as fake:
        result = cli(capsys, "generate", recipe(folder, fake.url), "-o", folder / "out")
        assert result.code == 0, result.err
        return StraightRun([*fake.requests], int(fake.url.rsplit(":", 1)[1].removesuffix("/v1")))


@pytest.mark.slow
def test_killed_judged_run_repeats_no_stored_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    straight = run_straight(whole, capsys, answer)
    digests = {digest(body) for body in straight.requests}
    broken.mkdir()
    with FakeEndpoint(answer, latency_s=LATENCY_S, port=straight.port) as fake:
        recipe(broken, fake.url)
        with started("generate", "recipe.yaml", "-o", "out", cwd=broken) as process:

            def has_judged() -> bool:
                judged = sum(body["model"] in JUDGES for body in fake.requests)
                return judged >= 3 * IN_FLIGHT or process.poll() is not None

            assert wait_until(has_judged)
            process.kill()
            process.wait(10)
        before = len(fake.requests)
        assert 0 < before < len(digests)
        last = shell("generate", "recipe.yaml", "-o", "out", cwd=broken)
        assert last.code == 0, last.err
        seen = Counter(digest(body) for body in fake.requests)
    assert set(seen) == digests
    # Only requests in flight at the kill are sent again.
    assert sum(seen.values()) - len(seen) <= IN_FLIGHT
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
    assert cli(capsys, "verify", broken / "out").code == 0


SENTINEL = "the-lid-opens-with-pepper"
"""A stand-in for unsafe detail."""


def moody_answer(body: Body) -> str:
    """Draft an unsafe text or judge it, by the digest of the text, in each way that matters."""
    if body["model"] not in JUDGES:
        text = long_answer(body)
        return f"{text} Note: {SENTINEL}." if _pick_mood(text) < 2 else text
    response = read_judged_reply(body["messages"]).response
    mood, is_first = _pick_mood(response.partition(" Note:")[0]), body["model"] == JUDGES[0]
    unsafe = make_judge_answer(response, severity="high", rule="must_not.1")
    if mood == 0 or (mood == 1 and is_first):
        return unsafe
    if mood == 2:
        return make_judge_answer(response, tone="preaching")
    if mood == 3 and is_first:
        return make_judge_answer(response, severity="abstain", relevance="abstain")
    if mood == 4 and is_first:
        return "I read it, and it is fine: {"
    good = make_judge_answer(response)
    return f"{good} No: {unsafe}" if mood == 5 and is_first else good


def _pick_mood(text: str) -> int:
    return int(digest(text)[:8], 16) % 9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_judged_run_killed_at_random_gives_equal_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    straight = run_straight(whole, capsys, moody_answer)
    kills = sorted(random.Random(seed).sample(range(1, len(straight.requests)), 4))
    broken.mkdir()
    with FakeEndpoint(moody_answer, latency_s=LATENCY_S, port=straight.port) as fake:
        recipe(broken, fake.url)
        for kill in kills:
            with started("generate", "recipe.yaml", "-o", "out", cwd=broken) as process:
                assert wait_until(
                    lambda kill=kill, process=process: (
                        len(fake.requests) >= kill or process.poll() is not None
                    )
                )
        last = shell("generate", "recipe.yaml", "-o", "out", cwd=broken)
        assert last.code == 0, last.err
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
    for folder in (whole, broken):
        kept = [p for p in folder.rglob("*") if p.is_file() and SENTINEL.encode() in p.read_bytes()]
        assert kept == []
