"""Columns: a table on a terminal, aligned plain lines without one; and files that commands write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from safegen.errors import UserError


def grid(out: Console, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head; nothing for no rows. The last column may wrap, the others do not."""
    cells = [[clean(value) for value in row] for row in rows]
    if not cells:
        return
    if out.is_terminal:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for index, name in enumerate(head):
            table.add_column(name, no_wrap=index < len(head) - 1, overflow="fold")
        for row in cells:
            table.add_row(*(escape(cell) for cell in row))
        out.print(table)
        return
    widths = [max(len(c) for c in column) for column in zip(head, *cells, strict=True)]
    for row in ([*head], *cells):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print(escape("  ".join(padded).rstrip()))


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a text file; one that is there is kept unless `force`.

    Raises:
        UserError: the file is there, or cannot be written.
    """
    if path.exists() and not force:
        raise UserError(
            f"`{path}` is there already; name another file, or write over it with `--force`"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UserError(f"`{path}` cannot be written ({(e.strerror or str(e)).lower()})") from e


def clean(value: object) -> str:
    """A value as one printable line."""
    return "".join(c if c.isprintable() else " " for c in str(value))
