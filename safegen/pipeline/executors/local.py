"""Run shards on this machine, in one event loop. Rate limiters bound the requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from safegen.core.errors import pick_error
from safegen.scenarios.written import SHARD_DRAFTS


async def run_shards(
    todo: Sequence[int], run_shard: Callable[[int], Awaitable[None]], *, concurrency: int
) -> None:
    """Start shards in order, as many at a time as keep the endpoint busy.

    Args:
        todo: shard numbers.
        run_shard: runs one shard.
        concurrency: requests in flight that the endpoint accepts.

    Raises:
        RunError: a shard failed; finished shards are kept.
    """
    # `concurrency // SHARD_DRAFTS` shards fill the endpoint; two more start while others are written.
    width = 2 + concurrency // SHARD_DRAFTS
    slots = asyncio.Semaphore(width)

    async def run_one(number: int) -> None:
        try:
            await run_shard(number)
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            for number in todo:
                # Before the task exists, so that a large plan does not become as many tasks.
                await slots.acquire()
                group.create_task(run_one(number))
    except BaseExceptionGroup as e:
        raise pick_error(e) from None
