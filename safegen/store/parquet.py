"""Atomic, deterministic Parquet files: temporary file, fsync, rename. The rename marks a file complete.

Files have 32-bit offsets, zstd 3 and one chunk per column, so that equal rows give equal bytes and
every trainer can concatenate the files.
"""

# pyarrow's stubs leave some parameters untyped; all calls to pyarrow for named files are in this module.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from safegen.core.errors import RERUN_HINT, DiskFailed, StoreDamaged
from safegen.core.regular_files import open_regular, require_regular
from safegen.store import row_checks
from safegen.store.schema import LATER_COLUMNS, ArrowRow

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

# `read_frames` reads as many rows at once, so a reader holds one group.
ROW_GROUP = 10_000


def write_rows(path: Path, rows: Sequence[ArrowRow], schema: pa.Schema) -> None:
    """Write rows as one Parquet file, all or nothing.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Chunks depend on batch sizes and would change the bytes of equal rows.
    table = pa.Table.from_pylist(list(rows), schema=schema).combine_chunks()
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table, temporary, compression="zstd", compression_level=3, row_group_size=ROW_GROUP
        )
        commit_file(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise make_disk_error(path, e) from e


def write_groups(path: Path, groups: Iterable[Sequence[ArrowRow]], schema: pa.Schema) -> None:
    """Write one row group per batch of rows, with one batch in memory.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    with open_groups(path, schema) as write:
        for rows in groups:
            write(rows)


@contextmanager
def open_groups(path: Path, schema: pa.Schema) -> Generator[Callable[[Sequence[ArrowRow]], None]]:
    """Open a file for writing; each call of the function writes a row group. The end of the block renames it.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, schema, compression="zstd", compression_level=3) as out:

            def write(rows: Sequence[ArrowRow]) -> None:
                table = pa.Table.from_pylist(list(rows), schema=schema).combine_chunks()
                out.write_table(table, row_group_size=max(1, len(rows)))

            yield write
        commit_file(temporary, path)
    except OSError as e:
        raise make_disk_error(path, e) from e
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_rows(path: Path, *, schema: pa.Schema | None = None, remedy: str = "") -> list[ArrowRow]:
    """Read all rows of a file.

    Args:
        path: the file.
        schema: the schema that the file should have; None accepts any.
        remedy: the last part of the message if columns or values differ from it.

    Raises:
        StoreDamaged: the file is missing, not Parquet, a git-lfs pointer, or has other columns.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            table = file.read()
            return (table if schema is None else _conform(table, schema)).to_pylist()
    except ColumnMismatch as e:
        raise e.describe(path, remedy) from e
    except (OSError, ValueError, pa.ArrowException) as e:  # ValueError: bytes that are not UTF-8
        raise make_damage_error(path, e) from e


