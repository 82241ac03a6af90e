"""Bound and errors of temporary files, which lie outside the output folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safegen.core.errors import RERUN_HINT, DiskFailed

# A text of 30 words takes about 250 bytes of each spool, so 30,000 texts need no disk.
SPOOL_BYTES = 8 * 1024 * 1024
"""Bytes of a spool that stay in memory; the rest goes to a temporary file."""


@contextmanager
def name_temporary_folder() -> Generator[None]:
    """Translate the error of an unnamed temporary file, which has no path of its own.

    Raises:
        DiskFailed: the temporary folder is full, read-only or missing.
    """
    try:
        yield
    except OSError as e:
        folder = Path(_temporary_folder())
        # A write to a file without a name has no path, and opening one names the folder on Linux.
        if e.filename is not None and folder not in (Path(e.filename), Path(e.filename).parent):
            raise
        raise DiskFailed(
            f"temporary folder `{folder}` cannot be written: {(e.strerror or str(e)).lower()}; make"
            f" room, or set `TMPDIR` to a folder on another disk, and {RERUN_HINT}"
        ) from e


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # no candidate can be written
        return os.environ.get("TMPDIR", "/tmp")
