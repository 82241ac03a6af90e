"""A user's own async function as a teacher: cache, budget, limits and retries by its identity."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import BudgetSpent, RunError, TeacherUnavailable
from safegen.core.types import Reply, Request

PLAN = {"harms": ["property.*"], "sets_per_harm": 1}
COUNT = 14
"""Prompts of the plan, which has one shard."""


class Words:
    """A teacher that counts its calls by prompt and can lose some of them."""

    def __init__(self, *, identity: str | None = None, losses: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.losses = losses
        self.active = self.max_active = 0
        self.concurrency = 3
        if identity is not None:
            self.identity = identity

    async def __call__(self, request: Request, /) -> Reply:
        assert request.context is not None
        self.calls[request.context.scenario.scenario_id] += 1
        is_lost = self.calls.total() <= self.losses
        self.active += 1
        self.max_active = max(self.active, self.max_active)
        try:
            await asyncio.sleep(0)
            if is_lost:
                raise TeacherUnavailable("out of words")
            text = (
                f"Here is plain help, long enough to be kept, for {request.messages[-1]['content']}"
            )
            return Reply(text, "words-1", prompt_tokens=1, completion_tokens=1)
        finally:
            self.active -= 1


def generate(folder: Path, teacher: Words, *, requests: int | None = None) -> safegen.Run:
    """Draft and validate the plan with a teacher in place of the recipe's drafter."""
    recipe = Recipe.model_validate(
        {
            "name": "custom",
            "plan": PLAN,
            "validators": ["length_bounds"],
            "budget": {"requests": requests},
        }
    )
    return safegen.generate(
        recipe, output=folder / "out", teachers={"drafter": teacher}, until="validate"
    )


def test_identity_repeats_only_lost_requests(tmp_path: Path) -> None:
    first = Words(identity="words@1", losses=4)
    generate(tmp_path, first)
    assert first.calls.total() == len(first.calls) == COUNT
    again = Words(identity="words@1")
    usage = generate(tmp_path, again).usage
    assert (again.calls.total(), usage.requests, usage.cached) == (4, 4, COUNT - 4)
    assert first.max_active == 3


@pytest.mark.parametrize("identities", [(None, None), ("words@1", "words@2")], ids=["none", "new"])
def test_other_identity_repeats_whole_shard(
    tmp_path: Path, identities: tuple[str | None, str | None]
) -> None:
    first, second = (Words(identity=name) for name in identities)
    first.losses = 1
    generate(tmp_path, first)
    generate(tmp_path, second)
    assert (first.calls.total(), second.calls.total()) == (COUNT, COUNT)


def test_budget_bounds_calls_and_keeps_replies(tmp_path: Path) -> None:
    first, second = Words(identity="words@1"), Words(identity="words@1")
    with pytest.raises(BudgetSpent, match=r"budget\.requests"):
        generate(tmp_path, first, requests=6)
    generate(tmp_path, second, requests=COUNT)
    assert (first.calls.total(), second.calls.total()) == (6, COUNT - 6)
    assert (first.calls + second.calls).most_common(1)[0][1] == 1


class Stop(BaseException):
    """An exception that `except Exception` does not catch."""


class Ending(Words):
    """A teacher that answers some requests and then ends with an exception of its own."""

    def __init__(self, ending: BaseException, *, identity: str | None) -> None:
        super().__init__(identity=identity)
        self.ending = ending
        self.answered = 0

    async def __call__(self, request: Request, /) -> Reply:
        if self.calls.total() == 5:
            raise self.ending
        reply = await super().__call__(request)
        self.answered += 1
        return reply


@pytest.mark.parametrize("identity", ["words@1", None], ids=["cached", "uncached"])
@pytest.mark.parametrize(
    "ending",
    [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), Stop("enough")],
    ids=lambda e: type(e).__name__,
)
def test_exception_that_ends_tasks_stops_the_run(
    ending: BaseException, identity: str | None, tmp_path: Path
) -> None:
    teacher = Ending(ending, identity=identity)
    name = type(ending).__name__
    message = rf"plug-in `drafter` failed when it answered a request \(.*{name}"
    with pytest.raises(RunError, match=message):
        generate(tmp_path, teacher)
    again = Words(identity=identity)
    generate(tmp_path, again)
    # Without an identity nothing is cached.
    assert again.calls.total() == COUNT - (teacher.answered if identity else 0)


async def test_awaited_task_that_was_cancelled_stops_the_run(tmp_path: Path) -> None:
    async def wait(request: Request, /) -> Reply:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task
        return Reply("never", "m")

    with pytest.raises(RunError, match=r"failed when it answered a request \(.*CancelledError"):
        await safegen.agenerate("starter", output=tmp_path / "out", teachers={"drafter": wait})


async def test_cancelled_run_passes_the_cancellation_on(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def wait(request: Request, /) -> Reply:
        started.set()
        await asyncio.Event().wait()
        return Reply("never", "m")

    run = asyncio.create_task(
        safegen.agenerate("starter", output=tmp_path / "out", teachers={"drafter": wait})
    )
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def test_complete_run_calls_nothing_again(tmp_path: Path) -> None:
    generate(tmp_path, Words(identity="words@1"))
    again = Words(identity="words@1")
    generate(tmp_path, again)
    assert again.calls.total() == 0


PLUGIN = """
import os
import signal
from pathlib import Path

from safegen.types import Reply, Request, Teacher

CALLS = Path("calls.txt")


class Fatal:
    identity = "fatal@1"
    concurrency = 1

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at

    async def __call__(self, request: Request, /) -> Reply:
        with CALLS.open("a") as calls:
            calls.write(request.context.scenario.scenario_id + chr(10))
        if len(CALLS.read_text().split()) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return Reply("Here is plain help that is long enough to pass the length check.", "fatal-1")


def fatal(*, kill_at: int) -> Teacher:
    return Fatal(kill_at)
"""


@pytest.mark.slow
def test_killed_plugin_repeats_at_most_one_call(tmp_path: Path) -> None:
    """A factory without a parameter `journal` has the layers of a function with an identity."""
    (tmp_path / "fatal.py").write_text(PLUGIN)
    (tmp_path / "r.yaml").write_text(
        "name: killed\nplan: {harms: [property.*], sets_per_harm: 1}\nvalidators: [length_bounds]\n"
        'teachers:\n  drafter: {"fatal:fatal": {kill_at: 9}}\n'
    )
    command = [sys.executable, "-m", "safegen", "generate", "r.yaml", "-o", "out"]
    command += ["--min-yield", "0"]
    codes = [
        subprocess.run(
            [*command, "--plugin", "fatal"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            timeout=120,
            check=False,
        ).returncode
        for _ in range(2)
    ]
    calls = Counter((tmp_path / "calls.txt").read_text().split())
    assert codes == [-signal.SIGKILL, 0]
    # The ninth call was in flight; the eight before it have durable replies.
    assert (len(calls), calls.total()) == (COUNT, COUNT + 1)
