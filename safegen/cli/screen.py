"""What people see: a live line on a terminal, plain lines without one, and the closing tables."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from typing import IO, TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from safegen.api import Run
    from safegen.progress import Progress
    from safegen.session import Until, Watch
    from safegen.teachers._layers import Meter

PLAIN_EVERY_S = 10.0
LIVE_EVERY_S = 0.25


def console(stream: IO[str]) -> Console:
    """A console that colours only a terminal and never wraps for a pipe."""
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())


class _Seen(NamedTuple):
    progress: Progress
    meter: Meter
    since: float


@contextlib.contextmanager
def watching(stream: IO[str]) -> Generator[Watch]:
    """Show live counters while the block runs; the value takes them once they exist."""
    seen: list[_Seen] = []
    over = threading.Event()
    out = console(stream)

    def watch(progress: Progress, meter: Meter) -> None:
        seen.append(_Seen(progress, meter, time.monotonic()))

    def show() -> None:
        live = out.is_terminal
        status = out.status("reading the recipe") if live else None
        with status or contextlib.nullcontext():
            while not over.wait(LIVE_EVERY_S if live else PLAIN_EVERY_S):
                if seen and status:
                    status.update(line(seen[-1]))
                elif seen:
                    out.print(line(seen[-1]))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join(timeout=2)


def line(seen: _Seen) -> str:
    """Done / failed / in flight, requests a minute, tokens, accepted share, time left."""
    p, usage = seen.progress, seen.meter.usage()
    elapsed = max(time.monotonic() - seen.since, 1e-6)
    tokens = usage.prompt_tokens + usage.completion_tokens
    left = (p.planned - p.done) * elapsed / p.done if p.done else None
    parts = [
        f"{p.done}/{p.planned} done",
        f"{p.failed} failed",
        f"{seen.meter.in_flight} in flight",
        f"{usage.requests / elapsed * 60:.0f} requests/min",
        f"{tokens} tokens",
        f"{p.accepted / p.done:.0%} accepted" if p.done else "none accepted yet",
        f"{_clock(left)} left" if left is not None else "time left unknown",
    ]
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def closing(run: Run, lost: Mapping[str, int], *, until: Until | None) -> None:
    """What was made, where, what was lost and what to do next; to stderr."""
    import sys

    out = console(sys.stderr)
    if run.report is None:
        out.print(f"stopped after {escape(str(until))}; `{escape(str(run.folder.root))}` keeps it")
        out.print("next: run the same command without --until")
        return
    report = run.report
    if not report.changed and not run.asked:
        out.print(f"{escape(str(run.output))} is complete; nothing was asked and no file changed")
    table = Table(
        "domain", "direct_answer", "safe_completion", "refuse_redirect", title="accepted rows"
    )
    for domain, modes in sorted(report.by_domain_mode.items()):
        cells = (
            str(modes.get(mode, 0))
            for mode in ("direct_answer", "safe_completion", "refuse_redirect")
        )
        table.add_row(escape(domain), *cells)
    out.print(table)
    out.print(
        f"planned {report.planned} · made {report.made} · accepted {report.accepted}"
        f" (drafts: {report.drafts_accepted} of {report.drafts})"
    )
    for name, splits in report.rows.items():
        counts = ", ".join(f"{split} {n}" for split, n in splits.items())
        out.print(f"view {escape(name)}: {counts or 'empty, left out'}")
    for reason, count in (dict(report.lost) | dict(lost)).items():
        out.print(f"lost {count}: {escape(reason)}")
    if lost:
        out.print(f"next: safegen retry {escape(str(run.output))}")
    out.print(f"dataset: {escape(str(run.output))}")
    out.print(
        f"next: safegen show {escape(str(run.output))}   safegen verify {escape(str(run.output))}"
    )
