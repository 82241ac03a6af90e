"""`preview`: a few sets on the screen, key by key on a terminal, plain without one; nothing is kept."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from rich.console import Console, RenderableType
from rich.text import Text

from safegen.cli.render.console import (
    console,
    facts,
    grid,
    json_line,
    number,
    plural,
    put,
    share,
    short,
    word,
)
from safegen.cli.render.keys import keyboard
from safegen.cli.render.progress import print_line, watching
from safegen.cli.show import (
    Says,
    answer_of,
    layout,
    prompt_of,
    reason_of,
    row,
    sentences,
    situation,
)
from safegen.core.errors import RunError
from safegen.core.types import Record
from safegen.pipeline.preflight import preview as previews
from safegen.pipeline.preflight.preview import SETTLED, Ahead, Preview
from safegen.pipeline.resolve import Inputs, read_inputs

NEXT = frozenset("n \r\n")
INTERRUPTED = 130
FOOT = 2
"""Lines below a page: a blank one and what the keys do."""
GONE = "nothing was kept: the temporary folder is gone, and `generate` asks everything anew"


def preview(recipe: str, *, sets: int, reveal: bool, plugins: Sequence[str], json: bool) -> int:
    """Show a few sets and forecast the rest."""
    inputs = read_inputs(recipe, trusted=plugins)
    try:
        with watching(sys.stderr) as (watch, _):
            found = asyncio.run(previews.preview(inputs, sets=sets, watch=watch))
    except KeyboardInterrupt:
        print_line(sys.stderr, "interrupted; nothing was kept")
        return INTERRUPTED
    except RunError as e:
        # What a run says of its answers is not so of a preview.
        raise type(e)(f"{e.message}; a preview keeps nothing" if e.kept else e.message) from e
    if json:
        for record in found.records:
            sys.stdout.write(json_line(row(record, reveal=reveal)))
        sys.stdout.write(json_line(_told(found)))
        return 0
    out = console(sys.stdout)
    says = sentences(inputs)
    if sys.stdin.isatty() and out.is_terminal and os.environ.get("TERM") != "dumb":
        # Ctrl-C is another way to leave; the forecast is paid for and comes all the same.
        with suppress(KeyboardInterrupt), out.screen(hide_cursor=True), keyboard() as keys:
            opening = tuple(_closing(inputs, found))
            browse(Pages(out, found, says, opening, reveal=reveal), keys)
    else:
        put(out, *_closing(inputs, found), "")
        for scenario in _scenarios(found.records):
            put(out, *_brief(scenario, says, reveal=reveal), "")
        return 0
    put(out, *_closing(inputs, found), "")
    return 0


def _scenarios(records: Sequence[Record]) -> list[list[Record]]:
    """The drafts of each scenario, in the order of the plan."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.scenario.scenario_id, []).append(record)
    return list(found.values())


def _brief(drafts: Sequence[Record], says: Says, *, reveal: bool) -> Iterator[RenderableType]:
    """A scenario with its drafts, a line for each; with their texts below them if wanted."""
    head = drafts[0]
    yield word(head.scenario.harm, "bold")
    yield situation(head, says)
    if reveal:
        yield from prompt_of(head)
        yield ""
    table = grid("draft", "style", "", "found")
    for record in drafts:
        mark = Text("accepted", "green") if record.accepted else Text("not accepted", "red")
        table.add_row(
            "", word(record.draft.draft_id), record.draft.style, mark, word(_found(record))
        )
    yield table
    if reveal:
        for record in drafts:
            yield ""
            yield word(f"  {record.draft.draft_id}", "bold")
            yield from answer_of(record)


def _found(record: Record) -> str:
    """What was found wrong with a draft, or why there is none."""
    if record.draft.outcome != "ok":
        return record.draft.outcome
    wrong = [v for v in record.verdicts if v.passed is not True]
    return "; ".join(f"{v.validator}: {reason_of(v, record)}" for v in wrong)


