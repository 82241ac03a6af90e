"""Verification of a dataset, also against the run that it was built from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safegen.core.errors import AssetNotFound, FormatMismatch, SafegenError
from safegen.core.plugins import is_allowed, module_of
from safegen.dataset.curate import curate
from safegen.dataset.run_rows import RunRows
from safegen.dataset.verify import verify_dataset
from safegen.dataset.view import make_views
from safegen.pipeline.api import open_run
from safegen.store.journal import check_journal
from safegen.store.run_folder import RunFolder


class Verification(NamedTuple):
    """The result of a verification."""

    problems: list[str]
    """An empty list means that the dataset is verified."""
    note: str
    """Reason why rows were not compared with the run; empty if all were."""

    @property
    def is_compared(self) -> bool:
        """True if all rows were compared with the run."""
        return not self.note


class _Expectation(NamedTuple):
    rows: RunRows | None = None
    problem: str = ""
    note: str = ""


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
    expected = _read_run(folder, plugins)
    problems = verify_dataset(folder, expected=expected.rows)
    if expected.problem:
        problems.append(expected.problem)
    elif expected.rows is not None and (problem := _find_journal_damage(folder)):
        problems.append(problem)
    return Verification(problems, expected.note)


def _find_journal_damage(folder: Path) -> str | None:
    """Describe the damage of the cached replies of a run; None without one."""
    path = RunFolder(folder).journal
    try:
        if path.exists():
            check_journal(path)
    except SafegenError as e:
        return str(e)
    return None


def _read_run(folder: Path, plugins: Sequence[str]) -> _Expectation:
    try:
        run = open_run(folder)
    except AssetNotFound:
        return _Expectation(note=f"no run in `{folder / 'run'}`")
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
        recipe = run.recipe.model_copy(update={"views": tuple(known)})
        views = make_views(recipe, trusted=plugins)
        rows = RunRows(curate(run.folder), recipe, views, skipped=bool(skipped))
    except SafegenError as e:
        problem = f"the run cannot give the rows: {e}"
        return _Expectation(problem=problem, note="the run cannot be read")
    return _Expectation(rows, note=note)