def read_group(path: Path, index: int, *, schema: pa.Schema, remedy: str) -> list[ArrowRow]:
    """Read the rows of one row group, as `read_rows` does.

    Raises:
        StoreDamaged: the file cannot be read, or it has other columns.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            groups = range(index)
            first_row = sum(file.metadata.row_group(group).num_rows for group in groups)
            table = file.read_row_group(index)
            return _conform(table, schema, first_row=first_row).to_pylist()
    except ColumnMismatch as e:
        raise e.describe(path, remedy) from e
    except (OSError, ValueError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def _open_parquet(path: Path) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    # Arrow would wait at a named pipe.
    require_regular(path)
    return pq.ParquetFile(path)


class ColumnMismatch(Exception):
    """A table has other columns than it should have, or a value that safegen never writes."""

    def describe(self, path: Path, remedy: str) -> StoreDamaged:
        """Make the error for a file."""
        return StoreDamaged(f"`{path}` cannot be read: {self}; {remedy}")


def _conform(table: pa.Table, schema: pa.Schema, *, first_row: int = 0) -> pa.Table:
    """Return the schema's columns with its types.

    Args:
        table: some rows of a file.
        schema: the columns.
        first_row: number of the rows before, for messages.

    Raises:
        ColumnMismatch: a column is missing, has another type, or has an invalid value.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in LATER_COLUMNS:
        if name in schema.names and name not in table.column_names:
            field = cast("pa.Field[Any]", schema.field(name))
            empty = cast("pa.Array[Any]", pa.array([None] * table.num_rows, type=field.type))
            table = table.append_column(field, empty)
    if missing := [name for name in schema.names if table.column_names.count(name) != 1]:
        raise ColumnMismatch(
            f"it does not have the columns of this version of safegen (`{missing[0]}`)"
        )
    columns: list[pa.ChunkedArray[Any]] = []
    for field in cast("list[pa.Field[Any]]", list(schema)):
        try:
            # Another writer may hold equal values as large strings or dictionaries.
            column = table.column(field.name).cast(field.type)
        except (ValueError, pa.ArrowException) as e:
            raise ColumnMismatch(f"column `{field.name}` has another type") from e
        if column.null_count and not field.nullable:
            row = first_row + pc.index(pc.is_null(column), value=True).as_py() + 1
            raise ColumnMismatch(f"row {row}: `{field.name}` lacks a value")
        columns.append(column)
    conformed = pa.Table.from_arrays(columns, schema=schema)
    # polars trusts Arrow and would read bytes that are not UTF-8.
    conformed.validate(full=True)
    if invalid := row_checks.find_invalid_row(conformed):
        raise ColumnMismatch(f"row {first_row + invalid.row + 1}: {invalid.problem}")
    return conformed


class FileSize(NamedTuple):
    """Numbers of row groups and of rows of a Parquet file."""

    groups: int
    rows: int


