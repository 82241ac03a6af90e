"""The caller's event loop runs on while a run reads and writes its folder."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from safegen.pipeline import api
from safegen.pipeline._threads import run_in_thread
from safegen.testing import scripted
from tests.pipeline.test_top_up import recipe


@pytest.mark.parametrize(
    "name",
    [
        "curate",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("prepare_run", "write_plan", "build")),
    ],
)
async def test_blocking_step_runs_outside_the_loop(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, threads = getattr(api, name), list[int]()

    def record(*args: object, **options: object) -> object:
        threads.append(threading.get_ident())
        return step(*args, **options)

    monkeypatch.setattr(api, name, record)
    await api.agenerate(recipe(), output=tmp_path, teachers={"drafter": scripted(lambda _: "Yes.")})
    assert threads
    assert threading.get_ident() not in threads


async def test_cancelled_call_ends_before_it_raises() -> None:
    entered, released = threading.Event(), threading.Event()
    ended: list[bool] = []

    def write() -> None:
        entered.set()
        ended.append(released.wait(10))

    task = asyncio.create_task(run_in_thread(write))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_soon(released.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
