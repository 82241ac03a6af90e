"""A user's own async function inside the layers of `openai_chat`, if it carries an identity."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from safegen.core.arguments import check_text
from safegen.core.hashing import digest
from safegen.core.plugin_checks import CheckedTeacher, locate_plugin
from safegen.core.types import Reply, Request, Teacher
from safegen.store.journal import Journal
from safegen.teachers._compose import ModelSource, compose
from safegen.teachers._errors import RetryableError
from safegen.teachers._meter import Meter, MeteredTeacher
from safegen.teachers._rate_limit import RateLimiters
from safegen.teachers._structured_output import StructuredTeacher

CONCURRENCY = 64
ATTEMPTS = 1  # a user's function may have side effects, so it asks for retries itself


class CustomTeacher:
    """A user's teacher inside the layers; its other attributes stay readable.

    The teacher describes itself by attributes, all optional:

    - `identity`: text that changes whenever its replies would change. It is part of the cache key.
      Without it nothing is cached, because code has no reliable digest; the meter still counts calls.
    - `concurrency`: requests in flight at most, default 64.
    - `attempts`: calls per request, default 1. `ConnectionError`, `TimeoutError` and
      `safegen.teachers.RetryableError` lead to another attempt.
    - `model`: name in the records, default the teacher's name.

    Only the text of a reply is cached. So the text of a reply to a request with a schema must be the
    JSON object; its `parsed` may be None.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        name: str,
        journal: Journal | None,
        meter: Meter,
        limiters: RateLimiters,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        check_text("name", name)
        if not isinstance(teacher, CheckedTeacher):
            has_retries = getattr(teacher, "identity", None) is not None
            teacher = CheckedTeacher(teacher, locate_plugin(name, teacher), retried=has_retries)
        self._teacher = teacher
        identity = getattr(teacher, "identity", None)
        if identity is None:
            # Without a parsed object no role that asks questions could read its replies.
            self._layers: Teacher = StructuredTeacher(MeteredTeacher(teacher, meter=meter))
            return
        self._identity: str = identity
        concurrency: int = getattr(teacher, "concurrency", CONCURRENCY)
        self._layers = compose(
            ModelSource(
                transport=self._attempt,
                key=self._key,
                model=getattr(teacher, "model", name),
            ),
            # Teachers of one identity share their limit, as endpoints of one address do.
            limiter=limiters.limiter_for(f"custom:{identity}", "", limit=concurrency),
            attempts=getattr(teacher, "attempts", ATTEMPTS),
            structured="json_schema",
            journal=journal,
            meter=meter,
            sleep=sleep,
        )

    def __getattr__(self, name: str) -> object:
        """Return another attribute of the teacher, such as its `model`."""
        # A copy asks for private names before `_teacher` is set.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._teacher, name)

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            ItemError: this request is lost.
            RunError: the teacher or the budget stops the run.
        """
        return await self._layers(request)

    def _key(self, request: Request) -> str:
        return make_key(self._identity, request)

    async def _attempt(self, request: Request, /) -> Reply:
        try:
            return await self._teacher(request)
        except (ConnectionError, TimeoutError) as e:
            raise RetryableError(f"no answer ({type(e).__name__})") from e


def make_key(identity: str, request: Request) -> str:
    """Return the digest of identity, messages, schema, sample and revision.

    Requests of different scenarios differ even if their messages are equal, because a function may
    read `Request.context`.
    """
    scenario = None if request.context is None else request.context.scenario.scenario_id
    return digest(
        [
            "custom",
            identity,
            [[m["role"], m["content"]] for m in request.messages],
            request.schema,
            request.sample,
            request.revision,
            scenario,
        ]
    )
