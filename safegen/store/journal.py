"""The journal: the cache of paid replies, by digest of the request.

SQLite in WAL mode with synchronous=FULL. A reply is durable when `put` returns. Replies that arrive
within 5 ms, or during a commit, share the next commit. The file also holds the retry numbers that `retry` raises and
the total cost of all replies, so that a budget survives a kill.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from pydantic import TypeAdapter

from safegen.core.errors import DiskFailed, RunError, StoreDamaged, first_line
from safegen.core.hashing import digest
from safegen.core.regular_files import require_regular
from safegen.core.types import Reply, Usage
from safegen.store.parquet import is_lfs_pointer, make_pointer_error
from safegen.store.row_checks import COUNTS

# One fsync per reply would bound a run to some hundred replies a second.
GROUP_COMMIT_S = 0.005
"""Seconds between the first reply of a commit and its start."""
FORMAT = 2
KEY_BYTES = 32
UNCOMPACTED = 1
"""The `application_id` of a file with scrubbed replies that was not rebuilt since."""
MOVE_AWAY_HINT = "move it away to repeat all requests"
# 32-byte keys with a rowid: 1.2 kB for a reply of 900 characters, 3.9 kB with text keys and no rowid.
SCHEMA_SQL = """
create table if not exists replies (key blob primary key not null, reply text not null);
create table if not exists asks (base text primary key, ask integer not null) without rowid;
create table if not exists spent (
  one integer primary key check (one = 1),
  replies integer not null, prompt_tokens integer not null, completion_tokens integer not null
);
insert or ignore into spent values (1, 0, 0, 0);
"""

# The key is that of the row, and `parsed` is read from the text again.
STORED_FIELDS = tuple(f.name for f in fields(Reply) if f.name not in ("key", "parsed"))

SPEND_SQL = """
update spent set replies = replies + ?, prompt_tokens = prompt_tokens + ?,
  completion_tokens = completion_tokens + ?
