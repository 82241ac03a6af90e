"""Reads values together that wait in one iteration of an event loop, and keeps the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

KeyT = TypeVar("KeyT", bound=Hashable)
ReadingT = TypeVar("ReadingT")
_CACHED = 1024
"""Readings that are kept, because several validators read a draft."""


class _Waiting(NamedTuple, Generic[KeyT, ReadingT]):
    key: KeyT
    future: asyncio.Future[ReadingT]


class BatchReader(Generic[KeyT, ReadingT]):
    """A function over many values that is called with one value at a time.

    Example:
        reader = BatchReader(read_many, size=64)
        reading = await reader.read(value)
    """

    def __init__(
        self, read_many: Callable[[Sequence[KeyT]], Sequence[ReadingT]], *, size: int
    ) -> None:
        """Store the function and the most values of a call."""
        self._read_many = read_many
        self._size = size
        self._readings: dict[KeyT, ReadingT] = {}
        self._waiting: WeakKeyDictionary[
            asyncio.AbstractEventLoop, list[_Waiting[KeyT, ReadingT]]
        ] = WeakKeyDictionary()

    async def read(self, key: KeyT) -> ReadingT:
        """Return the reading of one value."""
        if (reading := self._readings.get(key)) is not None:
            return reading
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, [])
        if not waiting:
            loop.call_soon(self._flush, waiting)
        future: asyncio.Future[ReadingT] = loop.create_future()
        waiting.append(_Waiting(key, future))
        # A bound on what waits; the call that is scheduled finds an empty list or later values.
        if len(waiting) >= self._size:
            self._flush(waiting)
        return await future

    def _flush(self, waiting: list[_Waiting[KeyT, ReadingT]]) -> None:
        if not waiting:
            return
        values, waiting[:] = list(waiting), []
        keys = list(dict.fromkeys(value.key for value in values))
        try:
            readings = dict(zip(keys, self._read_many(keys), strict=True))
        # The readers that wait get the error; it would be lost in the loop.
        except BaseException as e:
            for value in values:
                if not value.future.done():
                    value.future.set_exception(e)
            raise
        self._readings |= readings
        for key in list(self._readings)[: max(0, len(self._readings) - _CACHED)]:
            del self._readings[key]
        for value in values:
            if not value.future.done():
                value.future.set_result(readings[value.key])
