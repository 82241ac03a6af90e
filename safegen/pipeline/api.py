"""Use safegen as a library: generate a dataset, open a run, read a view."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack, get_args

from safegen.config import recipe as recipes
from safegen.config.recipe import Recipe
from safegen.core import resources
from safegen.core.arguments import (
    check_callable,
    check_choice,
    check_flag,
    check_mapping,
    check_names,
    check_path,
    check_text,
    describe_argument,
    raise_user_errors,
)
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.core.spelling import choose_spelling
from safegen.core.types import Teacher, UnixClock, Until, Usage
from safegen.dataset.curate import CurationResult, curate
from safegen.dataset.curation.hedging import PATTERN_NAME as HEDGES
from safegen.dataset.curation.split import SPLITS
from safegen.dataset.dropped import LossCounts, count_losses
from safegen.dataset.effect_stats import effect_to_json
from safegen.dataset.judge_results import jury_to_json
from safegen.dataset.run_stats import list_refusals
from safegen.pipeline import snapshot, user_prompts
from safegen.pipeline._threads import run_in_own_loop, run_in_thread
from safegen.pipeline.contact_warnings import day_of, list_contact_warnings
from safegen.pipeline.recut import Recut, make_recut
from safegen.pipeline.resolve import (
    ResolvedRecipe,
    check_custom_teachers,
    check_teachers,
    resolve_recipe,
)
from safegen.pipeline.session import (
    SessionStats,
    Watch,
    choose_folder,
    open_folder,
    prepare_run,
    reset_failures,
    run_session,
    write_plan,
)
from safegen.pipeline.snapshot import RunSnapshot
from safegen.pipeline.top_up import plan_next_round, report_target, save_stop_state
from safegen.scenarios.user_prompts.reader import PromptPaths, UserPrompts, open_prompts
from safegen.scenarios.user_prompts.resolve_labels import name_causes
from safegen.store import parquet, plan, usage
from safegen.store.import_counts import read_import_counts
from safegen.store.run_folder import RunFolder, find_pointer
from safegen.store.unlabelled_rows import check_unlabelled_rows

if TYPE_CHECKING:
    import polars as pl

    from safegen.coverage.ledger import StageCounts
    from safegen.dataset.build import BuildReport
    from safegen.dataset.figures import MeasureInputs
    from safegen.dataset.yields import MinYield

load_recipe = recipes.load_recipe


@dataclass(frozen=True)
class Run:
    """An execution of a recipe on disk."""

    folder: RunFolder
    recipe: Recipe = field(repr=False)
    report: BuildReport | None = field(default=None, repr=False)
    usage: Usage = field(default_factory=Usage)
    shards_done: int = 0
    """Shards that this call completed."""
    seconds: float = 0.0
    prompts: UserPrompts | None = None
    """The user's prompt file, if the run was planned from one; enough to resume without the file."""

    @property
    def output(self) -> Path:
        """The dataset folder, which contains `run/`."""
        return self.folder.output

    @property
    def plans(self) -> plan.Plans:
        """The plans of all rounds."""
        return plan.Plans(self.folder.plans)

    def view(self, name: str, *, split: str | None = None) -> pl.DataFrame:
        """Read the rows of a view; an empty split gives an empty frame with all columns.

        Args:
            name: the view, such as `sft` or `preference`.
            split: `train` or `test`; default both.

        Raises:
            AssetNotFound: the dataset has no such view, or there is no such split.
            StoreDamaged: a file is a git-lfs pointer.
            UserError: an argument has a wrong type.

        Example:
            >>> open_run("outputs/starter").view("sft", split="train")  # doctest: +SKIP
        """
        with raise_user_errors():
            check_text("name", name)
            check_text("split", split, optional=True)
        import polars as pl

        known = sorted(p.name for p in (self.output / "data").glob("*") if p.is_dir())
        resources.require_known(name, known, kind=f"view in `{self.output}` called")
        if split is not None:
            resources.require_known(split, SPLITS, kind=f"split of `{name}` called")
        all_files = sorted((self.output / "data" / name).glob("*/*.parquet"))
        files = [path for path in all_files if split in (None, path.parent.name)]
        if pointer := next(filter(parquet.is_lfs_pointer, all_files), None):
            raise parquet.make_pointer_error(pointer)
        frames = [pl.read_parquet(path) for path in files]
        # `require_known` found the folder, and `build` writes no folder without a file.
        return pl.concat(frames) if frames else pl.read_parquet(all_files[0]).clear()


