"""Regular files: opening anything else may block (a named pipe) or never end (a device)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_TEXT_BYTES = 2**30
"""Largest text that is read at once; a longer one is another file by mistake."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def describe_kind(mode: int) -> str | None:
    """Describe what a path is by its mode, such as `a named pipe`; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "a special file")


def require_regular(path: Path) -> None:
    """Check that a path is a regular file, before a library opens it.

    Raises:
        OSError: it is missing, or something else.
    """
    if (kind := describe_kind(path.stat().st_mode)) is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a named pipe, socket, device or folder is an error.

    Raises:
        OSError: it is missing, unreadable, or something else.
    """
    require_regular(path)
    # The flag matters only if the path became a pipe after the check.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return open(path, "rb", opener=lambda name, _: os.open(name, flags))


def read_text(path: Path) -> str:
    """Read a regular file as UTF-8.

    Raises:
        OSError: it is missing, unreadable, too large, or something else.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_TEXT_BYTES:
            limit = f"it is larger than {MAX_TEXT_BYTES // 2**30} GiB"
            raise OSError(errno.EFBIG, limit, str(path))
        return file.read().decode("utf-8")
