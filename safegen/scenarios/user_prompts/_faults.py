"""The mistakes of a user's file, collected so that they are told together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

from safegen.core.errors import ConfigError

RowFault = Literal[
    "unreadable",
    "invalid_json",
    "not_an_object",
    "wrong_cell_count",
    "missing_prompt",
    "ambiguous_prompt",
    "blank_prompt",
    "invalid_messages",
    "missing_licence",
    "duplicate_id",
    "not_text",
    "not_encodable",
    "too_long",
    "invalid_name",
    "unknown_value",
    "invalid_detail",
    "invalid_language",
]
"""What is wrong with a row of a user's file, or with a cell of it; `unreadable` ends the reading."""


class RowError(ConfigError):
    """A row of a user's file that cannot be taken."""

    def __init__(self, message: str, *, key: str = "", code: RowFault = "unreadable") -> None:
        super().__init__(message, key=key)
        self.code: RowFault = code


class PromptFileError(ConfigError):
    """The mistakes of a user's file together."""

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        counts: Mapping[RowFault, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(message, key=key)
        self.counts = dict(counts)
        """All mistakes by code; the message names the first ones."""


class FaultCollector:
    """The mistakes of a file: the first ones in words, and how many there are."""

    MAX_SHOWN = 20

    def __init__(self) -> None:
        self.named: list[str] = []
        self.counts: Counter[RowFault] = Counter()

    @property
    def count(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, e: ConfigError) -> None:
        """Take one."""
        self.counts[e.code if isinstance(e, RowError) else "unreadable"] += 1
        if len(self.named) < self.MAX_SHOWN:
            self.named.append(str(e))

    @contextmanager
    def collect(self) -> Generator[None]:
        """Take the mistake that ends the block, if one does."""
        try:
            yield
        except ConfigError as e:
            self.add(e)

    def raise_any(self) -> None:
        """Stop if there are any.

        Raises:
            PromptFileError: with all of them, or the first ones and how many there are.
        """
        if self.count > len(self.named):
            more = f"and {self.count - len(self.named):,} more of {self.count:,} mistakes"
            raise PromptFileError("\n".join([*self.named, more]), counts=self.counts)
        if self.named:
            raise PromptFileError("\n".join(self.named), counts=self.counts)
