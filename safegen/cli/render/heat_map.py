"""A heat map of two axes that can be read without colour: a shade and a number in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from safegen.cli.render.console import word
from safegen.core.types import EVIDENCE, INTENTS, MODES, PROFILES
from safegen.coverage.ledger import Cell, Counts

Names = tuple[str, ...]
ORDER: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "mode": MODES,
    "evidence": EVIDENCE,
    "profile": PROFILES,
}
"""Axes whose values have an order of their own; others are sorted."""
SHADES = ((1.0, "█", "green"), (0.75, "▓", "green"), (0.5, "▒", "yellow"), (0.0, "░", "yellow"))
"""From which share kept on; nothing kept has a sign of its own."""
NONE, NOTHING = ("·", "dim"), ("○", "red")
LEGEND = (
    "█ all kept  ▓ 75% or more  ▒ 50%  ░ less",
    "○ none  · not planned; the number is kept",
)


def ordered(cells: Mapping[Cell, Counts], axes: Names) -> tuple[list[str], list[str]]:
    """The values of two axes in the order in which they are shown."""
    return _values(cells, axes, 0), _values(cells, axes, 1)


def _values(cells: Mapping[Cell, Counts], axes: Names, at: int) -> list[str]:
    found = {cell[at] for cell in cells}
    known = [v for v in ORDER.get(axes[at], ()) if v in found]
    return [*known, *sorted(found - set(known))]


def draw(
    cells: Mapping[Cell, Counts], axes: Names, *, width: int, planned: bool = False
) -> Iterator[RenderableType]:
    """Lines of the map; columns are numbered and named below where their names do not fit.

    Args:
        cells: what is shown.
        axes: of the rows and of the columns.
        width: of the screen; columns beyond it come below the first ones.
        planned: tell what is planned beside what is kept, as a table in its place would.
    """
    rows, columns = ordered(cells, axes)
    most = max([len(_figure(c, planned)) for c in cells.values()] or [1])
    named = [max(len(name), most + 2) for name in columns]
    left = min(max(len(name) for name in [*rows, axes[0]]), max(width // 2, 8))
    numbered = 2 + left + sum(n + 2 for n in named) > width
    sizes = [max(len(str(len(columns))), most + 2)] * len(columns) if numbered else named
    heads = [str(n + 1) for n in range(len(columns))] if numbered else columns
    at_once = max(1, (width - 2 - left) // (sizes[0] + 2)) if numbered else len(columns)
    yield word(f"heat map: {axes[0]} by {axes[1]}", "bold")
    for start in range(0, len(columns), at_once):
        part = slice(start, start + at_once)
        yield _line(axes[0], left, [Text(h, "dim") for h in heads[part]], sizes[part])
        for row in rows:
            told = [_cell(cells.get((row, c)), most, planned=planned) for c in columns[part]]
            yield _line(row, left, told, sizes[part])
    if numbered:
        yield word("columns: " + ", ".join(f"{n}={c}" for n, c in enumerate(columns, 1)), "dim")
    for line in LEGEND:
        yield Text(f"  {line}{'/planned' if planned and 'number' in line else ''}", "dim")


def _figure(counts: Counts, planned: bool) -> str:
    return f"{counts.kept:,}/{counts.planned:,}" if planned else f"{counts.kept:,}"


def _line(name: str, left: int, cells: Sequence[Text], sizes: Sequence[int]) -> Text:
    shown = name if len(name) <= left else name[: left - 1] + "…"
    line = Text("  ") + word(shown.ljust(left)) + Text(" " * (left - len(shown.ljust(left))))
    line.pad_right(max(0, 2 + left - len(line)))
    for cell, size in zip(cells, sizes, strict=True):
        line.append("  " + " " * (size - len(cell)))
        line.append_text(cell)
    line.no_wrap = True
    return line


def _cell(counts: Counts | None, most: int, *, planned: bool) -> Text:
    if counts is None or not counts.planned:
        return Text(NONE[0].ljust(most + 2), NONE[1])
    if not counts.kept:
        sign, style = NOTHING
    else:
        part = counts.kept / counts.planned
        sign, style = next((s, c) for least, s, c in SHADES if part >= least)
    return Text(f"{sign} {_figure(counts, planned):>{most}}", style)
