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

from safegen.cli.render.console import clock, console, number, plural, share, short

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


class _Mark(NamedTuple):
    at: float
    done: int
    requests: int


class Seen(NamedTuple):
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
    def over(self) -> bool:
        """Whether every shard is on disk."""
        return self.stage == "drafting" and self.shards >= self.shards_planned

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.stage == "drafting" and not self.shards_planned

    def opening(self) -> str:
        """Say what is about to be done."""
        return self._of_round() + self._opening()

    def _of_round(self) -> str:
        """Which round it is, from the second one on: it asks for what a target lacks."""
        return f"round {self.round + 1}: " if self.round else ""

    def _opening(self) -> str:
        if self.stage == "drafting":
            shards = plural(self.shards_planned, "shard")
            if self.resumed:
                told = f"{plural(self.planned, 'draft')} to go through in {shards}"
                return f"{told}; what was answered before is not asked again"
            return f"{plural(self.planned, 'draft')} to make in {shards}"
        return f"{plural(self.planned, 'prompt')} to be read by labellers"

    def left(self) -> str:
        """Say how long it will take."""
        if self.over:
            return "building the dataset"
        return "time left unknown" if self.left_s is None else f"{clock(self.left_s)} left"

    def heads(self) -> list[str]:
        """Say how far it is."""
        done = f"{self._of_round()}{number(self.done)}/{number(self.planned)} {COUNTED[self.stage]}"
        shards = [f"{self.shards}/{self.shards_planned} shards"] if self.stage == "drafting" else []
        return [f"{done} ({share(self.done, self.planned)})", *shards]

    def parts(self) -> list[str]:
        """Say how it goes."""
        judged = self.done and self.stage == "drafting"
        accepted = [f"{share(self.accepted, self.done)} accepted"] if judged else []
        return [
            f"{number(self.failed)} failed",
            f"{number(self.in_flight)} in flight",
            f"{short(self.per_minute)} requests/min",
            f"{short(self.tokens)} tokens",
            *accepted,
        ]

    def line(self, *, ended: bool = False) -> str:
        """Say it all in one line."""
        return ", ".join([*self.heads(), *self.parts(), *([] if ended else [self.left()])])

    def bar(self) -> RenderableType:
        """Draw it for a terminal: a bar with its figures, and a line below."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True)
        figures = " · ".join([*self.heads(), self.left()])
        table.add_row(ProgressBar(total=max(self.planned, 1), completed=self.done), figures)
        below = Text(" · ".join(self.parts()), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(table, below)


class Counters:
    """Reads the live counters, which exist once the plan is written."""

    def __init__(self, now: Clock = time.monotonic) -> None:
        self._now = now
        self._marks: deque[_Mark] = deque()
        self._given: tuple[Progress, Meter] | None = None

    def watch(self, progress: Progress, meter: Meter) -> None:
        """Take the counters of a stage; rates begin anew with each."""
        self._given = progress, meter
        self._marks.clear()
        self._marks.append(_Mark(self._now(), progress.done, meter.usage().requests))

    def read(self) -> Seen | None:
        """Read them now; None before there are any."""
        if self._given is None:
            return None
        progress, meter = self._given
        usage = meter.usage()
        marks, now = self._marks, _Mark(self._now(), progress.done, usage.requests)
        while len(marks) > 1 and marks[1].at <= now.at - WINDOW_S:
            marks.popleft()
        first = marks[0]
        if now.at - marks[-1].at >= 1:
            marks.append(now)
        span = max(now.at - first.at, 1.0)
        pace = (now.done - first.done) / span
        return Seen(
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

    counters: Counters
    say: Callable[[str], None]
    now: Clock = time.monotonic
    said_at: float = 0.0
    said: tuple[str, int] = ("", 0)
    """The stage and round that were opened last."""

    def tick(self) -> None:
        """Say a line if one is due."""
        seen = self.counters.read()
        if seen is None or seen.idle:
            return
        if self.said != (seen.stage, seen.round):
            self.say(seen.opening())
            self.said_at, self.said = self.now(), (seen.stage, seen.round)
        elif self.now() - self.said_at >= PLAIN_EVERY_S:
            self.say(seen.line())
            self.said_at = self.now()

    def end(self) -> None:
        """Say the last line."""
        self.tick()
        seen = self.counters.read()
        if seen is not None and not seen.idle:
            self.say(seen.line(ended=True))


@contextlib.contextmanager
def watching(stream: IO[str]) -> Generator[tuple[Watch, Counters]]:
    """Show live counters while the block runs; `Watch` takes them once they exist."""
    counters = Counters()
    out = console(stream)
    if stream.isatty() and not out.is_dumb_terminal:
        from rich.live import Live
        from rich.spinner import Spinner

        waiting = Spinner("dots", "reading the recipe and planning")

        def drawn() -> RenderableType:
            seen = counters.read()
            # Room for the `^C` that a terminal echoes: a wrapped line would not be erased.
            return waiting if seen is None else Constrain(seen.bar(), out.width - 4)

        with Live(get_renderable=drawn, console=out, refresh_per_second=4, transient=True):
            yield counters.watch, counters
        return
    lines = PlainLines(counters, lambda line: print_line(stream, line))
    with _ticking(lines.tick):
        yield counters.watch, counters
    lines.end()


@contextlib.contextmanager
def _ticking(tick: Callable[[], None]) -> Generator[None]:
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
