"""The one place that bounds how many requests are under way, and how fast they start.

Slow start, one shared pause after a 429, then starts paced at the rate that was measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from safegen.errors import RunError

FIRST_WINDOW = 8
SLICE_S = 0.25
"""The longest sleep before the gate looks again at whether the endpoint was rejected."""
SHORTEST_PAUSE_S = 0.05
LONGEST_GUESS_S = 60.0
SLOWEST_PER_S = 0.05
GROWTH = 1.1
"""Growth of the pace per second with successes."""
CALM_S = 10.0
"""Pacing ends when no 429 came for this long."""


class Gate:
    """A window of slots that opens with success and closes for a while at a 429.

    `async with gate as started` holds a slot; `started` is the clock's reading at its start.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.limit = limit
        self.window = min(limit, FIRST_WINDOW)
        self.active = 0
        self.rate: float | None = None
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._error: RunError | None = None
        self._in_window = 0
        self._successes = 0
        self._since = clock()
        self._paused_until = float("-inf")
        self._next_start = float("-inf")
        self._grown = self._since
        self._blind = 0

    async def __aenter__(self) -> float:
        """Wait for a slot, in the order of arrival.

        Raises:
            RunError: the endpoint was rejected, before or while waiting.
        """
        async with self._turn:
            while (ahead := self._ahead()) is not None:
                if ahead > 0:
                    await self._sleep(min(ahead, SLICE_S))
                else:
                    self._room.clear()
                    await self._room.wait()
            now = self._clock()
            self.active += 1
            self._empty.clear()
            if self.rate is not None:
                self._next_start = max(now, self._next_start) + 1 / self.rate
            return now

    async def __aexit__(self, *_: object) -> None:
        """Give the slot back."""
        self.active -= 1
        self._room.set()
        if self.active == 0:
            self._empty.set()

    def succeeded(self) -> None:
        """Count an answer: the window doubles with each full window of them."""
        now = self._clock()
        self._successes += 1
        self._blind = 0
        self._in_window += 1
        if self._in_window >= self.window:
            self.window = min(self.limit, self.window * 2)
            self._in_window = 0
        self._room.set()
        if self.rate is None or now < self._paused_until:
            return
        if now - self._since >= CALM_S:
            self.rate = None
            self._next_start = now
        elif now - self._grown >= 1:
            self.rate *= GROWTH
            self._grown = now

    def throttled(self, after_s: float | None, *, started: float) -> None:
        """Pause everyone after a 429.

        Args:
            after_s: seconds that the endpoint asked for; None guesses 1 s, doubling while blind.
            started: when the slot of the request was taken; one that began before the last pause
                was over lengthens that pause and teaches nothing new.
        """
        now = self._clock()
        guess = min(2.0**self._blind, LONGEST_GUESS_S)
        pause = max(SHORTEST_PAUSE_S, guess if after_s is None else after_s)
        if started < self._paused_until:
            if after_s is not None:
                self._lengthen(now + pause)
            return
        self._blind = min(self._blind + 1, 16)
        self._set_pace(max(now - self._since, 0.0) + pause)
        self.window = max(1, self.window // 2)
        self._in_window = 0
        self._successes = 0
        self._lengthen(now + pause)

    def reject(self, error: RunError) -> None:
        """Let everyone who waits, and everyone who comes, fail with this error."""
        self._error = self._error or error
        self._room.set()

    async def idle(self) -> None:
        """Wait until no slot is held."""
        await self._empty.wait()

    def _ahead(self) -> float | None:
        """Seconds to wait, 0 to wait for room, None to start."""
        if self._error is not None:
            raise type(self._error)(str(self._error))
        wait = max(self._paused_until, self._next_start) - self._clock()
        if wait > 0:
            return wait
        return 0.0 if self.active >= self.window else None

    def _set_pace(self, spent_s: float) -> None:
        if self._successes:
            self.rate = max(self._successes / spent_s, SLOWEST_PER_S)
        else:
            self.rate = max((self.rate or 1 / spent_s) / 2, SLOWEST_PER_S)

    def _lengthen(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
        self._since = self._grown = self._paused_until
