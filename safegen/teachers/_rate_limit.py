"""The one place that bounds how many requests are under way, and how fast they start.

The window opens by slow start. Of a 429 the gate asks whether it is one endpoint's bad moment or a
rate limit, and looks at the requests that started just before and after it:

- Fewer than four in a row (in the order of their starts) were limited: bad moments, as a busy
  endpoint has them at random. Only the request concerned waits; neither window nor pace changes.
- Four in a row, or all since the last pause: a rate limit. Everybody pauses for as long as the endpoint asked, then
  starts are paced at the rate of successes that was measured, the pause included.

A pace is a guess. It is judged after every second with at least 20 answers: a share of 429s above
15 % scales it down to what passed, otherwise it grows by a tenth. Once it has doubled it limits
nothing, once it has halved it helps nothing; in both cases it is dropped.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from safegen.core.errors import Blocked, RunError
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers._errors import AmbiguousRejection, RetryableError

FIRST_WINDOW = 8
SLICE_S = 0.25
"""The longest sleep before the gate looks again at whether the endpoint was rejected."""
MIN_PAUSE_S = 0.05
MAX_GUESSED_PAUSE_S = 60.0
MIN_PACE_PER_S = 0.05
MIN_LIMITED_RUN = 4
"""429s in a row that mean a rate limit; at random 10 %, one request in 10 000 begins such a row."""
PACE_GROWTH = 1.1
"""Growth of a pace that is judged well."""
LIMITED_SHARE = 0.15
"""Share of 429s above which a pace is too high."""
MAX_HISTORY = 20_000
"""Numbers of limited requests that are remembered; twice what may be under way."""
STEP_S = 1.0
STEP_ANSWERS = 20


class Permit(NamedTuple):
    """Leave to send one request."""

    at: float
    """The clock's reading at its start."""
    nth: int
    """Its number in the order of starts."""