"""


class _PendingReply(NamedTuple):
    """A reply that is not yet on disk."""

    key: bytes
    encoded: str
    reply: Reply
    done: asyncio.Future[None]


class Journal:
    """Durable replies. The run's lock ensures that one process at a time writes.

    Args:
        path: the file.
        keeps_reasoning: store the reasoning of replies. False if no record will hold it, because no
            validator reads it then and it may contain unsafe text.
    """

    def __init__(self, path: Path, *, keeps_reasoning: bool = True) -> None:
        self.path = path
        self._keeps_reasoning = keeps_reasoning
        self._reader = _open(path)
        # One thread: SQLite has one writer at a time, and commits keep their order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._writer: sqlite3.Connection | None = None
        self._waiting: list[_PendingReply] = []
        self._flushing: asyncio.Task[None] | None = None

    def get(self, key: str) -> Reply | None:
        """Return the reply of a key, or None.

        Raises:
            DiskFailed: the file cannot be accessed.
            StoreDamaged: the file or the reply cannot be read.
        """
        try:
            row = self._reader.execute(
                "select reply from replies where key = ?", (_key(key),)
            ).fetchone()
            return None if row is None else _decode(row[0], key)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as e:
            raise _translate_error(e, self.path) from e

    async def put(self, key: str, reply: Reply) -> None:
        """Store a reply; return when it is on disk.

        Raises:
            DiskFailed: the file cannot be written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._keeps_reasoning:
            reply = replace(reply, reasoning_content=None)
        self._waiting.append(_PendingReply(_key(key), _encode(reply), reply, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_after_delay())
        await done

    def retry_number(self, base: str) -> int:
        """Return how often `retry` has repeated a request; 0 at first."""
        try:
            row = self._reader.execute("select ask from asks where base = ?", (base,)).fetchone()
        except sqlite3.Error as e:
            raise _translate_error(e, self.path) from e
        if row is None:
            return 0
        if not _is_count(row[0]):
            raise _make_damage_error(self.path, "a retry number is invalid")
        return row[0]

    async def scrub(
        self, bases: Iterable[str], *, measures: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Delete the text of the replies to these requests; the keys stay as tombstones.

        The log is emptied now. `aclose` rebuilds the file, because a page that SQLite rearranged
        can keep a copy in its free space.

        Args:
            bases: keys of the requests.
            measures: `Reply.measure` that a tombstone keeps, by key of the request.
        """
        # A reply of a cancelled request may wait for the next commit.
        await self.flush()
        kept: dict[bytes, str | None] = {}
        for base in bases:
            last = self.retry_number(base)
            kept |= {_key(stored_key(base, n)): None for n in range(last)}
            # Only the latest reply was measured.
            kept[_key(stored_key(base, last))] = measures.get(base)
        if kept:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._erase_texts, kept)

    def raise_retry_numbers(self, bases: Iterable[str]) -> None:
        """Make the next run repeat these requests."""
        try:
            with self._reader:
                self._reader.executemany(
                    "insert into asks values (?, 1) on conflict (base) do update set ask = ask + 1",
                    # A request can fail in several shards and must be repeated once.
                    [(base,) for base in sorted(set(bases))],
                )
        except sqlite3.Error as e:
            raise _translate_error(e, self.path) from e

    def usage(self) -> Usage:
        """Return the cost of all replies ever stored; a reply counts as one request."""
        try:
            row = self._reader.execute(
                "select replies, prompt_tokens, completion_tokens from spent"
            ).fetchone()
        except sqlite3.Error as e:
            raise _translate_error(e, self.path) from e
        # SQLite stores text in a column of integers, too.
        if row is None or not all(_is_count(n) for n in row):
            raise _make_damage_error(self.path, "a sum of requests or tokens is invalid")
        return Usage(requests=row[0], prompt_tokens=row[1], completion_tokens=row[2])

    def __len__(self) -> int:
        return int(self._reader.execute("select count(*) from replies").fetchone()[0])

    async def flush(self) -> None:
        """Write pending replies."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def aclose(self) -> None:
        """Write pending replies and close the file."""
        await self.flush()
        try:
            if self._writer is None and _is_uncompacted(self._reader):
                self._writer = _open(self.path)
            if self._writer is not None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._close_writer, self._writer)
        except sqlite3.Error as e:
            raise _translate_error(e, self.path) from e
        finally:
            self.close()

    def close(self) -> None:
        """Close without writing; for readers."""
        self._thread.shutdown(wait=True)
        self._reader.close()

    async def _flush_after_delay(self) -> None:
        while self._waiting:
            # Wait, so that replies that arrive together share one fsync.
            await asyncio.sleep(GROUP_COMMIT_S)
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)
            except RunError as e:
                for pending in batch:
                    # The waiting task may be cancelled by now.
                    if not pending.done.done():
                        pending.done.set_exception(e)
            else:
                for pending in batch:
                    if not pending.done.done():
                        pending.done.set_result(None)

    def _close_writer(self, writer: sqlite3.Connection) -> None:
        try:
            if _is_uncompacted(writer):
                writer.execute("vacuum")
                writer.execute("pragma application_id = 0")
                writer.execute("pragma wal_checkpoint(truncate)")
        except sqlite3.Error as e:
            raise _translate_error(e, self.path) from e
        finally:
            writer.close()

    def _erase_texts(self, measures: Mapping[bytes, str | None]) -> None:
        try:
            self._writer = self._writer or _open(self.path)
            self._writer.execute("pragma secure_delete = on")
            with self._writer:
                # Set in the same transaction, so that the next process rebuilds the file after a kill.
                self._writer.execute("begin")
                self._writer.execute(f"pragma application_id = {UNCOMPACTED}")
                for key, measure in measures.items():
                    row = self._writer.execute(
                        "select reply from replies where key = ?", (key,)
                    ).fetchone()
                    if row is not None:
                        tombstone = _encode(_erase_text(_decode(row[0]), measure))
                        self._writer.execute(
                            "update replies set reply = ? where key = ?", (tombstone, key)
                        )
            self._writer.execute("pragma wal_checkpoint(truncate)")
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as e:
            raise _translate_error(e, self.path) from e

    def _write(self, batch: list[_PendingReply]) -> None:
        rows = [(pending.key, pending.encoded) for pending in batch]
        # Of equal requests each reply was paid for, although one is stored.
        cost = (
            len(batch),
            sum(pending.reply.prompt_tokens or 0 for pending in batch),
            sum(pending.reply.completion_tokens or 0 for pending in batch),
        )
        try:
            if self._writer is None:
                self._writer = _open(self.path)
            with self._writer:
                # Equal requests in flight at once have one key; the first reply counts.
                self._writer.executemany("insert or ignore into replies values (?, ?)", rows)
                self._writer.execute(SPEND_SQL, cost)
        except (sqlite3.Error, ValueError, OverflowError) as e:
            raise _translate_error(e, self.path) from e


def check_journal(path: Path) -> None:
    """Check every stored reply and the sums, and change nothing.

    Raises:
        DiskFailed: the file cannot be accessed.
        StoreDamaged: the file, a reply or a number in it cannot be read.
    """
    _require_file(path)
    has_log = path.with_name(f"{path.name}-wal").exists()
    # Without a log no process writes, and then a read-only disk needs no shared memory.
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as reader:
            _check_format(reader, path)
            _check_replies(reader, path)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as e:
        raise _translate_error(e, path) from e


def _check_replies(reader: sqlite3.Connection, path: Path) -> None:
    number = 0
    for key, encoded in reader.execute("select key, reply from replies"):
        number += 1
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise _make_damage_error(path, f"the key of reply {number} is invalid")
        _decode(encoded)
    if any(not _is_count(ask) for (ask,) in reader.execute("select ask from asks")):
        raise _make_damage_error(path, "a retry number is invalid")
    sums = reader.execute("select replies, prompt_tokens, completion_tokens from spent").fetchone()
    # Replies are stored and counted in one transaction; requests in flight at once may share a reply.
    if sums is None or not all(_is_count(n) for n in sums) or sums[0] < number:
        raise _make_damage_error(path, "a sum of requests or tokens is invalid")


