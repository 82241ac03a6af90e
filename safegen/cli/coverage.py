"""safegen coverage: the ledger as a table and a heat map, what is missing, and the certificate."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from rich.console import Console, RenderableType

from safegen.cli.render.console import (
    format_json_line,
    format_number,
    format_plural,
    format_share,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.cli.render.errors import print_differences
from safegen.cli.render.heat_map import AxisNames, draw_heat_map
from safegen.cli.render.ledger import LedgerView, missing_by_cell, render_ledger
from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.errors import UserError
from safegen.core.types import MODES, Mode
from safegen.core.yaml_source import suggest_names
from safegen.coverage.ledger import Cell, CellCounts, Ledger, ScenarioAxes
from safegen.dataset.coverage_report import (
    STORED_COLUMNS,
    Certificates,
    certificates_json,
    certify_run,
    collect_axis_values,
    collect_kept_shapes,
    collect_planned_shapes,
    compare_certificates,
    complete_row,
    count_cells,
    iter_draft_rows,
    iter_planned_rows,
)
from safegen.dataset.curate import CurationResult, curate
from safegen.dataset.dropped import iter_unaccepted
from safegen.pipeline import api
from safegen.pipeline.snapshot import RunSnapshot
from safegen.pipeline.top_up import report_target
from safegen.store import plan
from safegen.validators import ElementCoverage, element_coverage

DEFAULT_AXES = ("harm", "intent")
"""Axes of the table unless told otherwise."""
STORED_ROW = ("scenario_id", *STORED_COLUMNS)
LEDGER_AXES = ("harm", "intent", "mode", "language")
MAX_NAMED = 15
"""Cells and combinations that are named on the screen."""


def show_coverage(
    folder: Path, *, by: str | None, heat: str | None, certificate: bool, json: bool
) -> None:
    """Show what a run covers; changes nothing."""
    run = api.open_run(folder)
    basis = api.load_context(run)
    known = tuple(dict.fromkeys([*STORED_COLUMNS, *basis.axes.by_id]))
    hot = _parse_axes(heat.split(","), known, option="--heat") if heat is not None else None
    if hot is not None and len(hot) != 2:
        raise UserError("--heat: a heat map has two axes; name them as `--heat AXIS,AXIS`")
    axes = (
        _parse_axes(by.split(","), known, option="--by") if by is not None else hot or DEFAULT_AXES
    )
    plans = plan.Plans(run.folder.plans)
    every = tuple(dict.fromkeys([*axes, *(hot or ()), *LEDGER_AXES]))
    leaf = {"tier": basis.tiers, "severity": {n: h.severity for n, h in basis.tree.harms.items()}}
    others = [name for name in every if name not in STORED_COLUMNS]
    axis_columns = collect_axis_values(plans, others, leaf) if others else {}
    kept = curate(run.folder)
    shown = LedgerView(
        count_cells(run.folder, plans, per=every, axis_columns=axis_columns, kept=kept.scenarios),
        axes,
        hot,
        report_target(run.folder, basis, kept),
        _build_certificates(run, basis, plans, kept) if certificate else None,
        _element_coverage(run, plans, basis.locale),
        _count_reasons(run, kept, axes, others, axis_columns),
    )
    print_differences(basis)
    if json:
        sys.stdout.write(format_json_line({"folder": str(folder), **_to_json(shown)}))
        return
    out = make_console(sys.stdout)
    print_out(out, make_text(f"{run.recipe.name} {run.recipe.version} in {folder}", "bold"))
    print_out(
        out,
        make_text(f"{format_plural(plans.rounds, 'round')} planned; {_total_line(shown.ledger)}"),
        "",
    )
    _print_ledger(out, shown)


def _count_reasons(
    run: api.Run,
    kept: CurationResult,
    axes: AxisNames,
    others: Sequence[str],
    axis_columns: Mapping[str, tuple[str, ...]],
) -> dict[Cell, Counter[str]]:
    counts: dict[Cell, Counter[str]] = {}
    for about, reason in chain(iter_unaccepted(run.folder), _iter_excluded(run, kept)):
        row = complete_row(about, others, axis_columns)
        counts.setdefault(tuple(str(row.get(name)) for name in axes), Counter())[reason] += 1
    return counts


def _iter_excluded(run: api.Run, kept: CurationResult) -> Iterator[tuple[ScenarioAxes, str]]:
    """What accepted scenarios that the dataset leaves out are, and why they are left out."""
    seen: set[str] = set()
    for row in (
        iter_draft_rows(run.folder, STORED_ROW, run.folder.finished_shards())
        if kept.excluded
        else ()
    ):
        id_ = row["scenario_id"]
        if id_ in kept.excluded and id_ not in seen:
            seen.add(id_)
            yield row, kept.excluded[id_]


def _parse_axes(names: Sequence[str], known: Sequence[str], *, option: str) -> AxisNames:
    for name in names:
        if name not in known:
            raise UserError(f"{option}: no axis `{name[:60]}`{suggest_names(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"{option}: an axis stands twice; name each once")
    return tuple(names)


def _element_coverage(run: api.Run, plans: plan.Plans, locale: Locale) -> ElementCoverage | None:
    validators, own = [v.use for v in run.recipe.validators], plugins.list_names("validators")
    elements: dict[Mode, dict[str, None]] = {}
    for row in iter_planned_rows(plans, ("mode", "required")):
        elements.setdefault(row["mode"], {}).update(dict.fromkeys(row["required"]))
    readings: dict[Mode, ElementCoverage] = {
        mode: element_coverage.classify_elements(
            mode, elements[mode], validators, own=own, locale=locale
        )
        for mode in MODES
        if elements.get(mode)
    }
    return element_coverage.merge_coverage(readings) if readings else None


def _build_certificates(
    run: api.Run, basis: RunSnapshot, plans: plan.Plans, kept: CurationResult
) -> Certificates | None:
    shapes = collect_planned_shapes(plans), collect_kept_shapes(run.folder, kept.scenarios)
    return certify_run(
        *shapes,
        basis.tiers,
        axes=basis.axes,
        cut=basis.recipe.plan.restricted_axes,
        barred=basis.barred_profiles,
    )


def _total_line(ledger: Ledger) -> str:
    counts = ledger.totals_by(()).get((), CellCounts())
    text = f"{format_plural(counts.planned, 'prompt')}, {format_number(counts.answered)} answered"
    taken = f"{format_number(counts.accepted)} accepted, {format_number(counts.kept)} kept"
    return f"{text}, {taken} ({format_share(counts.kept, counts.planned)})"


def _print_ledger(out: Console, shown: LedgerView) -> None:
    heat, same = shown.heat, set(shown.heat or ()) == set(shown.by)
    if not same:
        print_out(out, *render_ledger(out, shown), "")
    if heat:
        print_out(
            out,
            *draw_heat_map(shown.ledger.totals_by(heat), heat, width=out.width, planned=same),
            "",
        )
    if shown.target is not None:
        style = "yellow" if shown.target.shortfall else "green"
        print_out(out, make_text(f"target: {shown.target.line}", style), "")
    if shown.required is not None:
        print_out(out, make_text(f"required elements: {shown.required.line}"), "")
    for head, lines in (
        ("short of the target", _shortfall_lines(shown)),
        ("not in the dataset", _loss_lines(shown)),
    ):
        if lines:
            print_out(
                out,
                make_text(f"{head} ({format_plural(len(lines), 'cell')})", "bold"),
                *_first_lines(lines),
                "",
            )
    if shown.certificates is not None:
        print_out(out, *_certificate_lines(shown.certificates), "")


def _shortfall_lines(shown: LedgerView) -> list[str]:
    if shown.target is None:
        return []
    short = shown.target.shortfall
    ranked = sorted(short.items(), key=lambda item: (-item[1], item[0]))
    return [f"{' · '.join(cell)}: {format_number(n)} missing" for cell, n in ranked]


def _loss_lines(shown: LedgerView) -> list[str]:
    """Cells of the table of which prompts are not in the dataset, with the reasons, the worst first."""
    cells = shown.ledger.totals_by(shown.by)
    lacks = {cell: c.planned - c.kept for cell, c in cells.items() if c.kept < c.planned}
    ranked = sorted(lacks, key=lambda cell: (-lacks[cell], cell))
    return [
        f"{' · '.join(cell)}: {format_number(lacks[cell])} of {format_number(cells[cell].planned)}{_reason_text(shown, cell)}"
        for cell in ranked
    ]


def _reason_text(shown: LedgerView, cell: Cell) -> str:
    reasons = shown.reasons.get(cell, {})
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return (
        ": " + ", ".join(f"{format_number(n)} {reason}" for reason, n in ranked) if ranked else ""
    )


def _empty_cell_lines(shown: LedgerView) -> list[str]:
    """Cells of leaf, intent, mode and language that the plan reaches and filtering emptied."""
    cells = shown.ledger.totals_by(("harm", "intent", "mode", "language"))
    return [
        f"{' · '.join(cell)}: 0 of {format_number(c.planned)}"
        for cell, c in cells.items()
        if c.planned and not c.kept
    ]


def _first_lines(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines[:MAX_NAMED]:
        yield make_text(f"- {line}")
    if len(lines) > MAX_NAMED:
        yield make_text(
            f"and {format_number(len(lines) - MAX_NAMED)} more; --json names all", "dim"
        )


def _certificate_lines(certificates: Certificates) -> Iterator[RenderableType]:
    yield make_text("certificate", "bold")
    pairs = [("pairs of", ", ".join(certificates.axes))]
    if certificates.triples:
        pairs.append(("triples of", ", ".join(certificates.triples)))
    yield make_fact_table(pairs, width=10)
    yield ""
    table = make_grid("combinations", "plan", "kept", "", right=(1, 2))
    for name, before, after in compare_certificates(certificates):
        table.add_row("", name, format_number(before), format_number(after))
    yield table
    lost = certificates.after.counts.missing
    if lost:
        yield ""
        yield make_text(f"missing among kept prompts ({format_number(lost)})", "bold")
        named = [
            " · ".join(f"{a} {v}" for a, v in row.items()) for row in certificates.after.missing
        ]
        yield from (make_text(f"- {line}") for line in named[:MAX_NAMED])
        if lost > MAX_NAMED:
            yield make_text(f"and {format_number(lost - MAX_NAMED)} more", "dim")


def _to_json(shown: LedgerView) -> dict[str, object]:
    axes = tuple(dict.fromkeys([*shown.by, *(shown.heat or ())]))
    own = axes == shown.by
    lacks = missing_by_cell(shown) if own else dict[Cell, int]()
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
            for cell, c in shown.ledger.totals_by(axes).items()
        ],
        "nothing_kept": _empty_cell_lines(shown),
        "required": None
        if shown.required is None
        else {"by_form": shown.required.by_form, "not_checked": shown.required.unread},
        "target": None if shown.target is None else shown.target.to_json(),
        "certificate": None
        if shown.certificates is None
        else certificates_json(shown.certificates, listed=100),
    }
