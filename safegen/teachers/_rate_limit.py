"""The rate-limit layer: the one place that bounds requests in flight and the rate of their starts.

The window of requests in flight grows by slow start. A limited request (HTTP 429) leaves its place in
the window empty until its Retry-After is over, but at most a quarter of the window. The limiter classifies
a 429 by the row of limited requests around it, in the order of their starts:

- Chance explains the row, given the share of 429s among the other requests: a random overload. Only
  this request waits, four times for its whole Retry-After. Each further wait is half of the one before,
  and at least a quarter of its Retry-After. Otherwise the unluckiest of 344 requests, of which half are
  limited, delays a run by 8 to 17 times that.
- Chance explains it in fewer than one of a million cases, or all requests since the last pause were
  limited, or nearly all are: a rate limit. No request succeeds, so all pause for the Retry-After. Then
  starts are paced at the measured rate of successes, the pause included.

Quota headers of an answer bound the window before a 429 occurs.

A pace is a guess. It is evaluated after every second with at least 20 answers, and earlier if five of
at most 14 were limited: if more than 15 % are 429s, it shrinks to the share that passed, otherwise it
grows by 2 %, without a 429 by 5 %, and by half if it is slow and met none at all. Once it has doubled it
no longer limits, once it has halved it no longer helps; in both cases it is dropped.
"""

from __future__ import annotations

import asyncio
import copy
import heapq
import logging
import math
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import NamedTuple

from safegen.core.arguments import check_callable, check_count
from safegen.core.errors import Blocked, BudgetSpent, RunError
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers._errors import AmbiguousRejection, RetryableError, hide_prompt
from safegen.teachers._meter import Wait
from safegen.teachers._quota import Quota
from safegen.teachers._structured_output import FormatMemory

log = logging.getLogger(__name__)

# Small, because a low limit answers the rest with 429s; four full windows later 128 are in flight.
FIRST_WINDOW = 8
# A paced start may be 20 s away, and `fail_waiters` cannot interrupt a sleep.
SLICE_S = 0.25
"""Longest sleep between two checks if the run stops."""
# A Retry-After of 0 must leave time for late answers, and a rate is divided by the pause.
MIN_PAUSE_S = 0.05
# Most vendors count requests per minute, so the next minute has room.
MAX_GUESSED_PAUSE_S = 60.0
# At this pace the 20 answers of a step already take 400 s; a slower one could hardly recover.
MIN_PACE_PER_S = 0.05
# If 10 % of the requests are limited at random, one request in 10,000 starts such a row.
MIN_LIMITED_RUN = 4
"""Fewest 429s in a row that mean a rate limit."""
# Every request may start a row: 5e-5 still took random 429s of long runs for a rate limit.
CHANCE = 1e-6
"""Probability below which a row of 429s is no random overload."""
SHOWN_WORDS = 80
"""Characters of the server's message in the reason of a wait, which shares a line."""
SHOWN_WAIT_S = 5.0
"""Shortest wait that is logged."""
# One step of growth stays below the limit (0.94 · 1.05 = 0.99), the second one probes it.
FIRST_PACE_SHARE = 0.94
"""Share of the measured rate with which a pace begins."""
PACE_GROWTH = 1.05
"""Factor of a pace that no 429 met."""
SLOW_PACE_GROWTH = 1.5
"""The same for a slow pace that met no 429 at all."""
CAUTIOUS_PACE_GROWTH = 1.02
"""Factor of a pace that few 429s met, which may have reached the limit."""
# More than 3 of 20 answers. If 5 % are limited at random, 1.6 % of the steps have so many.
LIMITED_SHARE = 0.15
"""Share of 429s above which a pace is too high."""
MOSTLY_LIMITED = 0.85
"""Share of 429s above which they are a rate limit, however they are ordered."""
MAX_HISTORY = 20_000
"""Stored numbers of limited requests; twice the largest `concurrency`."""
# Half of all requests are limited at random: with a Retry-After of 1 s, the unluckiest of 344 then waits at
# most 10 s, if it is limited up to 26 times, which happens in one of 200,000 runs. Whole waits: in one of six.
FULL_WAITS = 4
"""Times that a request waits for its whole Retry-After, although other requests are answered."""
LEAST_WAIT_SHARE = 0.25
"""Least share of a Retry-After that is waited for."""
# Shorter steps would measure bursts, fewer answers chance.
STEP_S = 1.0
STEP_ANSWERS = 20
SLOW_STEP_S = 5.0
CLEAR_ANSWERS = 5
"""429s that end a step early if they are more than a third, and answers that end one of `SLOW_STEP_S` without 429s."""


class Permit(NamedTuple):
    """A permission to send one request."""

    at: float
    """Start of the request in seconds of the limiter's clock."""
    nth: int
    """Number of the request in the order of starts."""


