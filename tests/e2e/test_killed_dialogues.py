"""Authored conversations killed at random moments resume to equal bytes."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from safegen.core.hashing import digest
from safegen.core.types import Request
from safegen.testing import Body, FakeEndpoint
from tests.e2e.runs import cli, hashes, kill_counts, shell, started
from tests.e2e.test_authored_dialogues import Talk

IN_FLIGHT = 4
HELP = "I'll leave out the steps, but this much can be said about it: it is number {n}, and a desk nearby helps."
RECIPE = """
name: talk
plan: {{harms: [property.theft], sets_per_harm: 0, dialogues: [escalation, recovery], authored_dialogues: 2}}
teachers:
  drafter: {{openai_chat: {{base_url: "{url}", model: m, concurrency: 4, seed: 0}}}}
  author: {{openai_chat: {{base_url: "{url}", model: m, concurrency: 4}}}}
judges: {{labellers: [{{openai_chat: {{base_url: "{url}", model: m, concurrency: 4}}}}]}}
validators: [length_bounds]
views: [sft, prompt_completion]
"""


def answers() -> Callable[[Body], str]:
    """An author, a labeller that knows its texts, and a drafter behind one address."""
    talk, lock = Talk(), threading.Lock()

    def answer(body: Body) -> str:
        if "response_format" not in body:
            return HELP.format(n=digest(body)[:12])
        schema = body["response_format"]["json_schema"]["schema"]
        request = Request(tuple(body["messages"]), schema=schema)
        writes = "This is user turn" in body["messages"][1]["content"]
        with lock:
            return talk.author(request) if writes else talk.labeller(request)

    return answer


@kill_counts(5, slow_only=True)
def test_kills_change_no_byte_of_conversations(
    kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken, moments = tmp_path / "whole", tmp_path / "broken", random.Random(3)
    whole.mkdir()
    broken.mkdir()
    command = ("generate", "recipe.yaml", "-o", "out")
    with FakeEndpoint(answers(), latency_s=0.02) as fake:
        (whole / "recipe.yaml").write_text(RECIPE.format(url=fake.url))
        assert cli(capsys, "generate", whole / "recipe.yaml", "-o", whole / "out").code == 0
        digests = {digest(body) for body in fake.requests}
        port = int(fake.url.rsplit(":", 1)[1].removesuffix("/v1"))
    with FakeEndpoint(answers(), latency_s=0.02, port=port) as fake:
        (broken / "recipe.yaml").write_text(RECIPE.format(url=fake.url))
        for _ in range(kills):
            until = len(fake.requests) + moments.randint(2 * IN_FLIGHT, 6 * IN_FLIGHT)
            with started(*command, cwd=broken) as process:
                while len(fake.requests) < until and process.poll() is None:
                    time.sleep(0.002)
                process.kill()
                process.wait(10)
        assert shell(*command, cwd=broken).code == 0
        seen = Counter(digest(body) for body in fake.requests)
    assert set(seen) == digests
    assert max(seen.values()) <= 2
    assert sum(count - 1 for count in seen.values()) <= kills * IN_FLIGHT
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
