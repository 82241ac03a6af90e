"""The circuit-breaker layer: decides if a failure costs one item or stops the run."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

from safegen.core.arguments import check_callable, check_text
from safegen.core.errors import (
    RERUN_HINT,
    Blocked,
    ParseError,
    RunError,
    TeacherRejected,
    TeacherUnavailable,
)
from safegen.core.types import Message, Reply, Request, Teacher
from safegen.teachers._errors import (
    AmbiguousRejection,
    AttemptsExhausted,
    OversizedReply,
    hide_prompt,
)
from safegen.teachers._outage_gate import PROBES, OutageGate, identify_item
from safegen.teachers._rate_limit import RateLimiter

# If a tenth of the items failed for reasons of their own, one item in 100,000 would end such a row.
MAX_FAILED_ITEMS = 5
"""Different items that fail in a row and in the same way before the run stops."""
IN_A_ROW = f"{MAX_FAILED_ITEMS} different items in a row"
# A single attempt could meet a random 429 or 500, and its failure may stop the run.
CONTROL_ATTEMPTS = 3
CONTROL_MESSAGE = Message(role="user", content="Answer with the word yes.")


class CircuitBreaker:
    """A teacher that stops the run when its endpoint answers no request.

    A rejected request is the item's fault (outcome `blocked`) if the endpoint says so, or if it
    answers another request that started later. If there is none yet, a control request decides: the
    system turns, parameters and schema of the item with a harmless prompt. If it fails too, the item
    stays retryable. Five such items in a row stop the run. A spent balance, and a status that mostly
    concerns all requests if none was answered yet, stop it with the first item.

    Items without an answer stop the run if five fail in a row in the same way and the control request
    fails too. Behind a gate it is enough that three of the five used all their attempts. An item
    counts once, however many of its drafts and repairs fail.

    Args:
        teacher: raises `AttemptsExhausted`, `Blocked`, `OversizedReply` and `AmbiguousRejection`.
        model: name for replies that no model wrote.
        control: makes one attempt at the control request, which must not queue behind other
            requests. None uses `teacher`.
        limiter: its waiting requests fail when the run stops.
        gate: counts failed attempts. Its requests end here, and its waiting ones fail when the run stops.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        model: str,
        control: Teacher | None = None,
        limiter: RateLimiter | None = None,
        gate: OutageGate | None = None,
    ) -> None:
        check_callable("teacher", teacher)
        check_text("model", model)
        self._teacher = teacher
        self._control = control or teacher
        self._model = model
        self._limiter = limiter
        self._gate = gate or OutageGate()
        self._started = 0
        self._last_answered = self._last_failed_control = 0
        self._cause = ""
        self._failed_items: set[str] = set()
        # Items in flight fail together; one control request serves all of them.
        self._judging = asyncio.Lock()
        self._error: RunError | None = None

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            TeacherUnavailable: this request got no answer; the same command sends it again.
            ParseError: the answer is too large.
            RunError: too many items in a row failed in the same way, or the budget is spent. Requests
                in flight have ended.
        """
        try:
            return await self._answer(request)
        except RunError as e:
            # A control request meets the budget outside of the limiter.
            self._stop_run(e)
            if self._limiter is not None:
                await self._limiter.wait_until_idle(e)
            raise
        finally:
            # After the judgement, so that no other request takes the place in between.
            self._gate.leave(request)

    async def _answer(self, request: Request) -> Reply:
        self._started += 1
        number = self._started
        try:
            reply = await self._teacher(request)
        except AttemptsExhausted as e:
            text = _with_hint(f"{e}, {IN_A_ROW}", e.hint)
            await self._judge_outage(request, e.cause, text)
            raise TeacherUnavailable(_with_hint(f"{e}; {RERUN_HINT}", e.hint)) from None
        except OversizedReply as e:
            await self._judge_outage(request, "oversized", f"{e}, {IN_A_ROW}")
            raise ParseError(str(e)) from None
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
        self._cause, self._failed_items = "", set()

    async def _judge_outage(self, request: Request, cause: str, text: str) -> None:
        """Count an item without an answer; raise if the endpoint answers no other prompt either."""
        async with self._judging:
            self._raise_stop()
            if not self._count_failure(request, cause):
                return
            # The last items of a run may all be faulty, with nothing left to try.
            if await self._send_control(request):
                self._reset_failures()
                self._gate.record_answer()
            # Another request may have succeeded in the meantime.
            if not self._failed_items:
                return
            # The screen shows the message of a stop.
            text = hide_prompt(text, request)
            stop = TeacherRejected(f"{text}; {RERUN_HINT}", kept=True)
            self._stop_run(stop)
        raise stop from None

    async def _judge_rejection(
        self, rejection: AmbiguousRejection, request: Request, *, number: int
    ) -> Reply:
        is_general = rejection.is_account or rejection.is_general
        if is_general:
            # An answer to a request that started before does not show that the key or the balance
            # is still valid.
            number = self._started
        async with self._judging:
            self._raise_stop()
            if number > self._last_answered and number > self._last_failed_control:
                # A rate limit or a short outage says nothing about the rejection.
                await self._send_control(request, attempts=CONTROL_ATTEMPTS)
            if number < self._last_answered:
                self._reset_failures()
                if is_general:
                    self._gate.record_answer()
                if rejection.is_temporary:
                    raise TeacherUnavailable(f"{rejection.rejected.problem}; {RERUN_HINT}")
                return Reply("", self._model, outcome="blocked", message=str(rejection))
            stops = (
                self._count_failure(request, rejection.cause)
                or rejection.is_account
                or (rejection.is_general and not self._last_answered)
            )
            rejected = _hide_in_stop(rejection.rejected, request)
            if stops:
                self._stop_run(rejected)
        if not stops:
            # Not stored: the same command sends the request again.
            raise TeacherUnavailable(f"{rejection.rejected}; {RERUN_HINT}") from None
        raise rejected from None

    async def _send_control(self, request: Request, *, attempts: int = 1) -> bool:
        """Send a harmless prompt in the form of the request; return if it is answered."""
        system = tuple(m for m in request.messages if m["role"] == "system")
        control = replace(request, messages=(*system, CONTROL_MESSAGE), attempt=0)
        self._started += 1
        number = self._started
        for _ in range(attempts):
            try:
                await self._control(control)
            except TeacherUnavailable:
                continue
            except (AmbiguousRejection, Blocked, OversizedReply):
                break
            self._last_answered = number
            return True
        self._last_failed_control = number
        return False

    def _count_failure(self, request: Request, cause: str) -> bool:
        """Count a failed item; return if the run has to stop."""
        if cause != self._cause:
            self._cause, self._failed_items = cause, set()
        self._failed_items.add(identify_item(request))
        if len(self._failed_items) >= PROBES and self._gate.count_items(cause) >= MAX_FAILED_ITEMS:
            return True
        return len(self._failed_items) >= MAX_FAILED_ITEMS

    def _raise_stop(self) -> None:
        if self._error is not None:
            # One object would collect the traceback of every request.
            raise copy.copy(self._error)

    def _stop_run(self, stop: RunError) -> None:
        self._error = self._error or stop
        self._gate.fail_waiters(stop)
        if self._limiter is not None:
            self._limiter.fail_waiters(stop)


def _hide_in_stop(error: TeacherRejected, request: Request) -> TeacherRejected:
    problem = hide_prompt(error.problem, request)
    return TeacherRejected(problem, status=error.status, kept=error.kept, hint=error.hint)


def _with_hint(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message
