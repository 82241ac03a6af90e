"""One shard: many journeys at once, then one atomic file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from safegen.core.errors import pick_error
from safegen.core.types import PlannedScenario
from safegen.pipeline.process_set import SetResult, Workers, process_set
from safegen.store import plan
from safegen.store.run_folder import RunFolder


async def run_shard(folder: RunFolder, shard: int, crew: Workers) -> None:
    """Take every set of a shard to records and write them.

    Raises:
        RunError: the run cannot go on; nothing of this shard is written, its paid replies are kept.
    """
    planned = plan.Plans(folder.plans).read(shard)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(process_set(set_, crew)) for set_ in group_sets(planned)]
    except BaseExceptionGroup as e:
        raise pick_error(e) from None
    outcome = SetResult.merge([task.result() for task in tasks])
    # Noted before the shard and forgotten after the scrub: a kill in between repeats the scrub at the
    # next start, and the shard itself has the same bytes as without a kill.
    folder.record_unsafe(shard, outcome.unsafe)
    path = folder.records(shard) if crew.validating else folder.drafts(shard)
    # In a thread: the disk's sync takes longer than the rest, and other shards' requests go on meanwhile.
    await asyncio.to_thread(folder.write_shard, path, outcome.records, outcome.failures)
    await crew.scrub(outcome.unsafe)
    folder.clear_unsafe(shard)
    if crew.validating:
        folder.drafts(shard).unlink(missing_ok=True)
    crew.progress.shards_done += 1


def group_sets(planned: Sequence[PlannedScenario]) -> list[list[PlannedScenario]]:
    """The scenarios of each set."""
    return [list(group) for _, group in groupby(planned, key=lambda p: p.scenario.set_id)]