def shorten_wait(after_s: float, limited: int) -> float:
    """Return the seconds that a request waits after a 429 among the answers of others.

    Args:
        after_s: Retry-After in seconds.
        limited: earlier 429s of the request among answers.

    Example:
        >>> [shorten_wait(8.0, n) for n in (0, 3, 4, 5, 6)]
        [8.0, 8.0, 4.0, 2.0, 2.0]
    """
    halvings = max(0, limited + 1 - FULL_WAITS)
    return after_s * max(0.5 ** min(halvings, 8), LEAST_WAIT_SHARE)


class Throttle(NamedTuple):
    """The meaning of a 429."""

    is_rate_limit: bool
    """False for a random overload among answers."""
    wait_s: float | None
    """Seconds until the request may be repeated; None if the server names none."""


class RateLimiter:
    """A window of requests in flight that grows with successes and pauses at a rate limit.

    Args:
        limit: requests in flight at most.
        clock: seconds of a monotonic clock.
        sleep: waits for a number of seconds.
        peers: the limiters of a session, to which this one is added.

    Example:
        >>> async with limiter as permit:
        ...     reply = await send(request)
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        peers: list[RateLimiter] | None = None,
    ) -> None:
        check_count("limit", limit)
        self.limit = limit
        self.window = min(limit, FIRST_WINDOW)
        self.active = 0
        self.rate: float | None = None
        self._clock = clock
        self._sleep = sleep
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._error: RunError | None = None
        self._peers = [] if peers is None else peers
        self._peers.append(self)
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
        self._was_limited = False
        self._step = self._since
        self._step_good = self._step_bad = 0
        self._waits: list[float] = []
        self._reason = ""
        self._quota_window = 0
        self._quota_until = float("-inf")
        self._logged_until = float("-inf")

    @property
    def wait(self) -> Wait | None:
        """The longest wait at this moment, or None if requests may start and none was limited."""
        now = self._clock()
        # A copy, because the progress line reads it from another thread.
        waits = [until for until in tuple(self._waits) if until > now]
        if self._paused_until > now:
            return Wait(self._paused_until - now, self._reason, len(waits), paused=True)
        if not waits:
            return None
        return Wait(max(waits) - now, self._reason, len(waits), paused=False)

    async def __aenter__(self) -> Permit:
        """Wait for a permit, in the order of arrival.

        Raises:
            RunError: the run stops, before or while waiting.
        """
        async with self._queue:
            while (wait_s := self._wait_s()) is not None:
                if wait_s > 0:
                    await self._sleep(min(wait_s, SLICE_S))
                else:
                    self._changed.clear()
                    await self._changed.wait()
            now = self._clock()
            if self._unmeasured:
                self._set_pace()
            self.active += 1
            self._started += 1
            self._idle.clear()
            if self.rate is not None:
                # From `now` at least: a pace that stood idle must not be caught up in a burst.
                self._next_start = max(now, self._next_start) + 1 / self.rate
            return Permit(now, self._started)

    async def __aexit__(self, *_: object) -> None:
        """Return the permit."""
        self._release()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Occupy one place of the window while a reply is stored, without waiting for it."""
        self.active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self.active -= 1
        self._changed.set()
        if self.active == 0:
            self._idle.set()

    def lower_limit(self, limit: int) -> None:
        """Allow at most `limit` requests in flight from now on."""
        self.limit = min(self.limit, limit)
        self.window = min(self.window, limit)

    def record_success(self) -> None:
        """Count an answer; a full window of answers doubles the window."""
        self._successes += 1
        self._blind = 0
        self._in_window += 1
        if self._in_window >= self.window:
            self.window = min(self.limit, self.window * 2)
            self._in_window = 0
        self._changed.set()
        self._step_good += 1
        self._measure_pace()

    def record_throttle(
        self, after_s: float | None, *, permit: Permit, limited: int = 0, words: str = ""
    ) -> Throttle:
        """Count a 429, and pause all requests if it is a rate limit.

        Args:
            after_s: Retry-After in seconds; None guesses 1 s, doubled with each pause without an
                answer.
            permit: that of the request. If the request started before the last pause ended, it only
                extends that pause.
            limited: earlier 429s of the request among answers of others.
            words: the server's message, which is shown as the reason.
        """
        self._reason = f"rate limit (HTTP 429): {words}" if words else "rate limit (HTTP 429)"
        is_rate_limit = self._classify(after_s, permit)
        # A rate limit that reset early would only be met again.
        wait_s = shorten_wait(after_s, limited) if after_s and not is_rate_limit else after_s
        if wait_s:
            now = self._clock()
            heapq.heappush(self._waits, now + wait_s)
            self._log_wait(now + wait_s, now)
        return Throttle(is_rate_limit, wait_s)

    # Returns True for a rate limit, after pausing all requests, and False for a random overload.
    def _classify(self, after_s: float | None, permit: Permit) -> bool:
        now = self._clock()
        guess = min(2.0**self._blind, MAX_GUESSED_PAUSE_S)
        pause = max(MIN_PAUSE_S, guess if after_s is None else after_s)
        if permit.at < self._paused_until:
            if after_s is not None:
                self._extend_pause(now + pause)
            return True
        self._step_bad += 1
        self._record_limited(permit.nth)
        run = self._limited_run_length(permit.nth)
        # Fewer requests may have started since the last pause. The first of all is alone in flight: its
        # 429 shows nothing about the others, and its Retry-After may be long.
        is_first = bool(after_s) and self._started == 1 and self._blind == 0 and not self._successes
        is_chance = run < min(self._least_run(run), self._started)
        if is_first or (is_chance and not self._are_most_limited()):
            self._measure_pace()
            return self._successes == 0
        self._blind = min(self._blind + 1, 16)  # keeps 2**blind finite
        self._unmeasured = True
        self.window = max(1, self.window // 2)
        self._in_window = 0
        self._extend_pause(now + pause)
        return True

    def record_quota(self, quota: Quota) -> None:
        """Start no more requests than the endpoint's quota headers leave, until they reset."""
        now = self._clock()
        self._quota_window, self._quota_until = quota.remaining, now + quota.reset_s
        if quota.remaining == 0:
            self._reason = "quota used up (by the endpoint's headers)"
            self._extend_pause(now + quota.reset_s)

    def fail_waiters(self, error: RunError) -> None:
        """Raise this error in all waiting and all later requests."""
        self._error = self._error or error
        self._changed.set()

    async def wait_until_idle(self, error: RunError) -> None:
        """Wait until no request is in flight; after a spent budget also none of the other limiters.

        Replies in flight are paid for, so they are stored before the run stops.
        """
        # After other errors the other teachers could go on to send requests.
        limiters = self._peers if isinstance(error, BudgetSpent) else [self]
        while busy := [limiter for limiter in limiters if limiter.active]:
            await busy[0]._idle.wait()

    # Seconds to wait; 0 waits for a place in the window, None starts.
    def _wait_s(self) -> float | None:
        if self._error is not None:
            raise copy.copy(self._error)  # one object would collect the traceback of every waiter
        wait = max(self._paused_until, self._next_start) - self._clock()
        if wait > 0:
            return wait
        return 0.0 if self.active >= self._places() else None

    def _places(self) -> int:
        now = self._clock()
        self._drop_past_waits(now)
        # With random 429s and a long Retry-After, waiting requests would fill the whole window.
        places = max(self.window - self.window // 4, self.window - len(self._waits), 1)
        return min(places, max(self._quota_window, 1)) if now < self._quota_until else places

    def _drop_past_waits(self, now: float) -> None:
        while self._waits and self._waits[0] <= now:
            heapq.heappop(self._waits)

    # The shortest row of 429s that chance does not explain. The row itself is left out of the share,
    # because at a rate limit it follows answers only.
    def _least_run(self, run: int) -> int:
        limited = max(len(self._limited) - run, 0)
        # Four added requests keep the share off 0 and 1 (Agresti and Coull). With two, the first 14 of 344
        # requests, of which half are limited at random, were taken for a rate limit too often.
        share = (limited + 2) / (limited + self._successes + 4)
        return max(MIN_LIMITED_RUN, math.ceil(math.log(CHANCE) / math.log(share)))

    # So many 429s break their rows only by the few requests that a rate limit lets through.
    def _are_most_limited(self) -> bool:
        limited = len(self._limited)
        # Some endpoints limit at once and answer later, so those in flight count as answers.
        most = MOSTLY_LIMITED * (limited + self._successes + self.active)
        return limited >= STEP_ANSWERS and limited > most

    def _log_wait(self, until: float, now: float) -> None:
        # Requests in flight are limited one after the other, and each names a slightly later end.
        least = max(SHOWN_WAIT_S, (until - now) / 2)
        if until - now >= SHOWN_WAIT_S and until - self._logged_until >= least:
            self._logged_until = until
            log.warning("%s: the next attempt is in %.0f s", self._reason, until - now)

    def _record_limited(self, nth: int) -> None:
        self._limited.add(nth)
        if len(self._limited) > MAX_HISTORY:
            # Only neighbours of a new number are read, and old requests have ended.
            self._limited = set(sorted(self._limited)[MAX_HISTORY // 2 :])

    def _limited_run_length(self, nth: int) -> int:
        first = last = nth
        while first - 1 in self._limited:
            first -= 1
        while last + 1 in self._limited:
            last += 1
        return last - first + 1

    def _set_pace(self) -> None:
        # Called after the pause, when late answers are counted.
        if self._successes:
            spent_s = max(self._paused_until - self._since, MIN_PAUSE_S)
            self.rate = max(FIRST_PACE_SHARE * self._successes / spent_s, MIN_PACE_PER_S)
        elif self.rate is not None and self._started >= MIN_LIMITED_RUN:
            # No request passed between two pauses, so the pace was too high. One alone shows that
            # the pause was too short.
            self.rate = max(self.rate / 2, MIN_PACE_PER_S)
        self._measured = self.rate or 0.0
        self._was_limited = False
        self._unmeasured = False
        self._started = 0
        self._begin_measurement(self._paused_until)
        self._begin_step(self._since)

    def _measure_pace(self) -> None:
        now, answers = self._clock(), self._step_good + self._step_bad
        if self.rate is None or now - self._step < STEP_S or not self._is_step_done(now, answers):
            return
        passed = self._step_good / answers
        if 1 - passed > LIMITED_SHARE:
            self.rate *= passed
        elif self._step_bad:
            self.rate *= CAUTIOUS_PACE_GROWTH
        else:
            self.rate *= PACE_GROWTH if answers >= STEP_ANSWERS else SLOW_PACE_GROWTH
        self._was_limited = self._was_limited or self._step_bad > 0
        self._begin_step(now)
        # Far from the measured rate, the measurement does not explain the 429s any more.
        if not self._measured / 2 < self.rate < self._measured * 2:
            self.rate = None
            self._next_start = now
            self._begin_measurement(now)

    # A slow pace would need minutes for 20 answers; a clear result ends the step before.
    def _is_step_done(self, now: float, answers: int) -> bool:
        if answers >= STEP_ANSWERS:
            return True
        if self._step_bad:
            return self._step_bad >= CLEAR_ANSWERS and self._step_bad * 3 > answers
        return (
            answers >= CLEAR_ANSWERS and now - self._step >= SLOW_STEP_S and not self._was_limited
        )

    # Successes and 429s are counted from the same moment; otherwise their share explains any row.
    def _begin_measurement(self, now: float) -> None:
        self._since = now
        self._successes = 0
        self._limited.clear()

    def _begin_step(self, now: float) -> None:
        self._step = now
        self._step_good = self._step_bad = 0

    def _extend_pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
        self._log_wait(self._paused_until, self._clock())


class RateLimiters:
    """The limiters of a session: teachers at one address with one key, headers and query share one."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[object, ...], RateLimiter] = {}
        self._peers: list[RateLimiter] = []
        self._formats: dict[tuple[object, ...], FormatMemory] = {}

    def longest_wait(self) -> Wait | None:
        """Return the longest wait of all limiters at this moment."""
        waits = [limiter.wait for limiter in tuple(self._limiters.values())]
        return max((w for w in waits if w is not None), default=None, key=lambda w: w.seconds)

    def limiter_for(self, *account: object, limit: int) -> RateLimiter:
        """Return the limiter of an account; the smallest requested limit counts.

        Args:
            account: hashable values that identify it, such as address, key and headers.
            limit: requests in flight at most.
        """
        if account not in self._limiters:
            self._limiters[account] = RateLimiter(limit, peers=self._peers)
        limiter = self._limiters[account]
        limiter.lower_limit(limit)
        return limiter

    def formats_for(self, *model: object) -> FormatMemory:
        """Return the memory of the reply formats of a model; hashable values identify it."""
        return self._formats.setdefault(model, FormatMemory())


class RateLimitedTeacher:
    """A teacher that holds a permit of the limiter during each call.

    Example:
        >>> limited = RateLimitedTeacher(ask, limiter=RateLimiter(64))
    """

    def __init__(self, teacher: Teacher, *, limiter: RateLimiter) -> None:
        check_callable("teacher", teacher)
        self._teacher = teacher
        self._limiter = limiter

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RunError: the run stops. No further request starts, and those in flight have ended.
            RetryableError: the endpoint gave no answer; a 429 also counts for the limiter.
        """
        try:
            async with self._limiter as permit:
                return await self._call(request, permit)
        except RunError as e:
            self._limiter.fail_waiters(e)
            await self._limiter.wait_until_idle(e)
            raise

    async def _call(self, request: Request, permit: Permit) -> Reply:
        try:
            reply = await self._teacher(request)
        except RetryableError as e:
            if e.limited:
                throttle = self._limiter.record_throttle(
                    e.after_s,
                    permit=permit,
                    limited=request.limited,
                    words=hide_prompt(e.words, request)[:SHOWN_WORDS],
                )
                e.uncounted, e.after_s = not throttle.is_rate_limit, throttle.wait_s
            raise
        except (Blocked, AmbiguousRejection) as e:
            # The endpoint answers; the request is at fault, if it is not the account or the address.
            if isinstance(e, Blocked) or not (e.is_account or e.is_general):
                self._limiter.record_success()
            raise
        self._limiter.record_success()
        return reply
