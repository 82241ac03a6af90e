"""Markdown cells and tables that escape foreign text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

MAX_CELL = 200


def escape_cell(value: object) -> str:
    """Escape any text for one table cell: no markup, links, line breaks or unprintable characters."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:MAX_CELL]
    text = re.sub(r"([\\`*{}\[\]|~]|^[#>+-])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    # The Hub turns bare addresses into links.
    return escape(text, quote=False).replace("://", "&#58;//").replace("www.", "www&#46;")


def format_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a Markdown table; without rows return a note."""
    if not rows:
        return "None."
    lines = [head, ["---"] * len(head), *[[escape_cell(value) for value in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
