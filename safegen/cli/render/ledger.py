"""The ledger of a run as a cross table if two axes fit, else as one line per cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from safegen.cli.render.console import does_table_fit, format_number, make_grid, make_text
from safegen.cli.render.heat_map import order_values
from safegen.coverage.ledger import Cell, StageCounts
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


def _render_cross_table(
    cells: Mapping[Cell, StageCounts], report: CoverageReport
) -> RenderableType:
    rows, columns = order_values(cells, report.by)
    missing = report.missing_by_cell()
    heads = [report.by[0], *columns, "all", *(["missing"] if missing else []), ""]
    table = make_grid(*heads, right=range(1, len(heads) - 1))

    def add_row(
        name: str, counts: Sequence[StageCounts], shortfall: int, *, style: str = ""
    ) -> None:
        shares = [_share_text(c) for c in [*counts, sum_counts(counts)]]
        shortfall_cell = [_shortfall_text(shortfall)] if missing else []
        table.add_row("", make_text(name), *shares, *shortfall_cell, style=style)

    for row in rows:
        counts = [cells.get((row, column), StageCounts()) for column in columns]
        add_row(row, counts, sum(missing.get((row, column), 0) for column in columns))
    totals = [sum_counts([cells.get((r, c), StageCounts()) for r in rows]) for c in columns]
    add_row("all", totals, sum(missing.values()), style="bold")
    return table


def _render_long_table(
    out: Console, cells: Mapping[Cell, StageCounts], report: CoverageReport
) -> Iterator[RenderableType]:
    # Narrow in this order until the table fits: name axes with a single value below the table, merge the
    # stages into one column, merge the axes into one column that wraps.
    indices = list(range(len(report.by)))
    varied = [n for n in indices if len({cell[n] for cell in cells}) > 1] or indices
    for shown, brief in ((indices, False), (varied, False), (varied, True)):
        table = _render_lines(cells, report, shown, brief=brief, joined=False)
        if does_table_fit(out, table):
            break
    else:
        shown = varied
        table = _render_lines(cells, report, shown, brief=True, joined=True)
    yield table
    constants = [
        f"{report.by[n]} {next(iter(cells))[n]}" for n in indices if n not in shown and cells
    ]
    if constants:
        yield make_text(f"  every row: {', '.join(constants)}", "dim")


def _render_lines(
    cells: Mapping[Cell, StageCounts],
    report: CoverageReport,
    shown: Sequence[int],
    *,
    brief: bool,
    joined: bool,
) -> RenderableType:
    missing = {} if joined and report.target is None else dict(report.missing_by_cell())
    axes = [report.by[n] for n in shown]
    axes = [" · ".join(axes)] if joined else axes
    stages = ["kept/plan"] if brief else ["planned", "answered", "accepted", "kept"]
    heads = [*axes, *stages, *(["missing"] if missing else []), ""]
    table = make_grid(*heads, right=range(len(axes), len(heads) - 1))
    if joined:
        table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"

    def add_row(names: Sequence[str], c: StageCounts, shortfall: int, *, style: str = "") -> None:
        counts = (
            [_share_text(c)]
            if brief
            else [
                *map(format_number, (c.planned, c.answered, c.accepted)),
                _share_text(c, alone=True),
            ]
        )
        shortfall_cell = [_shortfall_text(shortfall)] if missing else []
        table.add_row("", *map(make_text, names), *counts, *shortfall_cell, style=style)

    for cell, counts in cells.items():
        values = [cell[n] for n in shown]
        add_row([" · ".join(values)] if joined else values, counts, missing.get(cell, 0))
    total = sum_counts(list(cells.values()))
    add_row(["all"] * len(axes), total, sum(missing.values()), style="bold")
    return table


def _share_text(c: StageCounts, *, alone: bool = False) -> Text:
    if not c.planned:
        return Text("–", "dim")
    style = "red" if not c.kept else "yellow" if c.kept < c.planned else ""
    return Text(format_number(c.kept) if alone else f"{c.kept:,}/{c.planned:,}", style)


def _shortfall_text(count: int) -> Text:
    return Text(format_number(count), "yellow" if count else "dim")


def sum_counts(counts: Sequence[StageCounts]) -> StageCounts:
    """Add up counts."""
    return sum(counts, start=StageCounts())
