"""Where a dataset's files lie, how rows get there, and how a new dataset takes the old one's place.

A dataset is written whole into `.building/` and then swapped in part by part, the manifest last.
A kill before the swap leaves the old dataset; a kill during it leaves a folder without a manifest,
which `verify` names and the next build repairs.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safegen.core.hashing import canonical_json, file_sha256
from safegen.dataset.view import View
from safegen.store import parquet
from safegen.store.run_folder import DATASET_PARTS
from safegen.store.schema import ArrowRow

MAX_ROWS = 2_000
"""Rows of a file, at most: small files keep what git-lfs stores for a correction small."""
STAGING = ".building"
MANIFEST = "manifest.json"
PART_NAMES = DATASET_PARTS
GITATTRIBUTES = "*.parquet filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the manifest says about a file; `rows` and `content_sha256` for Parquet alone."""

    sha256: str
    bytes: int
    rows: int | None = None
    content_sha256: str | None = None

    def to_json(self) -> dict[str, str | int]:
        """Leave out what is not known."""
        pairs = (("sha256", self.sha256), ("bytes", self.bytes), ("rows", self.rows))
        known = {name: value for name, value in pairs if value is not None}
        return known | ({"content_sha256": self.content_sha256} if self.content_sha256 else {})


def content_sha256(rows: Iterable[ArrowRow]) -> str:
    """Digest rows, one line of canonical JSON each: equal for equal rows whoever wrote the file."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(canonical_json(row) + b"\n")
    return sha.hexdigest()


def make_entry(path: Path) -> FileEntry:
    """Describe a file that holds no rows."""
    return FileEntry(file_sha256(path), path.stat().st_size)


class RowWriter:
    """Rows of one view and split to numbered files, one file's rows in memory at a time."""

    def __init__(self, root: Path, view: View, *, split: str, version: str) -> None:
        self._root = root
        self._schema = view.schema
        self._stem = f"data/{view.name}/{split}/{version}"
        self._waiting: list[ArrowRow] = []
        self.rows = 0
        self.files: dict[str, FileEntry] = {}

    def add(self, rows: Iterable[ArrowRow]) -> None:
        """Take rows in canonical order; full files are written at once.

        Raises:
            DiskFailed: the disk is full, read-only or gone.
        """
        for row in rows:
            self._waiting.append(row)
            self.rows += 1
            if len(self._waiting) == MAX_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what waits; nothing waiting writes nothing."""
        if not self._waiting:
            return
        name = f"{self._stem}-{len(self.files):05d}.parquet"
        path = self._root / name
        parquet.write_rows(path, self._waiting, self._schema)
        self.files[name] = FileEntry(
            file_sha256(path),
            path.stat().st_size,
            len(self._waiting),
            content_sha256(self._waiting),
        )
        self._waiting = []


@contextmanager
def staging(output: Path) -> Generator[Path]:
    """Give an empty folder to build in; what is left in it goes away.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    folder = output / STAGING
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        yield folder
    except OSError as e:
        raise parquet.make_disk_error(folder, e) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def list_files(folder: Path) -> list[str]:
    """List the files of a dataset but its manifest, relative and sorted, with `/`."""
    paths = [p for part in ("data", "policies") for p in (folder / part).rglob("*")]
    paths += [folder / part for part in PART_NAMES if part not in ("data", "policies", MANIFEST)]
    return sorted(p.relative_to(folder).as_posix() for p in paths if p.is_file() or p.is_symlink())


def has_files(output: Path, files: dict[str, FileEntry]) -> bool:
    """Tell whether a folder already has exactly these files, by their hashes."""
    if list_files(output) != sorted(files):
        return False
    try:
        return all(
            file_sha256(output / name) == file_entry.sha256 for name, file_entry in files.items()
        )
    except OSError:
        return False


def replace_dataset(staged: Path, output: Path) -> None:
    """Put a finished dataset in the place of the old one; `run/` is not touched.

    Raises:
        DiskFailed: a file or folder cannot be moved; run the same build again.
    """
    old = staged / "old"
    try:
        old.mkdir()
        (output / MANIFEST).unlink(missing_ok=True)
        for part in PART_NAMES:
            if (output / part).exists() or (output / part).is_symlink():
                (output / part).rename(old / part)
            if (staged / part).exists():
                (staged / part).rename(output / part)
    except OSError as e:
        raise parquet.make_disk_error(output, e) from e


def write_gitignore(root: Path) -> None:
    """Keep the run folder out of version control."""
    path = root / ".gitignore"
    if not path.is_file() or path.read_bytes() != b"*\n":
        parquet.write_text(path, "*\n")
