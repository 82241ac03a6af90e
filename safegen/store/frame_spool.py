"""A table of any size: data frames in memory while they are few, else in an unnamed temporary file.

The system deletes the file when no process has it open, so that nothing remains after a kill.
"""

# pyarrow's stubs leave some parameters untyped.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import weakref
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.parquet as pq

# About 7 MiB of scenarios; a smaller run needs no disk.
GROUP_ROWS = 10_000
"""Rows that stay in memory, and rows of a row group."""


class FrameSpool:
    """A table that is written frame by frame and then read with `finish`.

    Call it within `name_temporary_folder`, because the disk may be full.
    """

    def __init__(self) -> None:
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._file: IO[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None

    def append(self, frame: pl.DataFrame) -> None:
        """Append a frame; all frames have one schema."""
        self._waiting.append(frame)
        self._rows += frame.height
        if self._rows >= GROUP_ROWS:
            self._flush()

    def finish(self) -> pl.LazyFrame:
        """Return the table of at least one frame; its file is deleted with the result."""
        import polars as pl

        if self._file is None or self._writer is None:
            return pl.concat(self._waiting).lazy()
        if self._rows:
            self._flush()
        self._writer.close()
        self._file.seek(0)
        # polars opens the file for itself.
        with self._file as file:
            return pl.scan_parquet(file)

    def _flush(self) -> None:
        import polars as pl
        import pyarrow.parquet as pq

        table = pl.concat(self._waiting).to_arrow()
        if self._file is None or self._writer is None:
            self._file = TemporaryFile()  # noqa: SIM115 (`finish` closes it)
            # For a table that an error leaves unfinished.
            weakref.finalize(self, self._file.close)
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="lz4")
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._rows = [], 0


def iter_frames(table: pl.LazyFrame, *columns: str) -> Iterator[pl.DataFrame]:
    """Read a table in order, `GROUP_ROWS` rows at a time; one frame if it has no rows. Default: all columns."""
    import polars as pl

    chosen = table.select(columns) if columns else table
    rows = int(table.select(pl.len()).collect().item())
    for start in range(0, max(rows, 1), GROUP_ROWS):
        yield chosen.slice(start, GROUP_ROWS).collect()
