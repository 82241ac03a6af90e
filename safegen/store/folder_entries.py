"""Check of the entries of an output folder: links lead elsewhere, and named pipes block."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from safegen.core.errors import ConfigError
from safegen.core.regular_files import describe_kind

STAGING = ".building"
"""The folder in which a dataset is built before it replaces the former one."""
RUN_FOLDERS = ("plan", "records", "drafts", "settled", "failures", "unsafe")
FOLDERS = frozenset((STAGING, "data", "policies", "run", *(f"run/{n}" for n in RUN_FOLDERS)))
FILE_NAMES = frozenset(("lock", ".gitignore", ".gitattributes"))
FILE_SUFFIXES = frozenset(
    (".json .jsonl .md .parquet .sqlite .sqlite-shm .sqlite-wal .tmp .txt .yaml").split()
)


def check_entries(output: Path, parts: Sequence[str]) -> None:
    """Reject what safegen neither writes nor reads; the output folder itself may be a link.

    Args:
        output: the folder.
        parts: the files and folders in it to check.

    Raises:
        ConfigError: a part, or an entry below one, is a link, a special file, or a folder in the
            place of a file; or a folder cannot be read.
    """
    for name in parts:
        try:
            mode = os.lstat(output / name).st_mode
        except NotADirectoryError as e:
            raise ConfigError(f"`{output}` is a file, or below one; name a folder") from e
        # ValueError: a NUL in the path. Opening it reports the reason.
        except (OSError, ValueError):
            continue
        _check_entry(output, name, mode)
        if stat.S_ISDIR(mode):
            for entry in _iter_entries(output, name):
                _check_entry(output, *entry)


def find_link(output: Path, parts: Sequence[str]) -> str | None:
    """Describe the first link in an output folder, which itself may be a link; None without one.

    Raises:
        ConfigError: a folder cannot be read.
    """
    for name in parts:
        path = output / name
        if path.is_symlink():
            return _describe_link(path)
        for entry, mode in _iter_entries(output, name) if path.is_dir() else ():
            if stat.S_ISLNK(mode):
                return _describe_link(output / entry)
    return None


def _describe_link(path: Path) -> str:
    return (
        f"`{path}` is a link, and safegen follows none inside an output folder; replace it by"
        " what it names, or remove it"
    )


def _iter_entries(output: Path, folder: str) -> Iterator[tuple[str, int]]:
    """Yield the relative path of each entry below a folder, and its file type."""
    try:
        entries = sorted(os.scandir(output / folder), key=lambda entry: entry.name)
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise ConfigError(f"`{output / folder}` cannot be read ({reason}); allow reading it") from e
    for entry in entries:
        name = f"{folder}/{entry.name}"
        # The folder's listing has the type of most entries, so that no call is needed for each file.
        if entry.is_file(follow_symlinks=False):
            yield name, stat.S_IFREG
        elif entry.is_dir(follow_symlinks=False):
            yield name, stat.S_IFDIR
            yield from _iter_entries(output, name)
        else:
            yield name, entry.stat(follow_symlinks=False).st_mode


def _check_entry(output: Path, name: str, mode: int) -> None:
    path = output / name
    if stat.S_ISLNK(mode):
        raise ConfigError(_describe_link(path))
    if stat.S_ISREG(mode):
        if name in FOLDERS:
            raise ConfigError(f"`{path}` is a file, and safegen keeps a folder there; move it away")
    elif not stat.S_ISDIR(mode):
        raise ConfigError(
            f"`{path}` is {describe_kind(mode)}, and safegen reads only files and folders inside an"
            " output folder; remove it"
        )
    elif name not in FOLDERS and (path.name in FILE_NAMES or path.suffix in FILE_SUFFIXES):
        raise ConfigError(f"`{path}` is a folder, and safegen keeps a file there; move it away")
