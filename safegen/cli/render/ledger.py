"""The ledger of a run as a table: crossed where two axes fit, else a line for each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.text import Text

from safegen.cli.render.console import grid, number, table_fits, word
from safegen.cli.render.heat_map import Names, ordered
from safegen.coverage.ledger import Cell, Counts, Ledger
from safegen.dataset.coverage_report import Certificates
from safegen.dataset.target import TargetReport
from safegen.validators import Reading


class Shown(NamedTuple):
    """What is looked at."""

    ledger: Ledger
    by: Names
    heat: Names | None
    target: TargetReport | None
    certificates: Certificates | None
    required: Reading | None = None
    """How the required elements of answers are checked; None where none is required."""
    reasons: Mapping[Cell, Mapping[str, int]] = MappingProxyType({})
    """Why prompts of a cell of `by` are not in the dataset, with how many."""


def table(out: Console, shown: Shown) -> Iterator[RenderableType]:
    """Two axes as a cross table where it fits, else a line for each cell."""
    cells = shown.ledger.by(shown.by)
    if len(shown.by) == 2:
        crossed = _cross(cells, shown)
        if table_fits(out, crossed):
            yield crossed
            yield word("  kept/planned of each cell; – is not planned", "dim")
            return
    yield from _long(out, cells, shown)


def _cross(cells: Mapping[Cell, Counts], shown: Shown) -> RenderableType:
    rows, columns = ordered(cells, shown.by)
    missing = ["missing"] if missing_of(shown) else []
    heads = [shown.by[0], *columns, "all", *missing, ""]
    table = grid(*heads, right=range(1, len(heads) - 1))
    for row in rows:
        own = [cells.get((row, column), Counts()) for column in columns]
        told = [_share(c) for c in [*own, total(own)]]
        lacks = sum(missing_of(shown).get((row, c), 0) for c in columns)
        table.add_row("", word(row), *told, *([_lack(lacks)] if missing else []))
    totals = [total([cells.get((r, c), Counts()) for r in rows]) for c in columns]
    told = [_share(c) for c in [*totals, total(totals)]]
    lacks = sum(missing_of(shown).values())
    table.add_row("", "all", *told, *([_lack(lacks)] if missing else []), style="bold")
    return table


def _long(out: Console, cells: Mapping[Cell, Counts], shown: Shown) -> Iterator[RenderableType]:
    """A line for each cell, as wide as there is room.

    What does not fit gives way in this order: axes with one value alone, which are named below; steps,
    which share a column; axes, which share one too and wrap.
    """
    every = range(len(shown.by))
    varied = [n for n in every if len({cell[n] for cell in cells}) > 1] or list(every)
    for kept, brief in ((list(every), False), (varied, False), (varied, True)):
        table = _lines(cells, shown, kept, brief=brief, joined=False)
        if table_fits(out, table):
            break
    else:
        table = _lines(cells, shown, varied, brief=True, joined=True)
        kept = varied
    yield table
    alone = [f"{shown.by[n]} {next(iter(cells))[n]}" for n in every if n not in kept and cells]
    if alone:
        yield word(f"  every row: {', '.join(alone)}", "dim")


def _lines(
    cells: Mapping[Cell, Counts], shown: Shown, kept: Sequence[int], *, brief: bool, joined: bool
) -> RenderableType:
    lacking = {} if joined and shown.target is None else dict(missing_of(shown))
    missing = ["missing"] if lacking else []
    axes = [shown.by[n] for n in kept]
    axes = [" · ".join(axes)] if joined else axes
    steps = ["kept/plan"] if brief else ["planned", "made", "accepted", "kept"]
    heads = [*axes, *steps, *missing, ""]
    table = grid(*heads, right=range(len(axes), len(heads) - 1))
    if joined:
        table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    for cell, c in [*cells.items(), (None, total(list(cells.values())))]:
        parts = ["all"] * len(kept) if cell is None else [cell[n] for n in kept]
        names = ["all" if cell is None else " · ".join(parts)] if joined else parts
        counts = (
            [_share(c)]
            if brief
            else [*map(number, (c.planned, c.answered, c.accepted)), _share(c, alone=True)]
        )
        lacks = sum(lacking.values()) if cell is None else lacking.get(cell, 0)
        more = [_lack(lacks)] if missing else []
        table.add_row("", *map(word, names), *counts, *more, style="" if cell else "bold")
    return table


def _share(c: Counts, *, alone: bool = False) -> Text:
    if not c.planned:
        return Text("–", "dim")
    style = "red" if not c.kept else "yellow" if c.kept < c.planned else ""
    return Text(number(c.kept) if alone else f"{c.kept:,}/{c.planned:,}", style)


def _lack(count: int) -> Text:
    return Text(number(count), "yellow" if count else "dim")


def total(counts: Sequence[Counts]) -> Counts:
    """Add counts up."""
    return sum(counts, start=Counts())


def missing_of(shown: Shown) -> Mapping[Cell, int]:
    """What each cell lacks: of the target where the table's cells are its own, else of the plan."""
    if shown.target is not None and shown.target.per == shown.by:
        return shown.target.short
    cells = shown.ledger.by(shown.by)
    lacks = {cell: c.planned - c.kept for cell, c in cells.items()}
    return {cell: n for cell, n in lacks.items() if n > 0}
