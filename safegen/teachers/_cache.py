"""The cache layer: reads paid replies from the journal instead of requesting them again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from safegen.core.arguments import check_callable
from safegen.core.types import Reply, Request, Teacher
from safegen.store.journal import Journal, stored_key
from safegen.teachers._meter import Meter


class CachedTeacher:
    """A teacher whose replies are stored in a journal, by the identity of the request.

    Args:
        teacher: answers the requests that the journal does not hold. Every reply that it returns is
            stored, whatever its outcome; an error that it raises is not.
        key: digest of everything that decides a reply. `Reply.key` holds it.
        journal: where replies are kept; None stores nothing and only sets `Reply.key`.
        meter: counts the replies that come from the journal.
        in_flight: holds a place of the rate limiter while a reply is written.

    Example:
        >>> cached = CachedTeacher(ask, key=lambda r: digest(["my-model", r.messages]), journal=journal)
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        key: Callable[[Request], str],
        journal: Journal | None = None,
        meter: Meter | None = None,
        in_flight: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        check_callable("teacher", teacher)
        check_callable("key", key)
        self._teacher = teacher
        self._key = key
        self._journal = journal
        self._meter = meter
        self._in_flight = in_flight

    async def __call__(self, request: Request, /) -> Reply:
        """Return the stored reply, or call the teacher and store what it returns.

        Raises:
            RunError: the journal cannot be used, or the teacher stops the run.
            ItemError: the teacher lost this request.
        """
        key = self._key(request)
        if request.on_key is not None:
            request.on_key(key)
        if self._journal is None:
            return replace(await self._teacher(request), key=key)
        stored = stored_key(key, request.ask + self._journal.retry_number(key))
        reply = self._journal.get(stored)
        if reply is not None:
            if self._meter is not None:
                self._meter.record_cache_hit()
            return replace(reply, key=key)
        reply = await self._teacher(request)
        # A request is in flight until its reply is durable. The layers between the limiter and this
        # line do not suspend after a reply, so no waiting request takes the place in between.
        with self._in_flight():
            await self._journal.put(stored, reply)
        return replace(reply, key=key)
