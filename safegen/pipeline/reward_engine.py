"""Scores responses in the background: concurrent, bounded, with a cache that all reward functions share."""

from __future__ import annotations

import asyncio
import inspect
import os
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from datetime import date, time, timedelta
from decimal import Decimal
from threading import Lock, Thread, current_thread
from typing import Any, Literal, NamedTuple, TypeVar, cast
from uuid import UUID

from safegen.core.errors import ItemError, RunError, UserError
from safegen.core.hashing import canonical_json, digest
from safegen.pipeline.reward_inputs import RewardItem, to_plain

T = TypeVar("T")


class RewardParts(NamedTuple):
    """The reward of a response and its parts; None if they cannot be scored."""

    reward: float | None
    helpfulness: float | None = None
    safety: float | None = None
    problem: str = ""
    """Code of the error if the response could not be scored."""


CALL = "safegen-reward"
"""Name of the tasks that score one item."""
RewardPart = Literal["reward", "helpfulness", "safety"]
PartsFunction = Callable[[RewardItem], Awaitable[RewardParts]]


class LoopThread:
    """An event loop in a thread, so that sync and async trainers share one client and one limit."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    # Any: the sent and thrown types of a coroutine are of no interest.
    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="rewards", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @property
    def is_current(self) -> bool:
        """True in code that runs on the loop, which cannot wait for the loop."""
        return current_thread() is self._thread

    def close(self) -> None:
        """Cancel what runs on the loop and stop it; the next `submit` starts another one."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            # Other threads wait for results, so their coroutines must end before the loop does.
            asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _end_tasks() -> None:
    own = asyncio.current_task()
    while tasks := [task for task in asyncio.all_tasks() if task is not own]:
        for task in tasks:
            if task.get_name() == CALL:
                task.cancel()
        await asyncio.wait(tasks, timeout=1)


class RewardEngine:
    """Scores items at most once at a time, with a bound on the calls in flight."""

    def __init__(self, score: PartsFunction, *, in_flight: int, cached: int) -> None:
        self._score, self._cached = score, cached
        self._in_flight = in_flight
        self._cache: OrderedDict[str, RewardParts] = OrderedDict()
        self._start_empty()
        if hasattr(os, "register_at_fork"):
            own = weakref.ref(self)

            def start_child() -> None:
                if engine := own():
                    engine._start_empty()

            os.register_at_fork(after_in_child=start_child)

    def _start_empty(self) -> None:
        # A forked process has no thread of its parent, and no call of its parent ends in it.
        self.loop = LoopThread()
        self._limit = asyncio.Semaphore(self._in_flight)
        self._running: dict[str, asyncio.Task[RewardParts]] = {}

    def submit(
        self, items: Sequence[RewardItem], *, part: RewardPart = "reward"
    ) -> Future[list[RewardParts]]:
        """Start to score items on the engine's own loop; an item whose `part` is known is not scored."""
        return self.loop.submit(self._score_batch(items, part))

    def wait(
        self, items: Sequence[RewardItem], *, part: RewardPart = "reward"
    ) -> list[RewardParts]:
        """Score items and wait for the result.

        Raises:
            UserError: a scorer calls the reward that waits for it.
        """
        if self.loop.is_current:
            raise UserError(
                "a scorer calls its own reward, which waits for it; make another reward for it"
            )
        return self.submit(items, part=part).result()

    def close(self) -> None:
        """Stop the loop; the cache stays."""
        self.loop.close()
        self._start_empty()

    async def _score_batch(
        self, items: Sequence[RewardItem], part: RewardPart
    ) -> list[RewardParts]:
        tasks = [self._start(item, part) for item in items]
        if tasks:
            # All of them end, so that paid answers reach the cache.
            await asyncio.wait(tasks)
        if any(task.cancelled() for task in tasks):
            raise RunError("a call of the scorer was cancelled, or the reward was closed")
        # Every exception is retrieved, because asyncio logs the others.
        errors = [error for task in tasks if (error := task.exception())]
        if errors:
            raise errors[0]
        return [task.result() for task in tasks]

    def _start(self, item: RewardItem, part: RewardPart) -> asyncio.Task[RewardParts]:
        key = _cache_key(item)
        if key is None:
            return asyncio.create_task(self._ask(item), name=CALL)
        if task := self._running.get(key):
            return task
        task = asyncio.create_task(self._look_up(key, item, part), name=CALL)
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        return task

    async def _look_up(self, key: str, item: RewardItem, part: RewardPart) -> RewardParts:
        known = self._cache.get(key)
        # A judge that abstained from a part may answer the next time.
        if known and getattr(known, part) is not None:
            self._cache.move_to_end(key)
            return known
        parts = await self._ask(item)
        if parts[:3] != (None, None, None):
            self._cache[key] = parts
            if len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return parts

    async def _ask(self, item: RewardItem) -> RewardParts:
        async with self._limit:
            try:
                return await self._score(item)
            except ItemError as e:
                return RewardParts(None, problem=e.code)
            except (KeyboardInterrupt, SystemExit) as e:
                # They would end the loop, and all threads would wait for ever.
                raise RunError(f"the scorer raised {type(e).__name__}") from e


def _cache_key(item: RewardItem) -> str | None:
    """Return the key of an item; None if a column has a value whose equality is unknown."""
    try:
        return digest([item.messages, item.response, _to_key(to_plain(item.columns))])
    except (TypeError, ValueError, RecursionError):
        return None


def _to_key(value: object) -> object:
    """Convert a plain value to JSON that is equal for equal values.

    Raises:
        TypeError: the value has another type.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [_to_key(element) for element in cast("Sequence[object]", value)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        keys = [[_to_key(name), _to_key(element)] for name, element in pairs]
        return {"map": sorted(keys, key=canonical_json)}
    # JSON has no NaN, which pandas keeps for a missing value, and no dates.
    if isinstance(value, float | bytes | Decimal | date | time | timedelta | UUID):
        return {type(value).__name__: repr(value)}
    raise TypeError(f"no key of `{type(value).__name__}`")


async def finish(result: Awaitable[T] | T) -> T:
    """Return the result of a function that may be async."""
    return await cast("Awaitable[T]", result) if inspect.isawaitable(result) else cast("T", result)
