"""The circuit-breaker layer: decides if a failure costs one item or stops the run."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace

from safegen.core.errors import (
    RERUN_HINT,
    Blocked,
    ParseError,
    RunError,
    TeacherRejected,
    TeacherUnavailable,
)
from safegen.core.types import Message, Reply, Request, Teacher
from safegen.teachers._errors import AmbiguousRejection, AttemptsExhausted, OversizedReply
from safegen.teachers._rate_limit import RateLimiter

MAX_FAILED_ITEMS = 5
"""Different items that fail in a row and in the same way before the run stops."""
IN_A_ROW = f"{MAX_FAILED_ITEMS} different requests in a row"
CONTROL_MESSAGE = Message(role="user", content="Answer with the word yes.")


class CircuitBreaker:
    """A teacher that stops the run when its endpoint answers no request.

    A rejected request is the item's fault (outcome `blocked`) if the endpoint says so, or if it
    answers another request that started later. If there is none yet, a control request decides: the
    system turns, parameters and schema of the item with a harmless prompt. If it fails too, the item
    stays retryable. Five such items in a row stop the run.

    Args:
        teacher: raises `AttemptsExhausted`, `Blocked`, `OversizedReply` and `AmbiguousRejection`.
        model: name for replies that no model wrote.
        limiter: its waiting requests fail when the run stops.
        stop: further functions that are called with the error that stops the run.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        model: str,
        limiter: RateLimiter | None = None,
        stop: Callable[[RunError], object] = lambda _: None,
    ) -> None:
        self._teacher = teacher
        self._model = model
        self._limiter = limiter
        self._stop = stop
        self._started = 0
        self._last_answered = self._last_failed_control = 0
        self._way = ""
        self._failed_items = 0
        self._control = asyncio.Lock()
        self._error: TeacherRejected | None = None

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            TeacherUnavailable: this request got no answer; the same command sends it again.
            ParseError: the answer is too large.
            TeacherRejected: too many items in a row failed in the same way.
        """
        self._started += 1
        number = self._started
        try:
            reply = await self._teacher(request)
        except AttemptsExhausted as e:
            stop = self._count_failure(e.way, f"{e}, {IN_A_ROW}", e.hint)
            raise stop or TeacherUnavailable(_with_hint(f"{e}; {RERUN_HINT}", e.hint)) from None
        except OversizedReply as e:
            stop = self._count_failure("oversized", f"{e}, {IN_A_ROW}", "")
            raise stop or ParseError(str(e)) from None
        except Blocked as e:
            self._reset_failures()
            return Reply("", self._model, outcome="blocked", message=str(e))
        except AmbiguousRejection as e:
            return await self._judge_rejection(e, request, number=number)
        self._record_answer(number)
        return reply

    def _record_answer(self, number: int) -> None:
        self._last_answered = max(self._last_answered, number)
        self._reset_failures()

    def _reset_failures(self) -> None:
        self._way, self._failed_items = "", 0

    async def _judge_rejection(
        self, rejection: AmbiguousRejection, request: Request, *, number: int
    ) -> Reply:
        async with self._control:
            if self._error is not None:
                raise copy.copy(self._error)
            if number > self._last_answered and number > self._last_failed_control:
                await self._send_control(request)
            if number < self._last_answered:
                self._reset_failures()
                return Reply("", self._model, outcome="blocked", message=str(rejection))
            stop = self._count_failure(rejection.way, "", "", rejected=rejection.rejected)
        if stop is None:
            # Not stored: the same command sends the request again.
            raise TeacherUnavailable(f"{rejection.rejected}; {RERUN_HINT}") from None
        if self._limiter is not None:
            # Replies in flight are paid for, so they are stored first.
            await self._limiter.wait_until_idle()
        raise stop from None

    async def _send_control(self, request: Request) -> None:
        """Send a harmless prompt in the form of the request."""
        system = tuple(m for m in request.messages if m["role"] == "system")
        self._started += 1
        number = self._started
        try:
            await self._teacher(replace(request, messages=(*system, CONTROL_MESSAGE), attempt=0))
        except (AmbiguousRejection, AttemptsExhausted, Blocked, OversizedReply):
            self._last_failed_control = number
        else:
            self._last_answered = number

    def _count_failure(
        self, way: str, message: str, hint: str, *, rejected: TeacherRejected | None = None
    ) -> TeacherRejected | None:
        """Count a failed item; return the error that stops the run, or None."""
        self._failed_items = self._failed_items + 1 if way == self._way else 1
        self._way = way
        if self._failed_items < MAX_FAILED_ITEMS:
            return None
        text = f"{_with_hint(message, hint)}; {RERUN_HINT}"
        stop = rejected or TeacherRejected(text, kept=True)
        self._error = self._error or stop
        self._stop(stop)
        if self._limiter is not None:
            self._limiter.fail_waiters(stop)
        return stop


def _with_hint(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message
