"""The ledger of a run as a cross table if two axes fit, else as one line per cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from safegen.cli.render.console import does_table_fit, format_number, make_grid, make_text
from safegen.cli.render.heat_map import order_values
from safegen.coverage.ledger import Cell, CellCounts
from safegen.pipeline.coverage import CoverageReport


def render_ledger(out: Console, report: CoverageReport) -> Iterator[RenderableType]:
    """Yield a cross table of two axes if it fits, else one line per cell."""
    cells = report.ledger.totals_by(report.by)
    if len(report.by) == 2:
        crossed = _render_cross_table(cells, report)
        if does_table_fit(out, crossed):
            yield crossed
            yield make_text("  kept/planned per cell; – not planned", "dim")
            return
    yield from _render_long_table(out, cells, report)


def _render_cross_table(cells: Mapping[Cell, CellCounts], report: CoverageReport) -> RenderableType:
    rows, columns = order_values(cells, report.by)
    missing = ["missing"] if report.missing_by_cell() else []
    heads = [report.by[0], *columns, "all", *missing, ""]
    table = make_grid(*heads, right=range(1, len(heads) - 1))
    for row in rows:
        own = [cells.get((row, column), CellCounts()) for column in columns]
        row_shares = [_share_text(c) for c in [*own, sum_counts(own)]]
        lacks = sum(report.missing_by_cell().get((row, c), 0) for c in columns)
        table.add_row(
            "", make_text(row), *row_shares, *([_shortfall_text(lacks)] if missing else [])
        )
    totals = [sum_counts([cells.get((r, c), CellCounts()) for r in rows]) for c in columns]
    row_shares = [_share_text(c) for c in [*totals, sum_counts(totals)]]
    lacks = sum(report.missing_by_cell().values())
    table.add_row(
        "", "all", *row_shares, *([_shortfall_text(lacks)] if missing else []), style="bold"
    )
    return table


def _render_long_table(
    out: Console, cells: Mapping[Cell, CellCounts], report: CoverageReport
) -> Iterator[RenderableType]:
    # Narrow in this order until the table fits: name axes with a single value below the table, merge the
    # stages into one column, merge the axes into one column that wraps.
    every = range(len(report.by))
    varied = [n for n in every if len({cell[n] for cell in cells}) > 1] or list(every)
    for kept, brief in ((list(every), False), (varied, False), (varied, True)):
        table = _render_lines(cells, report, kept, brief=brief, joined=False)
        if does_table_fit(out, table):
            break
    else:
        table = _render_lines(cells, report, varied, brief=True, joined=True)
        kept = varied
    yield table
    constants = [f"{report.by[n]} {next(iter(cells))[n]}" for n in every if n not in kept and cells]
    if constants:
        yield make_text(f"  every row: {', '.join(constants)}", "dim")


def _render_lines(
    cells: Mapping[Cell, CellCounts],
    report: CoverageReport,
    kept: Sequence[int],
    *,
    brief: bool,
    joined: bool,
) -> RenderableType:
    lacking = {} if joined and report.target is None else dict(report.missing_by_cell())
    missing = ["missing"] if lacking else []
    axes = [report.by[n] for n in kept]
    axes = [" · ".join(axes)] if joined else axes
    steps = ["kept/plan"] if brief else ["planned", "answered", "accepted", "kept"]
    heads = [*axes, *steps, *missing, ""]
    table = make_grid(*heads, right=range(len(axes), len(heads) - 1))
    if joined:
        table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    for cell, c in [*cells.items(), (None, sum_counts(list(cells.values())))]:
        parts = ["all"] * len(kept) if cell is None else [cell[n] for n in kept]
        names = ["all" if cell is None else " · ".join(parts)] if joined else parts
        counts = (
            [_share_text(c)]
            if brief
            else [
                *map(format_number, (c.planned, c.answered, c.accepted)),
                _share_text(c, alone=True),
            ]
        )
        lacks = sum(lacking.values()) if cell is None else lacking.get(cell, 0)
        more = [_shortfall_text(lacks)] if missing else []
        table.add_row("", *map(make_text, names), *counts, *more, style="" if cell else "bold")
    return table


def _share_text(c: CellCounts, *, alone: bool = False) -> Text:
    if not c.planned:
        return Text("–", "dim")
    style = "red" if not c.kept else "yellow" if c.kept < c.planned else ""
    return Text(format_number(c.kept) if alone else f"{c.kept:,}/{c.planned:,}", style)


def _shortfall_text(count: int) -> Text:
    return Text(format_number(count), "yellow" if count else "dim")


def sum_counts(counts: Sequence[CellCounts]) -> CellCounts:
    """Add up counts."""
    return sum(counts, start=CellCounts())
