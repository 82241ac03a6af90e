"""The layout of a dataset, its row files, and the replacement of an old dataset by a new one.

A dataset is written completely into `.building/` and then swapped in part by part, the manifest last.
A kill before the swap leaves the old dataset; a kill during it leaves a folder without a manifest,
which `verify` reports and the next build repairs.
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
from safegen.store.folder_entries import STAGING
from safegen.store.run_folder import DATASET_PARTS
from safegen.store.schema import ArrowRow

MAX_ROWS = 2_000
"""Most rows of a file. Small files keep the size of a correction in git-lfs small."""
MANIFEST = "manifest.json"
# A correction changes a binary file as a whole, and git would keep each version forever.
GITATTRIBUTES = "*.parquet filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """The manifest entry of a file; `rows` and `content_sha256` only for Parquet."""

    sha256: str
    bytes: int
    rows: int | None = None
    content_sha256: str | None = None

    def to_json(self) -> dict[str, str | int]:
        """Convert the entry to JSON without unknown values."""
        pairs = (("sha256", self.sha256), ("bytes", self.bytes), ("rows", self.rows))
        known = {name: value for name, value in pairs if value is not None}
        return known | ({"content_sha256": self.content_sha256} if self.content_sha256 else {})


def content_sha256(rows: Iterable[ArrowRow]) -> str:
    """Digest rows, one line of canonical JSON each: equal rows have equal digests with any Parquet writer."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(canonical_json(row) + b"\n")
    return sha.hexdigest()


def make_entry(path: Path) -> FileEntry:
    """Make the entry of a file without rows."""
    return FileEntry(file_sha256(path), path.stat().st_size)


class RowWriter:
    """Writer of the rows of one view and split to numbered files; keeps one file's rows in memory."""

    def __init__(self, root: Path, view: View, *, split: str, version: str) -> None:
        self._root = root
        self._schema = view.schema
        self._stem = f"data/{view.name}/{split}/{version}"
        self._waiting: list[ArrowRow] = []
        self.rows = 0
        self.files: dict[str, FileEntry] = {}

    def add(self, rows: Iterable[ArrowRow]) -> None:
        """Add rows in canonical order, and write full files at once.

        Raises:
            DiskFailed: the disk is full, read-only or gone.
        """
        for row in rows:
            self._waiting.append(row)
            self.rows += 1
            if len(self._waiting) == MAX_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write the pending rows, if any."""
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
        # Otherwise Arrow's pool keeps what each file of a long build used.
        parquet.release_memory()


@contextmanager
def staging(output: Path) -> Generator[Path]:
    """Yield an empty folder to build in, and delete it afterwards.

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
    """List the files of a dataset except its manifest: relative paths with `/`, sorted."""
    roots = [folder / part for part in ("data", "policies")]
    # `rglob` follows no link below its root, but it follows the root.
    paths = [p for root in roots for p in ([root] if root.is_symlink() else root.rglob("*"))]
    paths += [folder / part for part in DATASET_PARTS if part not in ("data", "policies", MANIFEST)]
    return sorted(p.relative_to(folder).as_posix() for p in paths if _is_entry(p))


def _is_entry(path: Path) -> bool:
    # A named pipe is listed, too, because it does not belong to a dataset.
    return path.is_symlink() or (path.exists() and not path.is_dir())


def has_files(output: Path, files: dict[str, FileEntry]) -> bool:
    """Return True if a folder already has exactly these files, by their hashes."""
    # The list first: it reads no file, and most changed datasets differ in it.
    if list_files(output) != sorted(files):
        return False
    try:
        return all(
            file_sha256(output / name) == file_entry.sha256 for name, file_entry in files.items()
        )
    except OSError:
        return False


def replace_dataset(staged: Path, output: Path) -> None:
    """Replace the old dataset by a finished one; `run/` is not touched.

    Raises:
        DiskFailed: a file or folder cannot be moved; run the same build again.
    """
    old = staged / "old"
    try:
        # On the same disk, where a rename is one step.
        old.mkdir()
        # First, so that a kill leaves a folder that does not pass for a dataset.
        (output / MANIFEST).unlink(missing_ok=True)
        for part in DATASET_PARTS:
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
