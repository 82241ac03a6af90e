"""One session on a run folder: lock it, write the snapshot and the plan, run unfinished shards."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, ParamSpec

from safegen.config.recipe import Recipe
from safegen.core import plugins
from safegen.core.errors import RERUN_HINT, ConfigError, DiskFailed, RunError, UserError
from safegen.core.progress import Progress
from safegen.core.types import PlannedScenario, Teacher, Until, Usage
from safegen.core.version import __version__
from safegen.coverage import axes as axes_file
from safegen.pipeline import policy_update, snapshot
from safegen.pipeline.judge_check import check_judges
from safegen.pipeline.process_set import Workers
from safegen.pipeline.resolve import ResolvedRecipe
from safegen.pipeline.snapshot import RECIPE_FILE
from safegen.pipeline.workers import check_labellers, open_worker_factory
from safegen.scenarios.authoring.plan_dialogues import plan_authored_dialogues
from safegen.scenarios.authoring.plan_sets import plan_authored_probes, plan_authored_sets
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import explain_empty, group_shards, plan_sets
from safegen.store import plan
from safegen.store.journal import Journal, Lock
from safegen.store.quarantine import delete_expired, describe_missing_key
from safegen.store.run_folder import RunFolder
from safegen.store.scrub import finish_scrub
from safegen.teachers import Meter

P = ParamSpec("P")
logger = logging.getLogger(__name__)
# An answer of 4,000 tokens has 16 kB, and journal and record both hold it; twice that much.
REPLY_ROOM_BYTES = 64 * 1024
"""Bytes that one reply may need in journal and record."""
MIN_ROOM_BYTES = 1024 * 1024
"""Bytes for the other files of a run."""


class SessionStats(NamedTuple):
    """Usage and finished shards of a session."""

    usage: Usage
    shards: int
    seconds: float

    def add(self, other: SessionStats) -> SessionStats:
        """Sum two sessions."""
        names = [f.name for f in fields(Usage)]
        usage = Usage(**{n: getattr(self.usage, n) + getattr(other.usage, n) for n in names})
        return SessionStats(usage, self.shards + other.shards, self.seconds + other.seconds)


Watch = Callable[[Progress, Meter], None]
"""A callback that receives the live counters once, before the first request."""


def choose_folder(output: str | Path | None, recipe: Recipe) -> RunFolder:
    """Return the folder of a run: `output`, else that of the recipe.

    Raises:
        ConfigError: the recipe's folder leads out of the working folder through a link.
    """
    if output:
        return RunFolder(Path(output))
    # A caller chooses `output`; a recipe may come from elsewhere.
    _check_below_working_folder(recipe.folder)
    return RunFolder(recipe.folder)


def check_folder(folder: RunFolder) -> None:
    """Reject a folder in which no run can start or resume; nothing is written.

    Raises:
        FormatMismatch: the folder has another format.
        ConfigError: it is a file, or it holds files that no run wrote.
    """
    # Before the first write: a link could lead out of the folder.
    folder.check_entries()
    folder.refuse_other_format()
    folder.check_foreign_files()


def _check_below_working_folder(output: Path) -> None:
    working = Path.cwd().resolve()
    try:
        is_below = output.resolve() != working and output.resolve().is_relative_to(working)
    except (OSError, RuntimeError):  # links that run in a circle
        is_below = False
    if not is_below:
        raise ConfigError(
            f"`{output}` leads out of the working folder through a link; a recipe writes below it, so name"
            " the folder with `--output`",
            key="output",
        )


def open_folder(folder: RunFolder) -> Lock:
    """Create the run folder and lock it for this process.

    Raises:
        FormatMismatch: the folder has another format.
        ConfigError: the output folder holds files that no run wrote.
        DiskFailed: the folder cannot be written.
    """
    from safegen.store.parquet import make_disk_error

    try:
        check_folder(folder)
        folder.root.mkdir(parents=True, exist_ok=True)
        # First of all files, because replies and unsafe drafts must not be committed.
        (folder.root / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as e:
        raise make_disk_error(folder.root, e) from e
    return Lock(folder.root / "lock")


def prepare_run(folder: RunFolder, inputs: ResolvedRecipe, *, replan: bool) -> None:
    """Compare the recipe with the snapshot if the run is planned, and write the new snapshot.

    Edited policy specs are adopted, and their rows run again. The axes stay those of the plan.

    Args:
        folder: the run.
        inputs: the resolved recipe.
        replan: delete plan and records first. Cached replies stay.

    Raises:
        RecipeMismatch: keys or files other than policy specs differ.
    """
    if replan:
        delete_plan(folder)
    elif folder.plan(0).exists():
        _adopt_changes(folder, inputs)
    _write_snapshot(folder, inputs)


def delete_plan(folder: RunFolder) -> None:
    """Delete the plan of a run and all that depends on it."""
    # The cache stays: replies to requests that the new plan repeats are not paid again.
    for name in ("plan", "records", "drafts", "settled", "failures", "unsafe"):
        shutil.rmtree(folder.root / name, ignore_errors=True)
    for path in (
        folder.import_report,
        folder.unlabelled_rows,
        folder.stop_state,
        folder.judge_check,
    ):
        path.unlink(missing_ok=True)


def _adopt_changes(folder: RunFolder, inputs: ResolvedRecipe) -> None:
    differing = snapshot.list_differences(folder, inputs)
    if policy_update.is_policy_only(differing):
        policy_update.adopt_policies(folder, inputs)
    elif differing:
        raise snapshot.make_mismatch_error(folder, differing)


def _write_snapshot(folder: RunFolder, inputs: ResolvedRecipe) -> None:
    stored = folder.read_snapshot() if folder.plan(0).exists() else None
    payload = {
        "recipe": inputs.recipe.model_dump(mode="json"),
        "digests": inputs.recipe.digests(),
        "fingerprints": inputs.fingerprints,
        **snapshot.make_snapshot(
            inputs, snapshot.read_axes(folder, stored) if stored else axes_file.load_axes()
        ),
        "safegen": __version__,
    }
    if inputs.user_prompts is not None:
        payload["prompts"] = inputs.user_prompts.to_snapshot()
    # `retry` runs the stored recipe and compares it with this file.
    known = stored.get(RECIPE_FILE) if stored else None
    if file := snapshot.choose_recipe_file(known, inputs.locator.file):
        payload[RECIPE_FILE] = file
    folder.write_snapshot(payload)


def write_plan(folder: RunFolder, inputs: ResolvedRecipe) -> None:
    """Plan round 0 unless its file exists.

    Raises:
        UserError: the plan is empty.
    """
    first = folder.plan(0)
    if first.exists():
        return
    plan.write_plan(
        first, group_shards(plan_first_round(inputs), candidates=inputs.recipe.plan.candidates)
    )
    if plan.read_plan_size(first).scenarios == 0:
        first.unlink()
        raise UserError(explain_empty(inputs.make_planning_context()))


def plan_first_round(
    inputs: ResolvedRecipe, context: PlanningContext | None = None
) -> Iterator[list[PlannedScenario]]:
    """Plan the sets of round 0: written ones first, then briefs for the author."""
    recipe = inputs.recipe
    context = context or inputs.make_planning_context()
    counts = dict.fromkeys(context.harms, recipe.plan.authored)
    return inputs.make_surface().apply(
        chain(
            plan_sets(context),
            plan_authored_sets(context, start={}, counts=counts, seed=recipe.seed),
            plan_authored_probes(context, count=recipe.plan.authored_probes),
            plan_authored_dialogues(context, count=recipe.plan.authored_dialogues),
        )
    )


async def run_session(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    *,
    until: Until | None,
    teachers: Mapping[str, Teacher] | None,
    watch: Watch | None,
    clock: Callable[[], float] = time.time,
) -> SessionStats:
    """Run the unfinished shards of a run.

    Args:
        folder: the run, planned and locked.
        inputs: the resolved recipe.
        until: stop after drafts or verdicts; default both.
        teachers: teachers by role in place of the recipe's.
        watch: receives the live counters.
        clock: returns seconds since 1970, for the expiry of the quarantine.

    Raises:
        RunError: the run cannot continue; cached replies are kept.
        UserError: a teacher or a validator cannot be built.
    """
    from safegen.pipeline.executors import local
    from safegen.pipeline.shard import run_shard

    await asyncio.to_thread(delete_expired, folder, now=clock())
    await asyncio.to_thread(reset_unavailable, folder)
    todo, progress = await asyncio.to_thread(find_unfinished, folder, inputs.recipe, until)
    # Unsafe replies of a killed session are deleted before anything else is sent.
    await finish_scrub(folder)
    if not todo:
        if watch:
            watch(progress, Meter())
        return SessionStats(Usage(), 0, 0.0)
    start = time.monotonic()
    async with open_worker_factory(folder, inputs, teachers or {}, clock=clock) as factory:
        if watch:
            watch(progress, factory.meter)
        workers = factory.make_workers(progress, validating=until != "draft")
        # Sets in flight keep the widest endpoint busy; each teacher bounds its own requests.
        concurrency = factory.concurrency
        # All checks precede the first draft.
        check_disk_room(folder, concurrency)
        await _check_labellers(folder, inputs, workers, progress)
        workers = await _check_judges(folder, inputs, workers, progress)
        with _load_models(inputs):
            try:
                await local.run_shards(
                    todo, lambda number: run_shard(folder, number, workers), concurrency=concurrency
                )
            finally:
                # A run that stops early does not keep text that it already found unsafe.
                await workers.scrub(sorted(workers.unsafe))
    return SessionStats(factory.meter.usage(), len(todo), time.monotonic() - start)


async def _check_labellers(
    folder: RunFolder, inputs: ResolvedRecipe, workers: Workers, progress: Progress
) -> None:
    """Check the labellers of authored sets, with the progress of the session on loan."""
    if (writers := workers.writers) is None:
        return
    planned, done, stage = progress.planned, progress.done, progress.stage
    files = writers.files.labels
    await check_labellers(folder, inputs, writers.labellers, files, progress=progress)
    folder.write_label_failures(())
    progress.planned, progress.done, progress.stage = planned, done, stage


async def _check_judges(
    folder: RunFolder, inputs: ResolvedRecipe, workers: Workers, progress: Progress
) -> Workers:
    """Check the panel on traps, with the progress of the session on loan, and drop jurors below a bound."""
    if workers.panel is None:
        return workers
    settings = inputs.recipe.judges.quarantine
    if settings is not None and (problem := describe_missing_key(settings.key_env)) is not None:
        logger.warning("%s", problem)
    planned, done, stage = progress.planned, progress.done, progress.stage
    panel = await check_judges(folder, inputs, workers.panel, progress=progress)
    progress.planned, progress.done, progress.stage = planned, done, stage
    return replace(workers, panel=panel)


@contextmanager
def _load_models(inputs: ResolvedRecipe) -> Generator[None]:
    """Load the models of the validators, and free them after a complete session."""
    refs = inputs.recipe.validators
    traits = {r.use: plugins.validator_traits(r.use, trusted=inputs.trusted) for r in refs}
    # Models load once here, not inside the first draft that needs them.
    loading = {name: trait.warm_up for name, trait in traits.items()}
    _call_hooks(loading, "loaded its models", inputs.locale.locale)
    yield
    # The build does not need the models, and both together would set the peak memory.
    freeing = {name: trait.release for name, trait in traits.items()}
    _call_hooks(freeing, "freed its models")


def _call_hooks(
    hooks: Mapping[str, Callable[P, object] | None],
    action: str,
    *args: P.args,
    **options: P.kwargs,
) -> None:
    """Call the hooks that plug-ins have, by name; `action` names the activity if one fails."""
    for name, hook in hooks.items():
        if hook is not None:
            with plugins.guard_hook(name, hook, action, error=RunError):
                hook(*args, **options)


def check_disk_room(folder: RunFolder, concurrency: int) -> None:
    """Fail early if the disk cannot hold the replies of all in-flight requests.

    Raises:
        DiskFailed: the disk is too full.
    """
    free = shutil.disk_usage(folder.root).free
    needed = MIN_ROOM_BYTES + REPLY_ROOM_BYTES * concurrency
    if free < needed:
        raise DiskFailed(
            f"`{folder.root}` is on a disk with {free // 1024:,} KiB free, and replies in flight may need"
            f" {needed // 1024:,} KiB; no request was sent; make room and {RERUN_HINT}"
        )


def reset_unavailable(folder: RunFolder) -> None:
    """Reset the shards that lost items because an endpoint was unavailable, so that they run again."""
    # An outage is no answer: these requests run again without `retry`.
    for number in sorted({n for n, f in folder.read_failures() if f.outcome == "unavailable"}):
        folder.reset_shard(number)


class UnfinishedShards(NamedTuple):
    """The shards to run, and their counters at the start."""

    numbers: list[int]
    progress: Progress


def find_unfinished(folder: RunFolder, recipe: Recipe, until: Until | None) -> UnfinishedShards:
    """List the shards to run, with initial counters."""
    plans = plan.Plans(folder.plans)
    count, scenarios = plans.shards, plans.scenarios
    finished = {n for n in folder.finished_shards() if n < count}
    if until == "draft":
        finished |= {n for n in range(count) if folder.drafts(n).exists()}
    todo = [n for n in range(count) if n not in finished]
    # Shards are read only if some of them are finished.
    remaining = sum(len(plans.read(n)) for n in todo) if finished else scenarios
    progress = Progress(
        round=plans.round_of(todo[0]) if todo else 0,
        planned=remaining * recipe.plan.candidates,
        shards_planned=len(todo),
        resumed=folder.journal.exists(),
    )
    return UnfinishedShards(todo, progress)


def reset_failures(folder: RunFolder) -> int:
    """Raise the retry number of every failed request and reset its shard; return the number of failures."""
    with open_folder(folder):
        failures = [(n, f) for n, f in folder.read_failures() if f.outcome != "ok"]
        # They stay listed until the rows are labelled again.
        of_labellers = folder.read_label_failures()
        keyed = [*of_labellers, *(f for _, f in failures)]
        journal = Journal(folder.journal)
        # An unavailable request has no cached reply, so its key can stay.
        journal.raise_retry_numbers(f.key for f in keyed if f.key and f.outcome != "unavailable")
        journal.close()
        for shard in sorted({number for number, _ in failures}):
            folder.reset_shard(shard)
        return len(keyed)
