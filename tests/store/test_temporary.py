from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from safegen.core.errors import DiskFailed
from safegen.dataset import curate
from safegen.dataset.curation import near_duplicates
from safegen.pipeline import _row_spool
from safegen.scenarios.user_prompts.resolve_labels import ExcludedRow
from safegen.store.run_folder import RunFolder
from safegen.store.temporary import name_temporary_folder
from safegen.testing import make_pair


class FullFile(tempfile.SpooledTemporaryFile):  # pyright: ignore[reportMissingTypeArgument]
    """A temporary file on a full disk."""

    def write(self, s: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


FULL = r"temporary folder `.+` cannot be written: no space left.*`TMPDIR`"


def test_full_folder_during_curation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "SpooledTemporaryFile", FullFile)
    run = RunFolder(tmp_path / "out")
    run.write_shard(run.records(0), make_pair(0), [])
    with pytest.raises(DiskFailed, match=FULL):
        curate.curate(run)


def test_full_folder_during_duplicate_search_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "SpooledTemporaryFile", FullFile)
    texts = [near_duplicates.CorpusText("a", "one two three four five six seven")]
    with pytest.raises(DiskFailed, match=FULL):
        near_duplicates.find_near_duplicates(texts)


def test_full_folder_during_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_spool, "SpooledTemporaryFile", FullFile)
    spool = _row_spool.RowSpool()
    with pytest.raises(DiskFailed, match=FULL):
        for _ in range(_row_spool.BATCH_ROWS):
            spool.append(ExcludedRow("empty"))
    spool.close()


def test_missing_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr(tempfile, "tempdir", str(missing))
    with (
        pytest.raises(DiskFailed, match=f"`{missing}` cannot be written: no such file"),
        name_temporary_folder(),
        tempfile.TemporaryFile(),
    ):
        pass


def test_error_of_another_file_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), name_temporary_folder():
        (tmp_path / "other.txt").read_text(encoding="utf-8")
