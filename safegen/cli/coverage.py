"""safegen coverage: the ledger as a table and a heat map, what is missing, and the certificate."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.text import Text

from safegen import api, plugins
from safegen.cli.edge import say_what_differs
from safegen.cli.heat import Names, draw, ordered
from safegen.cli.screen import (
    console,
    facts,
    grid,
    json_line,
    number,
    plural,
    put,
    share,
    table_fits,
    word,
)
from safegen.covered import (
    STORED,
    Certificates,
    TargetReport,
    accepted_shapes,
    axis_values,
    certificates,
    certificates_json,
    compared,
    counted,
    planned_rows,
    planned_shapes,
)
from safegen.errors import UserError
from safegen.frozen import Thawed
from safegen.losses import unaccepted
from safegen.rounds import settled
from safegen.scenarios.coverage import Cell, Counts, Ledger
from safegen.store import plan
from safegen.types import MODES, Mode
from safegen.validators import _elements
from safegen.validators._elements import Reading
from safegen.yamlfile import did_you_mean

BY = ("harm", "intent")
"""Axes of the table unless told otherwise."""
LEDGER = ("harm", "intent", "mode", "language")
NAMED = 15
"""Cells and combinations that are named on the screen."""


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
    """Why prompts of a cell of `by` have no accepted answer, with how many."""


def coverage(
    folder: Path, *, by: str | None, heat: tuple[str, str] | None, certificate: bool, json: bool
) -> None:
    """Show what a run covers; changes nothing."""
    run = api.open_run(folder)
    basis = api.basis(run)
    known = tuple(dict.fromkeys([*STORED, *basis.axes.by_id]))
    hot = _names(heat, known, option="--heat") if heat else None
    axes = _names(by.split(","), known, option="--by") if by is not None else hot or BY
    plans = plan.Plans(run.folder.plans)
    every = tuple(dict.fromkeys([*axes, *(hot or ()), *LEDGER]))
    leaf = {"tier": basis.tiers, "severity": {n: h.severity for n, h in basis.tree.harms.items()}}
    shown = Shown(
        counted(run.folder, plans, per=every, by_leaf=leaf),
        axes,
        hot,
        settled(run.folder, basis),
        _certificates(run, basis, plans) if certificate else None,
        _required(run, plans),
        _reasons(run, plans, axes, leaf),
    )
    say_what_differs(basis)
    if json:
        sys.stdout.write(json_line({"folder": str(folder), **_json(shown)}))
        return
    out = console(sys.stdout)
    put(out, word(f"{run.recipe.name} {run.recipe.version} in {folder}", "bold"))
    put(out, word(f"{plural(plans.rounds, 'round')} planned; {_total(shown.ledger)}"), "")
    _put(out, shown)


def _reasons(
    run: api.Run, plans: plan.Plans, axes: Names, leaf: Mapping[str, Mapping[str, str]]
) -> dict[Cell, Counter[str]]:
    others = [name for name in axes if name not in STORED]
    told = axis_values(plans, others, leaf) if others else {}
    found: dict[Cell, Counter[str]] = {}
    for about, reason in unaccepted(run.folder):
        row = {**about, "contrast": about["contrast"] or "none"}
        row |= dict(zip(others, told.get(str(about["scenario_id"]), ()), strict=False))
        found.setdefault(tuple(str(row.get(name)) for name in axes), Counter())[reason] += 1
    return found


def _names(names: Sequence[str], known: Sequence[str], *, option: str) -> Names:
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            told = near if "did you mean" in near else f"; known: {', '.join(sorted(known))}"
            raise UserError(f"{option}: no axis `{name[:60]}`{told}")
    if len(set(names)) < len(names):
        raise UserError(f"{option}: an axis stands twice; name each once")
    return tuple(names)


def _required(run: api.Run, plans: plan.Plans) -> Reading | None:
    validators, own = [v.use for v in run.recipe.validators], plugins.names("validators")
    elements: dict[Mode, dict[str, None]] = {}
    for row in planned_rows(plans, ("mode", "required")):
        elements.setdefault(row["mode"], {}).update(dict.fromkeys(row["required"]))
    readings: dict[Mode, Reading] = {
        mode: _elements.read(mode, elements[mode], validators, own=own)
        for mode in MODES
        if elements.get(mode)
    }
    return _elements.together(readings) if readings else None


def _certificates(run: api.Run, basis: Thawed, plans: plan.Plans) -> Certificates | None:
    shapes = planned_shapes(plans), accepted_shapes(run.folder)
    return certificates(
        *shapes, basis.tiers, axes=basis.axes, cut=basis.recipe.plan.cut, barred=basis.barred
    )


def _total(ledger: Ledger) -> str:
    counts = ledger.by(()).get((), Counts())
    told = f"{plural(counts.planned, 'prompt')}, {number(counts.made)} answered"
    return f"{told}, {number(counts.accepted)} accepted ({share(counts.accepted, counts.planned)})"


def _put(out: Console, shown: Shown) -> None:
    heat, same = shown.heat, set(shown.heat or ()) == set(shown.by)
    if not same:
        put(out, *_table(out, shown), "")
    if heat:
        put(out, *draw(shown.ledger.by(heat), heat, width=out.width, planned=same), "")
    if shown.target is not None:
        style = "yellow" if shown.target.short else "green"
        put(out, word(f"target: {shown.target.line}", style), "")
    if shown.required is not None:
        put(out, word(f"required elements: {shown.required.line}"), "")
    for head, lines in (("short of the target", _short(shown)), ("not accepted", _lost(shown))):
        if lines:
            put(out, word(f"{head} ({plural(len(lines), 'cell')})", "bold"), *_first(lines), "")
    if shown.certificates is not None:
        put(out, *_certificate(shown.certificates), "")


def _table(out: Console, shown: Shown) -> Iterator[RenderableType]:
    """Two axes as a cross table where it fits, else a line for each cell."""
    cells = shown.ledger.by(shown.by)
    if len(shown.by) == 2:
        table = _cross(cells, shown)
        if table_fits(out, table):
            yield table
            yield word("  accepted/planned of each cell; – is not planned", "dim")
            return
    yield from _long(out, cells, shown)


def _cross(cells: Mapping[Cell, Counts], shown: Shown) -> RenderableType:
    rows, columns = ordered(cells, shown.by)
    missing = ["missing"] if _missing(shown) else []
    heads = [shown.by[0], *columns, "all", *missing, ""]
    table = grid(*heads, right=range(1, len(heads) - 1))
    for row in rows:
        own = [cells.get((row, column), Counts()) for column in columns]
        told = [_share(c) for c in [*own, _sum(own)]]
        lacks = sum(_missing(shown).get((row, c), 0) for c in columns)
        table.add_row("", word(row), *told, *([_lack(lacks)] if missing else []))
    totals = [_sum([cells.get((r, c), Counts()) for r in rows]) for c in columns]
    told = [_share(c) for c in [*totals, _sum(totals)]]
    lacks = sum(_missing(shown).values())
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
    lacking = {} if joined and shown.target is None else dict(_missing(shown))
    missing = ["missing"] if lacking else []
    axes = [shown.by[n] for n in kept]
    axes = [" · ".join(axes)] if joined else axes
    steps = ["acc/plan"] if brief else ["planned", "made", "accepted"]
    heads = [*axes, *steps, *missing, ""]
    table = grid(*heads, right=range(len(axes), len(heads) - 1))
    if joined:
        table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    for cell, c in [*cells.items(), (None, _sum(list(cells.values())))]:
        parts = ["all"] * len(kept) if cell is None else [cell[n] for n in kept]
        names = ["all" if cell is None else " · ".join(parts)] if joined else parts
        counts = (
            [_share(c)] if brief else [*map(number, (c.planned, c.made)), _share(c, alone=True)]
        )
        lacks = sum(lacking.values()) if cell is None else lacking.get(cell, 0)
        more = [_lack(lacks)] if missing else []
        table.add_row("", *map(word, names), *counts, *more, style="" if cell else "bold")
    return table


def _share(c: Counts, *, alone: bool = False) -> Text:
    if not c.planned:
        return Text("–", "dim")
    style = "red" if not c.accepted else "yellow" if c.accepted < c.planned else ""
    return Text(number(c.accepted) if alone else f"{c.accepted:,}/{c.planned:,}", style)


def _lack(count: int) -> Text:
    return Text(number(count), "yellow" if count else "dim")


def _sum(counts: Sequence[Counts]) -> Counts:
    return sum(counts, start=Counts())


def _missing(shown: Shown) -> Mapping[Cell, int]:
    """What each cell lacks: of the target where the table's cells are its own, else of the plan."""
    if shown.target is not None and shown.target.per == shown.by:
        return shown.target.short
    cells = shown.ledger.by(shown.by)
    lacks = {cell: c.planned - c.accepted for cell, c in cells.items()}
    return {cell: n for cell, n in lacks.items() if n > 0}