@dataclass
class Pages:
    """Where a reader is: the opening or a record, a screenful of it, and whether texts are shown."""

    out: Console
    found: Preview
    says: Says
    opening: Sequence[RenderableType] = ()
    """What stands before the first record."""
    reveal: bool = False
    at: int = field(init=False)
    """The number of a record; -1 for the opening."""
    part: int = 0
    parts: list[list[str]] = field(default_factory=list[list[str]])

    def __post_init__(self) -> None:
        self.at = self.first
        self.lay()

    @property
    def first(self) -> int:
        """Where a reader begins."""
        return -1 if self.opening else 0

    @property
    def record(self) -> Record:
        """The record that is shown."""
        return self.found.records[self.at]

    def lay(self) -> None:
        """Cut the opening or the record into screenfuls of whole lines."""
        parts = self.opening
        if self.at >= 0:
            parts = layout(self.record, self.says, reveal=self.reveal)
        with self.out.capture() as captured:
            for part in parts:
                self.out.print(part)
        lines = captured.get().splitlines()
        room = max(self.out.height - FOOT, 1)
        self.parts = [lines[i : i + room] for i in range(0, len(lines), room)]
        self.part = min(self.part, len(self.parts) - 1)

    def forward(self) -> bool:
        """Turn a page; False at the end."""
        if self.part + 1 < len(self.parts):
            self.part += 1
            return True
        if self.at + 1 == len(self.found.records):
            return False
        self.at, self.part = self.at + 1, 0
        self.lay()
        return True

    def back(self) -> None:
        """Turn back to the page before; nothing at the beginning."""
        if self.part:
            self.part -= 1
        elif self.at > self.first:
            self.at -= 1
            self.lay()
            self.part = len(self.parts) - 1

    def toggle(self) -> None:
        """Show the texts, or hide them, from the top of the record."""
        self.reveal, self.part = not self.reveal, 0
        self.lay()

    def draw(self) -> None:
        """Put the page on the screen."""
        self.out.clear()
        for line in self.parts[self.part]:
            self.out.print(Text.from_ansi(line), soft_wrap=True)
        self.out.print()
        self.out.print(self._foot(), end="", no_wrap=True, overflow="ellipsis")

    def _foot(self) -> Text:
        where = self._where() if self.at >= 0 else "forecast"
        if len(self.parts) > 1:
            where += f", page {self.part + 1} of {len(self.parts)}"
        texts = "hides" if self.reveal else "shows"
        return Text(f"{where} · n next · p back · r {texts} texts · q ends", style="dim")

    def _where(self) -> str:
        """The set, and the draft in it."""
        records = self.found.records
        sets = list(dict.fromkeys(r.scenario.set_id for r in records))
        here = self.record.scenario.set_id
        own = [n for n, r in enumerate(records) if r.scenario.set_id == here]
        where = f"set {sets.index(here) + 1} of {len(sets)}"
        return f"{where}, draft {own.index(self.at) + 1} of {len(own)}"


def browse(pages: Pages, keys: Iterator[str]) -> None:
    """Show page after page as the keys say, until `q`, the last page's next, or the end of the keys."""
    if not pages.found.records:
        return
    pages.draw()
    for key in keys:
        if key == "q":
            return
        if key in NEXT and not pages.forward():
            return
        if key == "p":
            pages.back()
        elif key == "r":
            pages.toggle()
        pages.draw()


def _told(found: Preview) -> dict[str, object]:
    ahead = found.ahead
    accepted = sum(r.accepted for r in found.records)
    told = asdict(ahead) | {"source": ahead.source}
    return {
        "sets": found.sets,
        "drafts": len(found.records),
        "accepted": accepted,
        "dropped": dict(found.dropped),
        "forecast": told,
    }


def _closing(inputs: Inputs, found: Preview) -> Iterator[RenderableType]:
    recipe = inputs.recipe
    head = f"{plural(found.sets, 'set')} of {recipe.name} {recipe.version}; {GONE}"
    yield word(head, "bold")
    yield facts(_facts(found), width=9)
    if recipe.target is not None:
        yield word("  this is the first round; rounds that top up for `target` come on top", "dim")


def _facts(found: Preview) -> Iterator[tuple[str, RenderableType]]:
    ahead = found.ahead
    accepted = sum(r.accepted for r in found.records)
    drafts = plural(len(found.records), "draft")
    yield "preview", f"{drafts}, {share(accepted, len(found.records))} accepted"
    if found.dropped:
        told = ", ".join(f"{n} {name}" for name, n in found.dropped.items())
        yield "not asked", word(told, "yellow")
    yield "whole", f"{plural(ahead.prompts, 'prompt')}, {plural(ahead.drafts, 'draft')}"
    yield "calls", _calls(ahead)
    if ahead.author_calls:
        yield (
            "",
            f"at most {number(ahead.author_calls)} of the author and {number(ahead.label_calls)} of"
            " labellers beside them; `tokens` leaves these out",
        )
    yield (
        "tokens",
        f"about {short(ahead.prompt_tokens)} for prompts and {short(ahead.answer_tokens)} for answers"
        f" ({ahead.source})",
    )
    if ahead.measured < SETTLED:
        yield "", word(f"measured on {drafts} only; -n takes more sets", "dim")


def _calls(ahead: Ahead) -> str:
    most = f", at most {number(ahead.most_calls)}" if ahead.most_calls > ahead.drafts else ""
    return f"about {number(ahead.calls)}{most}"
