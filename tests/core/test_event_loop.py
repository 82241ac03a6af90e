from __future__ import annotations

import asyncio
import sys

import pytest

from safegen.core import event_loop


async def name_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not installed on Windows")
def test_commands_run_on_uvloop() -> None:
    assert event_loop.run(name_loop()).split(".")[0] == "uvloop"


def test_loop_of_python_runs_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(name_loop()).split(".")[0] == "asyncio"
