"""Using safegen as a library: generate, open a run, cut a view."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from safegen.config import recipe as recipes
from safegen.config.recipe import Recipe
from safegen.core import resources
from safegen.core.errors import AssetNotFound, UserError
from safegen.core.types import Teacher, Usage
from safegen.dataset.curation.hedging import PATTERN as HEDGES
from safegen.dataset.curation.split import SPLITS
from safegen.dataset.dropped import Losses
from safegen.pipeline import snapshot, user_prompts
from safegen.pipeline.resolve import Basis, Inputs, check_teachers, read_inputs
from safegen.pipeline.session import Until, Watch, Worked, freeze, open_folder, work, write_plan
from safegen.pipeline.snapshot import Thawed
from safegen.pipeline.top_up import next_round, remember, settled
from safegen.scenarios.user_prompts.reader import OwnPrompts, given as own_file
from safegen.store import plan, usage
from safegen.store.run_folder import RunFolder, read_json

if TYPE_CHECKING:
    import polars as pl

    from safegen.dataset.build import BuildReport, Yield
    from safegen.dataset.figures import Yardsticks

load_recipe = recipes.load


@dataclass(frozen=True)
class Run:
    """A recipe's execution on disk."""

    folder: RunFolder
    recipe: Recipe = field(repr=False)
    report: BuildReport | None = field(default=None, repr=False)
    usage: Usage = field(default_factory=Usage)
    asked: int = 0
    """Shards done by this call."""
    seconds: float = 0.0
    prompts: OwnPrompts | None = None
    """The user's file that it was planned from, if any; enough to go on without the file."""

    @property
    def output(self) -> Path:
        """The dataset folder; `run/` lies in it."""
        return self.folder.output

    def view(self, name: str, *, split: str | None = None) -> pl.DataFrame:
        """The rows of a view; none, with its columns, where a split of a small dataset is empty.

        Args:
            name: `sft`, `preference`, …
            split: `train` or `test`; default both.

        Raises:
            AssetNotFound: the dataset has no such view, or there is no such split.
        """
        import polars as pl

        known = sorted(p.name for p in (self.output / "data").glob("*") if p.is_dir())
        resources.known_or_fail(name, known, what=f"view in `{self.output}` called")
        if split is not None:
            resources.known_or_fail(split, SPLITS, what=f"split of `{name}` called")
        every = sorted((self.output / "data" / name).glob("*/*.parquet"))
        files = [path for path in every if split in (None, path.parent.name)]
        frames = [pl.read_parquet(path) for path in files]
        return pl.concat(frames) if frames else pl.read_parquet(every[0]).clear()


class Options(TypedDict, total=False):
    """What `generate` and `agenerate` take beside the recipe; see `agenerate`."""

    output: str | Path | None
    until: Until | None
    replan: bool
    plugins: Sequence[str]
    teachers: Mapping[str, Teacher] | None
    watch: Watch | None
    prompts: str | Path | OwnPrompts | None
    columns: Mapping[str, str] | None
    licence: str | None


