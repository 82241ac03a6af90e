"""The run folder: paths, snapshot of the recipe, shards and failures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from safegen.core.errors import RERUN_HINT, ConfigError, FormatMismatch, StoreDamaged, first_line
from safegen.core.strict_json import parse_json
from safegen.core.types import Failure, Record
from safegen.store import parquet
from safegen.store.schema import record_from_row, record_row, record_schema

FORMAT = 2
"""Format of the run folder. Raise it with every change that an earlier state of safegen cannot read."""
MANIFEST_FORMAT = 1
"""Format of the manifest of a dataset."""
RECORDS_REMEDY = f"delete it and {RERUN_HINT}: cached replies are reused"
DATASET_PARTS = (
    "data",
    "policies",
    "README.md",
    "dataset_info.json",
    ".gitattributes",
    "manifest.json",
)
"""Files and folders of a dataset, in the order in which `build` replaces them."""


@dataclass(frozen=True)
class RunFolder:
    """The folder `<output>/run`; it is never versioned."""

    output: Path

    @property
    def root(self) -> Path:
        """Path of the folder."""
        return self.output / "run"

    @property
    def snapshot_path(self) -> Path:
        """Snapshot of the resolved recipe."""
        return self.root / "recipe.json"

    @property
    def plans(self) -> Path:
        """Folder of the plans, one file per round (`0.parquet`), one row group per shard."""
        return self.root / "plan"

    def plan(self, round_: int) -> Path:
        """Return the path of one round's plan."""
        return self.plans / f"{round_}.parquet"

    @property
    def journal(self) -> Path:
        """Cached replies."""
        return self.root / "journal.sqlite"

    @property
    def import_report(self) -> Path:
        """Report on the import of a user's prompt file: counts, columns, labellers."""
        return self.root / "prompts.json"

    @property
    def labeller_check(self) -> Path:
        """Agreement of the labellers with known labels."""
        return self.root / "labellers.json"

    @property
    def judge_check(self) -> Path:
        """The judges of the panel and their results on the traps."""
        return self.root / "judges.json"

    @property
    def calibration(self) -> Path:
        """Agreement of the judges with people."""
        return self.root / "calibration.json"

    @property
    def unlabelled_rows(self) -> Path:
        """Rows of a user's prompt file that are not planned, with reason and cause."""
        return self.root / "unlabelled.jsonl"

    @property
    def stop_state(self) -> Path:
        """Reason why no further round was planned, for commands that run without the taxonomy."""
        return self.root / "target.json"

    @property
    def accounting(self) -> Path:
        """Requests, tokens and seconds of all sessions of the run."""
        return self.root / "accounting.json"

    @property
    def request_count(self) -> Path:
        """Number of requests of all sessions, unanswered ones included."""
        return self.root / "requests.txt"

    def check_foreign_files(self) -> None:
        """Reject an output folder with files of another origin, before anything is written.

        Raises:
            ConfigError: the folder contains a file that the dataset would replace.
        """
        # A run folder or a manifest shows that safegen wrote the rest, too.
        if self.root.is_dir() or "safegen" in _read_json_or_empty(self.output / "manifest.json"):
            return
        for name in DATASET_PARTS:
            path = self.output / name
            if path.exists() or path.is_symlink():
                raise ConfigError(
                    f"`{path}` was not written by safegen and would be replaced; choose another"
                    " `--output`, or move it away"
                )

    def refuse_links(self) -> None:
        """Reject links below the output folder, because they would be read and written elsewhere.

        The output folder itself may be a link.

        Raises:
            ConfigError: a file or folder of the run or the dataset is a link.
        """
        parts = (self.output / name for name in ("run", ".building", *DATASET_PARTS))
        if (link := next((path for part in parts for path in _iter_links(part)), None)) is not None:
            raise ConfigError(
                f"`{link}` is a link, and safegen follows none inside an output folder; replace it by"
                " what it names, or remove it"
            )

    def refuse_other_format(self) -> None:
        """Reject a run or a dataset of another format, before anything is changed.

        A folder without a readable snapshot and manifest passes.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
        """
        _check_format(self.snapshot_path, _read_json_or_empty(self.snapshot_path))
        manifest = self.output / "manifest.json"
        check_manifest_format(manifest, _read_json_or_empty(manifest))

    def read_snapshot(self) -> dict[str, dict[str, Any]]:
        """Read the snapshot: the resolved `recipe`, `digests` of its keys, and `fingerprints` of files.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
            StoreDamaged: the snapshot is missing or damaged.
        """
        remedy = "restore it, or re-plan with `--replan`: cached replies are reused"
        payload = read_json(self.snapshot_path, remedy=remedy)
        _check_format(self.snapshot_path, payload)
        fingerprints = payload.get("fingerprints")
        if not all(isinstance(payload.get(name), dict) for name in ("recipe", "digests")) or not (
            _is_nested(fingerprints)
        ):
            raise StoreDamaged(f"`{self.snapshot_path}` is not a snapshot of a run; {remedy}")
        return payload

    def write_snapshot(self, payload: dict[str, Any]) -> None:
        """Write `recipe.json` with the format number, if it changed."""
        write_json_if_changed(self.snapshot_path, payload | {"format": FORMAT})

    def records(self, shard: int) -> Path:
        """Return the path of a shard's records: every draft with its verdicts."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def drafts(self, shard: int) -> Path:
        """Return the path of a shard's drafts without verdicts (`--until draft`)."""
        return self.root / "drafts" / f"{shard:05d}.parquet"

    def failures(self, shard: int) -> Path:
        """Return the path of a shard's failed items."""
        return self.root / "failures" / f"{shard:05d}.jsonl"

    def finished_shards(self) -> list[int]:
        """List the shards whose records are on disk, in order."""
        return sorted(list_numbers(self.root / "records", ".parquet"))

    def write_shard(
        self, path: Path, records: Sequence[Record], failures: Sequence[Failure]
    ) -> None:
        """Write the records and failures of a shard.

        Raises:
            DiskFailed: the disk is full, read-only or gone.
        """
        # Failures first, because the rename of the records marks the shard complete.
        listing = self.failures(int(path.stem))
        if failures:
            lines = [json.dumps(asdict(f), ensure_ascii=False, sort_keys=True) for f in failures]
            parquet.write_text(listing, "\n".join(lines) + "\n")
        else:
            listing.unlink(missing_ok=True)
        parquet.write_rows(path, [record_row(r) for r in records], record_schema())

    def read_records(self, shard: int) -> list[Record]:
        """Read the records of a finished shard, in canonical order.

        Raises:
            StoreDamaged: the file does not have the columns of records.
        """
        rows = parquet.read_rows(self.records(shard), schema=record_schema(), remedy=RECORDS_REMEDY)
        return [record_from_row(row) for row in rows]

    def read_failures(self) -> Iterator[tuple[int, Failure]]:
        """Iterate over all recorded failures with their shards.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        for shard in sorted(list_numbers(self.root / "failures", ".jsonl")):
            for failure in self.shard_failures(shard):
                yield shard, failure

    def shard_failures(self, shard: int) -> list[Failure]:
        """Read the recorded failures of one shard.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        path = self.failures(shard)
        try:
            # Not `splitlines`: messages may contain other line separators, such as U+2028.
            lines = path.read_text(encoding="utf-8").split("\n")
            failures = [_parse_failure(line) for line in lines if line]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as e:
            raise StoreDamaged(
                f"`{path}` cannot be read ({first_line(e)}); delete it and `{self.records(shard)}`, and"
                f" {RERUN_HINT}: cached replies are reused"
            ) from e
        return failures

    def reset_shard(self, shard: int) -> None:
        """Delete the results of a shard; its cached replies stay in the journal."""
        # First, because a shard is complete as long as its records exist.
        self.records(shard).unlink(missing_ok=True)
        self.drafts(shard).unlink(missing_ok=True)
        self.failures(shard).unlink(missing_ok=True)


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # a name that no disk accepts; opening it reports the reason
        return False


