"""The closing screen: what was planned, made and lost, where it lies, and what to do next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from safegen.cli.render.console import (
    clock,
    console,
    counted,
    facts,
    grid,
    number,
    plural,
    put,
    share,
    short,
    word,
)
from safegen.core.types import MODES
from safegen.dataset.views import preference
from safegen.pipeline import api
from safegen.scenarios.user_prompts.resolve_labels import in_words

if TYPE_CHECKING:
    from safegen.core.types import Outcome, Usage
    from safegen.dataset.build import BuildReport
    from safegen.dataset.dropped import Losses
    from safegen.dataset.manifest import Yield
    from safegen.pipeline.api import Run
    from safegen.pipeline.session import Until

TO_DO = {
    "refused": "`safegen retry` asks anew",
    "filtered": "`safegen retry` asks anew",
    "blocked": "`safegen retry` asks anew",
    "malformed": "`safegen retry` asks anew",
    "truncated": "raise `max_tokens`, or `safegen retry`",
    "unavailable": "run the same command again",
    "unfinished": "run the same command again",
    "not_validated": "run again without `--until`",
    "duplicate_prompt": "nothing: an equal prompt is kept",
    "duplicate_response": "nothing: an equal answer is kept",
    "near_duplicate": "nothing: the prompt it repeats is kept",
    "incomplete_set": "nothing: others of its set are near-duplicates",
    "lexical_artifact": "nothing: its words give the intent away",
    "withheld": "nothing: unsafe text is not kept",
    "unscored": "a validator could not tell",
}
"""What to do about a reason; any other is a validator's, which tells more."""
FORM_ALONE = "rules accepted them; no model and no person judged that they are safe or right"
NOTHING = (
    "by nothing: the recipe names no validator that decides, so each answer was taken as it came"
)
DEMO = (
    "written by the embedded teacher, not by a language model;"
    " they show the format and are not for training"
)


def closing(
    run: Run, lost: Losses, *, until: Until | None = None, out: Console | None = None
) -> None:
    """Say what was made, where, what was lost and what to do next; on stderr unless told where."""
    out = out or console(sys.stderr)
    if run.report is None:
        _stopped(out, run, until)
        return
    idle = not run.asked and not run.report.changed
    put(out, "", _headline(run, run.report, idle=idle))
    if not idle:
        put(out, "", *_tables(run.report))
    if run.report.rejected or run.report.excluded:
        put(out, "", _losses(run.report))
    put(out, "", facts(_facts(run, run.report, lost), width=9), "")
    put(out, Text("Next", "bold"), facts(_next(run, run.report, lost), width=9), "")


def _stopped(out: Console, run: Run, until: Until | None) -> None:
    worked = f"{plural(run.asked, 'shard')} done" if run.asked else "no shard had to be done"
    put(out, word(f"stopped after {until}: {worked}; kept in {run.folder.root}"))
    if told := list(_own(run)):
        put(out, facts(told, width=9))
    put(out, word("next: the same command without --until goes on from here"))


def _headline(run: Run, report: BuildReport, *, idle: bool) -> Text:
    name = f"{run.recipe.name} {run.recipe.version}"
    if idle:
        return word(f"{name} is complete: nothing was asked and no file changed", "bold")
    told = f"{plural(report.prompts, 'prompt')} of {number(report.planned)} in the dataset"
    return word(f"{name}: {told}", "bold")


def _tables(report: BuildReport) -> Iterator[RenderableType]:
    width = max(len(name) for name in [*report.by_domain, *MODES, "by expected mode"])
    yield _yields("by domain", report.by_domain, width=width, total=report)
    yield ""
    modes = {mode: report.by_mode[mode] for mode in MODES if mode in report.by_mode}
    yield _yields("by expected mode", modes, width=width)


def _yields(
    head: str, rows: Mapping[str, Yield], *, width: int, total: BuildReport | None = None
) -> Table:
    table = grid(head, "planned", "made", "accepted", "kept", "lost", "", right=range(1, 6))
    table.columns[1].min_width = width
    for name, found in rows.items():
        counts = [_count(n) for n in found]
        table.add_row("", word(name), *counts, _count(found.excluded, "yellow"))
    if total is not None:
        counts = [total.planned, total.answered, total.accepted, total.prompts]
        lost = _count(total.planned - total.prompts, "yellow")
        table.add_row("", "all", *[_count(n) for n in counts], lost, style="bold")
    return table


def _count(value: int, style: str = "") -> Text:
    return Text(number(value), style=style if value else "dim")


def _losses(report: BuildReport) -> Table:
    """Drafts and prompts that were not taken, by reason."""
    table = grid("not accepted", "drafts", "share", "lost", "what to do", right=(1, 2, 3))
    reasons = {**report.rejected, **report.excluded}
    for reason in sorted(reasons, key=lambda r: (-report.rejected.get(r, 0), r)):
        drafts, prompts = report.rejected.get(reason, 0), report.excluded.get(reason, 0)
        to_do = TO_DO.get(reason, f"see `show --reason {reason}`")
        of_drafts = share(drafts, report.drafts) if drafts else "–"
        table.add_row(
            "", word(reason), _count(drafts), of_drafts, _count(prompts, "yellow"), word(to_do)
        )
    return table


