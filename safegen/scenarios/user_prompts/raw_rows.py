"""A row as its file has it, whatever the format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safegen.core.errors import ConfigError

MAX_COLUMNS = 2_000


class RawRow(NamedTuple):
    """A row as the file has it."""

    number: int
    """Number of the row, from 1; the head and blank lines do not count."""
    place: str
    """File, line (not in Parquet and Arrow) and row, for messages."""
    values: Mapping[str, object]
    """Cell by column."""


def find_text_problem(text: str) -> str | None:
    """Describe why a text cannot be stored; None if it can."""
    if "\0" in text:
        return "contains a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half a character (a lone surrogate)"
    return None


def require_column_names(place: Path | str, names: Sequence[str]) -> list[str]:
    """Check the number of columns, and that named ones are distinct.

    Raises:
        ConfigError: there are too many columns, or two have one name.
    """
    if len(names) > MAX_COLUMNS:
        raise ConfigError(f"{place}: has {len(names):,} columns; at most {MAX_COLUMNS:,}")
    seen = set[str]()
    for name in names:
        if (problem := find_text_problem(name)) is not None:
            raise ConfigError(f"{place}: the name of a column {problem}; rename it")
        if name and name in seen:
            raise ConfigError(f"{place}: column `{name[:60]}` appears twice; rename one")
        seen.add(name)
    return list(names)
