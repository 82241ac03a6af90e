"""Live counters of a run on stderr: a bar on a terminal, plain lines without one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from rich import progress as rich_progress
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.text import Text

from safegen.cli.render.console import (
    format_duration,
    format_number,
    format_share,
    format_short,
    make_console,
)
from safegen.core.plural import format_plural

if TYPE_CHECKING:
    from safegen.core.progress import Progress, Stage
    from safegen.pipeline.session import Watch
    from safegen.teachers import Meter, Wait

# Without a terminal each line stays in a log file.
PLAIN_EVERY_S = 10.0
TICKS_PER_S = 4
UNITS: Mapping[Stage, str] = {
    "drafting": "drafts",
    "labelling": "prompts read",
    "checking": "known prompts read to check the labellers",
    "trapping": "probes read to check the judges",
    "scoring": "answers",
}
"""Items that each stage counts."""
SHOWN_WAIT_S = 5.0
"""Shortest wait that is shown; the limiter logs the same."""
RATE_WINDOW_S = 60.0
"""Rates cover the last minute, because cached replies arrive at once and say nothing about the rest."""
ECHO_WIDTH = 4
"""Columns left free for the `^C` that a terminal echoes; a wrapped line would not be erased."""
Clock = Callable[[], float]


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
    dropped: int = 0
    round: int = 0
    wait: Wait | None = None
    """The longest wait for a limited endpoint."""

    @property
    def is_finished(self) -> bool:
        """True if every shard is on disk."""
        return self.stage == "drafting" and self.shards >= self.shards_planned

    @property
    def is_idle(self) -> bool:
        """True if the plan has no shard left."""
        return self.stage == "drafting" and not self.shards_planned

    def opening_line(self) -> str:
        """Announce the work of a stage."""
        return self._round_text() + self._opening_text()

    def _round_text(self) -> str:
        return f"round {self.round + 1}: " if self.round else ""

    def _opening_text(self) -> str:
        if self.stage == "labelling":
            return f"{format_plural(self.planned, 'prompt')} for the labellers to read"
        if self.stage == "trapping":
            return f"{format_plural(self.planned, 'probe')} for the judges to read"
        if self.stage == "scoring":
            return "scoring answers"
        drafts = format_plural(self.planned, "draft")
        shards = format_plural(self.shards_planned, "shard")
        if self.resumed:
            return f"resuming: {drafts} in {shards}; cached replies are reused"
        return f"{drafts} in {shards}"

    def time_left(self) -> str:
        """Format the remaining time."""
        if self.is_finished:
            return "building the dataset"
        if self.left_s is None:
            return "time left unknown"
        return f"{format_duration(self.left_s)} left"

    def head_parts(self) -> list[str]:
        """Format the items and shards that are done."""
        if self.stage == "scoring":
            # The answers are read one after the other, so their number is not known.
            return [f"{self._round_text()}{format_plural(self.done, 'answer')}"]
        done = f"{self._round_text()}{format_number(self.done)}/{format_number(self.planned)} {UNITS[self.stage]}"
        shards = (
            [f"{self.shards}/{format_plural(self.shards_planned, 'shard')}"]
            if self.stage == "drafting"
            else []
        )
        return [f"{done} ({format_share(self.done, self.planned)})", *shards]

    def detail_parts(self) -> list[str]:
        """Format failures, requests, tokens and acceptance."""
        # Without dropped prompts, as the closing screen counts.
        drafts = self.done - self.dropped
        accepted = (
            [f"{format_share(self.accepted, drafts)} of candidates accepted"]
            if drafts and self.stage == "drafting"
            else []
        )
        dropped = [f"{format_number(self.dropped)} dropped"] if self.dropped else []
        return [
            *self._wait_parts(),
            f"{format_number(self.failed)} failed",
            *dropped,
            f"{format_number(self.in_flight)} in flight",
            f"{format_short(self.per_minute)} requests/min",
            f"{format_short(self.tokens)} tokens",
            *accepted,
        ]

    def _wait_parts(self) -> list[str]:
        wait = self.wait
        if wait is None or wait.seconds < SHOWN_WAIT_S:
            return []
        left = format_duration(wait.seconds)
        if wait.paused:
            return [f"all requests wait {left}: {wait.reason}"]
        return [f"{format_plural(wait.limited, 'request')} waiting, at most {left}: {wait.reason}"]

    def full_line(self, *, ended: bool = False) -> str:
        """Format all counters on one line."""
        left = [] if ended or self.stage == "scoring" else [self.time_left()]
        return ", ".join([*self.head_parts(), *self.detail_parts(), *left])


class ProgressReader(rich_progress.Progress):
    """A progress bar that polls the counters of a run; without a console it computes rates only."""

    def __init__(self, console: Console | None = None, *, now: Clock = time.monotonic) -> None:
        self._counters: tuple[Progress, Meter] | None = None
        self._out = console
        super().__init__(
            rich_progress.BarColumn(bar_width=None),
            rich_progress.TextColumn("{task.description}", markup=False),
            console=console,
            refresh_per_second=TICKS_PER_S,
            speed_estimate_period=RATE_WINDOW_S,
            transient=True,
            get_time=now,
            disable=console is None,
            expand=True,
        )
        self._items = self.add_task("reading the recipe and planning", total=None)
        self._requests = self.add_task("requests", total=None, visible=False)

    def watch(self, progress: Progress, meter: Meter) -> None:
        """Follow the counters of a stage; rates restart with each stage."""
        self.reset(self._items, total=max(progress.planned, 1), completed=progress.done)
        # From the current count, so that earlier sessions do not count as speed.
        self.reset(self._requests, completed=meter.usage().requests)
        self._counters = progress, meter

    def read_view(self) -> ProgressView | None:
        """Read the counters; None before the first stage."""
        if self._counters is None:
            return None
        progress, meter = self._counters
        usage = meter.usage()
        self.update(self._items, total=max(progress.planned, 1), completed=progress.done)
        self.update(self._requests, completed=usage.requests)
        pace = self._rate(self._items)
        return ProgressView(
            done=progress.done,
            planned=progress.planned,
            failed=progress.failed,
            dropped=progress.dropped,
            in_flight=meter.in_flight,
            per_minute=self._rate(self._requests) * 60,
            tokens=usage.prompt_tokens + usage.completion_tokens,
            accepted=progress.accepted,
            left_s=(progress.planned - progress.done) / pace if pace else None,
            shards=progress.shards_done,
            shards_planned=progress.shards_planned,
            stage=progress.stage,
            # A further round of the same command finds its own journal.
            resumed=progress.resumed and not progress.round,
            round=progress.round,
            wait=meter.read_wait(),
        )

    def _rate(self, task: rich_progress.TaskID) -> float:
        return next((t.speed for t in self.tasks if t.id == task), None) or 0.0

    def get_renderable(self) -> RenderableType:
        """Draw the bar with its figures, and the details below it."""
        # The base class calls this before its own attributes exist.
        if self._out is None or not hasattr(self, "live"):
            return Text()
        view = self.read_view()
        lines: list[RenderableType] = []
        if view is not None and view.is_idle:
            self.update(self._items, description=view.time_left())
        elif view is not None:
            left = [] if view.stage == "scoring" else [view.time_left()]
            figures = " · ".join([*view.head_parts(), *left])
            self.update(self._items, description=figures)
            details = " · ".join(view.detail_parts())
            lines = [Text(details, style="dim", no_wrap=True, overflow="ellipsis")]
        drawn = Group(self.make_tasks_table([t for t in self.tasks if t.visible]), *lines)
        return Constrain(drawn, self._out.width - ECHO_WIDTH)


@dataclass
class PlainLines:
    """Counters as plain lines: at the start of a stage, at most every ten seconds, at the end."""

    counters: ProgressReader
    print_text: Callable[[str], None]
    now: Clock = time.monotonic
    printed_at: float = 0.0
    printed: tuple[str, int] = ("", 0)
    """Stage and round of the last opening line."""

    def print_if_due(self) -> None:
        """Print a line if one is due."""
        view = self.counters.read_view()
        if view is None or view.is_idle:
            return
        if self.printed != (view.stage, view.round):
            self.print_text(view.opening_line())
            self.printed_at, self.printed = self.now(), (view.stage, view.round)
        elif self.now() - self.printed_at >= PLAIN_EVERY_S:
            self.print_text(view.full_line())
            self.printed_at = self.now()

    def print_last(self) -> None:
        """Print the final counters."""
        self.print_if_due()
        view = self.counters.read_view()
        if view is not None and not view.is_idle:
            self.print_text(view.full_line(ended=True))


@contextlib.contextmanager
def show_progress(stream: IO[str]) -> Generator[tuple[Watch, ProgressReader]]:
    """Show live counters while the block runs; `Watch` receives them once they exist."""
    out = make_console(stream)
    if stream.isatty() and not out.is_dumb_terminal:
        with ProgressReader(out) as bar:
            yield bar.watch, bar
        return
    counters = ProgressReader()
    lines = PlainLines(counters, lambda line: print_line(stream, line))
    with _run_ticker(lines.print_if_due):
        yield counters.watch, counters
    lines.print_last()


@contextlib.contextmanager
def _run_ticker(tick: Callable[[], None]) -> Generator[None]:
    over = threading.Event()

    def loop() -> None:
        while not over.wait(1 / TICKS_PER_S):
            tick()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        # A blocked terminal must not keep the command from ending.
        thread.join(timeout=2)


def print_line(stream: IO[str], line: str) -> None:
    """Write one line and flush it."""
    stream.write(f"safegen: {line}\n")
    stream.flush()
