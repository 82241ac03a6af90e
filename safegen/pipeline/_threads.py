"""Runs blocking functions outside of an event loop, and coroutines without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any, TypeVar

from safegen.core import event_loop
from safegen.core.errors import UserError

T = TypeVar("T")
V = TypeVar("V")


def run_in_own_loop(work: Callable[[], Coroutine[Any, Any, T]], *, instead: str) -> T:
    """Run a coroutine function to its end.

    Args:
        work: the coroutine function.
        instead: the public function that callers in an event loop await.

    Raises:
        UserError: an event loop is running.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # no running loop
        return event_loop.run(work())
    raise UserError(f"an event loop is running; use `await safegen.{instead}(…)`")


async def run_in_thread(function: Callable[[], T]) -> T:
    """Call a function that reads or writes the run folder, without blocking the caller's event loop."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def finish(set_value: Callable[[V], None], value: V) -> None:
        if not result.done():
            set_value(value)

    def work() -> None:
        with suppress(RuntimeError):  # the loop is closed: a second interrupt ended the run
            try:
                value = function()
            except BaseException as e:  # noqa: BLE001  the caller raises it
                loop.call_soon_threadsafe(finish, result.set_exception, e)
            else:
                loop.call_soon_threadsafe(finish, result.set_result, value)

    # A daemon, because the process waits for a thread of the loop's pool, so that a second Ctrl-C
    # would not end a long build.
    Thread(target=copy_context().run, args=(work,), daemon=True).start()
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        # A thread cannot be stopped, and the folder stays locked as long as it is written.
        await asyncio.wait([result])
        raise
