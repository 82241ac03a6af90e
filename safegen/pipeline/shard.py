"""Run one shard: all its sets concurrently, then one atomic file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from safegen.core.errors import pick_error
from safegen.core.types import PlannedScenario, Record
from safegen.pipeline.process_set import STOPS, SetResult, Workers, process_set
from safegen.store import plan, quarantine, scrub
from safegen.store.run_folder import RunFolder


async def run_shard(folder: RunFolder, shard: int, workers: Workers) -> None:
    """Process every set of a shard and write the records.

    Raises:
        RunError: the run cannot continue. Nothing of the shard is written but the records of texts that
            the stop deletes; its replies are cached.
    """
    planned = plan.Plans(folder.plans).read(shard)
    workers.settled.update((r.draft.draft_id, r) for r in folder.read_settled(shard))
    try:
        result = await _process_sets(planned, workers)
    except STOPS:
        if settled := _list_settled(planned, workers):
            folder.write_settled(shard, settled)
        raise
    scrub.note_unsafe(folder, shard, result.unsafe, measures=workers.measures)
    path = folder.records(shard) if workers.validating else folder.drafts(shard)
    records = quarantine.restore_accepted(folder, result.records)
    # In a thread, because fsync takes longest and other shards' requests continue meanwhile.
    await asyncio.to_thread(folder.write_shard, path, records, result.failures)
    await workers.scrub(result.unsafe)
    workers.unsafe.difference_update(result.unsafe)
    scrub.delete_note(folder, shard)
    for record in _list_settled(planned, workers):
        del workers.settled[record.draft.draft_id]
    if workers.validating:
        folder.drafts(shard).unlink(missing_ok=True)
        folder.settled(shard).unlink(missing_ok=True)
    workers.progress.shards_done += 1


async def _process_sets(planned: Sequence[PlannedScenario], workers: Workers) -> SetResult:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(process_set(set_, workers)) for set_ in group_sets(planned)]
    except BaseExceptionGroup as e:
        raise pick_error(e) from None
    return SetResult.merge([task.result() for task in tasks])


def _list_settled(planned: Sequence[PlannedScenario], workers: Workers) -> list[Record]:
    ids = {item.scenario.scenario_id for item in planned}
    settled = [r for r in workers.settled.values() if r.draft.scenario_id in ids]
    # Drafts end in any order, and equal runs write equal files.
    return sorted(settled, key=lambda r: r.draft.draft_id)


def group_sets(planned: Sequence[PlannedScenario]) -> list[list[PlannedScenario]]:
    """Group the scenarios of a shard by set."""
    # A plan lists the scenarios of a set one after the other.
    return [list(group) for _, group in groupby(planned, key=lambda p: p.scenario.set_id)]
