"""Consoles, tables, numbers and sanitised text.

Ids, names, reasons and texts come from files and models. `sanitise` removes control characters from
all of them before they reach a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from shutil import get_terminal_size
from textwrap import fill
from typing import IO, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

Name = TypeVar("Name", bound=str)
PIPE_WIDTH = 100_000
"""Width of a pipe; the reader wraps if needed."""
JOINERS = "\u200c\u200d"
"""Zero-width joiners, needed for Persian, Hindi and emoji."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DETAIL_NAMES = ("awareness", "concept", "strategy", "procedure", "executable")
"""Names of the detail levels 0 to 4."""


def sanitise(text: object) -> str:
    """Replace control characters; keep line ends, and write tabs as blanks."""
    plain = str(text).replace("\r\n", "\n").replace("\t", "    ")
    return "".join(
        c if c.isprintable() or c == "\n" or c in JOINERS else REPLACEMENT for c in plain
    )


def wrap_text(text: str, stream: TextIO) -> str:
    """Wrap lines at words for a terminal; return text for a pipe unchanged."""
    if not stream.isatty():
        return text
    width = get_terminal_size().columns
    lines = (
        fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join(lines)


def make_text(value: object, style: str = "") -> Text:
    """Make one sanitised line of any value, without markup."""
    return Text(sanitise(" ".join(str(value).split())), style=style)


def format_json_line(value: Mapping[str, object]) -> str:
    """Write one JSON object on one line; only unprintable characters are escaped."""
    line = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line) + "\n"


def make_console(stream: IO[str]) -> Console:
    """Make a console that uses colour on a terminal only and does not wrap for a pipe."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        width=None if terminal else PIPE_WIDTH,
    )


def make_grid(*heads: str, right: Iterable[int] = (), indent: int = 2) -> Table:
    """Make a table without lines; `right` lists the columns that are right-aligned."""
    figures = set(right)
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=any(heads),
        header_style="dim",
    )
    table.add_column("", width=max(0, indent - 2))
    last = len(heads) - 1
    for number, head in enumerate(heads):
        table.add_column(
            head,
            justify="right" if number in figures else "left",
            no_wrap=number < last,
            overflow="ellipsis" if number < last else "fold",
        )
    return table


def make_fact_table(
    pairs: Iterable[tuple[str, RenderableType]], *, indent: int = 2, width: int = 0
) -> Table:
    """Make a two-column table of names and values."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=max(0, indent - 2))
    table.add_column(style="dim", no_wrap=True, min_width=width)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row("", name, make_text(value) if isinstance(value, str) else value)
    return table


def does_table_fit(out: Console, table: RenderableType) -> bool:
    """Return True if a table fits without cutting a cell."""
    wide = out.options.update(width=PIPE_WIDTH)
    return out.measure(table, options=wide).maximum <= out.width


def print_out(out: Console, *renderables: RenderableType) -> None:
    """Print renderables, without trailing blanks for a pipe."""
    for renderable in renderables:
        if out.file.isatty():
            out.print(renderable)
            continue
        with out.capture() as captured:
            out.print(renderable)
        for line in captured.get().splitlines():
            out.file.write(line.rstrip() + "\n")


def format_number(value: int) -> str:
    """Write a count with separators: 12,345."""
    return f"{value:,}"


def format_short(value: float) -> str:
    """Write a large count in few characters: 950, 12.3k, 4.6M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{0 if value >= 100 * size else 1}f}{letter}"
    return f"{value:.0f}"


def format_share(part: int, whole: int) -> str:
    """Write a share in per cent; only 0 gives 0% and only all gives 100%."""
    if not whole:
        return "–"
    if 0 < part < whole:
        # 0 % and 100 % are reserved for none and all.
        per_cent = 100 * part / whole
        if per_cent < 1:
            return "<1%"
        return f"{min(per_cent, 99):.0f}%"
    return "100%" if part else "0%"


def format_duration(seconds: float) -> str:
    """Write a duration: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_counts(counts: Mapping[Name, int]) -> str:
    """Write counts by name: 3 refused, 1 truncated."""
    return ", ".join(f"{format_number(n)} {name}" for name, n in sorted(counts.items()))
