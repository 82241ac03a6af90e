"""Verification of a dataset, also against the run that it was built from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from safegen.config.recipe import Recipe
from safegen.core.errors import AssetNotFound, ConfigError, FormatMismatch, SafegenError
from safegen.core.plugins import is_allowed, module_of
from safegen.dataset.curate import CurationResult, curate
from safegen.dataset.manifest import compose_run_facts, count_stages, format_taxonomy
from safegen.dataset.run_rows import RunRows
from safegen.dataset.verify import RunFacts, verify_dataset
from safegen.dataset.view import View, make_views
from safegen.pipeline.api import Run, check_run_files, load_context, open_run
from safegen.pipeline.recut import read_recut
from safegen.store.journal import check_journal
from safegen.store.run_folder import RunFolder, find_pointer


class Verification(NamedTuple):
    """The result of a verification."""

    problems: list[str]
    """An empty list means that the dataset is verified."""
    note: str
    """Reason why rows were not compared with the run; empty if all were."""
    remedy: str = ""
    """The one remedy for the problems; empty without a problem."""

    @property
    def is_compared(self) -> bool:
        """True if all rows were compared with the run."""
        return not self.note


class _Expectation(NamedTuple):
    run: Run | None = None
    facts: RunFacts | None = None
    problem: str = ""
    note: str = ""
    has_run: bool = True


def verify(output: str | Path, *, plugins: Sequence[str] = ()) -> Verification:
    """Check files and rows of a dataset, and that a build of its run gives the same rows.

    Args:
        output: the dataset folder. Without `run/` in it, rows are compared with the manifest only.
        plugins: modules that views of the recipe may be imported from.

    Raises:
        AssetNotFound: the folder has no dataset.
        FormatMismatch: the manifest has the format of another version.

    Example:
        >>> verify("outputs/starter").problems  # doctest: +SKIP
        []
    """
    folder = Path(output)
    # Behind a link are files of others, which no other check may list or read.
    if (link := _find_link(folder)) is not None:
        again = f"then run `safegen verify {shlex.quote(str(folder))}` again"
        return Verification([link], "the folder is not read", again)
    expected = _read_run(folder, plugins)
    problems = verify_dataset(folder, expected=expected.facts)
    if expected.problem:
        problems.append(expected.problem)
    remedy = _find_remedy(folder, has_run=expected.has_run) if problems else ""
    # A damaged journal is no fault of the dataset, and its message names the remedy.
    if not expected.problem and expected.run is not None:
        problems += _list_run_damage(expected.run)
    return Verification(problems, expected.note, remedy)


def _find_link(folder: Path) -> str | None:
    """Describe the first link in a folder; None without one."""
    try:
        return RunFolder(folder).find_link()
    # A folder that cannot be read is a problem of the other checks.
    except ConfigError:
        return None


def _find_remedy(folder: Path, *, has_run: bool) -> str:
    # A rebuild cannot read pointers either, so this remedy comes first.
    if find_pointer(folder) is not None:
        return "fetch the files with `git lfs pull`"
    if has_run:
        return _find_rebuild(folder)
    return "it has no run to rebuild it from; copy or check out the dataset again"


def _find_rebuild(folder: Path) -> str:
    """Name the command that builds the same dataset again."""
    run, name = RunFolder(folder), shlex.quote(str(folder))
    if not run.finished_shards():
        return (
            "its run has no finished shard to build from; run the same `safegen generate` again with"
            f" `--output {name}`"
        )
    options = "".join(f" --set {shlex.quote(option)}" for option in _read_options(run))
    return f"rebuild it from its run with `safegen build {name}{options}`"


def _read_options(run: RunFolder) -> list[str]:
    """Read the options `--set` of the build, so that a rebuild keeps the re-cut."""
    try:
        recut = read_recut(run, open_run(run.output).recipe)
    except SafegenError:
        return []
    return [f"{key}={_format_value(v)}" for key, v in recut.overrides.items()] if recut else []


def _format_value(value: object) -> str:
    is_list = isinstance(value, list | tuple)
    return ",".join(map(str, cast("Sequence[object]", value))) if is_list else str(value)


def _list_run_damage(run: Run) -> list[str]:
    """Describe the damage of files of a run that the rows do not show; empty without one."""
    problems: list[str] = []
    path = run.folder.journal
    for check in (
        partial(check_run_files, run),
        *([partial(check_journal, path)] if path.exists() else []),
    ):
        try:
            check()
        except SafegenError as e:
            problems.append(str(e))
    return problems


def _read_run(folder: Path, plugins: Sequence[str]) -> _Expectation:
    try:
        run = open_run(folder)
    except AssetNotFound:
        return _Expectation(note=f"no run in `{folder / 'run'}`", has_run=False)
    except FormatMismatch as e:
        return _Expectation(note=str(e))
    except SafegenError as e:
        return _Expectation(problem=str(e), note="the run cannot be read")
    known = [ref for ref in run.recipe.views if is_allowed(ref.use, plugins)]
    skipped = [ref.use for ref in run.recipe.views if ref not in known]
    note = ""
    if skipped:
        module = module_of(skipped[0])
        note = f"view `{skipped[0]}` needs `--plugin {module}`"
    try:
        # Importing a view runs its code, so only trusted ones are made.
        recipe = run.recipe.model_copy(update={"views": tuple(known)})
        views = make_views(recipe, trusted=plugins)
        recut = read_recut(run.folder, recipe)
        curated = curate(run.folder, recut=recut.recutter if recut else None)
        facts = _read_facts(run, curated, recut.recipe if recut else recipe, views, plugins)
    except SafegenError as e:
        problem = f"the run cannot give the rows: {e}"
        return _Expectation(problem=problem, note="the run cannot be read")
    return _Expectation(run, facts._replace(skips_views=bool(skipped)), note=note)


def _read_facts(
    run: Run,
    curated: CurationResult,
    recipe: Recipe,
    views: Mapping[str, View],
    plugins: Sequence[str],
) -> RunFacts:
    context = load_context(run, trusted=plugins)
    version = f"{context.tree.file.taxonomy}@{context.tree.file.version}"
    fields = compose_run_facts(
        curated.stats,
        run=run.folder,
        recipe=recipe,
        taxonomy=format_taxonomy(curated.stats, recipe, version),
        fingerprints=context.fingerprints,
        views=views,
    )
    skipped = len(views) < len(run.recipe.views)
    rows = RunRows(curated, recipe, views, skipped=skipped)
    return RunFacts(rows, fields, count_stages(curated.stats))
