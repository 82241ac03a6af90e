"""Tables of plain cells, and text files that commands write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from safegen.cli.render.console import make_grid, make_text, print_out
from safegen.core.errors import UserError
from safegen.core.regular_files import require_regular

INDENT, GAP = 2, 2
MIN_LAST_WIDTH = 28
"""Least width of a last column of long texts."""


def print_table(out: Console, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under heads; print nothing if there are no rows.

    Only the last column wraps, at words. If it has no room, it goes below each row. If the others do
    not fit either, each row becomes a list. No word is broken or cut.
    """
    cells = [[make_text(cell) for cell in row] for row in rows]
    if not cells:
        return
    lines = [[make_text(head) for head in heads], *cells]
    widths = [max(cell_len(line[n].plain) for line in lines) for n in range(len(heads))]
    room = out.width - INDENT - sum(width + GAP for width in widths[:-1])
    words = max(cell_len(w) for line in cells for w in (*line[-1].plain.split(), ""))
    if room >= max(words, min(widths[-1], MIN_LAST_WIDTH)):
        table = make_grid(*heads)
        for row in cells:
            table.add_row("", *row)
        print_out(out, table)
    elif room + GAP >= 0:
        print_out(out, *_table_with_last_below(heads, cells))
    else:
        print_out(out, *_rows_as_lists(heads, cells))


def _table_with_last_below(
    heads: Sequence[str], rows: Sequence[Sequence[Text]]
) -> Iterator[RenderableType]:
    widths = [max(cell_len(row[n].plain) for row in rows) for n in range(len(heads) - 1)]
    widths = [max(width, cell_len(head)) for width, head in zip(widths, heads, strict=False)]
    for style, row in (("dim", [make_text(head) for head in heads]), *(("", row) for row in rows)):
        line = Text(" " * INDENT, style)
        for cell, width in zip(row, widths, strict=False):
            line.append_text(cell)
            line.append(" " * (width - cell_len(cell.plain) + GAP))
        line.rstrip()
        yield line
        if row[-1].plain:
            yield Padding(Text.assemble(row[-1], style=style), (0, 0, 0, INDENT + 4))


def _rows_as_lists(
    heads: Sequence[str], rows: Sequence[Sequence[Text]]
) -> Iterator[RenderableType]:
    for row in rows:
        yield Padding(row[0], (0, 0, 0, INDENT))
        pairs = zip(heads[1:], row[1:], strict=True)
        text = " · ".join(f"{head} {cell.plain}" for head, cell in pairs if cell.plain)
        yield Padding(make_text(text), (0, 0, 0, INDENT + 4))


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write a text file; overwrite an existing one only with `force`.

    Raises:
        UserError: the file exists or cannot be written.
    """
    if path.exists() and not force:
        raise UserError(f"`{path}` exists; name another file or overwrite it with `--force`")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            require_regular(path)
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UserError(f"`{path}` cannot be written ({(e.strerror or str(e)).lower()})") from e
