"""Holds back requests while an endpoint answers none, so that an outage costs few attempts."""

from __future__ import annotations

import asyncio
import copy

from safegen.core.errors import RunError
from safegen.core.types import Reply, Request, Teacher

SUSPECT_FAILURES = 5
"""Different items whose attempts failed in a row, from which the endpoint is suspected to be down."""
# As many as stop the run, so that the gate never keeps the breaker from its decision.
PROBES = 5
"""Items that go on trying meanwhile; the others wait."""


class HeldBack(Exception):
    """The endpoint became suspect while the request waited for a permit."""


def identify_item(request: Request) -> tuple[int, int]:
    """Return the identity of a request in flight, which is equal for all its attempts."""
    return id(request.messages), request.sample


class OutageGate:
    """Lets every attempt pass until five different items failed in a row.

    Then five items go on with their attempts and all others wait. The first answer lets all pass.
    """

    def __init__(self) -> None:
        self._failed: set[object] = set()
        self._probing: set[object] = set()
        self._changed = asyncio.Event()
        self._error: RunError | None = None

    async def enter(self, item: object) -> None:
        """Wait until an attempt of this item may start.

        Raises:
            RunError: the run stops.
        """
        while True:
            if self._error is not None:
                raise copy.copy(self._error)  # one object would collect every waiter's traceback
            if self.lets_pass(item):
                return
            if len(self._probing) < PROBES:
                self._probing.add(item)
                return
            self._changed.clear()
            await self._changed.wait()

    def lets_pass(self, item: object) -> bool:
        """Check if an attempt of this item may start now."""
        return len(self._failed) < SUSPECT_FAILURES or item in self._probing

    def record_failure(self, item: object) -> None:
        """Count a failed attempt; several of one item count once."""
        self._failed.add(item)

    def record_answer(self) -> None:
        """Let all items pass."""
        if self._failed:
            self._failed.clear()
            self._probing.clear()
            self._changed.set()

    def leave(self, item: object) -> None:
        """End the attempts of an item; another may take its place."""
        if item in self._probing:
            self._probing.discard(item)
            self._changed.set()

    def fail_waiters(self, error: RunError) -> None:
        """Raise this error in all waiting and later attempts."""
        self._error = self._error or error
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
        if not self._gate.lets_pass(identify_item(request)):
            raise HeldBack
        return await self._teacher(request)