def _facts(run: Run, report: BuildReport, lost: Losses) -> Iterator[tuple[str, RenderableType]]:
    taken = share(report.drafts_accepted, report.drafts)
    yield (
        "drafts",
        f"{number(report.drafts)} asked for, {number(report.drafts_accepted)} accepted ({taken})",
    )
    drafters = {ref.use for ref in run.recipe.teachers.drafter}
    if drafters == {"offline"} and run.recipe.plan.candidates > 1:
        yield (
            "",
            "the embedded teacher makes all but one draft of a prompt weaker on purpose, for pairs",
        )
    if lost.failed_requests:
        yield ("no answer", word(f"to {_requests(lost.failed_requests)}", "yellow"))
    if lost.dropped:
        prompts = plural(sum(lost.dropped.values()), "prompt")
        yield ("dropped", word(f"{prompts} before drafting: {counted(lost.dropped)}", "yellow"))
    yield from _own(run)
    for name, splits in report.rows.items():
        what = "pairs" if name == "preference" else "rows"
        counts = ", ".join(f"{split} {number(n)}" for split, n in splits.items())
        told = f"{number(sum(splits.values()))} {what}: {counts}" if counts else _empty(name, run)
        yield (name, told)
    if report.target is not None:
        yield ("target", word(report.target.line, "yellow" if report.target.short else ""))
    if report.telling:
        yield ("words", word(report.telling, "yellow"))
    if run.asked:
        yield ("asked", f"{_spent(run.usage)}, {clock(run.seconds)}")
    if generated := report.by_grade.get("generated", 0):
        how = f"by form alone: {FORM_ALONE}" if run.recipe.required else NOTHING
        yield ("judged", Text(f"{plural(generated, 'row')} {how}", style="yellow"))
    if demo := report.by_grade.get("demo", 0):
        rows = "all rows" if demo == report.prompts else plural(demo, "row")
        yield ("grade", Text(f"{rows} are a demo: {DEMO}", style="yellow"))
    yield ("dataset", word(run.output, "bold"))


def _requests(items: Mapping[Outcome, int]) -> str:
    return f"{plural(sum(items.values()), 'request')}: {counted(items)}"


def _empty(view: str, run: Run) -> str:
    why = f"; {preference.why_empty(run.recipe)}" if view == "preference" else ""
    return f"empty, left out{why}"


def _own(run: Run) -> Iterator[tuple[str, RenderableType]]:
    """What became of the rows of a user's file."""
    told = api.imported(run)
    if not told:
        return
    parts = [f"{told['rows']:,} in {told['file']}", f"{told['planned']:,} planned"]
    parts += [f"{n:,} left out by {by}" for by, n in told["left_out"].items()]
    yield "rows", word(", ".join(parts))
    if listed := api.unlabelled(run):
        why = counted(in_words(told["unlabelled_by"]))
        where = f"{plural(listed, 'row')} not planned ({why}): see {run.folder.unlabelled}"
        yield "listed", word(where, "yellow")
    if barred := told.get("not_under"):
        yield "not asked", word(not_asked(barred))
    if unread := told["columns_not_read"]:
        yield "not read", word(f"columns {', '.join(unread)}")


def not_asked(barred: Mapping[str, int]) -> str:
    """Say under which profiles rows are not asked, as `2 rows under minors`."""
    counts = ", ".join(f"{plural(n, 'row')} under {profile}" for profile, n in barred.items())
    return f"{counts}: their words tell of somebody whom it is not for"


def _spent(usage: Usage) -> str:
    if not usage.requests and not usage.cached:
        return "nothing over a network"
    told = [plural(usage.requests, "request")]
    told += [f"{usage.retries:,} of them repeats"] if usage.retries else []
    told += [f"{plural(usage.cached, 'answer')} from the journal"] if usage.cached else []
    tokens = f"{short(usage.prompt_tokens)} tokens in, {short(usage.completion_tokens)} out"
    return ", ".join([*told, tokens])


def _next(run: Run, report: BuildReport, lost: Losses) -> Iterator[tuple[str, RenderableType]]:
    folder = shlex.quote(str(run.output))
    if report.target is not None and report.target.short:
        yield ("missing", word(f"safegen coverage {folder}"))
    if lost.failed_requests:
        yield ("ask anew", word(f"safegen retry {folder}"))
    yield ("look", word(f"safegen show {folder} -n 1 --reveal"))
    yield ("prove", word(f"safegen verify {folder}"))
    views = [name for name, splits in report.rows.items() if splits]
    if views:
        view = "sft" if "sft" in views else views[0]
        path = str(run.output)
        yield ("polars", word(f'import safegen; safegen.open_run("{path}").view("{view}")'))
        yield ("datasets", word(f'datasets.load_dataset("{path}", "{view}", split="train")'))