def _iter_links(path: Path) -> Iterator[Path]:
    if _is_link(path):
        yield path
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (inner := Path(folder, name)).is_symlink():
                yield inner


def _check_format(path: Path, snapshot: Mapping[str, Any]) -> None:
    number = snapshot.get("format")
    # An older snapshot has a recipe and no number; any other file without one is damage.
    if number is None and not isinstance(snapshot.get("recipe"), dict):
        return
    # `True` is an `int` for `isinstance`.
    if type(number) is not int or number != FORMAT:
        problem = _describe_format(path, snapshot, expected=FORMAT)
        raise FormatMismatch(
            f"{problem}, or choose another `--output`; nothing in the folder was changed"
        )


def check_manifest_format(path: Path, manifest: Mapping[str, Any]) -> None:
    """Reject a manifest of another format; one without a format is damaged, and passes.

    Raises:
        FormatMismatch: the message names both formats.
    """
    number = manifest.get("format")
    if number is not None and (type(number) is not int or number != MANIFEST_FORMAT):
        problem = _describe_format(path, manifest, expected=MANIFEST_FORMAT)
        raise FormatMismatch(f"{problem}; nothing in the folder was changed")


def _describe_format(path: Path, payload: Mapping[str, Any], *, expected: int) -> str:
    number, writer = payload.get("format"), payload.get("safegen")
    state = "no format number" if number is None else f"format `{str(number)[:40]}`"
    known = isinstance(writer, str)
    source = f"version `{writer[:40]}`, which wrote it" if known else "the version that wrote it"
    return (
        f"`{path}` has {state}, and this version of safegen reads format {expected}; use {source}"
    )


@cache
def _failure_type() -> TypeAdapter[Failure]:
    return TypeAdapter(Failure)


def _parse_failure(line: str) -> Failure:
    return _failure_type().validate_json(line, strict=True)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(names, dict)
        and all(isinstance(name, str) for name in cast("dict[str, object]", names).values())
        for names in cast("dict[str, object]", value).values()
    )


def _read_json_or_empty(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except StoreDamaged:
        return {}


def list_numbers(folder: Path, suffix: str) -> Iterator[int]:
    """List the shard numbers of a folder's files; names that safegen does not write are skipped."""
    for path in folder.glob(f"*{suffix}"):
        stem = path.name.removesuffix(suffix)
        # `isdigit` alone accepts digits of other scripts.
        if stem.isascii() and stem.isdigit() and stem == f"{int(stem):05d}":
            yield int(stem)


def read_json(path: Path, *, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object from a file of the run.

    Args:
        path: the file.
        remedy: the fix to name in the message if the file cannot be read.

    Raises:
        StoreDamaged: the file is unreadable or not an object.
    """
    hint = f"; {remedy}" if remedy else ""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise StoreDamaged(f"`{path}` cannot be read ({e}){hint}") from e
    if not isinstance(value, dict):
        raise StoreDamaged(f"`{path}` is not a JSON object{hint}")
    return cast(dict[str, Any], value)


def write_json_if_changed(path: Path, value: dict[str, Any]) -> None:
    """Write JSON, if it differs from the content of the file."""
    if _read_json_or_empty(path) != value:
        write_json(path, value)


def write_json(path: Path, value: object) -> None:
    """Write JSON: sorted, indented, with a final newline."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    parquet.write_text(path, text + "\n")
