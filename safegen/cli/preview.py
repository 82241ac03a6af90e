"""Output of `safegen preview`: pages on a terminal, plain text without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from rich.console import Console, RenderableType
from rich.text import Text

from safegen.cli.options import INTERRUPTED
from safegen.cli.record_filter import draft_result
from safegen.cli.render.console import (
    format_json_line,
    format_number,
    format_share,
    format_short,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.cli.render.keys import read_keys
from safegen.cli.render.progress import print_line, show_progress
from safegen.cli.show import (
    RESULT_STYLES,
    render_answer,
    render_conversation,
    render_record,
    render_situation,
)
from safegen.core import event_loop
from safegen.core.errors import RunError
from safegen.core.plural import format_plural
from safegen.core.types import Record
from safegen.pipeline.preflight import preview as previews
from safegen.pipeline.preflight.preview import MIN_MEASURED, Preview, PreviewEstimate
from safegen.pipeline.records import (
    RecordLabels,
    load_labels,
    record_to_json,
    verdict_reason,
)
from safegen.pipeline.resolve import ResolvedRecipe, resolve_recipe

NEXT_KEYS = frozenset("n \r\n")
FOOTER_LINES = 2
"""Lines below a page: a blank one and the keys."""
NOTHING_KEPT_NOTE = "nothing was kept; `generate` will send all requests again"


def show_preview(
    recipe: str, *, sets: int, reveal: bool, plugins: Sequence[str], json: bool
) -> int:
    """Generate a few sets, show them, and estimate the whole run."""
    inputs = resolve_recipe(recipe, trusted=plugins)
    try:
        with show_progress(sys.stderr) as (watch, _):
            result = event_loop.run(previews.preview_recipe(inputs, sets=sets, watch=watch))
    except KeyboardInterrupt:
        print_line(sys.stderr, "interrupted; nothing was kept")
        return INTERRUPTED
    except RunError as e:
        # The error says that replies are kept. A preview keeps none.
        raise type(e)(f"{e.message}; a preview keeps nothing" if e.kept else e.message) from e
    if json:
        for record in result.records:
            sys.stdout.write(format_json_line(record_to_json(record, reveal=reveal)))
        sys.stdout.write(format_json_line(_to_json(result)))
        return 0
    out = make_console(sys.stdout)
    labels = load_labels(inputs)
    lines = tuple(_closing_lines(inputs, result))
    if sys.stdin.isatty() and out.is_terminal and os.environ.get("TERM") != "dumb":
        # Ctrl-C leaves the pages; the estimate is paid for and still printed.
        with suppress(KeyboardInterrupt), out.screen(hide_cursor=True):
            browse_pages(Pager(out, result, labels, lines, reveal=reveal), read_keys())
        print_out(out, *lines, "")
    else:
        print_out(out, *lines, "")
        for scenario in _group_by_scenario(result.records):
            print_out(out, *_scenario_lines(scenario, labels, reveal=reveal), "")
    return 0


def _group_by_scenario(records: Sequence[Record]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.scenario.scenario_id, []).append(record)
    return list(groups.values())


def _scenario_lines(
    drafts: Sequence[Record], labels: RecordLabels, *, reveal: bool
) -> Iterator[RenderableType]:
    head = drafts[0]
    yield make_text(head.scenario.harm, "bold")
    yield render_situation(head, labels)
    if reveal:
        yield from render_conversation(head)
        yield ""
    table = make_grid("draft", "style", "", "reason")
    for record in drafts:
        result = draft_result(record)
        mark = Text(result, RESULT_STYLES[result])
        table.add_row(
            "",
            make_text(record.draft.draft_id),
            record.draft.style,
            mark,
            make_text(_verdict_text(record)),
        )
    yield table
    if reveal:
        for record in drafts:
            yield ""
            yield make_text(f"  {record.draft.draft_id}", "bold")
            yield from render_answer(record)


def _verdict_text(record: Record) -> str:
    if record.draft.outcome != "ok":
        return record.draft.outcome
    failed = [v for v in record.verdicts if v.passed is not True]
    return "; ".join(f"{v.validator}: {verdict_reason(v, record)}" for v in failed)


@dataclass
class Pager:
    """Position of a reader: a record, a page of it, and the choice to show texts."""

    out: Console
    preview: Preview
    labels: RecordLabels
    opening: Sequence[RenderableType] = ()
    """Lines before the first record."""
    reveal: bool = False
    index: int = field(init=False)
    """Index of the record; -1 for the opening."""
    part_index: int = 0
    parts: list[list[str]] = field(default_factory=list[list[str]])

    def __post_init__(self) -> None:
        self.index = self.first_index
        self.paginate()

    @property
    def first_index(self) -> int:
        """Index of the first page: the opening if there is one."""
        return -1 if self.opening else 0

    @property
    def record(self) -> Record:
        """The current record."""
        return self.preview.records[self.index]

    def paginate(self) -> None:
        """Cut the opening or the record into pages of whole lines."""
        parts = self.opening
        if self.index >= 0:
            parts = render_record(self.record, self.labels, reveal=self.reveal)
        with self.out.capture() as captured:
            for part in parts:
                self.out.print(part)
        lines = captured.get().splitlines()
        room = max(self.out.height - FOOTER_LINES, 1)
        self.parts = [lines[i : i + room] for i in range(0, len(lines), room)]
        self.part_index = min(self.part_index, len(self.parts) - 1)

    def forward(self) -> bool:
        """Go to the next page; return False at the end."""
        if self.part_index + 1 < len(self.parts):
            self.part_index += 1
            return True
        if self.index + 1 == len(self.preview.records):
            return False
        self.index, self.part_index = self.index + 1, 0
        self.paginate()
        return True

    def back(self) -> None:
        """Go to the previous page, if there is one."""
        if self.part_index:
            self.part_index -= 1
        elif self.index > self.first_index:
            self.index -= 1
            self.paginate()
            self.part_index = len(self.parts) - 1

    def toggle(self) -> None:
        """Show or hide the texts, from the top of the record."""
        self.reveal, self.part_index = not self.reveal, 0
        self.paginate()

    def draw(self) -> None:
        """Draw the page."""
        self.out.clear()
        for line in self.parts[self.part_index]:
            self.out.print(Text.from_ansi(line), soft_wrap=True)
        self.out.print()
        self.out.print(self._footer(), end="", no_wrap=True, overflow="ellipsis")

    def _footer(self) -> Text:
        position = self._position_text() if self.index >= 0 else "estimate"
        if len(self.parts) > 1:
            position += f", page {self.part_index + 1} of {len(self.parts)}"
        toggle = "hide" if self.reveal else "show"
        return Text(f"{position} · n next · p back · r {toggle} texts · q quit", style="dim")

    def _position_text(self) -> str:
        records = self.preview.records
        sets = list(dict.fromkeys(r.scenario.set_id for r in records))
        set_id = self.record.scenario.set_id
        indices = [n for n, r in enumerate(records) if r.scenario.set_id == set_id]
        position = f"set {sets.index(set_id) + 1} of {len(sets)}"
        return f"{position}, draft {indices.index(self.index) + 1} of {len(indices)}"


def browse_pages(pages: Pager, keys: Iterator[str]) -> None:
    """Show pages until `q`, `n` on the last page, or the end of the keys."""
    if not pages.preview.records:
        return
    pages.draw()
    for key in keys:
        if key == "q":
            return
        if key in NEXT_KEYS and not pages.forward():
            return
        if key == "p":
            pages.back()
        elif key == "r":
            pages.toggle()
        pages.draw()


def _to_json(result: Preview) -> dict[str, object]:
    estimate = result.estimate
    accepted = sum(r.accepted for r in result.records)
    payload = asdict(estimate) | {"source": estimate.source}
    return {
        "sets": result.sets,
        "drafts": len(result.records),
        "accepted": accepted,
        "dropped": dict(result.dropped),
        "forecast": payload,
    }


def _closing_lines(inputs: ResolvedRecipe, result: Preview) -> Iterator[RenderableType]:
    recipe = inputs.recipe
    head = f"{format_plural(result.sets, 'set')} of {recipe.name} {recipe.version}; {NOTHING_KEPT_NOTE}"
    yield make_text(head, "bold")
    yield make_fact_table(_iter_facts(result), width=9)
    if recipe.target is not None:
        yield make_text(
            "  estimate of the first round; top-up rounds for `target` are not counted", "dim"
        )


def _iter_facts(result: Preview) -> Iterator[tuple[str, RenderableType]]:
    estimate = result.estimate
    accepted = sum(r.accepted for r in result.records)
    drafts = format_plural(len(result.records), "draft")
    yield "preview", f"{drafts}, {format_share(accepted, len(result.records))} accepted"
    if result.dropped:
        losses = ", ".join(f"{n} {name}" for name, n in result.dropped.items())
        yield "dropped", make_text(losses, "yellow")
    yield (
        "full run",
        f"{format_plural(estimate.prompts, 'prompt')}, {format_plural(estimate.drafts, 'draft')}",
    )
    yield "calls", _calls_text(estimate)
    if estimate.effect_calls:
        yield (
            "",
            f"in addition, {format_number(estimate.effect_calls)} without the spec; `tokens` does not count"
            " them",
        )
    if estimate.author_calls:
        yield (
            "",
            f"in addition, at most {format_number(estimate.author_calls)} to the author and"
            f" {format_number(estimate.label_calls)} to labellers; `tokens` does not count them",
        )
    if estimate.judge_calls:
        yield (
            "",
            f"in addition, at most {format_number(estimate.judge_calls)} to judges; `tokens` does not count"
            " them",
        )
    yield (
        "tokens",
        f"about {format_short(estimate.prompt_tokens)} for prompts and {format_short(estimate.answer_tokens)} for answers"
        f" ({estimate.source})",
    )
    if estimate.measured < MIN_MEASURED:
        yield "", make_text(f"measured on {drafts} only; raise -n for more sets", "dim")


def _calls_text(estimate: PreviewEstimate) -> str:
    bound = (
        f", at most {format_number(estimate.most_calls)}"
        if estimate.most_calls > estimate.drafts
        else ""
    )
    return f"about {format_number(estimate.calls)}{bound}"