def generate(recipe: Recipe | str = "starter", **options: Unpack[Options]) -> Run:
    """Do the whole job: plan, draft, validate, build. The same call resumes.

    Takes the options of `agenerate`.

    Raises:
        UserError: the recipe or what it names is wrong, or an event loop is running here.
        RunError: the run cannot go on; what was paid for is kept.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(agenerate(recipe, **options))
    raise UserError("an event loop is running here; use `await safegen.agenerate(…)`")


async def agenerate(
    recipe: Recipe | str = "starter",
    *,
    output: str | Path | None = None,
    until: Until | None = None,
    replan: bool = False,
    plugins: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    watch: Watch | None = None,
    prompts: str | Path | OwnPrompts | None = None,
    columns: Mapping[str, str] | None = None,
    licence: str | None = None,
) -> Run:
    """Do the whole job inside a running loop; see `generate`.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        output: folder of the run and the dataset; default the recipe's.
        until: stop after the plan, the drafts, or the verdicts.
        replan: plan anew from a changed recipe; replies that were paid for are kept.
        plugins: modules of yours that the recipe may name as `module:factory`.
        teachers: teachers by role (`drafter`, `reviser`, `author`, `labeller`) in place of the recipe's: any
            async function of a request. They are counted and bound by `budget`; their replies are in no
            journal, since nothing tells one function from another: a shard that was cut off asks them again.
        watch: called with the live counters of each stage.
        prompts: a file of your own prompts (CSV, JSONL, Parquet) in place of the taxonomy's sets,
            or `Run.prompts` to go on with a run without its file.
        columns: column by field, for columns of `prompts` that are not named like their fields.
        licence: of every row of `prompts` that names none.
    """
    own = _own(prompts, columns, licence)
    inputs = replace(read_inputs(recipe, trusted=plugins), own=own)
    if own is not None:
        user_prompts.check(inputs, given=teachers or {})
    if until != "expand":
        check_teachers(inputs, given=teachers or {})
    folder = RunFolder(Path(output) if output else inputs.recipe.folder)
    lock = open_folder(folder)
    try:
        freeze(folder, inputs, replan=replan)
        done = await _planned(folder, inputs, teachers=teachers or {}, watch=watch)
        if until == "expand":
            return Run(folder, inputs.recipe, None, *done, prompts=own)
        more = await work(folder, inputs, until=until, teachers=teachers, watch=watch)
        done = done.plus(more)
        while until is None and await asyncio.to_thread(next_round, folder, inputs):
            more = await work(folder, inputs, until=None, teachers=teachers, watch=watch)
            done = done.plus(more)
        report = None if until else build(folder, inputs)
        return Run(folder, inputs.recipe, report, *done, prompts=own)
    finally:
        lock.release()


def _own(
    prompts: str | Path | OwnPrompts | None,
    columns: Mapping[str, str] | None,
    licence: str | None,
) -> OwnPrompts | None:
    if isinstance(prompts, str | Path):
        return own_file(prompts, columns=columns, licence=licence)
    if columns or licence:
        raise UserError("`columns` and `licence` belong to a file of `prompts`; name it")
    return prompts


async def _planned(
    folder: RunFolder,
    inputs: Inputs,
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> Worked:
    """Plan round 0, unless it is planned."""
    if inputs.own is None:
        write_plan(folder, inputs)
        return Worked(Usage(), 0, 0.0)
    usage, seconds = await user_prompts.write_plan(
        folder, inputs, inputs.own, teachers=teachers, watch=watch
    )
    return Worked(usage, 0, seconds)


def basis(run: Run, *, trusted: Sequence[str] = ()) -> Thawed:
    """What a run was made with, read from its folder alone; see `safegen.pipeline.snapshot.basis`."""
    return snapshot.basis(run.folder, run.recipe, own=run.prompts, trusted=trusted)


def build(folder: RunFolder, inputs: Inputs | Thawed) -> BuildReport:
    """Cut the views and write the dataset from the records on disk."""
    from safegen.dataset.build import build as cut

    return cut(
        folder,
        inputs.recipe,
        taxonomy_version=f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        policies=inputs.policies,
        fingerprints=inputs.fingerprints,
        trusted=inputs.trusted,
        given=_yardsticks(folder, inputs),
    )


def _yardsticks(folder: RunFolder, inputs: Basis) -> Yardsticks:
    from safegen.dataset.figures import Yardsticks

    target = settled(folder, inputs)
    if target is not None:
        remember(folder, target)
    hedges = inputs.locale.compiled.get(HEDGES)
    return Yardsticks(
        tiers=inputs.tiers,
        axes=snapshot.axes_of(folder),
        cut=inputs.recipe.plan.cut,
        barred=inputs.barred,
        hedges={} if hedges is None else {inputs.locale.locale: hedges},
        target=target,
    )


def open_run(output: str | Path) -> Run:
    """Open what a run left on disk.

    Raises:
        AssetNotFound: no run there.
        StoreDamaged: its `recipe.json` cannot be read.
    """
    folder = RunFolder(Path(output))
    if not folder.recipe.exists() and not folder.plan(0).exists():
        raise AssetNotFound(f"no run in `{output}`; `safegen generate` makes one")
    frozen = folder.frozen()
    recipe = recipes.thawed(frozen["recipe"], shown=str(folder.recipe))
    return Run(folder, recipe, prompts=OwnPrompts.kept(frozen.get("prompts")))


def is_finished(folder: RunFolder) -> bool:
    """Whether every shard of the plan has its records; a `retry` that was killed leaves some without."""
    return folder.plan(0).exists() and len(folder.finished()) >= plan.Plans(folder.plans).shards


# Any: what some version of safegen wrote.
def imported(run: Run) -> dict[str, Any]:
    """What became of the rows of a user's file, as counted when they were planned."""
    there = run.prompts is not None and run.folder.imported.exists()
    return read_json(run.folder.imported) if there else {}


def unlabelled(run: Run) -> int:
    """Rows of a user's file that nobody could tell the labels of."""
    return int(imported(run).get("unlabelled", 0))


def spent(folder: RunFolder) -> dict[str, object]:
    """Requests, tokens and seconds over all sessions of a run."""
    told = usage.read(folder.accounting)
    return {name: count for name, count in told.items() if name != usage.JOURNALLED}


def summary(run: Run, lost: Losses) -> dict[str, object]:
    """A run's result for machines."""
    usage = run.usage
    told: dict[str, object] = {
        "output": str(run.output),
        "failed_requests": dict(lost.failed_requests),
        "dropped": dict(lost.dropped),
        "shards_done": run.asked,
        "requests": usage.requests,
        "cached": usage.cached,
        "retries": usage.retries,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": round(run.seconds, 1),
    }
    if run.prompts is not None:
        told |= {"unlabelled": unlabelled(run), "imported": imported(run)}
    return told if run.report is None else told | _counts(run.report)


def _counts(report: BuildReport) -> dict[str, object]:
    return {
        "planned": report.planned,
        "answered": report.answered,
        "accepted": report.accepted,
        "prompts": report.prompts,
        "drafts": report.drafts,
        "drafts_accepted": report.drafts_accepted,
        "rows": {name: dict(splits) for name, splits in report.rows.items()},
        "excluded": dict(report.excluded),
        "rejected": dict(report.rejected),
        "by_domain": {name: _yield(found) for name, found in report.by_domain.items()},
        "by_mode": {name: _yield(found) for name, found in report.by_mode.items()},
        "by_grade": dict(report.by_grade),
        "target": None if report.target is None else report.target.as_json(),
        "telling": report.telling,
        "changed": report.changed,
    }


def _yield(found: Yield) -> dict[str, int]:
    return found._asdict() | {"excluded": found.excluded}
