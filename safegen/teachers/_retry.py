"""The retry layer: repeats a failed request with full jitter; no other layer retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from safegen.core.arguments import check_callable, check_count
from safegen.core.errors import Blocked, RunError
from safegen.core.plural import format_plural
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers._errors import AmbiguousRejection, AttemptsExhausted, RetryableError
from safegen.teachers._outage_gate import HeldBack, OutageGate

# The first wait of OpenAI's SDK, whose own retries are off. The seventh retry reaches the maximum.
FIRST_RETRY_WAIT_S = 0.5
MAX_RETRY_WAIT_S = 30.0
# If half of the requests are limited at random, 20 in a row are limited once in a million cases.
MAX_LIMITED_ATTEMPTS = 20
"""Rate-limited attempts that count as one, as long as other requests are answered."""


class RetryingTeacher:
    """A teacher that is called again when it raises `RetryableError`.

    Waits are exponential with full jitter from 0.5 s to 30 s, and never shorter than the server's
    Retry-After. After a 429 with a Retry-After the wait is that time without jitter, because the
    rate limiter paces the requests that follow. It shortens the Retry-After of a request that is
    limited many times while others are answered.

    Args:
        teacher: one attempt. `Request.attempt` holds its number, from 0.
        attempts: calls per request, the first included; at least 1.
        sleep: waits for a number of seconds.
        gate: holds attempts back while the endpoint answers none. The circuit breaker ends the
            attempts of a request at it.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: `attempts` is below 1.

    Example:
        >>> retrying = RetryingTeacher(ask, attempts=3)
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        attempts: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        gate: OutageGate | None = None,
    ) -> None:
        check_callable("teacher", teacher)
        check_count("attempts", attempts)
        self._teacher = teacher
        self._attempts = attempts
        self._sleep = sleep
        self._gate = gate or OutageGate()
        self._owns_gate = gate is None

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            AttemptsExhausted: every attempt failed.
        """
        try:
            # The first attempt runs outside of tenacity: most requests need no retry, and its
            # bookkeeping costs more than the layers together.
            return await self._attempt(request)
        except RetryableError as e:
            if self._attempts == 1 and not e.uncounted:
                raise self._exhausted(e) from None
            return await self._retry(request, e)
        finally:
            if self._owns_gate:
                self._gate.leave(request)

    async def _attempt(self, request: Request) -> Reply:
        while True:
            await self._gate.enter(request)
            try:
                return await self._send(request)
            except HeldBack:
                continue

    async def _send(self, request: Request) -> Reply:
        try:
            reply = await self._teacher(request)
        except RetryableError as e:
            # A rate limit is an answer; the limiter paces the requests that follow.
            if e.limited:
                self._gate.record_answer()
            else:
                self._gate.record_failure(request, e.cause)
            raise
        except RunError as e:
            self._gate.fail_waiters(e)
            raise
        except (AmbiguousRejection, Blocked) as e:
            if isinstance(e, AmbiguousRejection) and (e.is_account or e.is_general):
                self._gate.record_rejection(request)
            else:
                # Another rejection is an answer too.
                self._gate.record_answer()
            raise
        self._gate.record_answer()
        return reply

    async def _retry(self, request: Request, first: RetryableError) -> Reply:
        from tenacity import (
            AsyncRetrying,
            RetryCallState,
            retry_if_exception_type,
            wait_random_exponential,
        )

        jitter = wait_random_exponential(multiplier=FIRST_RETRY_WAIT_S, max=MAX_RETRY_WAIT_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, RetryableError):
                return jitter(state)
            if error.limited and error.after_s is not None:
                return error.after_s
            return max(jitter(state), error.after_s or 0.0)

        counted = 0

        def stop(state: RetryCallState) -> bool:
            nonlocal counted
            error = state.outcome.exception() if state.outcome else None
            counted += not (isinstance(error, RetryableError) and error.uncounted)
            return max(counted, state.attempt_number / MAX_LIMITED_ATTEMPTS) >= self._attempts

        retrying = AsyncRetrying(
            stop=stop,
            retry=retry_if_exception_type(RetryableError),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for state in retrying:
                with state:
                    number = state.retry_state.attempt_number
                    # tenacity cannot begin with a failure, so its first attempt raises the known error.
                    if number == 1:
                        raise first
                    attempt, limited = number - 1, number - 1 - counted
                    return await self._attempt(replace(request, attempt=attempt, limited=limited))
        except RetryableError as e:
            raise self._exhausted(e) from None
        raise AssertionError("tenacity ends with a reply or an error")

    def _exhausted(self, error: RetryableError) -> AttemptsExhausted:
        text = f"{error} ({format_plural(self._attempts, 'attempt')})"
        return AttemptsExhausted(text, cause=error.cause, hint=error.hint)
