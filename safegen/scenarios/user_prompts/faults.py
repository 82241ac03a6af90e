"""Errors of a user's file, collected so that one message reports them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

from safegen.core.errors import ConfigError

RowFault = Literal[
    "unreadable",
    "not_utf8",
    "invalid_csv",
    "invalid_json",
    "not_an_object",
    "wrong_cell_count",
    "missing_prompt",
    "ambiguous_prompt",
    "blank_prompt",
    "missing_response",
    "invalid_messages",
    "missing_licence",
    "two_spellings",
    "duplicate_id",
    "not_text",
    "not_encodable",
    "too_long",
    "invalid_name",
    "unknown_value",
    "invalid_detail",
    "invalid_language",
]
"""Code of a problem of a row or cell; after `unreadable` the rest of the file is not read."""


class RowError(ConfigError):
    """A row of a user's file that cannot be used."""

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        code: RowFault = "unreadable",
        row: int = 0,
        id_: str | None = None,
    ) -> None:
        super().__init__(message, key=key)
        self.code: RowFault = code
        self.row = row
        """Number of the row; 0 if the whole file is meant."""
        self.id = id_
        """Id of the row, if it can be read."""


class PromptFileError(ConfigError):
    """The errors of a user's file together."""

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        counts: Mapping[RowFault, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(message, key=key)
        self.counts = dict(counts)
        """All errors by code; the message has the first ones."""


class FaultCollector:
    """A collector of errors that keeps the first messages and counts all."""

    MAX_SHOWN = 20  # fits on a screen
    MAX_COUNTED = 10_000
    """Errors after which the reading ends, so that a wrong file is rejected at once."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.counts: Counter[RowFault] = Counter()

    @property
    def count(self) -> int:
        """Number of errors."""
        return self.counts.total()

    @property
    def is_full(self) -> bool:
        """True if further errors would not change what to do."""
        return self.count >= self.MAX_COUNTED

    def add(self, error: ConfigError) -> None:
        """Add an error."""
        self.counts[error.code if isinstance(error, RowError) else "unreadable"] += 1
        if len(self.messages) < self.MAX_SHOWN:
            self.messages.append(str(error))

    @contextmanager
    def collect(self) -> Generator[None]:
        """Collect the error that ends the block, if there is one."""
        try:
            yield
        except ConfigError as e:
            self.add(e)

    def raise_any(self) -> None:
        """Raise one error for all collected ones, if there are any.

        Raises:
            PromptFileError: with the first messages and the number of the others.
        """
        lines = list(self.messages)
        if self.count > len(lines):
            lines.append(f"and {self.count - len(lines):,} more of {self.count:,} errors")
        if self.is_full:
            lines[-1] += "; the rest of the file was not read"
        if lines:
            raise PromptFileError("\n".join(lines), counts=self.counts)
