"""The rows of a user's prompt file that are not planned: `run/unlabelled.jsonl`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from safegen.core.errors import StoreDamaged, first_line
from safegen.core.regular_files import read_text
from safegen.store import parquet
from safegen.store.import_counts import REMEDY
from safegen.store.json_files import Count, StoredModel


class UnlabelledRow(StoredModel):
    """A row that is listed and not planned."""

    row: Count
    id: str | None
    fields: list[str]
    message: str
    cause: str


def check_unlabelled_rows(path: Path, *, expected: int) -> None:
    """Check the list of rows against the number that the import counted.

    Raises:
        StoreDamaged: the file is missing, a line is no row, or the number differs.
    """
    if parquet.is_lfs_pointer(path):
        raise parquet.make_pointer_error(path)
    try:
        lines = [line for line in read_text(path).split("\n") if line]
    except (OSError, ValueError) as e:
        raise StoreDamaged(f"`{path}` cannot be read ({first_line(e)}); {REMEDY}") from e
    for number, line in enumerate(lines, 1):
        try:
            UnlabelledRow.model_validate_json(line)
        except ValidationError as e:
            raise StoreDamaged(f"`{path}:{number}` is no row of a prompt file; {REMEDY}") from e
    if len(lines) != expected:
        raise StoreDamaged(
            f"`{path}` lists {len(lines):,} rows and `prompts.json` counts {expected:,}; {REMEDY}"
        )
