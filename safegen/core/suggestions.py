"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggest(name: str, known: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name nearest to a mistyped one; None if no similarity reaches `cutoff`."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def suggest_names(
    name: str, known: Sequence[str], *, listed: bool = True, cutoff: float = 0.6
) -> str:
    """Make a hint for a mistyped name: the nearest known one if its similarity reaches `cutoff`, else all known ones."""
    nearest = suggest(name, known, cutoff=cutoff)
    if nearest is not None:
        return f"; did you mean `{nearest}`?"
    return f"; known: {', '.join(sorted(known))}" if listed and known else ""
