"""Output of `safegen doctor`: findings by group, each with a remedy."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from safegen.cli.render.console import (
    format_json_line,
    make_console,
    make_text,
    print_out,
)
from safegen.core import event_loop
from safegen.core.finding import CheckStatus, DoctorFinding
from safegen.core.plural import format_plural
from safegen.pipeline.preflight.doctor import FindingGroup, examine

NARROW = 80
STYLES: dict[CheckStatus, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}
MARK_WIDTH, NAME_WIDTH = 6, 12
"""Widths of the first two columns, equal in all groups."""


def run_doctor(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> int:
    """Print all findings; return 1 if a check fails."""
    return event_loop.run(_print_report(recipe, output=output, plugins=plugins, json=json))


async def _print_report(
    recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool
) -> int:
    counts: Counter[CheckStatus] = Counter()
    out = make_console(sys.stdout)
    terminal = FindingGroup("terminal", [_check_terminal(out)])
    _print_group(out, terminal, json=json)
    counts.update(f.state for f in terminal.findings)
    async for group in examine(recipe, output=output, trusted=plugins):
        _print_group(out, group, json=json)
        counts.update(f.state for f in group.findings)
    if not json:
        print_out(out, make_text(_summary_line(counts), STYLES[_worst_status(counts)]))
    return int(counts["fail"] > 0)


def _check_terminal(out: Console) -> DoctorFinding:
    if not out.is_terminal:
        return DoctorFinding(
            "terminal", "ok", "stdout is not a terminal; plain text without colours"
        )
    colour = "no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else _describe_colours(out)
    text = f"{out.width} columns, {out.height} lines, {colour}"
    if out.width < NARROW:
        return DoctorFinding("terminal", "warn", text, f"widen it to {NARROW} columns")
    return DoctorFinding("terminal", "ok", text)


def _describe_colours(out: Console) -> str:
    return f"colours: {out.color_system}" if out.color_system else "no colours"


def _print_group(out: Console, group: FindingGroup, *, json: bool) -> None:
    if json:
        for finding in group.findings:
            sys.stdout.write(format_json_line({"group": group.name} | finding._asdict()))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=MARK_WIDTH, justify="right")
    table.add_column(width=NAME_WIDTH, style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for check, state, message, remedy in group.findings:
        table.add_row(make_text(state, STYLES[state]), make_text(check), make_text(message))
        if remedy:
            table.add_row("", "", make_text(f"→ {remedy}", STYLES[state]))
    print_out(out, make_text(group.name, "bold"), table, "")


def _worst_status(counts: Counter[CheckStatus]) -> CheckStatus:
    return "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"


def _summary_line(counts: Counter[CheckStatus]) -> str:
    parts = [format_plural(counts["fail"], "failure")] if counts["fail"] else []
    parts += [format_plural(counts["warn"], "warning")] if counts["warn"] else []
    return ", ".join(parts) or "no problems"
