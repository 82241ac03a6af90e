"""Tables of plain cells, and files that commands write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from safegen.cli.screen import grid, put, word
from safegen.errors import UserError


def table(out: Console, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under heads; nothing for no rows. The last column may wrap, the others do not."""
    made = grid(*heads)
    for row in rows:
        made.add_row("", *(word(cell) for cell in row))
    if made.row_count:
        put(out, made)


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
