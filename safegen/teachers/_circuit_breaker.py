"""The circuit-breaker layer: decides if a failure costs one item or stops the run."""

from __future__ import annotations

from safegen.core.errors import RERUN_HINT, Blocked, TeacherRejected, TeacherUnavailable
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers._errors import AmbiguousRejection, AttemptsExhausted
from safegen.teachers._rate_limit import RateLimiter

OUTAGE_FAILURES = 8
"""Requests in a row without an answer, after all their attempts, before the run stops."""
OUTAGE_REJECTIONS = 3
"""Rejected requests in a row, before any answer, from which the settings are at fault, not the requests."""


class CircuitBreaker:
    """A teacher that stops the run when its endpoint answers no request.

    A request that the endpoint rejects is lost alone (outcome `blocked`) if the endpoint has answered
    another one, or says that the content is the reason.

    Args:
        teacher: raises `AttemptsExhausted`, `Blocked` and `AmbiguousRejection`.
        model: name for replies that no model wrote.
        limiter: its waiting requests fail when the run stops.
    """

    def __init__(self, teacher: Teacher, *, model: str, limiter: RateLimiter | None = None) -> None:
        self._teacher = teacher
        self._model = model
        self._limiter = limiter
        self._has_answered = False
        self._rejected = self._unanswered = 0

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            TeacherUnavailable: this request got no answer; the same command sends it again.
            TeacherRejected: too many requests in a row failed.
        """
        try:
            reply = await self._teacher(request)
        except AttemptsExhausted as e:
            if e.malformed:
                return Reply("", self._model, outcome="malformed", message=str(e))
            raise self._count_outage(e) from None
        except (Blocked, AmbiguousRejection) as e:
            self._unanswered = 0
            return await self._count_rejection(e)
        self._has_answered = True
        self._unanswered = self._rejected = 0
        return reply

    def _count_outage(self, error: AttemptsExhausted) -> Exception:
        self._unanswered += 1
        if self._unanswered < OUTAGE_FAILURES:
            return TeacherUnavailable(f"{error}; {RERUN_HINT}")
        # In-flight requests are not awaited here: the endpoint is not expected to answer them.
        message = f"{error}, {OUTAGE_FAILURES} requests in a row; is it running? {RERUN_HINT}"
        stop = TeacherRejected(message, kept=True)
        if self._limiter is not None:
            self._limiter.fail_waiters(stop)
        return stop

    async def _count_rejection(self, error: Blocked | AmbiguousRejection) -> Reply:
        if isinstance(error, Blocked) or self._has_answered:
            return Reply("", self._model, outcome="blocked", message=str(error))
        self._rejected += 1
        if self._rejected < OUTAGE_REJECTIONS:
            # Not stored: the same command sends the request again.
            raise TeacherUnavailable(f"{error.rejected}; {RERUN_HINT}") from None
        if self._limiter is not None:
            self._limiter.fail_waiters(error.rejected)
            # Replies in flight are paid for, so they are stored first.
            await self._limiter.wait_until_idle()
        raise error.rejected from None
