"""Holds back requests while an endpoint answers none, so that an outage costs few attempts."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from typing import NamedTuple

from safegen.core.errors import RunError
from safegen.core.types import Message, Reply, Request, Teacher

SUSPECT_FAILURES = 5
"""Different requests whose attempts failed in a row, from which the endpoint is suspected to be down."""
# At 50 % random failures, three requests fail all of six attempts in one of 30,000 such rows.
PROBES = 3
"""Requests that go on trying meanwhile; the others wait."""

FIRST_ALONE_S = 1.0
"""Seconds that others wait for the first request: a redirect or a wrong key is answered so soon, and
then costs one request instead of a window."""


class HeldBack(Exception):
    """The endpoint became suspect while the request waited for a permit."""


RequestId = tuple[int, int]
"""Identity of a request in flight, which is equal for all its attempts."""


def identify_request(request: Request) -> RequestId:
    """Return the identity of a request in flight."""
    return id(request.messages), request.sample


def identify_item(request: Request) -> str:
    """Return the identity of an item, which its drafts, labels and repairs share."""
    # Callers of the library name no item; the user's turns are the same in all drafts of one.
    users = (m["content"] for m in request.messages if m["role"] == "user")
    return request.item or next(users, "")


class _FailedAttempt(NamedTuple):
    item: str
    cause: str
    messages: tuple[Message, ...]
    """Kept, so that no other request gets their identity."""


class OutageGate:
    """Lets every attempt pass until five different requests failed in a row.

    Then three requests go on with their attempts and all others wait. Other requests follow only if
    all three have ended without an answer. The first answer lets all pass.

    Until then all wait also while a rejection is judged that mostly concerns all requests.

    Args:
        first_alone_s: seconds that all others wait at most for the end of the first attempt.
    """

    def __init__(self, *, first_alone_s: float = 0.0) -> None:
        self._first_alone_s = first_alone_s
        self._first: RequestId | None = None
        self._first_ended = asyncio.Event()
        if first_alone_s <= 0:
            self._first_ended.set()
        self._failed: dict[RequestId, _FailedAttempt] = {}
        self._probing: set[RequestId] = set()
        self._ended = 0
        self._judged: set[RequestId] = set()
        self._has_answered = False
        self._changed = asyncio.Event()
        self._error: RunError | None = None

    async def enter(self, request: Request) -> None:
        """Wait until an attempt of this request may start.

        Raises:
            RunError: the run stops.
        """
        if not self._first_ended.is_set():
            await self._wait_for_first(identify_request(request))
        while True:
            if self._error is not None:
                raise copy.copy(self._error)  # one object would collect every waiter's traceback
            if self.lets_pass(request):
                return
            if not self._judged and len(self._probing) + self._ended < PROBES:
                self._probing.add(identify_request(request))
                return
            self._changed.clear()
            await self._changed.wait()

    async def _wait_for_first(self, id_: RequestId) -> None:
        self._first = self._first or id_
        if self._first != id_:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._first_ended.wait(), self._first_alone_s)
            self._first_ended.set()

    def lets_pass(self, request: Request) -> bool:
        """Check if an attempt of this request may start now."""
        if self._judged:
            return False
        is_suspect = len(self._failed) >= SUSPECT_FAILURES
        return not is_suspect or identify_request(request) in self._probing

    def count_items(self, cause: str) -> int:
        """Count the different items that failed for one cause since the last answer."""
        return len({failure.item for failure in self._failed.values() if failure.cause == cause})

    def record_failure(self, request: Request, cause: str) -> None:
        """Count a failed attempt; several of one request count once."""
        self._first_ended.set()
        self._failed[identify_request(request)] = _FailedAttempt(
            identify_item(request), cause, request.messages
        )

    def record_answer(self) -> None:
        """Let all requests pass."""
        self._first_ended.set()
        self._has_answered = True
        if self._failed or self._judged:
            self._failed.clear()
            self._judged.clear()
            self._probing.clear()
            self._ended = 0
            self._changed.set()

    def record_rejection(self, request: Request) -> None:
        """Hold attempts back until this request leaves, if the endpoint has answered none yet."""
        # A wrong key would otherwise reject all that start while a control request is in flight.
        if not self._has_answered:
            self._judged.add(identify_request(request))
        self._first_ended.set()

    def leave(self, request: Request) -> None:
        """End the attempts of a request; if it was the last probe, others take their places."""
        id_ = identify_request(request)
        if id_ == self._first:
            self._first_ended.set()
        if id_ in self._judged:
            self._judged.discard(id_)
            self._changed.set()
        if id_ in self._probing:
            self._probing.discard(id_)
            self._ended = self._ended + 1 if self._probing else 0
            self._changed.set()

    def fail_waiters(self, error: RunError) -> None:
        """Raise this error in all waiting and later attempts."""
        self._error = self._error or error
        self._first_ended.set()
        self._changed.set()


class GatedTeacher:
    """A teacher that raises `HeldBack` if the gate closed while the request waited."""

    def __init__(self, teacher: Teacher, *, gate: OutageGate) -> None:
        self._teacher = teacher
        self._gate = gate

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            HeldBack: the request has to wait at the gate.
        """
        if not self._gate.lets_pass(request):
            raise HeldBack
        return await self._teacher(request)
