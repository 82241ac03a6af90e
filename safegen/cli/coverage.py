"""safegen coverage: the ledger as a table and a heat map, what is missing, and the certificate."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console, RenderableType

from safegen.cli.render.console import (
    console,
    facts,
    grid,
    json_line,
    number,
    plural,
    put,
    share,
    word,
)
from safegen.cli.render.errors import say_what_differs
from safegen.cli.render.heat_map import Names, draw
from safegen.cli.render.ledger import Shown, missing_of, table
from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.errors import UserError
from safegen.core.types import MODES, Mode
from safegen.core.yaml_source import did_you_mean
from safegen.coverage.ledger import Cell, Counts, Facts, Ledger
from safegen.dataset.coverage_report import (
    STORED,
    Certificates,
    axis_values,
    certificates,
    certificates_json,
    compared,
    completed,
    counted,
    draft_rows,
    kept_shapes,
    planned_rows,
    planned_shapes,
)
from safegen.dataset.curate import Staying, staying
from safegen.dataset.dropped import unaccepted
from safegen.pipeline import api
from safegen.pipeline.snapshot import Thawed
from safegen.pipeline.top_up import settled
from safegen.store import plan
from safegen.validators import Reading, element_coverage

BY = ("harm", "intent")
"""Axes of the table unless told otherwise."""
STORED_ROW = ("scenario_id", *STORED)
LEDGER = ("harm", "intent", "mode", "language")
NAMED = 15
"""Cells and combinations that are named on the screen."""


def coverage(
    folder: Path, *, by: str | None, heat: str | None, certificate: bool, json: bool
) -> None:
    """Show what a run covers; changes nothing."""
    run = api.open_run(folder)
    basis = api.basis(run)
    known = tuple(dict.fromkeys([*STORED, *basis.axes.by_id]))
    hot = _names(heat.split(","), known, option="--heat") if heat is not None else None
    if hot is not None and len(hot) != 2:
        raise UserError("--heat: a heat map has two axes; name them as `--heat AXIS,AXIS`")
    axes = _names(by.split(","), known, option="--by") if by is not None else hot or BY
    plans = plan.Plans(run.folder.plans)
    every = tuple(dict.fromkeys([*axes, *(hot or ()), *LEDGER]))
    leaf = {"tier": basis.tiers, "severity": {n: h.severity for n, h in basis.tree.harms.items()}}
    others = [name for name in every if name not in STORED]
    told = axis_values(plans, others, leaf) if others else {}
    kept = staying(run.folder)
    shown = Shown(
        counted(run.folder, plans, per=every, told=told, kept=kept.scenarios),
        axes,
        hot,
        settled(run.folder, basis, kept),
        _certificates(run, basis, plans, kept) if certificate else None,
        _required(run, plans, basis.locale),
        _reasons(run, kept, axes, others, told),
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
    run: api.Run,
    kept: Staying,
    axes: Names,
    others: Sequence[str],
    told: Mapping[str, tuple[str, ...]],
) -> dict[Cell, Counter[str]]:
    found: dict[Cell, Counter[str]] = {}
    for about, reason in chain(unaccepted(run.folder), _left_out(run, kept)):
        row = completed(about, others, told)
        found.setdefault(tuple(str(row.get(name)) for name in axes), Counter())[reason] += 1
    return found


def _left_out(run: api.Run, kept: Staying) -> Iterator[tuple[Facts, str]]:
    """What accepted scenarios that the dataset leaves out are, and why they are left out."""
    seen: set[str] = set()
    for row in draft_rows(run.folder, STORED_ROW, run.folder.finished()) if kept.left_out else ():
        id_ = row["scenario_id"]
        if id_ in kept.left_out and id_ not in seen:
            seen.add(id_)
            yield row, kept.left_out[id_]


def _names(names: Sequence[str], known: Sequence[str], *, option: str) -> Names:
    for name in names:
        if name not in known:
            raise UserError(f"{option}: no axis `{name[:60]}`{did_you_mean(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"{option}: an axis stands twice; name each once")
    return tuple(names)


def _required(run: api.Run, plans: plan.Plans, locale: Locale) -> Reading | None:
    validators, own = [v.use for v in run.recipe.validators], plugins.names("validators")
    elements: dict[Mode, dict[str, None]] = {}
    for row in planned_rows(plans, ("mode", "required")):
        elements.setdefault(row["mode"], {}).update(dict.fromkeys(row["required"]))
    readings: dict[Mode, Reading] = {
        mode: element_coverage.read(mode, elements[mode], validators, own=own, locale=locale)
        for mode in MODES
        if elements.get(mode)
    }
    return element_coverage.together(readings) if readings else None


def _certificates(
    run: api.Run, basis: Thawed, plans: plan.Plans, kept: Staying
) -> Certificates | None:
    shapes = planned_shapes(plans), kept_shapes(run.folder, kept.scenarios)
    return certificates(
        *shapes, basis.tiers, axes=basis.axes, cut=basis.recipe.plan.cut, barred=basis.barred
    )


def _total(ledger: Ledger) -> str:
    counts = ledger.by(()).get((), Counts())
    told = f"{plural(counts.planned, 'prompt')}, {number(counts.answered)} answered"
    taken = f"{number(counts.accepted)} accepted, {number(counts.kept)} kept"
    return f"{told}, {taken} ({share(counts.kept, counts.planned)})"


def _put(out: Console, shown: Shown) -> None:
    heat, same = shown.heat, set(shown.heat or ()) == set(shown.by)
    if not same:
        put(out, *table(out, shown), "")
    if heat:
        put(out, *draw(shown.ledger.by(heat), heat, width=out.width, planned=same), "")
    if shown.target is not None:
        style = "yellow" if shown.target.short else "green"
        put(out, word(f"target: {shown.target.line}", style), "")
    if shown.required is not None:
        put(out, word(f"required elements: {shown.required.line}"), "")
    for head, lines in (
        ("short of the target", _short(shown)),
        ("not in the dataset", _lost(shown)),
    ):
        if lines:
            put(out, word(f"{head} ({plural(len(lines), 'cell')})", "bold"), *_first(lines), "")
    if shown.certificates is not None:
        put(out, *_certificate(shown.certificates), "")


def _short(shown: Shown) -> list[str]:
    if shown.target is None:
        return []
    short = shown.target.short
    ranked = sorted(short.items(), key=lambda item: (-item[1], item[0]))
    return [f"{' · '.join(cell)}: {number(n)} missing" for cell, n in ranked]


def _lost(shown: Shown) -> list[str]:
    """Cells of the table of which prompts are not in the dataset, with the reasons, the worst first."""
    cells = shown.ledger.by(shown.by)
    lacks = {cell: c.planned - c.kept for cell, c in cells.items() if c.kept < c.planned}
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
        if c.planned and not c.kept
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
    table = grid("combinations", "plan", "kept", "", right=(1, 2))
    for name, before, after in compared(found):
        table.add_row("", name, number(before), number(after))
    yield table
    lost = found.after.counts.missing
    if lost:
        yield ""
        yield word(f"missing among kept prompts ({number(lost)})", "bold")
        named = [" · ".join(f"{a} {v}" for a, v in row.items()) for row in found.after.missing]
        yield from (word(f"- {line}") for line in named[:NAMED])
        if lost > NAMED:
            yield word(f"and {number(lost - NAMED)} more", "dim")


def _json(shown: Shown) -> dict[str, object]:
    axes = tuple(dict.fromkeys([*shown.by, *(shown.heat or ())]))
    own = axes == shown.by
    lacks = missing_of(shown) if own else dict[Cell, int]()
    return {
        "axes": list(axes),
        "cells": [
            dict(zip(axes, cell, strict=True))
            | {"planned": c.planned, "answered": c.answered, "accepted": c.accepted, "kept": c.kept}
            | (
                {"missing": lacks.get(cell, 0), "reasons": dict(shown.reasons.get(cell, {}))}
                if own
                else {}
            )
            for cell, c in shown.ledger.by(axes).items()
        ],
        "nothing_kept": _bare(shown),
        "required": None
        if shown.required is None
        else {"by_form": shown.required.by_form, "not_checked": shown.required.unread},
        "target": None if shown.target is None else shown.target.as_json(),
        "certificate": None
        if shown.certificates is None
        else certificates_json(shown.certificates, listed=100),
    }
