"""One shard: many journeys at once, then one atomic file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from safegen.core.errors import first_error
from safegen.core.types import Planned
from safegen.pipeline.process_set import Crew, Outcome, journey
from safegen.store import plan
from safegen.store.run_folder import RunFolder


async def run(folder: RunFolder, shard: int, crew: Crew) -> None:
    """Take every set of a shard to records and write them.

    Raises:
        RunError: the run cannot go on; nothing of this shard is written, its paid replies are kept.
    """
    planned = plan.Plans(folder.plans).read(shard)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(journey(set_, crew)) for set_ in sets(planned)]
    except BaseExceptionGroup as e:
        raise first_error(e) from None
    outcome = Outcome.of([task.result() for task in tasks])
    # Noted before the shard and forgotten after the scrub: a kill in between repeats the scrub at the
    # next start, and the shard itself has the same bytes as without a kill.
    folder.note_unsafe(shard, outcome.unsafe)
    path = folder.records(shard) if crew.validating else folder.drafts(shard)
    # In a thread: the disk's sync takes longer than the rest, and other shards' requests go on meanwhile.
    await asyncio.to_thread(folder.write_shard, path, outcome.records, outcome.failures)
    await crew.scrub(outcome.unsafe)
    folder.forget_unsafe(shard)
    if crew.validating:
        folder.drafts(shard).unlink(missing_ok=True)
    crew.progress.shards_done += 1


def sets(planned: Sequence[Planned]) -> list[list[Planned]]:
    """The scenarios of each set."""
    return [list(group) for _, group in groupby(planned, key=lambda p: p.scenario.set_id)]