class Options(TypedDict, total=False):
    """The keyword arguments of `generate` and `agenerate`; see `agenerate`."""

    output: str | Path | None
    until: Until | None
    replan: bool
    plugins: Sequence[str]
    teachers: Mapping[str, Teacher] | None
    watch: Watch | None
    prompts: PromptPaths | UserPrompts | None
    columns: Mapping[str, str | None] | None
    licence: str | None
    drop_answer: bool
    skip_unreadable: bool
    license: str | None


def generate(recipe: Recipe | str | Path = "starter", **options: Unpack[Options]) -> Run:
    """Plan, draft, validate and build a dataset. The same call resumes a run.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        options: the keyword arguments of `agenerate`.

    Returns:
        The run, with the build report unless `until` stopped it earlier.

    Raises:
        UserError: the recipe or a file that it names is wrong, or an event loop is running.
        RunError: the run cannot continue; cached replies are kept.

    Example:
        >>> generate("starter", output="out").report.accepted  # doctest: +SKIP
    """
    return run_in_own_loop(lambda: agenerate(recipe, **options), instead="agenerate")


async def agenerate(
    recipe: Recipe | str | Path = "starter",
    *,
    output: str | Path | None = None,
    until: Until | None = None,
    replan: bool = False,
    plugins: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    watch: Watch | None = None,
    prompts: PromptPaths | UserPrompts | None = None,
    columns: Mapping[str, str | None] | None = None,
    licence: str | None = None,
    drop_answer: bool = False,
    skip_unreadable: bool = False,
    license: str | None = None,
) -> Run:
    """Plan, draft, validate and build a dataset inside a running event loop; see `generate`.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        output: folder of the run and the dataset; default the recipe's.
        until: stop after the plan (`expand`), the drafts (`draft`) or the verdicts (`validate`).
        replan: plan again from a changed recipe; cached replies are reused.
        plugins: modules that the recipe may name as `module:factory`.
        teachers: teachers by role (`drafter`, `reviser`, `author`, `student`, `labeller`, `judge`) in place of
            the recipe's: any async function of a request. `budget` bounds their calls. If a function carries the
            attribute `identity`, a text that changes whenever its replies would change, then its
            replies are cached, and `concurrency` (64) and `attempts` (1) bound its requests. Without
            `identity` nothing is cached, and an interrupted shard calls it again for all its items.
        watch: receives the live counters of each stage, once before its first request.
        prompts: a file of your own prompts (CSV, JSON, Parquet, Arrow) in place of the taxonomy's sets,
            a folder of shards, a glob, several of them, or `Run.prompts` to resume a run without its
            file.
        columns: column by field, for columns of `prompts` that are not named like their fields; None
            leaves a field unread.
        licence: the licence of rows of `prompts` that name none.
        drop_answer: drop an answer at the end of `messages`.
        skip_unreadable: list rows of `prompts` that cannot be read, and use the others.
        license: other spelling of `licence`.

    Raises:
        UserError: the recipe or a file that it names is wrong.
        RunError: the run cannot continue; cached replies are kept.
    """
    with raise_user_errors():
        _check_recipe(recipe)
        check_path("output", output, optional=True)
        if until is not None:
            check_choice("until", until, get_args(Until))
        check_names("plugins", plugins, list, tuple)
        check_mapping("teachers", teachers, "a mapping: {'drafter': function}")
        check_callable("watch", watch, optional=True)
        check_mapping("columns", columns, "a mapping: {'prompt': 'text'}")
        for name, flag in (
            ("replan", replan),
            ("drop_answer", drop_answer),
            ("skip_unreadable", skip_unreadable),
        ):
            check_flag(name, flag)
    licence = choose_spelling("licence", licence, license)
    options = PromptOptions(columns, licence, drop_answer, skip_unreadable)
    source = _resolve_prompts(prompts, options)
    named = str(recipe) if isinstance(recipe, Path) else recipe
    inputs = replace(resolve_recipe(named, trusted=plugins), user_prompts=source)
    _check_inputs(inputs, teachers or {}, until)
    folder = choose_folder(output, inputs.recipe)
    # From here on the folder changes; all checks of the input are done.
    return await _run_to_step(
        folder, inputs, until=until, replan=replan, teachers=teachers or {}, watch=watch
    )


