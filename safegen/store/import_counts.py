"""The counts of an import of a user's prompt file: `run/prompts.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from safegen.store.json_files import Count, StoredModel, read_model

REMEDY = "restore it, or re-plan with `--replan`: cached replies are reused"


class ImportCounts(StoredModel):
    """Counts of the rows of a prompt file, taken when they were planned."""

    file: str
    sha256: str
    columns: dict[str, str]
    licence: str | None
    rows: Count
    labelled: Count
    planned: Count
    labelled_by_judges: Count
    labellers: list[str]
    unlabelled: Count
    unlabelled_by: dict[str, Count]
    excluded: dict[str, Count]
    not_under: dict[str, Count]
    personal_data: Count
    fields: dict[str, str]
    columns_not_read: list[str]
    drop_answer: bool = False
    skip_unreadable: bool = False

    @model_validator(mode="after")
    def _check_sums(self) -> ImportCounts:
        if self.rows != self.planned + self.unlabelled + sum(self.excluded.values()):
            raise ValueError("`rows` is not the sum of `planned`, `unlabelled` and `excluded`")
        if self.unlabelled != sum(self.unlabelled_by.values()):
            raise ValueError("`unlabelled` is not the sum of `unlabelled_by`")
        return self


def read_import_counts(path: Path) -> ImportCounts:
    """Read the counts of an import.

    Raises:
        StoreDamaged: the file cannot be read, or a key has an invalid value.
    """
    return read_model(path, ImportCounts, remedy=REMEDY)
