"""One session of work on a run folder: take it, freeze the recipe, plan, do what is unfinished."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import Literal, NamedTuple

from safegen.config.recipe import Recipe
from safegen.core import plugins
from safegen.core.errors import DiskFailed, RecipeMismatch, UserError
from safegen.core.progress import Progress
from safegen.core.types import PlannedScenario, Teacher, Usage
from safegen.core.version import __version__
from safegen.coverage import axes as axes_file
from safegen.pipeline import policy_update, snapshot as frozen_files
from safegen.pipeline.resolve import RECIPE, ResolvedRecipe, SnapshotKey, snapshot_keys
from safegen.pipeline.workers import check_labellers, open_worker_factory
from safegen.scenarios.authoring.plan_dialogues import plan_authored_dialogues
from safegen.scenarios.authoring.plan_sets import plan_authored_probes, plan_authored_sets
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import explain_empty, group_shards, plan_sets
from safegen.store import plan
from safegen.store.journal import Journal, Lock
from safegen.store.run_folder import RunFolder
from safegen.teachers import Meter

REPLY_ROOM_BYTES = 64 * 1024
"""Bytes that a reply may need in journal and record together."""
MIN_ROOM_BYTES = 1024 * 1024
"""Bytes that the files of a run need besides."""
Until = Literal["expand", "draft", "validate"]


class SessionStats(NamedTuple):
    """What a session did."""

    usage: Usage
    shards: int
    seconds: float

    def add(self, more: SessionStats) -> SessionStats:
        """Both together."""
        names = [f.name for f in fields(Usage)]
        usage = Usage(**{n: getattr(self.usage, n) + getattr(more.usage, n) for n in names})
        return SessionStats(usage, self.shards + more.shards, self.seconds + more.seconds)


Watch = Callable[[Progress, Meter], None]
"""Takes the live counters once, before work begins."""


def open_folder(folder: RunFolder) -> Lock:
    """Make the run folder and take it for this process."""
    from safegen.store.parquet import make_disk_error

    folder.refuse_other_format()
    try:
        folder.check_foreign_files()
        folder.root.mkdir(parents=True, exist_ok=True)
        (folder.root / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as e:
        raise make_disk_error(folder.root, e) from e
    return Lock(folder.root / "lock")


def write_snapshot(folder: RunFolder, inputs: ResolvedRecipe, *, replan: bool) -> None:
    """Write the recipe as resolved, or compare with the one that began the run.

    Edited specs are adopted, which lets their rows be done again. The axes stay those of the plan.

    Raises:
        RecipeMismatch: naming the keys and files that differ.
    """
    if replan:
        for name in ("plan", "records", "drafts", "failures", "unsafe"):
            shutil.rmtree(folder.root / name, ignore_errors=True)
        for path in (folder.import_report, folder.unlabelled_rows, folder.stop_state):
            path.unlink(missing_ok=True)
    elif folder.plan(0).exists():
        differing = list_differences(folder, inputs)
        if policy_update.is_policy_only(differing):
            policy_update.adopt_policies(folder, inputs)
        elif differing:
            raise make_mismatch_error(folder, differing)
    planned = folder.plan(0).exists()
    frozen = {
        "recipe": inputs.recipe.model_dump(mode="json"),
        "digests": inputs.recipe.digests(),
        "fingerprints": inputs.fingerprints,
        **frozen_files.make_snapshot(
            inputs, frozen_files.read_axes(folder) if planned else axes_file.load_axes()
        ),
        "safegen": __version__,
    }
    if inputs.user_prompts is not None:
        frozen["prompts"] = inputs.user_prompts.to_json()
    folder.write_snapshot(frozen)


def update_snapshot(folder: RunFolder, basis: frozen_files.RunSnapshot) -> None:
    """Take another recipe's version, views and split for a run that is only cut again.

    Raises:
        RecipeMismatch: a key that decides what is asked or judged differs.
    """
    before, now = folder.read_snapshot(), basis.recipe.digests()
    differing = [
        SnapshotKey(RECIPE, k)
        for k, digest in now.items()
        if before["digests"].get(k, digest) != digest
    ]
    if differing:
        raise make_mismatch_error(folder, differing)
    folder.write_snapshot(before | {"recipe": basis.recipe.model_dump(mode="json")})


def make_mismatch_error(folder: RunFolder, differing: Sequence[SnapshotKey]) -> RecipeMismatch:
    """The error that names what differs from what began a run."""
    return RecipeMismatch(
        f"`{folder.root}` was begun with another {', '.join(f'`{k}`' for k in differing)}; restore"
        " it, choose another `--output`, or plan anew with `--replan` (paid replies are kept)"
    )


def list_differences(folder: RunFolder, inputs: ResolvedRecipe) -> list[SnapshotKey]:
    """Keys and files that are not those that began the run."""
    kept = folder.read_snapshot()
    before = snapshot_keys(kept["digests"], kept["fingerprints"])
    now = snapshot_keys(inputs.recipe.digests(), inputs.fingerprints)
    return [key for key in {**now, **before} if before.get(key) != now.get(key)]


def write_plan(folder: RunFolder, inputs: ResolvedRecipe) -> None:
    """Plan round 0, unless it is planned."""
    first = folder.plan(0)
    if first.exists():
        return
    plan.write_plan(
        first, group_shards(plan_first_round(inputs), candidates=inputs.recipe.plan.candidates)
    )
    if plan.plan_size(first)[1] == 0:
        first.unlink()
        raise UserError(explain_empty(inputs.make_planning_context()))


def plan_first_round(
    inputs: ResolvedRecipe, world: PlanningContext | None = None
) -> Iterator[list[PlannedScenario]]:
    """The sets of round 0: the written ones, then those that an author is to write."""
    recipe = inputs.recipe
    world = world or inputs.make_planning_context()
    counts = dict.fromkeys(world.harms, recipe.plan.authored)
    return chain(
        plan_sets(world),
        plan_authored_sets(world, start={}, counts=counts, seed=recipe.seed),
        plan_authored_probes(world, count=recipe.plan.authored_probes),
        plan_authored_dialogues(world, count=recipe.plan.authored_dialogues),
    )


async def run_session(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    *,
    until: Until | None,
    teachers: Mapping[str, Teacher] | None,
    watch: Watch | None,
) -> SessionStats:
    """Do the shards that are not done."""
    from safegen.pipeline.executors import local
    from safegen.pipeline.shard import run_shard as run_shard

    todo, progress = await asyncio.to_thread(find_unfinished, folder, inputs.recipe, until)
    await _finish_scrub(folder)
    if not todo:
        if watch:
            watch(progress, Meter())
        return SessionStats(Usage(), 0, 0.0)
    began = time.monotonic()
    async with open_worker_factory(folder, inputs, teachers or {}) as staff:
        if watch:
            watch(progress, staff.meter)
        crew = staff.make_workers(progress, validating=until != "draft")
        concurrency = max(int(getattr(t, "concurrency", 1)) for t in staff.made)
        check_disk_room(folder, concurrency)
        await check_labellers(folder, inputs, crew.writers)
        for ref in inputs.recipe.validators:
            if warm_up := plugins.validator_traits(ref.use, trusted=inputs.trusted).warm_up:
                warm_up(inputs.locale.locale)
        await local.run_shards(
            todo, lambda number: run_shard(folder, number, crew), concurrency=concurrency
        )
    return SessionStats(staff.meter.usage(), len(todo), time.monotonic() - began)


def check_disk_room(folder: RunFolder, concurrency: int) -> None:
    """Ask nobody where the replies that may be under way at once could not be kept.

    Raises:
        DiskFailed: there is too little room.
    """
    free, needed = (
        shutil.disk_usage(folder.root).free,
        MIN_ROOM_BYTES + REPLY_ROOM_BYTES * concurrency,
    )
    if free < needed:
        raise DiskFailed(
            f"`{folder.root}` lies on a disk with {free // 1024:,} KiB free, and replies under way may need"
            f" {needed // 1024:,} KiB; nothing was asked. Make room and run the same command again"
        )


async def _finish_scrub(folder: RunFolder) -> None:
    """Take out of the journal what a killed session found unsafe and had not taken out yet."""
    notes = folder.read_unsafe()
    if not notes:
        return
    journal = Journal(folder.journal)
    try:
        for shard, keys in notes.items():
            if shard in folder.finished_shards():
                await journal.scrub(keys)
            folder.clear_unsafe(shard)
    finally:
        await journal.aclose()


def find_unfinished(
    folder: RunFolder, recipe: Recipe, until: Until | None
) -> tuple[list[int], Progress]:
    """The shards to do, and the counters to begin with; shards that lost items to outages are done again."""
    plans = plan.Plans(folder.plans)
    count, scenarios = plans.shards, plans.scenarios
    for number in sorted({n for n, f in folder.read_failures() if f.outcome == "unavailable"}):
        folder.reset_shard(number)
    finished = {n for n in folder.finished_shards() if n < count}
    if until == "draft":
        finished |= {n for n in range(count) if folder.drafts(n).exists()}
    todo = [n for n in range(count) if n not in finished]
    left = sum(len(plans.read(n)) for n in todo) if finished else scenarios
    return todo, Progress(
        round=plans.round_of(todo[0]) if todo else 0,
        planned=left * recipe.plan.candidates,
        shards_planned=len(todo),
        resumed=folder.journal.exists(),
    )


def raise_failed_asks(folder: RunFolder) -> int:
    """Raise the ask number of every lost item and let its shard be done again; how many there were."""
    lock = open_folder(folder)
    try:
        lost = [(n, f) for n, f in folder.read_failures() if f.outcome != "ok"]
        journal = Journal(folder.journal)
        journal.raise_ask_numbers(f.key for _, f in lost if f.key and f.outcome != "unavailable")
        journal.close()
        for shard in sorted({number for number, _ in lost}):
            folder.reset_shard(shard)
        return len(lost)
    finally:
        lock.release()
