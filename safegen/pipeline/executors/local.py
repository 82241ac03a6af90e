"""Shards on this machine, in one event loop; the endpoint's own gate bounds what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from safegen.core.errors import pick_error
from safegen.scenarios.written import SHARD_DRAFTS


async def run_shards(
    todo: Sequence[int], run_shard: Callable[[int], Awaitable[None]], *, concurrency: int
) -> None:
    """Run shards in order, as many at once as keep the endpoint busy.

    Args:
        todo: numbers of shards.
        run_shard: runs one shard by its number.
        concurrency: requests that the endpoint takes at once.

    Raises:
        RunError: the first one; shards that were done stay done.
    """
    width = 2 + concurrency // SHARD_DRAFTS
    places = asyncio.Semaphore(width)

    async def one(number: int) -> None:
        try:
            await run_shard(number)
        finally:
            places.release()

    try:
        async with asyncio.TaskGroup() as group:
            for number in todo:
                await places.acquire()
                group.create_task(one(number))
    except BaseExceptionGroup as e:
        raise pick_error(e) from None
