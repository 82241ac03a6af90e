"""A spooled table has the same rows in memory and on disk, and leaves no file."""

from __future__ import annotations

import errno
import gc
import io
import tempfile
from pathlib import Path

import polars as pl
import pytest

from safegen.core.errors import DiskFailed
from safegen.store import frame_spool
from safegen.store.frame_spool import FrameSpool, iter_frames
from safegen.store.temporary import name_temporary_folder

PARTS = [
    pl.DataFrame(
        {"id": [f"{part}-{i}" for i in range(4)], "n": [part, None, 2**63, 0], "flag": [None] * 4},
        schema={"id": pl.String, "n": pl.UInt64, "flag": pl.Boolean},
    )
    for part in range(3)
]


def spool() -> pl.LazyFrame:
    table = FrameSpool()
    for part in PARTS:
        table.append(part)
    return table.finish()


@pytest.mark.parametrize("rows", [1, 5, 8, 100])
def test_table_equals_its_frames_in_order(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_spool, "GROUP_ROWS", rows)
    table = spool()
    assert table.collect().equals(pl.concat(PARTS))
    assert table.filter(pl.col("n") == 0).collect()["id"].to_list() == ["0-0", "0-3", "1-3", "2-3"]
    frames = list(iter_frames(table, "n", "id"))
    assert pl.concat(frames).equals(pl.concat(PARTS).select("n", "id"))
    assert max(frame.height for frame in frames) <= rows


def test_table_without_rows_has_columns() -> None:
    table = FrameSpool()
    table.append(PARTS[0].clear())
    assert table.finish().collect().equals(PARTS[0].clear())


@pytest.mark.parametrize("rows", [1, 100])
def test_spooled_table_leaves_no_file(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_spool, "GROUP_ROWS", rows)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = spool()
    # A kill now would leave nothing: the file has no name.
    assert list(tmp_path.iterdir()) == []
    assert table.collect().height == 12


def test_full_folder_of_a_table_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullFile(io.BytesIO):
        """A temporary file on a full disk."""

        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frame_spool, "TemporaryFile", FullFile)
    monkeypatch.setattr(frame_spool, "GROUP_ROWS", 1)
    with (
        pytest.raises(DiskFailed, match=r"temporary folder `.+`.*no space left"),
        name_temporary_folder(),
    ):
        spool()
    gc.collect()
