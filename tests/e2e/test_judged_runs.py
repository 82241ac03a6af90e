"""A judged run that is killed asks no juror twice for a stored reply and gives equal bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_killed_judged_run_repeats_no_stored_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    with FakeEndpoint(answer, latency_s=LATENCY_S) as fake:
        straight = cli(capsys, "generate", recipe(whole, fake.url), "-o", whole / "out")
        assert straight.code == 0, straight.err
        digests = {digest(body) for body in fake.requests}
        port = int(fake.url.rsplit(":", 1)[1].removesuffix("/v1"))
    with FakeEndpoint(answer, latency_s=LATENCY_S, port=port) as fake:
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
