"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

MAX_COMPARED = 500
"""Known names that are compared with a mistyped one; a user's file can have thousands."""
MAX_NAMED = 100
"""Known names that a message lists."""
# difflib needs time that grows with the product of both lengths.
MAX_COMPARED_CHARS = 200
Name = TypeVar("Name", bound=Hashable)


def suggest(name: str, known: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name nearest to a mistyped one; None if no similarity reaches `cutoff`."""
    if len(name) > MAX_COMPARED_CHARS:
        return None
    short = [n for n in known[:MAX_COMPARED] if len(n) <= MAX_COMPARED_CHARS]
    return next(iter(difflib.get_close_matches(name, short, n=1, cutoff=cutoff)), None)


def suggest_names(
    name: str, known: Sequence[str], *, listed: bool = True, cutoff: float = 0.6
) -> str:
    """Make a hint for a mistyped name: the nearest known one if its similarity reaches `cutoff`, else all known ones."""
    nearest = suggest(name, known, cutoff=cutoff)
    if nearest is not None:
        return f"; did you mean `{nearest}`?"
    if not listed or not known:
        return ""
    # Without a near name the user searches the list by eye.
    names = sorted(known)
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return f"; known: {', '.join(n[:MAX_COMPARED_CHARS] for n in names[:MAX_NAMED])}{more}"


def find_repeated(names: Iterable[Name]) -> Name | None:
    """Return the first name that appears twice, in linear time; None if all are distinct."""
    listed = list(names)
    counts = Counter(listed)
    return next((name for name in listed if counts[name] > 1), None)
