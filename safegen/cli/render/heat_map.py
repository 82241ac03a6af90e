"""Heat map of two axes, readable without colour: a shade and a number in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import RenderableType
from rich.text import Text

from safegen.cli.render.console import make_text
from safegen.core.types import EVIDENCE, INTENTS, MODES, PROFILES
from safegen.coverage.ledger import Cell, StageCounts
from safegen.pipeline.coverage import AxisNames

VALUE_ORDER: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "mode": MODES,
    "evidence": EVIDENCE,
    "profile": PROFILES,
}
"""Value order of these axes; the values of others are sorted."""
SHADES = ((1.0, "█", "green"), (0.75, "▓", "green"), (0.5, "▒", "yellow"), (0.0, "░", "yellow"))
"""Least share kept, shade and style; a cell with nothing kept has `EMPTY_MARK`."""
UNPLANNED_MARK, EMPTY_MARK = ("·", "dim"), ("○", "red")
LEGEND = (
    "█ all kept  ▓ 75% or more  ▒ 50%  ░ less",
    "○ none  · not planned; the number is kept",
)


class AxisValues(NamedTuple):
    """The values of two axes in display order."""

    rows: list[str]
    columns: list[str]


def order_values(cells: Mapping[Cell, StageCounts], axes: AxisNames) -> AxisValues:
    """List the values of two axes in display order."""
    return AxisValues(_axis_values(cells, axes, 0), _axis_values(cells, axes, 1))


def _axis_values(cells: Mapping[Cell, StageCounts], axes: AxisNames, at: int) -> list[str]:
    values = {cell[at] for cell in cells}
    known = [v for v in VALUE_ORDER.get(axes[at], ()) if v in values]
    return [*known, *sorted(values - set(known))]


def draw_heat_map(
    cells: Mapping[Cell, StageCounts], axes: AxisNames, *, width: int, planned: bool = False
) -> Iterator[RenderableType]:
    """Yield the lines of the map; long column names become numbers with a legend below.

    Args:
        cells: counts by row and column value.
        axes: axis of the rows, axis of the columns.
        width: screen width; columns beyond it go below the first ones.
        planned: show `kept/planned` instead of `kept`, if no table shows what was planned.
    """
    rows, columns = order_values(cells, axes)
    digits = max([len(_format_figure(c, planned)) for c in cells.values()] or [1])
    name_widths = [max(len(name), digits + 2) for name in columns]
    left = min(max(len(name) for name in [*rows, axes[0]]), max(width // 2, 8))
    numbered = 2 + left + sum(n + 2 for n in name_widths) > width
    sizes = [max(len(str(len(columns))), digits + 2)] * len(columns) if numbered else name_widths
    heads = [str(n + 1) for n in range(len(columns))] if numbered else columns
    at_once = max(1, (width - 2 - left) // (sizes[0] + 2)) if numbered else len(columns)
    yield make_text(f"heat map: {axes[0]} by {axes[1]}", "bold")
    for start in range(0, len(columns), at_once):
        part = slice(start, start + at_once)
        yield _row_line(axes[0], left, [Text(h, "dim") for h in heads[part]], sizes[part])
        for row in rows:
            row_cells = [
                _cell_text(cells.get((row, c)), digits, planned=planned) for c in columns[part]
            ]
            yield _row_line(row, left, row_cells, sizes[part])
    if numbered:
        yield make_text(
            "columns: " + ", ".join(f"{n}={c}" for n, c in enumerate(columns, 1)), "dim"
        )
    for line in LEGEND:
        yield Text(f"  {line}{'/planned' if planned and 'number' in line else ''}", "dim")


def _format_figure(counts: StageCounts, planned: bool) -> str:
    return f"{counts.kept:,}/{counts.planned:,}" if planned else f"{counts.kept:,}"


def _row_line(name: str, left: int, cells: Sequence[Text], sizes: Sequence[int]) -> Text:
    shown = name if len(name) <= left else name[: left - 1] + "…"
    line = Text("  ") + make_text(shown.ljust(left)) + Text(" " * (left - len(shown.ljust(left))))
    line.pad_right(max(0, 2 + left - len(line)))
    for cell, size in zip(cells, sizes, strict=True):
        line.append("  " + " " * (size - len(cell)))
        line.append_text(cell)
    line.no_wrap = True
    return line


def _cell_text(counts: StageCounts | None, digits: int, *, planned: bool) -> Text:
    if counts is None or not counts.planned:
        return Text(UNPLANNED_MARK[0].ljust(digits + 2), UNPLANNED_MARK[1])
    if not counts.kept:
        sign, style = EMPTY_MARK
    else:
        part = counts.kept / counts.planned
        sign, style = next((s, c) for least, s, c in SHADES if part >= least)
    return Text(f"{sign} {_format_figure(counts, planned):>{digits}}", style)
