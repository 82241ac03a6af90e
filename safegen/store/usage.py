"""Requests, tokens and seconds of a run over all sessions, killed ones included.

A session that ends writes its counts. A killed session leaves its replies in the journal, which sums
their cost, and the number of its requests in `requests.txt`, which includes unanswered ones; its
seconds are lost. `journalled` is the part of the journal that the file already counts.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from safegen.core.errors import RERUN_HINT, StoreDamaged
from safegen.core.regular_files import require_regular
from safegen.core.types import Usage
from safegen.store.json_files import Count, StoredModel, read_model, write_json
from safegen.store.parquet import make_disk_error

COUNTS = ("requests", "retries", "prompt_tokens", "completion_tokens")
JOURNALLED = "journalled"
# 20 digits hold every 64-bit number; one byte is the line end.
COUNTER_BYTES = 21
"""Bytes of `requests.txt`. A constant length, so that a number is replaced in place by one write."""
RESET_HINT = f"delete it and {RERUN_HINT}; only its counts are lost"


class Accounting(StoredModel):
    """The content of `accounting.json`."""

    requests: Count = 0
    retries: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    journalled: dict[str, Count] = Field(default_factory=dict[str, int])


class RequestCounter:
    """The number of requests of a run, on disk before each request is sent.

    Example:
        >>> with open_request_counter(folder.request_count) as counter:
        ...     counter.write(counter.read() + 1)
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path = path
        self._file = file

    def read(self) -> int:
        """Read the number; 0 if no request was sent.

        Raises:
            StoreDamaged: the file contains no number.
        """
        try:
            self._file.seek(0)
            content = self._file.read(COUNTER_BYTES + 1)
        except OSError as e:
            raise StoreDamaged(f"`{self._path}` cannot be read ({e.strerror})") from e
        digits = content.removesuffix(b"\n")
        if content and not (len(content) == COUNTER_BYTES > len(digits) and digits.isdigit()):
            raise StoreDamaged(f"`{self._path}` contains no number of requests; {RESET_HINT}")
        return int(digits or b"0")

    def write(self, requests: int) -> None:
        """Replace the number.

        Raises:
            DiskFailed: the file cannot be written.
        """
        try:
            # No fsync: a killed process keeps what it wrote, and one fsync a request would slow the run.
            self._file.seek(0)
            self._file.write(b"%0*d\n" % (COUNTER_BYTES - 1, requests))
        except OSError as e:
            raise make_disk_error(self._path, e) from e


@contextmanager
def open_request_counter(path: Path) -> Generator[RequestCounter]:
    """Open the counter of a run, and create its file if it is missing.

    Raises:
        DiskFailed: the file cannot be opened or created.
    """
    try:
        path.touch()
        require_regular(path)
        file = FileIO(path, "r+")
    except OSError as e:
        raise make_disk_error(path, e) from e
    with file:
        yield RequestCounter(path, file)


def read_accounting(path: Path) -> dict[str, object]:
    """Read the counts of a run; empty until its first session has ended.

    Raises:
        StoreDamaged: the file cannot be read, or contains an invalid count.
    """
    if not path.exists():
        return {}
    return read_model(path, Accounting, remedy=RESET_HINT).to_json()


def prior_usage(path: Path, kept: Usage, *, sent: int = 0) -> Usage:
    """Sum the usage of earlier sessions: recorded counts, and journal entries that they do not include.

    Args:
        path: `accounting.json`.
        kept: the cost of all replies in the journal.
        sent: requests of all sessions, from the request counter. It exceeds the sum if a session was
            killed with requests in flight.
    """
    payload = read_accounting(path)
    counted = cast("Mapping[str, int]", payload.get(JOURNALLED, {}))
    written = {name: cast(int, payload.get(name, 0)) for name in COUNTS}
    for name in ("requests", "prompt_tokens", "completion_tokens"):
        # Never less: a user may have moved the journal away.
        written[name] += max(0, getattr(kept, name) - counted.get(name, 0))
    written["requests"] = max(written["requests"], sent)
    return Usage(**written)


def write_accounting(
    path: Path, *, before: Usage, session: Usage, kept: Usage, seconds: float
) -> None:
    """Add the usage of a session to that of earlier ones."""
    payload = read_accounting(path)
    total: dict[str, object] = {n: getattr(before, n) + getattr(session, n) for n in COUNTS}
    total["seconds"] = round(cast(float, payload.get("seconds", 0)) + seconds, 1)
    total[JOURNALLED] = {
        name: getattr(kept, name) for name in ("requests", "prompt_tokens", "completion_tokens")
    }
    write_json(path, total)
