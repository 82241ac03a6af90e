"""Output of `safegen coverage`: ledger, heat map, missing cells and certificate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType

from safegen.cli.render.console import (
    format_json_line,
    format_number,
    format_share,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.cli.render.errors import print_differences
from safegen.cli.render.heat_map import draw_heat_map
from safegen.cli.render.ledger import render_ledger
from safegen.core.plural import format_plural
from safegen.coverage.ledger import Cell
from safegen.dataset.coverage_report import Certificates, compare_certificates
from safegen.pipeline import api
from safegen.pipeline.coverage import CoverageReport, measure_coverage

MAX_LISTED = 15
"""Cells and combinations that the screen lists."""


def show_coverage(
    folder: Path, *, by: str | None, heat: str | None, certificate: bool, json: bool
) -> None:
    """Print the coverage of a run."""
    run = api.open_run(folder)
    context = api.load_context(run)
    report = measure_coverage(
        run,
        context,
        by=None if by is None else by.split(","),
        heat=None if heat is None else heat.split(","),
        certificate=certificate,
    )
    print_differences(context)
    if json:
        sys.stdout.write(format_json_line({"folder": str(folder), **report.to_json()}))
        return
    out = make_console(sys.stdout)
    print_out(out, make_text(f"{run.recipe.name} {run.recipe.version} in {folder}", "bold"))
    line = f"{format_plural(report.rounds, 'round')} planned; {_total_line(report)}"
    print_out(out, make_text(line), "")
    print_report(out, report)


def _total_line(report: CoverageReport) -> str:
    counts = report.total
    return (
        f"{format_plural(counts.planned, 'prompt')}, {format_number(counts.answered)} answered,"
        f" {format_number(counts.accepted)} accepted, {format_number(counts.kept)} kept"
        f" ({format_share(counts.kept, counts.planned)})"
    )


def print_report(out: Console, report: CoverageReport) -> None:
    """Print a report to a console."""
    heat = report.heat
    # A heat map of the same axes replaces the table.
    is_heat_only = set(heat or ()) == set(report.by)
    if not is_heat_only:
        print_out(out, *render_ledger(out, report), "")
    if heat:
        print_out(
            out,
            *draw_heat_map(
                report.ledger.totals_by(heat), heat, width=out.width, planned=is_heat_only
            ),
            "",
        )
    if report.target is not None:
        style = "yellow" if report.target.shortfall else "green"
        first, *more = report.target.lines
        lines = [f"target: {first}", *(f"  {line}" for line in more)]
        print_out(out, *[make_text(line, style) for line in lines], "")
    if report.required is not None:
        print_out(out, make_text(f"required elements: {report.required.line}"), "")
    for head, lines in (
        ("short of the target", _shortfall_lines(report)),
        ("not in the dataset", _loss_lines(report)),
    ):
        if lines:
            print_out(
                out,
                make_text(f"{head} ({format_plural(len(lines), 'cell')})", "bold"),
                *_first_lines(lines),
                "",
            )
    if report.certificates is not None:
        print_out(out, *_certificate_lines(report.certificates), "")


def _shortfall_lines(report: CoverageReport) -> list[str]:
    if report.target is None:
        return []
    shortfall = report.target.shortfall
    ranked = sorted(shortfall.items(), key=lambda item: (-item[1], item[0]))
    return [f"{' · '.join(cell)}: {format_number(n)} missing" for cell, n in ranked]


def _loss_lines(report: CoverageReport) -> list[str]:
    cells, lost = report.ledger.totals_by(report.by), report.lost_by_cell()
    ranked = sorted(lost, key=lambda cell: (-lost[cell], cell))
    return [
        f"{' · '.join(cell)}: {format_number(lost[cell])} of {format_number(cells[cell].planned)}{_reason_text(report, cell)}"
        for cell in ranked
    ]


def _reason_text(report: CoverageReport, cell: Cell) -> str:
    reasons = report.reasons.get(cell, {})
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return (
        ": " + ", ".join(f"{format_number(n)} {reason}" for reason, n in ranked) if ranked else ""
    )


def _first_lines(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines[:MAX_LISTED]:
        yield make_text(f"- {line}")
    if len(lines) > MAX_LISTED:
        yield make_text(
            f"and {format_number(len(lines) - MAX_LISTED)} more; list all with --json", "dim"
        )


def _certificate_lines(certificates: Certificates) -> Iterator[RenderableType]:
    yield make_text("certificate", "bold")
    axes = [("pairs of", ", ".join(certificates.axes))]
    if certificates.triples:
        axes.append(("triples of", ", ".join(certificates.triples)))
    yield make_fact_table(axes, width=10)
    yield ""
    table = make_grid("number of", "plan", "kept", "", right=(1, 2))
    for name, before, after in compare_certificates(certificates):
        table.add_row("", name, format_number(before), format_number(after))
    yield table
    missing = certificates.after.counts.missing
    if missing:
        yield ""
        yield make_text(f"missing among kept prompts ({format_number(missing)})", "bold")
        combinations = [
            " · ".join(f"{a} {v}" for a, v in row.items()) for row in certificates.after.missing
        ]
        yield from (make_text(f"- {line}") for line in combinations[:MAX_LISTED])
        if missing > MAX_LISTED:
            yield make_text(f"and {format_number(missing - MAX_LISTED)} more", "dim")
