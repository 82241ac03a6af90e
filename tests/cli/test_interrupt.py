from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from safegen.testing import FakeEndpoint
from safegen.testing.endpoint import Body
from tests.cli.harness import RECIPE, write_recipe
from tests.conftest import ROOT

IN_FLIGHT = 4
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}


def command(recipe: Path) -> list[str]:
    return [sys.executable, "-m", "safegen", "generate", recipe.name, "-o", "out"]


def start_run(endpoint: FakeEndpoint, folder: Path, options: str = "") -> subprocess.Popen[str]:
    params = f"{{base_url: '{endpoint.url}', model: jar, concurrency: {IN_FLIGHT}{options}}}"
    teachers = f"teachers:\n  drafter: {{use: openai_chat, params: {params}}}\n"
    recipe = write_recipe(folder, RECIPE + teachers + "validators: [language]\n")
    return subprocess.Popen(
        command(recipe),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_requests(endpoint: FakeEndpoint, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(endpoint.requests) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def heard_signals() -> Generator[None]:
    """Let children hear Ctrl-C and SIGHUP, also if the tests run in the background or under `nohup`."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGINT, id="ctrl-c"),
        # The same handler; `test_term_ends_run_whose_int_is_ignored` sends SIGTERM by default.
        pytest.param(signal.SIGTERM, id="a scheduler", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, id="a terminal", marks=pytest.mark.slow),
    ],
)
def test_interrupt_exits_130_and_rerun_resumes(sent: signal.Signals, tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=0.1) as endpoint:
        first = start_run(endpoint, tmp_path, ", seed: 0")
        wait_for_requests(endpoint, 3 * IN_FLIGHT, first)
        first.send_signal(sent)
        out, err = first.communicate(timeout=60)
        assert (first.returncode, out) == (130, "")
        assert "Traceback" not in err
        text = "interrupted; 0 of 1 shard done, all replies cached; run the same command to resume"
        assert err.splitlines()[-1] == f"safegen: {text}"

        endpoint.latency_s = 0.0
        again = subprocess.run(
            first.args,
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        distinct = len(endpoint.answered)
        assert "cached repl" in again.stderr
        assert distinct <= len(endpoint.requests) <= distinct + IN_FLIGHT


@pytest.mark.slow
def test_term_ends_run_whose_int_is_ignored(tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=0.1) as endpoint:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = start_run(endpoint, tmp_path, ", seed: 0")
        finally:
            signal.signal(signal.SIGINT, before)
        wait_for_requests(endpoint, 3 * IN_FLIGHT, process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert "interrupted;" in err


@pytest.mark.parametrize("limited", ["each second", pytest.param("all", marks=pytest.mark.slow)])
def test_interrupt_ends_a_long_wait_at_once(limited: str, tmp_path: Path) -> None:
    def fault(body: Body, nth: int) -> str | None:
        return "429" if limited == "all" or len(endpoint.requests) % 2 else None

    with FakeEndpoint(fault=fault, retry_after="500") as endpoint:
        process = start_run(endpoint, tmp_path)
        wait_for_requests(endpoint, IN_FLIGHT, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted;" in err.splitlines()[-1]
    assert "Traceback" not in err


SLOW_BUILD = """
import sys, time
from safegen.cli.main import main
from safegen.pipeline import api

def build(*args):
    print("building", flush=True)
    time.sleep(600)

api.build = build
main()
"""


@pytest.mark.slow
def test_second_interrupt_ends_a_long_build(tmp_path: Path) -> None:
    arguments = command(write_recipe(tmp_path, RECIPE))[3:]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted;" in err.splitlines()[-1]
    assert "Traceback" not in err