def read_size(path: Path) -> FileSize:
    """Read the number of row groups and of rows from the footer of a file.

    Raises:
        StoreDamaged: the file is missing or not Parquet.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            return FileSize(file.metadata.num_row_groups, file.metadata.num_rows)
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def read_group_sizes(path: Path) -> list[int]:
    """Read the number of rows of each row group of a file.

    Raises:
        StoreDamaged: the file is missing or not Parquet.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            groups = range(file.metadata.num_row_groups)
            return [file.metadata.row_group(group).num_rows for group in groups]
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def read_schema(path: Path) -> pa.Schema:
    """Read the Arrow schema of a file.

    Raises:
        StoreDamaged: the file is missing or not Parquet.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            return file.schema_arrow
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def read_batches(
    path: Path, columns: Sequence[str], size: int = 1_000
) -> Iterator[list[dict[str, Any]]]:
    """Iterate over some columns of a file, in batches of at most `size` rows.

    Raises:
        StoreDamaged: the file is missing, cut or not Parquet.
    """
    import pyarrow as pa

    try:
        with _open_parquet(path) as file:
            for batch in file.iter_batches(size, columns=list(columns)):
                yield batch.to_pylist()
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


@contextmanager
def _open_arrow(path: Path) -> Generator[pa.RecordBatchFileReader | pa.RecordBatchStreamReader]:
    # `datasets` writes streams, others write files; only files start with their magic.
    import pyarrow as pa

    require_regular(path)
    with pa.OSFile(str(path), "rb") as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        with pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source) as reader:
            yield reader


def read_arrow_schema(path: Path) -> pa.Schema:
    """Read the schema of an Arrow IPC file or stream.

    Raises:
        StoreDamaged: the file is missing or not Arrow.
    """
    import pyarrow as pa

    try:
        with _open_arrow(path) as reader:
            return reader.schema
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def read_arrow_batches(
    path: Path, columns: Sequence[str], size: int = 1_000
) -> Iterator[list[dict[str, Any]]]:
    """Iterate over some columns of an Arrow IPC file or stream, in batches of at most `size` rows.

    Raises:
        StoreDamaged: the file is missing, cut or not Arrow.
    """
    import pyarrow as pa

    try:
        with _open_arrow(path) as reader:
            for batch in _iter_record_batches(reader):
                kept = batch.select(list(columns))
                for start in range(0, kept.num_rows, size):
                    part = kept.slice(start, size)
                    # A user's file may have broken offsets, which crash the conversion.
                    part.validate(full=True)
                    yield part.to_pylist()
    except (OSError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def _iter_record_batches(
    reader: pa.RecordBatchFileReader | pa.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if isinstance(reader, pa.RecordBatchFileReader):
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        yield from reader


def read_frames(
    path: Path, columns: Sequence[str], schema: pa.Schema, *, remedy: str, size: int = 10_000
) -> Iterator[pl.DataFrame]:
    """Read some columns as data frames of at most `size` rows.

    Args:
        path: the file.
        columns: columns to read.
        schema: the schema of all columns that the file should have.
        remedy: the last part of the message if columns are missing or have other types.
        size: rows of a frame, at most.

    Raises:
        StoreDamaged: the file cannot be read, or it has other columns.
    """
    for table in read_tables(path, columns, schema, remedy=remedy, size=size):
        yield to_frame(table)


def read_tables(
    path: Path, columns: Sequence[str], schema: pa.Schema, *, remedy: str, size: int = 10_000
) -> Iterator[pa.Table]:
    """Read some columns as tables of at most `size` rows; see `read_frames`."""
    import pyarrow as pa

    fields: list[pa.Field[Any]] = [schema.field(name) for name in columns]
    expected = pa.schema(fields)
    try:
        with _open_parquet(path) as file:
            # Without rows there is no batch, and the columns are checked all the same.
            yield _conform(pa.Table.from_batches([], schema=file.schema_arrow), expected)
            first_row = 0
            for batch in file.iter_batches(size, columns=list(columns)):
                yield _conform(pa.Table.from_batches([batch]), expected, first_row=first_row)
                first_row += batch.num_rows
    except ColumnMismatch as e:
        raise e.describe(path, remedy) from e
    except (OSError, ValueError, pa.ArrowException) as e:
        raise make_damage_error(path, e) from e


def to_frame(table: pa.Table) -> pl.DataFrame:
    """Convert an Arrow table to a data frame."""
    import polars as pl

    return cast("pl.DataFrame", pl.from_arrow(table))


def release_memory() -> None:
    """Return the memory that Arrow's pool holds unused to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def commit_file(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to its final name, durably.

    Raises:
        OSError: the file or its folder cannot be written.
    """
    with temporary.open("rb+") as file:
        # Some file systems rename before they write: a power cut would leave an empty file.
        os.fsync(file.fileno())
    temporary.replace(path)
    # On POSIX a rename is durable only after an fsync of the folder.
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a small text file, all or nothing.

    Raises:
        DiskFailed: the disk is full, read-only or gone.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One line end on every system, because the manifest holds hashes of these files.
        temporary.write_text(text, encoding="utf-8", newline="\n")
        commit_file(temporary, path)
    except OSError as e:
        raise make_disk_error(path, e) from e


def is_lfs_pointer(path: Path) -> bool:
    """Return True for a git-lfs pointer whose content was not fetched."""
    try:
        with open_regular(path) as file:
            # The first line of every pointer has 42 characters.
            return file.read(42).startswith(b"version https://git-lfs.github.com/spec/v1")
    except OSError:
        return False


def make_pointer_error(path: Path) -> StoreDamaged:
    """Make the error for a git-lfs pointer; no other remedy than the fetch helps."""
    return StoreDamaged(f"`{path}` is a git-lfs pointer, not data; run `git lfs pull`")


def make_disk_error(path: Path, e: OSError) -> DiskFailed:
    """Make the error for a failed write."""
    return DiskFailed(
        f"`{path}` cannot be written: {(e.strerror or str(e)).lower()}; make room or choose another"
        " `--output`, and run again: finished work is kept"
    )


def make_damage_error(path: Path, e: Exception) -> StoreDamaged:
    """Make the error for a file that cannot be read."""
    if is_lfs_pointer(path):
        return make_pointer_error(path)
    if not path.exists():
        return StoreDamaged(f"`{path}` is missing; {RERUN_HINT}")
    message = (str(e).splitlines() or [type(e).__name__])[0][:120]
    return StoreDamaged(
        f"`{path}` is not readable Parquet ({message}); delete it and {RERUN_HINT}:"
        " cached replies are reused"
    )