def _is_count(value: object) -> bool:
    return type(value) is int and value in COUNTS


def _open(path: Path) -> sqlite3.Connection:
    _require_file(path)
    try:
        # The journal opens a connection in one thread and may close it in another, never both at
        # once.
        connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    except sqlite3.Error as e:
        raise _translate_error(e, path) from e
    try:
        is_new = _check_format(connection, path) == 0
        if is_new:
            # Pages of 4 kB hold three replies of 1 kB and leave a quarter empty.
            connection.execute("pragma page_size = 8192")
        connection.execute("pragma journal_mode = wal")
        # WAL with `normal` may lose the last commits after a power cut, and they are paid for.
        connection.execute("pragma synchronous = full")
        if is_new:
            connection.executescript(SCHEMA_SQL + f"pragma user_version = {FORMAT};")
    except StoreDamaged:
        connection.close()
        raise
    except sqlite3.Error as e:
        connection.close()
        raise _translate_error(e, path) from e
    return connection


def _require_file(path: Path) -> None:
    # SQLite would wait at a named pipe.
    try:
        require_regular(path)
    except FileNotFoundError:
        return
    except OSError as e:
        raise StoreDamaged(f"`{path}` cannot be used ({e.strerror}); remove it") from e


def _is_uncompacted(connection: sqlite3.Connection) -> bool:
    return connection.execute("pragma application_id").fetchone()[0] == UNCOMPACTED


def stored_key(base: str, ask: int) -> str:
    """Compute the key of the nth repetition of a request."""
    return digest([base, ask])


def _key(stored: str) -> bytes:
    return bytes.fromhex(stored)


def _erase_text(reply: Reply, measure: str | None) -> Reply:
    erased = replace(reply, text="", message="", reasoning_content=None, parsed=None, withheld=True)
    # A second scrub knows no measure and keeps that of the first.
    return replace(erased, measure=measure or reply.measure)


def _encode(reply: Reply) -> str:
    values = ((name, getattr(reply, name)) for name in STORED_FIELDS)
    # Without defaults, which most fields of most replies have.
    present = {name: value for name, value in values if value is not None and value is not False}
    return json.dumps(present, ensure_ascii=False)


def _check_format(connection: sqlite3.Connection, path: Path) -> int:
    version = connection.execute("pragma user_version").fetchone()[0]
    if version not in (0, FORMAT):
        raise StoreDamaged(
            f"journal `{path}` has format {version}, and this version of safegen reads {FORMAT};"
            f" use the version that wrote it, or {MOVE_AWAY_HINT}"
        )
    return version


@cache
def _reply_type() -> TypeAdapter[Reply]:
    return TypeAdapter(Reply)


# SQLite stores any type in any column.
def _decode(encoded: object, key: str | None = None) -> Reply:
    if not isinstance(encoded, str):
        raise TypeError("a reply is not text")
    reply = _reply_type().validate_json(encoded, strict=True)
    counts = (reply.prompt_tokens, reply.completion_tokens)
    if not all(n is None or n in COUNTS for n in counts):
        raise ValueError("a number of tokens is invalid")
    return replace(reply, key=key)


def _translate_error(e: Exception, path: Path) -> RunError:
    if _name_of(e).startswith(
        ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")
    ):
        return DiskFailed(f"journal `{path}` cannot be written: {e}; its replies are kept")
    return _make_damage_error(path, first_line(e))


def _make_damage_error(path: Path, cause: str) -> StoreDamaged:
    if is_lfs_pointer(path):
        return make_pointer_error(path)
    return StoreDamaged(
        f"journal `{path}` cannot be read ({cause}); restore it from a copy, or {MOVE_AWAY_HINT}"
    )


def _name_of(e: Exception) -> str:
    # Errors that Python's module raises itself have no SQLite name.
    return getattr(e, "sqlite_errorname", "")


class Lock:
    """Exclusive lock of a run folder; the system releases it when the process ends for any reason.

    Raises:
        DiskFailed: the lock file cannot be written.
        RunError: another process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        _require_file(path)
        try:
            # SQLite locks a file on every system in one call. Without `isolation_level=None`,
            # Python would begin and end transactions itself.
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        except sqlite3.Error as e:
            raise DiskFailed(f"`{path}` cannot be written: {e}") from e
        # A process that is just ending may still hold the lock.
        deadline = time.monotonic() + 1
        while True:
            try:
                self._connection.execute("begin exclusive")
                return
            except sqlite3.Error as e:
                busy = _name_of(e).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
                if time.monotonic() < deadline and busy:
                    time.sleep(0.05)
                    continue
                self._connection.close()
                if busy:
                    raise RunError(
                        f"another safegen process uses `{path.parent}`; wait until it ends"
                    ) from e
                remedy = (
                    "the file is empty, so delete it if no other safegen process uses the folder"
                )
                raise DiskFailed(f"`{path}` cannot be used: {e}; {remedy}") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock."""
        self._connection.close()