def _short(shown: Shown) -> list[str]:
    if shown.target is None:
        return []
    short = shown.target.short
    ranked = sorted(short.items(), key=lambda item: (-item[1], item[0]))
    return [f"{' · '.join(cell)}: {number(n)} missing" for cell, n in ranked]


def _lost(shown: Shown) -> list[str]:
    """Cells of the table in which prompts have no accepted answer, with the reasons, the worst first."""
    cells = shown.ledger.by(shown.by)
    lacks = {cell: c.planned - c.accepted for cell, c in cells.items() if c.accepted < c.planned}
    ranked = sorted(lacks, key=lambda cell: (-lacks[cell], cell))
    return [
        f"{' · '.join(cell)}: {number(lacks[cell])} of {number(cells[cell].planned)}{_why(shown, cell)}"
        for cell in ranked
    ]


def _why(shown: Shown, cell: Cell) -> str:
    reasons = shown.reasons.get(cell, {})
    told = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ": " + ", ".join(f"{number(n)} {reason}" for reason, n in told) if told else ""


def _bare(shown: Shown) -> list[str]:
    """Cells of leaf, intent, mode and language that the plan reaches and filtering emptied."""
    cells = shown.ledger.by(("harm", "intent", "mode", "language"))
    return [
        f"{' · '.join(cell)}: 0 of {number(c.planned)}"
        for cell, c in cells.items()
        if c.planned and not c.accepted
    ]