def _check_inputs(
    inputs: ResolvedRecipe, teachers: Mapping[str, Teacher], until: Until | None
) -> None:
    check_custom_teachers(teachers)
    if inputs.user_prompts is not None:
        user_prompts.check_recipe(inputs, teachers=teachers)
    # A plan needs no teacher, so a key may still be missing.
    if until != "expand":
        check_teachers(inputs, teachers=teachers)


async def _run_to_step(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    *,
    until: Until | None,
    replan: bool,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> Run:
    """Run a checked recipe to the build or to an earlier step, with the folder locked."""
    with open_folder(folder):
        if not replan:
            inputs = snapshot.adopt_prompt_options(folder, inputs)
        source = inputs.user_prompts
        await run_in_thread(partial(prepare_run, folder, inputs, replan=replan))
        stats = await _plan_run(folder, inputs, teachers=teachers, watch=watch)
        if until == "expand":
            return Run(folder, inputs.recipe, None, *stats, prompts=source)
        session = await run_session(folder, inputs, until=until, teachers=teachers, watch=watch)
        stats = stats.add(session)
        if until is not None:
            return Run(folder, inputs.recipe, None, *stats, prompts=source)
        curated = await run_in_thread(partial(curate, folder))
        while await run_in_thread(partial(plan_next_round, folder, inputs, curated)):
            session = await run_session(folder, inputs, until=None, teachers=teachers, watch=watch)
            stats = stats.add(session)
            curated = await run_in_thread(partial(curate, folder))
        report = await run_in_thread(partial(build, folder, inputs, curated))
        return Run(folder, inputs.recipe, report, *stats, prompts=source)


def _check_recipe(recipe: object) -> None:
    if not isinstance(recipe, Recipe | str | Path):
        allowed = "a `Recipe`, a path or the name of a built-in recipe"
        raise TypeError(describe_argument("recipe", recipe, allowed))


class PromptOptions(NamedTuple):
    """The options of `agenerate` that say how `prompts` is read."""

    columns: Mapping[str, str | None] | None
    licence: str | None
    drop_answer: bool
    skip_unreadable: bool


def _resolve_prompts(
    prompts: PromptPaths | UserPrompts | None, options: PromptOptions
) -> UserPrompts | None:
    if prompts is not None and not isinstance(prompts, UserPrompts):
        return open_prompts(prompts, **options._asdict())
    for name, value in options._asdict().items():
        if value:
            raise UserError(f"`{name}` needs a file; name it as `prompts`")
    return prompts


async def _plan_run(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> SessionStats:
    """Plan round 0 unless it is planned."""
    if inputs.user_prompts is None:
        await run_in_thread(partial(write_plan, folder, inputs))
        return SessionStats(Usage(), 0, 0.0)
    return await user_prompts.write_plan(
        folder, inputs, inputs.user_prompts, teachers=teachers, watch=watch
    )


def load_context(run: Run, *, trusted: Sequence[str] = ()) -> RunSnapshot:
    """Read the recipe, specs, taxonomy and language pack of a run from its snapshot.

    Args:
        run: an open run.
        trusted: modules that its recipe may name as `module:factory`.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    return snapshot.read_snapshot(run.folder, run.recipe, user_prompts=run.prompts, trusted=trusted)


def build(
    folder: RunFolder,
    inputs: ResolvedRecipe | RunSnapshot,
    curated: CurationResult | None = None,
    *,
    recut: Recut | None = None,
) -> BuildReport:
    """Write views, card and manifest from the records on disk; the caller holds the lock.

    Args:
        folder: the run.
        inputs: the recipe and its files.
        curated: the curated state of the run; default: curate it now.
        recut: other keys of acceptance than those of the recipe.
    """
    from safegen.dataset.build import build_dataset

    if curated is None:
        curated = curate(folder, recut=recut.recutter if recut else None)
    return build_dataset(
        curated,
        recut.recipe if recut else inputs.recipe,
        overrides=recut.overrides if recut else {},
        taxonomy_version=f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        policies=inputs.policies,
        fingerprints=inputs.fingerprints,
        trusted=inputs.trusted,
        contacts=inputs.contacts,
        inputs=_make_measure_inputs(folder, inputs, curated),
    )


def _make_measure_inputs(
    folder: RunFolder, inputs: ResolvedRecipe | RunSnapshot, curated: CurationResult
) -> MeasureInputs:
    from safegen.dataset.figures import MeasureInputs

    target = report_target(folder, inputs, curated)
    # Top-up rounds follow the recipe, not a re-cut.
    if target is not None and curated.recut is None:
        save_stop_state(folder, target)
    hedges = inputs.locale.compiled.get(HEDGES)
    return MeasureInputs(
        tiers=inputs.tiers,
        axes=inputs.axes if isinstance(inputs, RunSnapshot) else snapshot.read_axes(folder),
        restricted_axes=inputs.recipe.plan.restricted_axes,
        barred_profiles=inputs.barred_profiles,
        hedge_patterns={} if hedges is None else {inputs.locale.locale: hedges},
        target=target,
    )


def list_warnings(run: Run, *, clock: UnixClock = time.time) -> tuple[str, ...]:
    """List the warnings about unchecked and stale contacts that answers of a run may quote.

    Args:
        run: a run.
        clock: returns seconds since 1970.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    # The snapshot parses all policies, about 0.5 s; without a region there is nothing to warn about.
    if not run.recipe.contacts.regions:
        return ()
    context = snapshot.read_snapshot(run.folder, run.recipe, user_prompts=run.prompts)
    return list_contact_warnings(context, today=day_of(clock()))


class Rebuild(NamedTuple):
    """A dataset that was built again, and the snapshot that it was built from."""

    run: Run
    context: RunSnapshot


def rebuild(
    output: str | Path,
    *,
    recipe: Recipe | str | Path | None = None,
    overrides: Mapping[str, object] | None = None,
    plugins: Sequence[str] = (),
) -> Rebuild:
    """Build the dataset again from the records on disk; no model is called.

    Args:
        output: the folder of the run.
        recipe: a recipe with another version, other views or another split; the rest must be equal.
        overrides: values by dotted key of acceptance, such as `{"validators.style.threshold": 0.8}` or
            `{"require": ["style"]}`. The drafts are accepted again by their stored scores.
        plugins: modules that the recipe may name as `module:factory`.

    Raises:
        ConfigError: an override is unknown or needs new requests, or its value does not fit.
        RecipeMismatch: the recipe differs in a key that decides prompts, drafts or verdicts.
        UserError: there is no such run.
    """
    with raise_user_errors():
        check_names("plugins", plugins, list, tuple)
        check_mapping("overrides", overrides, "a mapping: {'validators.style.threshold': 0.8}")
        if recipe is not None:
            _check_recipe(recipe)
    run = open_run(output)
    if recipe is not None:
        run = replace(
            run, recipe=recipe if isinstance(recipe, Recipe) else recipes.load_recipe(recipe)
        )
    context = load_context(run, trusted=plugins)
    recut = make_recut(run.recipe, overrides or {}, trusted=plugins)
    with open_folder(run.folder):
        # Before the build, so that a kill in between leaves a folder that a second `build`
        # completes.
        snapshot.update_snapshot(run.folder, context)
        report = build(run.folder, context, recut=recut)
    return Rebuild(replace(run, report=report), context)


def reset_failed(run: Run, *, plugins: Sequence[str] = ()) -> bool:
    """Let `generate` repeat a run's failed requests; return False if nothing is left to do.

    Args:
        run: the run.
        plugins: modules that its recipe may name as `module:factory`.

    Raises:
        AssetNotFound: a file that the recipe names is missing; nothing is changed.
        ConfigError: a teacher lacks its key or another variable; nothing is changed.
        StoreDamaged: a file of the run cannot be read; nothing is changed.
    """
    check_run_files(run)
    try:
        inputs = resolve_recipe(run.recipe, trusted=plugins)
        # A run without failures calls no teacher, so it needs no key.
        if count_losses(run.folder).failed_requests:
            check_teachers(inputs, teachers={})
    except AssetNotFound as e:
        raise AssetNotFound(
            f"{e}; `retry` needs the files of the recipe: run it in the folder that has them"
        ) from e
    return bool(reset_failures(run.folder)) or not is_finished(run.folder)


def find_prompts(run: Run) -> UserPrompts | None:
    """Find the prompt file of a run if a retry has to read it: for failed labels, or for the plan.

    Raises:
        AssetNotFound: the file is missing or changed; nothing is changed.
    """
    needs_file = not run.folder.plan(0).exists() or bool(run.folder.read_label_failures())
    if run.prompts is None or not needs_file:
        return run.prompts
    try:
        return run.prompts.reopen()
    except ConfigError as e:
        raise AssetNotFound(
            f"{e}; a retry of labels reads the prompt file: run it in the folder that has the file, or run"
            f" `safegen generate RECIPE --output {shlex.quote(str(run.output))} --prompts FILE`"
        ) from e


def open_run(output: str | Path) -> Run:
    """Open a run folder.

    Args:
        output: the dataset folder, which contains `run/`.

    Raises:
        AssetNotFound: the folder has no run.
        FormatMismatch: another format, with the version that reads it.
        StoreDamaged: `recipe.json` cannot be read.

    Example:
        >>> open_run("outputs/starter").recipe.version  # doctest: +SKIP
    """
    with raise_user_errors():
        check_path("output", output)
    folder = RunFolder(Path(output))
    folder.check_entries()
    # A plan without a snapshot is a damaged run, not a missing one.
    if not folder.snapshot_path.exists() and not folder.plan(0).exists():
        raise _make_missing_error(folder.output)
    payload = folder.read_snapshot()
    recipe = recipes.recipe_from_snapshot(payload["recipe"], shown=str(folder.snapshot_path))
    return Run(folder, recipe, prompts=UserPrompts.from_json(payload.get("prompts")))


def _make_missing_error(output: Path) -> AssetNotFound:
    if not (output / "manifest.json").exists():
        return AssetNotFound(f"no run in `{output}`; `safegen generate` makes one")
    problem = (
        f"no run in `{output}`: it holds a dataset only, because `run/` is not versioned; `safegen verify"
        f" {shlex.quote(str(output))}` checks the dataset"
    )
    if find_pointer(output) is not None:
        problem += ", after you have fetched its files with `git lfs pull`"
    return AssetNotFound(problem)


def check_run_files(run: Run) -> None:
    """Check that the files of a run can be read, before a command reports or changes it.

    Of each shard only the end is read, which a file that was cut off lacks.

    Raises:
        StoreDamaged: a plan, a shard, a list of failures or the import report is damaged.
    """
    folder = run.folder
    if folder.plan(0).exists():
        plan.Plans(folder.plans)
    for shard in folder.finished_shards():
        parquet.read_schema(folder.records(shard))
    count_losses(folder)
    if run.prompts is not None and folder.import_report.exists():
        counts = read_import_counts(folder.import_report)
        check_unlabelled_rows(folder.unlabelled_rows, expected=counts.unlabelled)


def is_finished(folder: RunFolder) -> bool:
    """Return True if every planned shard has records; a killed `retry` leaves shards without."""
    return (
        folder.plan(0).exists() and len(folder.finished_shards()) >= plan.Plans(folder.plans).shards
    )


# Any: as JSON is typed.
def read_import_report(run: Run) -> dict[str, Any]:
    """Read the counts of a user's prompt file, taken when its rows were planned; empty without one.

    Raises:
        StoreDamaged: the file cannot be read.
    """
    has_report = run.prompts is not None and run.folder.import_report.exists()
    return read_import_counts(run.folder.import_report).to_json() if has_report else {}


def count_unlabelled(run: Run) -> int:
    """Count the rows of a user's file that were not planned, listed in `run/unlabelled.jsonl`."""
    return int(read_import_report(run).get("unlabelled", 0))


def count_unlabelled_causes(run: Run) -> dict[str, int]:
    """Count these rows by cause, in the words of the summary."""
    return name_causes(read_import_report(run).get("unlabelled_by", {}))


def read_usage(folder: RunFolder) -> dict[str, object]:
    """Read requests, tokens and seconds over all sessions of a run."""
    payload = usage.read_accounting(folder.accounting)
    return {name: count for name, count in payload.items() if name != usage.JOURNALLED}


def summarise(run: Run, losses: LossCounts, *, min_yield: MinYield = "rows") -> dict[str, object]:
    """Convert the result of a run to a JSON object.

    Args:
        run: the run.
        losses: its failed requests and dropped prompts.
        min_yield: bound of the yields under `below_min_yield`.
    """
    usage = run.usage
    payload: dict[str, object] = {
        "output": str(run.output),
        "failed_requests": dict(losses.failed_requests),
        "dropped": dict(losses.dropped),
        "shards_done": run.shards_done,
        "requests": usage.requests,
        "cached": usage.cached,
        "retries": usage.retries,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": round(run.seconds, 1),
    }
    if run.prompts is not None:
        payload |= {"unlabelled": count_unlabelled(run), "imported": read_import_report(run)}
    if run.report is None:
        return payload
    judges = jury_to_json(run.folder, run.report.jury)
    return payload | _counts_json(run.report, min_yield) | {"judges": judges}


def _counts_json(report: BuildReport, min_yield: MinYield) -> dict[str, object]:
    return {
        "planned": report.planned,
        "answered": report.answered,
        "accepted": report.accepted,
        "prompts": report.prompts,
        "drafts": report.drafts,
        "drafts_accepted": report.drafts_accepted,
        "accepted_by": report.accepted_by,
        "policy_effect": effect_to_json(report.effect),
        "rows": {name: dict(splits) for name, splits in report.rows.items()},
        "excluded": dict(report.excluded),
        "rejected": dict(report.rejected),
        "by_domain": {name: _stage_json(counts) for name, counts in report.by_domain.items()},
        "by_mode": {name: _stage_json(counts) for name, counts in report.by_mode.items()},
        "by_grade": dict(report.by_grade),
        "rejected_by": report.rejected_by,
        "refusals": list_refusals(report.refusals),
        "yields": report.yields.to_json(),
        "low_yields": [low.to_json() for low in report.yields.low],
        "below_min_yield": [low.to_json() for low in report.yields.find_below(min_yield)],
        "pairs": {view: measure.to_json() for view, measure in report.pairs.items()},
        "target": None if report.target is None else report.target.to_json(),
        "artifact_warning": report.artifact_warning,
        "changed": report.changed,
    }


def _stage_json(counts: StageCounts) -> dict[str, int]:
    return asdict(counts) | {"excluded": counts.excluded}
