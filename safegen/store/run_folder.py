"""The run folder: paths, snapshot of the recipe, shards and failures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from safegen.core.errors import RERUN_HINT, ConfigError, FormatMismatch, StoreDamaged, first_line
from safegen.core.regular_files import read_text
from safegen.core.types import Failure, Record
from safegen.store import parquet
from safegen.store.folder_entries import STAGING, check_entries, find_link
from safegen.store.json_files import (
    StoredModel,
    check_json,
    read_json,
    read_json_or_empty,
    write_json_if_changed,
)
from safegen.store.schema import record_from_row, record_row, record_schema

FORMAT = 2
"""Format of the run folder. Raise it with every change that an earlier state of safegen cannot read."""
MANIFEST_FORMAT = 1
"""Format of the manifest of a dataset."""
SNAPSHOT_REMEDY = "restore it, or re-plan with `--replan`: cached replies are reused"
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


class ShardFailure(NamedTuple):
    """A recorded failure and its shard."""

    shard: int
    failure: Failure


class SnapshotFile(StoredModel):
    """The content of `recipe.json`; each part is checked where it is read."""

    recipe: dict[str, Any]
    digests: dict[str, str]
    fingerprints: dict[str, dict[str, str]]


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
        if self.root.is_dir() or "safegen" in read_json_or_empty(self.output / "manifest.json"):
            return
        for name in DATASET_PARTS:
            path = self.output / name
            if path.exists() or path.is_symlink():
                raise ConfigError(
                    f"`{path}` was not written by safegen and would be replaced; choose another"
                    " `--output`, or move it away"
                )

    def check_entries(self) -> None:
        """Reject links, special files, and folders in the place of files below the output folder.

        Raises:
            ConfigError: a file or folder of the run or the dataset is one.
        """
        check_entries(self.output, (STAGING, "run", *DATASET_PARTS))

    def find_link(self) -> str | None:
        """Describe the first link below the output folder; None without one.

        Raises:
            ConfigError: a folder cannot be read.
        """
        return find_link(self.output, (STAGING, "run", *DATASET_PARTS))

    def refuse_other_format(self) -> None:
        """Reject a run or a dataset of another format, before anything is changed.

        A folder without a readable snapshot and manifest passes.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
        """
        _check_format(self.snapshot_path, read_json_or_empty(self.snapshot_path))
        manifest = self.output / "manifest.json"
        check_manifest_format(manifest, read_json_or_empty(manifest))

    def read_snapshot(self) -> dict[str, dict[str, Any]]:
        """Read the snapshot: the resolved `recipe`, `digests` of its keys, and `fingerprints` of files.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
            StoreDamaged: the snapshot is missing or damaged.
        """
        path = self.snapshot_path
        payload = read_json(path, remedy=SNAPSHOT_REMEDY)
        _check_format(path, payload)
        # The other parts are megabytes, and are checked where they are read.
        required = {key: payload[key] for key in SnapshotFile.model_fields if key in payload}
        check_json(path, required, SnapshotFile, remedy=SNAPSHOT_REMEDY)
        return payload

    def write_snapshot(self, payload: dict[str, Any]) -> None:
        """Write `recipe.json` with the format number, if it changed."""
        # It holds the whole taxonomy. Indented, it takes ten times as long to write.
        write_json_if_changed(self.snapshot_path, payload | {"format": FORMAT}, compact=True)

    def records(self, shard: int) -> Path:
        """Return the path of a shard's records: every draft with its verdicts."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def drafts(self, shard: int) -> Path:
        """Return the path of a shard's drafts without verdicts (`--until draft`)."""
        return self.root / "drafts" / f"{shard:05d}.parquet"

    def settled(self, shard: int) -> Path:
        """Return the path of the records that an unfinished shard keeps, because their text was deleted."""
        return self.root / "settled" / f"{shard:05d}.parquet"

    def failures(self, shard: int) -> Path:
        """Return the path of a shard's failed items."""
        return self.root / "failures" / f"{shard:05d}.jsonl"

    @property
    def label_failures(self) -> Path:
        """Failed requests of labellers that left rows of a prompt file without labels."""
        return self.root / "failures" / "labels.jsonl"

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
        _write_failures(self.failures(int(path.stem)), failures)
        parquet.write_rows(path, [record_row(r) for r in records], record_schema())

    def read_records(self, shard: int) -> list[Record]:
        """Read the records of a finished shard, in canonical order.

        Raises:
            StoreDamaged: the file does not have the columns of records.
        """
        rows = parquet.read_rows(self.records(shard), schema=record_schema(), remedy=RECORDS_REMEDY)
        return [record_from_row(row) for row in rows]

    def read_settled(self, shard: int) -> list[Record]:
        """Read the records that an unfinished shard keeps; none if it never ran.

        Raises:
            StoreDamaged: the file does not have the columns of records.
        """
        path = self.settled(shard)
        if not path.exists():
            return []
        rows = parquet.read_rows(path, schema=record_schema(), remedy=RECORDS_REMEDY)
        return [record_from_row(row) for row in rows]

    def write_settled(self, shard: int, records: Sequence[Record]) -> None:
        """Write the records that an unfinished shard keeps.

        Raises:
            DiskFailed: the disk is full, read-only or gone.
        """
        parquet.write_rows(self.settled(shard), [record_row(r) for r in records], record_schema())

    def read_failures(self) -> Iterator[ShardFailure]:
        """Iterate over all recorded failures with their shards.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        for shard in sorted(list_numbers(self.root / "failures", ".jsonl")):
            for failure in self.shard_failures(shard):
                yield ShardFailure(shard, failure)

    def shard_failures(self, shard: int) -> list[Failure]:
        """Read the recorded failures of one shard.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        return _read_failures(
            self.failures(shard),
            remedy=f"delete it and `{self.records(shard)}`, and {RERUN_HINT}: cached replies are reused",
        )

    def read_label_failures(self) -> list[Failure]:
        """Read the failed requests of labellers.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        return _read_failures(self.label_failures, remedy=SNAPSHOT_REMEDY)

    def write_label_failures(self, failures: Sequence[Failure]) -> None:
        """Replace the listed failures of labellers.

        Raises:
            DiskFailed: the disk is full, read-only or gone.
        """
        _write_failures(self.label_failures, failures)

    def reset_shard(self, shard: int) -> None:
        """Make a shard run again; its cached replies stay in the journal.

        Its records move to `settled/`, because those of deleted texts cannot be made again.
        """
        # First, because a shard is complete as long as its records exist.
        if self.records(shard).exists():
            self.settled(shard).parent.mkdir(exist_ok=True)
            self.records(shard).replace(self.settled(shard))
        self.drafts(shard).unlink(missing_ok=True)
        self.failures(shard).unlink(missing_ok=True)


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


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(f), ensure_ascii=False, sort_keys=True) for f in failures]
    parquet.write_text(path, "\n".join(lines) + "\n")


def _read_failures(path: Path, *, remedy: str) -> list[Failure]:
    if parquet.is_lfs_pointer(path):
        raise parquet.make_pointer_error(path)
    try:
        # Not `splitlines`: messages may contain other line separators, such as U+2028.
        return [_parse_failure(line) for line in read_text(path).split("\n") if line]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as e:
        raise StoreDamaged(f"`{path}` cannot be read ({first_line(e)}); {remedy}") from e


@cache
def _failure_type() -> TypeAdapter[Failure]:
    return TypeAdapter(Failure)


def _parse_failure(line: str) -> Failure:
    return _failure_type().validate_json(line, strict=True)


def list_numbers(folder: Path, suffix: str) -> Iterator[int]:
    """List the shard numbers of a folder's files; names that safegen does not write are skipped."""
    for path in folder.glob(f"*{suffix}"):
        stem = path.name.removesuffix(suffix)
        # `isdigit` alone accepts digits of other scripts.
        if stem.isascii() and stem.isdigit() and stem == f"{int(stem):05d}":
            yield int(stem)


def find_pointer(folder: Path) -> Path | None:
    """Find a file of a dataset or a run that is a git-lfs pointer; None if there is none."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return next((path for path in files if parquet.is_lfs_pointer(path)), None)
