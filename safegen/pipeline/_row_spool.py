"""Checked rows of a user's file in a temporary file, so that each step reads them without checks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

from safegen.scenarios.user_prompts.resolve_labels import ExcludedRow, Unlabelled
from safegen.scenarios.user_prompts.rows import PromptRow
from safegen.store.temporary import SPOOL_BYTES, name_temporary_folder

# Rows of a batch share the pickled class names.
BATCH_ROWS = 128
"""Rows that are written and read at once."""

UsedRow = PromptRow | Unlabelled | ExcludedRow
"""A row, or the reason why it is not used."""


class RowSpool:
    """A list of rows on disk: append all of them, then iterate as often as needed."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(SPOOL_BYTES, "w+b")  # noqa: SIM115 (`close` closes it)
        self._batch: list[UsedRow] = []
        # Positions, so that several readers can iterate over one file at a time.
        self._starts = [0]

    def append(self, row: UsedRow) -> None:
        """Append a row."""
        self._batch.append(row)
        if len(self._batch) == BATCH_ROWS:
            data = pickle.dumps(self._batch, pickle.HIGHEST_PROTOCOL)
            with name_temporary_folder():
                self._file.write(data)
            self._starts.append(self._starts[-1] + len(data))
            self._batch = []

    def __iter__(self) -> Iterator[UsedRow]:
        """Read the rows in order."""
        for start in self._starts[:-1]:
            # Only this process writes the file, which has no name, so unpickling is safe.
            self._file.seek(start)
            yield from pickle.load(self._file)
        yield from self._batch

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
