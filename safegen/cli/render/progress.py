"""The counters of a run while it works: a bar on a terminal, plain lines without one; all on stderr."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from safegen.cli.render.console import (
    format_duration,
    format_number,
    format_plural,
    format_share,
    format_short,
    make_console,
)

if TYPE_CHECKING:
    from safegen.core.progress import Progress, Stage
    from safegen.pipeline.session import Watch
    from safegen.teachers import Meter

PLAIN_EVERY_S = 10.0
COUNTED: Mapping[Stage, str] = {"drafting": "drafts", "labelling": "prompts read"}
"""What each stage counts, as people read it."""
WINDOW_S = 60.0
"""Rates are those of the last minute: replies from the journal come at once and tell nothing of the rest."""
Clock = Callable[[], float]


class _Sample(NamedTuple):
    at: float
    done: int
    requests: int


class ProgressView(NamedTuple):
    """The counters at one moment, with rates."""

    done: int
    planned: int
    failed: int
    in_flight: int
    per_minute: float
    tokens: int
    accepted: int
    left_s: float | None
    shards: int
    shards_planned: int
    stage: Stage = "drafting"
    resumed: bool = False
    round: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether every shard is on disk."""
        return self.stage == "drafting" and self.shards >= self.shards_planned

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.stage == "drafting" and not self.shards_planned

    def opening_line(self) -> str:
        """Say what is about to be done."""
        return self._round_text() + self._opening_text()

    def _round_text(self) -> str:
        """Which round it is, from the second one on: it asks for what a target lacks."""
        return f"round {self.round + 1}: " if self.round else ""

    def _opening_text(self) -> str:
        if self.stage == "drafting":
            shards = format_plural(self.shards_planned, "shard")
            if self.resumed:
                text = f"{format_plural(self.planned, 'draft')} to go through in {shards}"
                return f"{text}; what was answered before is not asked again"
            return f"{format_plural(self.planned, 'draft')} to make in {shards}"
        return f"{format_plural(self.planned, 'prompt')} to be read by labellers"

    def time_left(self) -> str:
        """Say how long it will take."""
        if self.is_finished:
            return "building the dataset"
        return (
            "time left unknown" if self.left_s is None else f"{format_duration(self.left_s)} left"
        )

    def head_parts(self) -> list[str]:
        """Say how far it is."""
        done = f"{self._round_text()}{format_number(self.done)}/{format_number(self.planned)} {COUNTED[self.stage]}"
        shards = [f"{self.shards}/{self.shards_planned} shards"] if self.stage == "drafting" else []
        return [f"{done} ({format_share(self.done, self.planned)})", *shards]

    def detail_parts(self) -> list[str]:
        """Say how it goes."""
        judged = self.done and self.stage == "drafting"
        accepted = [f"{format_share(self.accepted, self.done)} accepted"] if judged else []
        return [
            f"{format_number(self.failed)} failed",
            f"{format_number(self.in_flight)} in flight",
            f"{format_short(self.per_minute)} requests/min",
            f"{format_short(self.tokens)} tokens",
            *accepted,
        ]

    def full_line(self, *, ended: bool = False) -> str:
        """Say it all in one line."""
        return ", ".join(
            [*self.head_parts(), *self.detail_parts(), *([] if ended else [self.time_left()])]
        )

    def render_bar(self) -> RenderableType:
        """Draw it for a terminal: a bar with its figures, and a line below."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True)
        figures = " · ".join([*self.head_parts(), self.time_left()])
        table.add_row(ProgressBar(total=max(self.planned, 1), completed=self.done), figures)
        below = Text(
            " · ".join(self.detail_parts()), style="dim", no_wrap=True, overflow="ellipsis"
        )
        return Group(table, below)


class ProgressReader:
    """Reads the live counters, which exist once the plan is written."""

    def __init__(self, now: Clock = time.monotonic) -> None:
        self._now = now
        self._marks: deque[_Sample] = deque()
        self._given: tuple[Progress, Meter] | None = None

    def watch(self, progress: Progress, meter: Meter) -> None:
        """Take the counters of a stage; rates begin anew with each."""
        self._given = progress, meter
        self._marks.clear()
        self._marks.append(_Sample(self._now(), progress.done, meter.usage().requests))

    def read_view(self) -> ProgressView | None:
        """Read them now; None before there are any."""
        if self._given is None:
            return None
        progress, meter = self._given
        usage = meter.usage()
        marks, now = self._marks, _Sample(self._now(), progress.done, usage.requests)
        while len(marks) > 1 and marks[1].at <= now.at - WINDOW_S:
            marks.popleft()
        first = marks[0]
        if now.at - marks[-1].at >= 1:
            marks.append(now)
        span = max(now.at - first.at, 1.0)
        pace = (now.done - first.done) / span
        return ProgressView(
            done=progress.done,
            planned=progress.planned,
            failed=progress.failed,
            in_flight=meter.in_flight,
            per_minute=(now.requests - first.requests) / span * 60,
            tokens=usage.prompt_tokens + usage.completion_tokens,
            accepted=progress.accepted,
            left_s=(progress.planned - progress.done) / pace if pace else None,
            shards=progress.shards_done,
            shards_planned=progress.shards_planned,
            stage=progress.stage,
            resumed=progress.resumed and not progress.round,
            round=progress.round,
        )


@dataclass
class PlainLines:
    """Says the counters line by line: at the start, at most every ten seconds, at the end."""

    counters: ProgressReader
    print_text: Callable[[str], None]
    now: Clock = time.monotonic
    printed_at: float = 0.0
    printed: tuple[str, int] = ("", 0)
    """The stage and round that were opened last."""

    def print_if_due(self) -> None:
        """Say a line if one is due."""
        seen = self.counters.read_view()
        if seen is None or seen.is_idle:
            return
        if self.printed != (seen.stage, seen.round):
            self.print_text(seen.opening_line())
            self.printed_at, self.printed = self.now(), (seen.stage, seen.round)
        elif self.now() - self.printed_at >= PLAIN_EVERY_S:
            self.print_text(seen.full_line())
            self.printed_at = self.now()

    def print_last(self) -> None:
        """Say the last line."""
        self.print_if_due()
        seen = self.counters.read_view()
        if seen is not None and not seen.is_idle:
            self.print_text(seen.full_line(ended=True))


@contextlib.contextmanager
def show_progress(stream: IO[str]) -> Generator[tuple[Watch, ProgressReader]]:
    """Show live counters while the block runs; `Watch` takes them once they exist."""
    counters = ProgressReader()
    out = make_console(stream)
    if stream.isatty() and not out.is_dumb_terminal:
        from rich.live import Live
        from rich.spinner import Spinner

        waiting = Spinner("dots", "reading the recipe and planning")

        def drawn() -> RenderableType:
            seen = counters.read_view()
            # Room for the `^C` that a terminal echoes: a wrapped line would not be erased.
            return waiting if seen is None else Constrain(seen.render_bar(), out.width - 4)

        with Live(get_renderable=drawn, console=out, refresh_per_second=4, transient=True):
            yield counters.watch, counters
        return
    lines = PlainLines(counters, lambda line: print_line(stream, line))
    with _run_ticker(lines.print_if_due):
        yield counters.watch, counters
    lines.print_last()


@contextlib.contextmanager
def _run_ticker(tick: Callable[[], None]) -> Generator[None]:
    over = threading.Event()

    def loop() -> None:
        while not over.wait(0.25):
            tick()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2)


def print_line(stream: IO[str], line: str) -> None:
    """Write one line at once."""
    stream.write(f"safegen: {line}\n")
    stream.flush()