def _first(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines[:NAMED]:
        yield word(f"- {line}")
    if len(lines) > NAMED:
        yield word(f"and {number(len(lines) - NAMED)} more; --json names all", "dim")


def _certificate(found: Certificates) -> Iterator[RenderableType]:
    yield word("certificate", "bold")
    told = [("pairs of", ", ".join(found.axes))]
    if found.triples:
        told.append(("triples of", ", ".join(found.triples)))
    yield facts(told, width=10)
    yield ""
    table = grid("combinations", "plan", "accepted", "", right=(1, 2))
    for name, before, after in compared(found):
        table.add_row("", name, number(before), number(after))
    yield table
    lost = found.after.counts.missing
    if lost:
        yield ""
        yield word(f"missing among accepted prompts ({number(lost)})", "bold")
        named = [" · ".join(f"{a} {v}" for a, v in row.items()) for row in found.after.missing]
        yield from (word(f"- {line}") for line in named[:NAMED])
        if lost > NAMED:
            yield word(f"and {number(lost - NAMED)} more", "dim")


def _json(shown: Shown) -> dict[str, object]:
    axes = tuple(dict.fromkeys([*shown.by, *(shown.heat or ())]))
    own = axes == shown.by
    lacks = _missing(shown) if own else dict[Cell, int]()
    return {
        "axes": list(axes),
        "cells": [
            dict(zip(axes, cell, strict=True))
            | {"planned": c.planned, "made": c.made, "accepted": c.accepted}
            | (
                {"missing": lacks.get(cell, 0), "reasons": dict(shown.reasons.get(cell, {}))}
                if own
                else {}
            )
            for cell, c in shown.ledger.by(axes).items()
        ],
        "nothing_accepted": _bare(shown),
        "required": None
        if shown.required is None
        else {"by_form": shown.required.by_form, "not_checked": shown.required.unread},
        "target": None if shown.target is None else shown.target.as_json(),
        "certificate": None
        if shown.certificates is None
        else certificates_json(shown.certificates, listed=100),
    }
