"""The meter layer: counts requests and tokens, and stops before a budget is exceeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from safegen.core.arguments import check_callable, check_count
from safegen.core.errors import RERUN_HINT, BudgetSpent
from safegen.core.types import Reply, Request, Teacher, Usage


class Wait(NamedTuple):
    """A wait for a limited endpoint."""

    seconds: float
    """Time until the last waiting request may start."""
    reason: str
    limited: int
    """Requests that wait for their own Retry-After."""
    paused: bool
    """True if no request may start."""


class Meter:
    """A counter of requests and tokens that stops before a budget is exceeded.

    Tokens are known only after an answer, so requests in flight may exceed the token limit. The
    usage of earlier sessions of the run counts against the limits but not in `usage`.

    Args:
        requests: requests at most; None bounds nothing.
        tokens: tokens at most; None bounds nothing.
        before: the usage of earlier sessions.
        on_request: receives the number of requests, earlier sessions included, before each one is sent.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: `requests` or `tokens` is below 1.
    """

    def __init__(
        self,
        *,
        requests: int | None = None,
        tokens: int | None = None,
        before: Usage | None = None,
        on_request: Callable[[int], None] | None = None,
    ) -> None:
        check_count("requests", requests, optional=True)
        check_count("tokens", tokens, optional=True)
        check_callable("on_request", on_request, optional=True)
        self._before = before or Usage()
        self._on_request = on_request
        self.in_flight = 0
        self._most_requests = requests
        self._most_tokens = tokens
        self._requests = 0
        self._cached = 0
        self._retries = 0
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._uncounted = False
        self.read_wait: Callable[[], Wait | None] = lambda: None
        """Returns the longest wait for a limited endpoint; the owner of the limiters sets it."""

    def record_request(self, *, retry: bool = False) -> None:
        """Count a request that is about to be sent.

        Raises:
            BudgetSpent: a limit is reached or cannot be measured; nothing is counted.
        """
        if self._most_tokens is not None and self._uncounted:
            raise BudgetSpent(
                "the endpoint counts no tokens, so `budget.tokens` bounds nothing; remove it, set"
                f" `budget.requests`, and {RERUN_HINT}",
                kept=True,
            )
        before = self._before
        earlier = before.prompt_tokens + before.completion_tokens
        tokens = earlier + self._prompt_tokens + self._completion_tokens
        for name, used, most in (
            ("requests", before.requests + self._requests, self._most_requests),
            ("tokens", tokens, self._most_tokens),
        ):
            if most is not None and used >= most:
                raise BudgetSpent(
                    f"the budget of `{most}` {name} is spent; raise `budget.{name}` and"
                    f" {RERUN_HINT}",
                    kept=True,
                )
        if self._on_request is not None:
            self._on_request(before.requests + self._requests + 1)
        self._requests += 1
        self._retries += retry
        self.in_flight += 1

    def record_end(self) -> None:
        """Count a request as no longer in flight."""
        self.in_flight -= 1

    def record_reply(self, reply: Reply) -> None:
        """Count the tokens of an answer."""
        # Some endpoints send no `usage`; a token budget cannot bound them.
        self._uncounted |= reply.prompt_tokens is None and reply.completion_tokens is None
        self._prompt_tokens += reply.prompt_tokens or 0
        self._completion_tokens += reply.completion_tokens or 0

    def record_cache_hit(self) -> None:
        """Count a reply from the journal."""
        self._cached += 1

    def usage(self) -> Usage:
        """Return the usage of this session so far."""
        return Usage(
            requests=self._requests,
            cached=self._cached,
            retries=self._retries,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
        )


class MeteredTeacher:
    """A teacher whose requests and tokens are counted and bounded by a meter.

    Example:
        >>> metered = MeteredTeacher(ask, meter=Meter(requests=500))
    """

    def __init__(self, teacher: Teacher, *, meter: Meter) -> None:
        check_callable("teacher", teacher)
        self._teacher = teacher
        self._meter = meter

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            BudgetSpent: the budget allows no further request.
        """
        self._meter.record_request(retry=request.attempt > 0)
        try:
            reply = await self._teacher(request)
        finally:
            self._meter.record_end()
        self._meter.record_reply(reply)
        return reply
