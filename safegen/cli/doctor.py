"""`doctor` on the screen: what is well, what is not, and what mends it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from safegen.cli.render.console import console, json_line, plural, put, word
from safegen.core.finding import Finding, State
from safegen.pipeline.preflight.doctor import Group, examine

NARROW = 80
STYLES: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}
MARK, NAME = 6, 12
"""Widths of the first two columns, the same in every group."""


def doctor(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> int:
    """Examine and report; 1 when something fails."""
    return asyncio.run(_report(recipe, output=output, plugins=plugins, json=json))


async def _report(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> int:
    counts: Counter[State] = Counter()
    out = console(sys.stdout)
    screen = Group("terminal", [_terminal(out)])
    _show(out, screen, json=json)
    counts.update(f.state for f in screen.findings)
    async for group in examine(recipe, output=output, trusted=plugins):
        _show(out, group, json=json)
        counts.update(f.state for f in group.findings)
    if not json:
        put(out, word(_sum(counts), STYLES[_worst(counts)]))
    return int(counts["fail"] > 0)


def _terminal(out: Console) -> Finding:
    """What the screen can show."""
    if not out.is_terminal:
        return Finding("terminal", "ok", "stdout is none; plain text without colours")
    colour = "no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else _colours(out)
    told = f"{out.width} columns, {out.height} lines, {colour}"
    if out.width < NARROW:
        return Finding("terminal", "warn", told, f"widen it to {NARROW} columns")
    return Finding("terminal", "ok", told)


def _colours(out: Console) -> str:
    return f"colours: {out.color_system}" if out.color_system else "no colours"


def _show(out: Console, group: Group, *, json: bool) -> None:
    if json:
        for finding in group.findings:
            sys.stdout.write(json_line({"group": group.name} | finding._asdict()))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=MARK, justify="right")
    table.add_column(width=NAME, style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for check, state, told, remedy in group.findings:
        table.add_row(word(state, STYLES[state]), word(check), word(told))
        if remedy:
            table.add_row("", "", word(f"→ {remedy}", STYLES[state]))
    put(out, word(group.name, "bold"), table, "")


def _worst(counts: Counter[State]) -> State:
    return "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"


def _sum(counts: Counter[State]) -> str:
    told = [plural(counts["fail"], "failure")] if counts["fail"] else []
    told += [plural(counts["warn"], "warning")] if counts["warn"] else []
    return ", ".join(told) or "all is well"
