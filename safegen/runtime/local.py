"""Shards on this machine, in one event loop; the endpoint's own gate bounds what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from safegen import shard as shards
from safegen.journey import Crew
from safegen.scenarios.sets import SHARD_DRAFTS
from safegen.store.folder import RunFolder


async def run(folder: RunFolder, todo: Sequence[int], crew: Crew, *, concurrency: int) -> None:
    """Run shards in order, as many at once as keep the endpoint busy.

    Raises:
        RunError: the first one; shards that were done stay done.
    """
    width = 2 + concurrency // SHARD_DRAFTS
    places = asyncio.Semaphore(width)

    async def one(number: int) -> None:
        try:
            await shards.run(folder, number, crew)
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as group:
            for number in todo:
                await places.acquire()
                group.create_task(one(number))
    except BaseExceptionGroup as e:
        raise shards.first_error(e) from None
