"""Verify a dataset folder: its files match the manifest, and its rows their invariants and the run.

The manifest is untrusted: its paths may not leave the folder, and a mismatch is a problem in the
result, never an exception. The format of another version is an error, because nothing can be checked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

from safegen.core import plugins
from safegen.core.errors import AssetNotFound, SafegenError, StoreDamaged
from safegen.core.hashing import file_sha256
from safegen.core.plural import format_plural
from safegen.core.regular_files import describe_kind
from safegen.dataset.curation.exact_duplicates import digest_64, message_key
from safegen.dataset.curation.split import SPLITS, split_of
from safegen.dataset.layout import MANIFEST, content_sha256, list_files
from safegen.dataset.manifest import list_columns
from safegen.dataset.run_rows import RunRows
from safegen.dataset.view import View
from safegen.store import parquet
from safegen.store.json_files import read_json
from safegen.store.run_folder import check_manifest_format
from safegen.store.schema import ArrowRow

# A damaged column violates an invariant in every row.
MAX_PROBLEMS = 100
REBUILD_HINT = "run `safegen build` again"


class RunFacts(NamedTuple):
    """The content of a dataset that its run gives."""

    rows: RunRows
    fields: Mapping[str, object]
    """Fields of the manifest, without those that measures and hashes make."""
    counts: Mapping[str, object]
    """Fields of `counts`, without the rows."""
    skips_views: bool = False
    """True if untrusted views are not made, so that `views` has more of them."""


def verify_dataset(folder: Path, *, expected: RunFacts | None = None) -> list[str]:
    """List the problems of a dataset; an empty list means that it is verified.

    Args:
        folder: the dataset with `manifest.json`; `run/` and `.git*` are ignored.
        expected: the content that the run gives; default: rows are compared with the manifest only.

    Raises:
        AssetNotFound: the folder has no dataset.
        FormatMismatch: the manifest has the format of another version.
    """
    if not folder.is_dir():
        raise AssetNotFound(f"no folder `{folder}`")
    if not any((folder / name).exists() for name in (MANIFEST, "data", "run")):
        raise AssetNotFound(f"no dataset in `{folder}`; `safegen generate` makes one")
    try:
        manifest = read_json(folder / MANIFEST)
    except StoreDamaged as e:
        is_pointer = parquet.is_lfs_pointer(folder / MANIFEST)
        return [str(e) if is_pointer else f"{e}; {REBUILD_HINT}"]
    check_manifest_format(folder / MANIFEST, manifest)
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        return [f"`{MANIFEST}` lists no files; {REBUILD_HINT}"]
    if "format" not in manifest:
        return [f"`{MANIFEST}` has no format number; {REBUILD_HINT}"]
    problems: list[str] = []
    for problem in _iter_problems(folder, manifest, cast("dict[str, Any]", files), expected):
        problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            return [*problems, f"more than {MAX_PROBLEMS} problems; the rest is not shown"]
    # The rows of a damaged file are not read, so they would be missing.
    left = expected.rows.count_left() if expected and not problems else ()
    return problems + [
        f"view `{part.view}`, split `{part.split}`:"
        f" {format_plural(part.missing, 'row')} that the run's records give"
        f" {'is' if part.missing == 1 else 'are'} missing; {REBUILD_HINT}"
        for part in left
    ]


# Any: the manifest is untrusted JSON.
def _iter_problems(
    folder: Path, manifest: dict[str, Any], files: dict[str, Any], expected: RunFacts | None
) -> Iterator[str]:
    unlisted = [name for name in list_files(folder) if name not in files and not _is_git(name)]
    for name in unlisted:
        yield f"`{name}` is not listed in the manifest; remove it, or {REBUILD_HINT}"
    rows = expected.rows if expected else None
    invariants = _RowInvariants(_one_row_views(), rows, _read_test_share(manifest))
    counted: Counter[tuple[str, str]] = Counter()
    for name, file_facts in files.items():
        problem = _describe_damage(folder, name, file_facts)
        if problem is not None:
            yield problem
        elif name.endswith(".parquet"):
            part = _read_view_rows(folder, name, manifest)
            if isinstance(part, str):
                yield part
                continue
            counted[part.view, part.split] += len(part.rows)
            yield from _check_rows(name, part, file_facts, invariants)
    yield from _check_counts(manifest, counted)
    yield from _check_names(manifest, files)
    if expected is not None:
        yield from _check_fields(manifest, expected)


def _read_test_share(manifest: Mapping[str, Any]) -> float | None:
    split = manifest.get("split")
    share = cast("dict[str, object]", split).get("test") if isinstance(split, dict) else None
    return share if isinstance(share, int | float) and 0 <= share < 1 else None


def _check_names(manifest: Mapping[str, Any], files: Mapping[str, Any]) -> Iterator[str]:
    """Compare version, views and share of the split with the files."""
    version, views = manifest.get("version"), manifest.get("views")
    paths = [PurePosixPath(name) for name in files if name.endswith(".parquet")]
    # A file in another place is a problem of its own.
    paths = [path for path in paths if len(path.parts) == 4 and path.parts[2] in SPLITS]
    others = sorted({path.name for path in paths if path.name.rpartition("-")[0] != version})
    if others:
        yield f"`{MANIFEST}` has version `{str(version)[:40]}`, and the files another (`{others[0]}`); {REBUILD_HINT}"
    known = set(cast("dict[str, object]", views)) if isinstance(views, dict) else set[str]()
    counts = manifest.get("counts")
    rows = cast("dict[str, object]", counts).get("rows") if isinstance(counts, dict) else None
    # A view without rows has no file, but a count.
    made = {path.parts[1] for path in paths} | set(
        cast("dict[str, object]", rows) if isinstance(rows, dict) else ()
    )
    for name in sorted(known ^ made):
        problem = "no view" if name in made else "the view"
        yield f"`{MANIFEST}` has {problem} `{name[:60]}` under `views`, unlike the files and counts; {REBUILD_HINT}"
    if _read_test_share(manifest) is None:
        yield f"`{MANIFEST}` has no share of the test split from 0 to 1; {REBUILD_HINT}"


def _check_fields(manifest: Mapping[str, Any], expected: RunFacts) -> Iterator[str]:
    """Compare the fields that are computed from the run."""
    counts = manifest.get("counts")
    actual_counts = cast("dict[str, object]", counts) if isinstance(counts, dict) else {}
    pairs = [(name, manifest.get(name), value) for name, value in expected.fields.items()]
    pairs += [
        (f"counts.{name}", actual_counts.get(name), value)
        for name, value in expected.counts.items()
    ]
    for name, actual, value in pairs:
        if name == "views" and expected.skips_views and isinstance(actual, dict):
            known = cast("dict[str, object]", value)
            actual = {k: v for k, v in cast("dict[str, object]", actual).items() if k in known}
        if _encode(actual) != _encode(value):
            yield f"`{MANIFEST}`: `{name}` is not what the run gives; {REBUILD_HINT}"
    optional = {"judges", "policy_effect", "imported"} - set(expected.fields)
    for name in sorted(optional & set(manifest)):
        yield f"`{MANIFEST}`: the run gives no `{name}`; {REBUILD_HINT}"


def _encode(value: object) -> str:
    # Tuples and keys that are no text are stored as lists and texts.
    return json.dumps(json.loads(json.dumps(value)), sort_keys=True)


def _is_git(name: str) -> bool:
    return PurePosixPath(name).parts[0].startswith(".git")


def _describe_damage(folder: Path, name: str, expected: object) -> str | None:
    """Describe why a file cannot be checked further; None if it can."""
    relative = PurePosixPath(name)
    path = folder / name
    if relative.is_absolute() or ".." in relative.parts or "\\" in name or "\0" in name:
        return f"`{name}` in the manifest leaves the folder; {REBUILD_HINT}"
    try:
        outside = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links that run in a circle; no name of a file
        outside = True
    if outside:
        return f"`{name}` leads out of the folder through a link; {REBUILD_HINT}"
    if (problem := _describe_kind(path)) is not None:
        return f"`{name}` {problem}"
    if parquet.is_lfs_pointer(path):
        return f"`{name}` is a git-lfs pointer; run `git lfs pull`"
    expected_sha256 = (
        cast("dict[str, object]", expected).get("sha256") if isinstance(expected, dict) else None
    )
    try:
        if file_sha256(path) != expected_sha256:
            return f"`{name}` is not what the manifest says (SHA-256 differs); {REBUILD_HINT}"
    except OSError as e:
        return f"`{name}` cannot be read ({e.strerror})"
    return None


def _describe_kind(path: Path) -> str | None:
    """Describe why a path is no file that can be read; None if it is one."""
    try:
        kind = describe_kind(path.stat().st_mode)
    except FileNotFoundError:
        return f"is missing; {REBUILD_HINT}"
    except OSError as e:
        return f"cannot be read ({(e.strerror or str(e)).lower()})"
    return f"is {kind}, not a file; remove it, and {REBUILD_HINT}" if kind else None


class _ViewRows(NamedTuple):
    """The rows of one file."""

    view: str
    split: str
    rows: Sequence[ArrowRow]


def _read_view_rows(folder: Path, name: str, manifest: Mapping[str, Any]) -> _ViewRows | str:
    """Read one Parquet file; return the problem if its place, schema or content is damaged."""
    parts = PurePosixPath(name).parts
    if len(parts) != 4 or parts[0] != "data" or parts[2] not in SPLITS:
        return f"`{name}` is not under `data/<view>/<split>/`; {REBUILD_HINT}"
    _, view, split, _ = parts
    try:
        wrong = _describe_schema_mismatch(folder / name, view, manifest)
        if wrong:
            return f"`{name}` {wrong}; {REBUILD_HINT}"
        return _ViewRows(view, split, parquet.read_rows(folder / name))
    except StoreDamaged as e:
        return str(e)


def _check_rows(
    name: str, part: _ViewRows, expected: Mapping[str, Any], invariants: _RowInvariants
) -> Iterator[str]:
    """Check the rows of one file: their number, their content hash and their invariants."""
    view, split, rows = part
    if len(rows) != expected.get("rows"):
        yield f"`{name}` has {format_plural(len(rows), 'row')} and the manifest says {expected.get('rows')}; {REBUILD_HINT}"
    if content_sha256(rows) != expected.get("content_sha256"):
        yield f"`{name}` has other rows than the manifest says (content hash differs); {REBUILD_HINT}"
    for row in rows:
        yield from invariants.check(row, view=view, split=split, name=name)


def _describe_schema_mismatch(path: Path, view: str, manifest: Mapping[str, Any]) -> str | None:
    """Compare a file's columns with the view's, or with the manifest's for a user's view."""
    actual = list_columns(parquet.read_schema(path))
    # The manifest is untrusted, so the columns of built-in views come from the code.
    if view in plugins.list_names("views"):
        try:
            made: View = plugins.make_plugin("views", view, {})
        except SafegenError as e:
            return f"belongs to a view that cannot be made ({e})"
        expected_columns = list_columns(made.schema)
    else:
        views = manifest.get("views")
        expected = cast("dict[str, Any]", views).get(view) if isinstance(views, dict) else None
        if not isinstance(expected, dict):
            return f"belongs to view `{view}`, which the manifest does not name"
        expected_columns = cast("dict[str, Any]", expected).get("columns")
        if not _is_columns(expected_columns):
            return f"belongs to view `{view}`, whose columns the manifest does not list"
    if actual == expected_columns:
        return None
    names = [c[0] for c in actual]
    known = [str(c[0]) for c in cast("list[list[object]]", expected_columns)]
    odd = sorted(set(names) ^ set(known)) or ["order or types"]
    return f"has other columns than view `{view}` ({', '.join(odd)})"


def _is_columns(value: object) -> bool:
    if not isinstance(value, list):
        return False
    items = cast("list[object]", value)
    return all(isinstance(c, list) and bool(cast("list[object]", c)) for c in items)


def _check_counts(
    manifest: Mapping[str, Any], counted: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    try:
        expected = {
            (str(view), str(split)): int(rows)
            for view, splits in manifest["counts"]["rows"].items()
            for split, rows in splits.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        yield f"`{MANIFEST}` counts no rows by view and split; {REBUILD_HINT}"
        return
    for view, split in sorted(set(expected) | set(counted)):
        actual, expected_rows = counted.get((view, split), 0), expected.get((view, split), 0)
        if actual != expected_rows:
            yield (
                f"view `{view}`, split `{split}`: {format_plural(actual, 'row')} could be read and the manifest"
                f" counts {expected_rows}"
            )


def _one_row_views() -> frozenset[str]:
    made: Iterator[View] = (
        plugins.make_plugin("views", name, {}) for name in plugins.list_names("views")
    )
    return frozenset(view.name for view in made if view.one_row_per_scenario)


class _RowInvariants:
    """Invariants across all rows of all views; keeps only 64-bit digests."""

    def __init__(
        self, single: Container[str], expected: RunRows | None, test_share: float | None
    ) -> None:
        self._single, self._test_share = single, test_share
        """Views with one row per scenario."""
        self._expected = expected
        self._splits: dict[int, str] = {}
        self._scenarios: set[int] = set()
        self._modes: dict[int, str] = {}
        self._bounds: dict[int, tuple[int, int]] = {}

    def check(self, row: ArrowRow, *, view: str, split: str, name: str) -> Iterator[str]:
        """Yield each invariant that a row violates with the rows before it."""
        yield from self._check_split(row.get("goal_id"), split, name)
        scenario = row.get("scenario_id")
        if view in self._single and scenario is not None:
            key = digest_64([view, scenario])
            if key in self._scenarios:
                yield f"`{name}`: scenario `{scenario}` occurs twice"
            self._scenarios.add(key)
        if self._expected and not self._expected.take(row, view=view, split=split):
            yield (
                f"`{name}`: the run's records do not give the row of scenario `{scenario}`;"
                f" {REBUILD_HINT}"
            )
        yield from self._check_expectations(row, f"`{name}`: scenario `{scenario}`")

    def _check_split(self, goal: object, split: str, name: str) -> Iterator[str]:
        if goal is None:
            return
        key = digest_64(goal)
        if key not in self._splits:
            share = self._test_share
            if share is not None and split_of(str(goal), test=share) != split:
                yield f"`{name}`: goal `{goal}` is in `{split}`, unlike the share of the test split; {REBUILD_HINT}"
        if self._splits.setdefault(key, split) != split:
            yield f"`{name}`: goal `{goal}` is in two splits"

    def _check_expectations(self, row: ArrowRow, where: str) -> Iterator[str]:
        prompt = row["messages"][:-1] if row.get("messages") else row.get("prompt")
        # Other views of a user may have a prompt in another form, which gives no key.
        if not prompt or isinstance(prompt, str):
            return
        prompt_key = digest_64(message_key(prompt))
        mode = row.get("mode")
        if mode is not None and self._modes.setdefault(prompt_key, mode) != mode:
            yield f"{where} has the messages of another row and another mode"
        if row.get("ceiling") is not None and row.get("floor") is not None:
            bounds = (row["ceiling"], row["floor"])
            if self._bounds.setdefault(prompt_key, bounds) != bounds:
                yield f"{where} has the messages of another row and another ceiling or floor"