class RateLimiter:
    """A window of slots that opens with success and closes for a while at a rate limit.

    `async with gate as slot` holds a slot.
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
        self._started = 0
        self._limited: set[int] = set()
        self._successes = 0
        self._since = clock()
        self._paused_until = float("-inf")
        self._next_start = float("-inf")
        self._blind = 0
        self._unmeasured = False
        self._measured = 0.0
        self._step = self._since
        self._step_good = self._step_bad = 0

    async def __aenter__(self) -> Permit:
        """Wait for a slot, in the order of arrival.

        Raises:
            RunError: the endpoint was rejected, before or while waiting.
        """
        async with self._turn:
            while (ahead := self._wait_s()) is not None:
                if ahead > 0:
                    await self._sleep(min(ahead, SLICE_S))
                else:
                    self._room.clear()
                    await self._room.wait()
            now = self._clock()
            if self._unmeasured:
                self._set_pace()
            self.active += 1
            self._started += 1
            self._empty.clear()
            if self.rate is not None:
                self._next_start = max(now, self._next_start) + 1 / self.rate
            return Permit(now, self._started)

    async def __aexit__(self, *_: object) -> None:
        """Give the slot back."""
        self._release()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Keep a place occupied while a reply is stored; does not wait for one."""
        self.active += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self.active -= 1
        self._room.set()
        if self.active == 0:
            self._empty.set()

    def lower_limit(self, limit: int) -> None:
        """Let no more than `limit` be under way from now on."""
        self.limit = min(self.limit, limit)
        self.window = min(self.window, limit)

    def record_success(self) -> None:
        """Count an answer: the window doubles with each full window of them."""
        self._successes += 1
        self._blind = 0
        self._in_window += 1
        if self._in_window >= self.window:
            self.window = min(self.limit, self.window * 2)
            self._in_window = 0
        self._room.set()
        self._step_good += 1
        self._measure_pace()

    def record_throttle(self, after_s: float | None, *, slot: Permit) -> None:
        """Count a 429, and pause everyone where it is a rate limit.

        Args:
            after_s: seconds that the endpoint asked for; None guesses 1 s, doubling while blind.
            slot: that of the request; one that began before the last pause was over lengthens that
                pause and teaches nothing new.
        """
        now = self._clock()
        guess = min(2.0**self._blind, MAX_GUESSED_PAUSE_S)
        pause = max(MIN_PAUSE_S, guess if after_s is None else after_s)
        if slot.at < self._paused_until:
            if after_s is not None:
                self._extend_pause(now + pause)
            return
        self._step_bad += 1
        self._record_limited(slot.nth)
        if self._limited_run_length(slot.nth) < min(MIN_LIMITED_RUN, self._started):
            self._measure_pace()
            return
        self._blind = min(self._blind + 1, 16)
        self._unmeasured = True
        self.window = max(1, self.window // 2)
        self._in_window = 0
        self._extend_pause(now + pause)

    def fail_waiters(self, error: RunError) -> None:
        """Let everyone who waits, and everyone who comes, fail with this error."""
        self._error = self._error or error
        self._room.set()

    async def wait_until_idle(self) -> None:
        """Wait until no slot is held."""
        while self.active:
            await self._empty.wait()

    def _wait_s(self) -> float | None:
        """Seconds to wait, 0 to wait for room, None to start."""
        if self._error is not None:
            raise copy.copy(self._error)  # one object would collect the traceback of every waiter
        wait = max(self._paused_until, self._next_start) - self._clock()
        if wait > 0:
            return wait
        return 0.0 if self.active >= self.window else None

    def _record_limited(self, nth: int) -> None:
        self._limited.add(nth)
        if len(self._limited) > MAX_HISTORY:
            self._limited = set(sorted(self._limited)[MAX_HISTORY // 2 :])

    def _limited_run_length(self, nth: int) -> int:
        """How many neighbours in the order of starts were limited, this one included."""
        first = last = nth
        while first - 1 in self._limited:
            first -= 1
        while last + 1 in self._limited:
            last += 1
        return last - first + 1

    def _set_pace(self) -> None:
        """The pace that was measured, once the pause is over and late answers are counted."""
        if self._successes:
            spent_s = max(self._paused_until - self._since, MIN_PAUSE_S)
            self.rate = max(self._successes / spent_s, MIN_PACE_PER_S)
        elif self.rate is not None and self._blind > 1:
            self.rate = max(self.rate / 2, MIN_PACE_PER_S)
        self._measured = self.rate or 0.0
        self._unmeasured = False
        self._since = self._paused_until
        self._successes = self._started = 0
        self._limited.clear()
        self._begin_step(self._since)

    def _measure_pace(self) -> None:
        now, answers = self._clock(), self._step_good + self._step_bad
        if self.rate is None or now - self._step < STEP_S or answers < STEP_ANSWERS:
            return
        passed = self._step_good / answers
        self.rate *= PACE_GROWTH if 1 - passed <= LIMITED_SHARE else passed
        self._begin_step(now)
        if not self._measured / 2 < self.rate < self._measured * 2:
            self.rate = None
            self._next_start = now
            self._successes, self._since = 0, now

    def _begin_step(self, now: float) -> None:
        self._step = now
        self._step_good = self._step_bad = 0

    def _extend_pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)


class RateLimiters:
    """The gates of a session: teachers at the same address with the same key share one."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], RateLimiter] = {}

    def limiter_for(self, base_url: str, key: str, *, limit: int) -> RateLimiter:
        """The gate of an endpoint; the smallest limit that was asked for counts."""
        gate = self._made.setdefault((base_url, key), RateLimiter(limit))
        gate.lower_limit(limit)
        return gate


class RateLimitedTeacher:
    """A teacher that holds a permit of the limiter during each call.

    Example:
        >>> limited = RateLimitedTeacher(ask, limiter=RateLimiter(64))
    """

    def __init__(self, teacher: Teacher, *, limiter: RateLimiter) -> None:
        self._teacher = teacher
        self._limiter = limiter

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RunError: the run stops. No further request starts, and those in flight have ended.
        """
        try:
            async with self._limiter as permit:
                return await self._call(request, permit)
        except RunError as e:
            self._limiter.fail_waiters(e)
            await (
                self._limiter.wait_until_idle()
            )  # replies in flight are paid for, so they are stored first
            raise

    async def _call(self, request: Request, permit: Permit) -> Reply:
        try:
            reply = await self._teacher(request)
        except RetryableError as e:
            if e.limited:
                self._limiter.record_throttle(e.after_s, slot=permit)
            raise
        except (Blocked, AmbiguousRejection):
            self._limiter.record_success()  # the endpoint answers; the request is at fault
            raise
        self._limiter.record_success()
        return reply
