"""Counts with their noun, for messages."""

from __future__ import annotations


def format_plural(count: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun; `plural` is needed unless it only adds an `s`.

    Example:
        >>> format_plural(1, "row"), format_plural(1200, "reply", "replies")
        ('1 row', '1,200 replies')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
