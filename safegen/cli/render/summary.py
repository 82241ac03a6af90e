"""Closing screen: counts by domain and mode, reasons, facts and next commands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from safegen.cli.render.console import (
    format_counts,
    format_duration,
    format_number,
    format_share,
    format_short,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.core.errors import RERUN_HINT
from safegen.core.plural import format_plural
from safegen.core.types import MODES
from safegen.coverage.ledger import StageCounts
from safegen.dataset.curation.split import describe_empty_splits
from safegen.dataset.effect_stats import EffectCounts, EffectStats
from safegen.dataset.judge_results import read_judge_results
from safegen.dataset.jury_stats import JUROR_RESULTS, JuryStats
from safegen.dataset.run_stats import classify_loss
from safegen.dataset.view import choose_preferred
from safegen.pipeline import api
from safegen.pipeline.resolve import makes_weaker_drafts

if TYPE_CHECKING:
    from safegen.core.types import Outcome, Until, Usage
    from safegen.dataset.build import BuildReport
    from safegen.dataset.dropped import LossCounts
    from safegen.dataset.yields import ValueYield
    from safegen.pipeline.api import Run

RETRY = "safegen retry {folder}"
REMEDY_BY_REASON = {
    "refused": RETRY,
    "empty": RETRY,
    "filtered": RETRY,
    "blocked": RETRY,
    "malformed": RETRY,
    "truncated": "raise `max_tokens`, then: safegen generate RECIPE -o {folder} --replan",
    "unavailable": RERUN_HINT,
    "unfinished": RERUN_HINT,
    "not_validated": "run the same command without `--until`",
    "duplicate_prompt": "nothing to do: an equal prompt is kept",
    "duplicate_response": "nothing to do: an equal answer is kept",
    "near_duplicate": "nothing to do: a similar prompt is kept",
    "incomplete_set": "nothing to do: near-duplicates took all prompts of an intent",
    "lexical_artifact": "nothing to do: its words reveal the intent",
    "withheld": "nothing to do: unsafe text is not kept",
    "small_policy_effect": "nothing to do, or: safegen build {folder} --set policy_effect.least=0",
    "unknown_policy_effect": "failed requests and their remedy: safegen status {folder}",
}
"""The remedy for a reason; all other reasons are names of validators."""
RULES_ONLY_TEXT = "accepted by form: rule-based checks only; not reviewed by a model or a person"
JUDGED_TEXT = "accepted by judges (models); not reviewed by a person"
MAX_EFFECT_LEAVES = 5
"""Leaves whose policy effect a screen lists."""
MAX_LOW_YIELDS = 8
"""Low yields that the closing screen lists."""
SHOW = "safegen show {folder} --reason {reason}"
UNCHECKED_TEXT = (
    "not checked at all: the recipe requires no validator, so every answer was accepted"
)
HUMAN_TEXT = "accepted by a person in the review of the quarantine"
_REVIEWS = {
    "rules": RULES_ONLY_TEXT,
    "judge": JUDGED_TEXT,
    "human": HUMAN_TEXT,
    "nothing": UNCHECKED_TEXT,
}
"""Notes on rows by what accepted them."""
DEMO_TEXT = (
    "written by the embedded teacher, not by a language model;"
    " use them to see the format, not for training"
)


def print_summary(
    run: Run, losses: LossCounts, *, until: Until | None = None, out: Console | None = None
) -> None:
    """Print the result of a run and the next commands; default to stderr."""
    out = out or make_console(sys.stderr)
    if run.report is None:
        _print_stopped(out, run, losses, until)
        return
    idle = not run.shards_done and not run.report.changed
    print_out(out, "", _headline(run, run.report, idle=idle))
    if not idle:
        print_out(out, "", *_tables(run.report))
    if run.report.rejected or run.report.excluded:
        print_out(out, "", _loss_table(run.report))
        remedies = list(_iter_remedies(run, run.report))
        print_out(out, "", Text("What to do", "bold"), make_fact_table(remedies, width=9))
    print_out(out, "", make_fact_table(_iter_facts(run, run.report, losses), width=9), "")
    print_out(
        out,
        Text("Next", "bold"),
        make_fact_table(_next_steps(run, run.report, losses), width=9),
        "",
    )


def _print_stopped(out: Console, run: Run, losses: LossCounts, until: Until | None) -> None:
    print_out(out, make_text(f"{_stopped_text(run, until)}; see {run.folder.root}"))
    if facts := [*_iter_failure_facts(losses), *iter_import_facts(run)]:
        print_out(out, make_fact_table(facts, width=9))
    print_out(out, make_text("next: run the same command without --until to resume"))


def _stopped_text(run: Run, until: Until | None) -> str:
    if until == "expand":
        plans = run.plans
        prompts = format_plural(plans.scenarios, "prompt")
        return f"stopped after the plan: {prompts} in {format_plural(plans.shards, 'shard')}"
    done = format_plural(run.shards_done, "shard")
    work = f"{done} done" if run.shards_done else "every shard was done before"
    return f"stopped after {until}: {work}"


def _headline(run: Run, report: BuildReport, *, idle: bool) -> Text:
    name = f"{run.recipe.name} {run.recipe.version}"
    if idle:
        return make_text(f"{name} is complete; requests: 0, files changed: 0", "bold")
    text = f"{format_plural(report.prompts, 'prompt')} of {format_number(report.planned)} in the dataset"
    return make_text(f"{name}: {text}", "bold")


def _tables(report: BuildReport) -> Iterator[RenderableType]:
    width = max(len(name) for name in [*report.by_domain, *MODES, "by expected mode"])
    yield _stage_table("by domain", report.by_domain, width=width, total=report)
    yield ""
    modes = {mode: report.by_mode[mode] for mode in MODES if mode in report.by_mode}
    yield _stage_table("by expected mode", modes, width=width)


def _stage_table(
    head: str, rows: Mapping[str, StageCounts], *, width: int, total: BuildReport | None = None
) -> Table:
    table = make_grid(
        head, "planned", "answered", "accepted", "kept", "not kept", "", right=range(1, 6)
    )
    table.columns[1].min_width = width
    for name, stage_counts in rows.items():
        table.add_row("", make_text(name), *_count_cells(stage_counts))
    if total is not None:
        counts = StageCounts(total.planned, total.answered, total.accepted, total.prompts)
        table.add_row("", "all", *_count_cells(counts), style="bold")
    return table


def _count_cells(counts: StageCounts) -> Iterator[Text]:
    yield from map(_count, (counts.planned, counts.answered, counts.accepted, counts.kept))
    yield _count(counts.excluded, "yellow")


def _count(value: int, style: str = "") -> Text:
    return Text(format_number(value), style=style if value else "dim")


def _loss_table(report: BuildReport) -> Table:
    table = make_grid("reason", "result", "drafts", "share", "not kept", right=(2, 3, 4))
    for reason in _list_reasons(report):
        drafts, prompts = report.rejected.get(reason, 0), report.excluded.get(reason, 0)
        of_drafts = format_share(drafts, report.drafts) if drafts else "–"
        table.add_row(
            "",
            make_text(reason),
            classify_loss(reason),
            _count(drafts),
            of_drafts,
            _count(prompts, "yellow"),
        )
    return table


def _list_reasons(report: BuildReport) -> list[str]:
    reasons = {**report.rejected, **report.excluded}
    return sorted(reasons, key=lambda r: (-report.rejected.get(r, 0), r))


def _iter_remedies(run: Run, report: BuildReport) -> Iterator[tuple[str, RenderableType]]:
    folder = shlex.quote(str(run.output))
    # A table of five columns leaves no room for a whole command.
    for reason in _list_reasons(report):
        remedy = REMEDY_BY_REASON.get(reason, SHOW)
        yield reason, make_text(remedy.format(folder=folder, reason=reason))


def _iter_facts(
    run: Run, report: BuildReport, losses: LossCounts
) -> Iterator[tuple[str, RenderableType]]:
    accepted = format_share(report.drafts_accepted, report.drafts)
    unit = "drafts and revisions" if run.recipe.revise else "drafts"
    yield (
        "drafts",
        f"{format_number(report.drafts)} {unit} requested,"
        f" {format_number(report.drafts_accepted)} accepted ({accepted} of them)",
    )
    # The grade names the teacher that drafted: a function may have replaced the recipe's drafter.
    is_demo = bool(report.by_grade.get("demo"))
    if is_demo and makes_weaker_drafts(run.recipe) and run.recipe.plan.candidates > 1:
        yield (
            "",
            "per prompt, the embedded teacher writes one full draft and weaker ones for pairs",
        )
    if report.jury.drafts:
        yield from iter_jury_facts(run, report.jury)
    yield from iter_effect_facts(report.effect)
    yield from _iter_failure_facts(losses)
    if losses.dropped:
        dropped = format_number(sum(losses.dropped.values()))
        prompts = f"{dropped} of {format_plural(report.planned, 'planned prompt')}"
        yield (
            "dropped",
            make_text(f"{prompts} before drafting: {format_counts(losses.dropped)}", "yellow"),
        )
    yield from iter_import_facts(run)
    for name, splits in report.rows.items():
        unit = report.views[name].unit if name in report.views else "rows"
        counts = ", ".join(f"{split} {format_number(n)}" for split, n in splits.items())
        text = (
            f"{format_number(sum(splits.values()))} {unit}: {counts}"
            if counts
            else _empty_view_text(name, report)
        )
        yield (name, text)
    yield from _iter_check_facts(run, report)
    if run.shards_done:
        yield ("usage", f"{_usage_text(run.usage)}, {format_duration(run.seconds)}")
    yield from _iter_review_facts(run, report)
    if report.why_empty is None:
        yield ("dataset", make_text(run.output, "bold"))


def _iter_check_facts(run: Run, report: BuildReport) -> Iterator[tuple[str, RenderableType]]:
    filled = {split for splits in report.rows.values() for split in splits}
    if warning := describe_empty_splits(filled, test=run.recipe.split.test):
        yield "split", make_text(warning, "yellow")
    if report.target is not None:
        style = "yellow" if report.target.shortfall else ""
        for name, line in zip_longest(["target"], report.target.lines, fillvalue=""):
            yield name, make_text(line, style)
    for name, line in zip_longest(["low yield"], _list_low_yields(report), fillvalue=""):
        # Without a line the name has no row.
        if line:
            yield name, make_text(line, "bold yellow")
    if report.artifact_warning:
        yield ("artifacts", make_text(report.artifact_warning, "yellow"))


def iter_jury_facts(run: Run, jury: JuryStats) -> Iterator[tuple[str, RenderableType]]:
    """Yield the facts on a panel: answers by judge, disagreement, dropped jurors and waiting drafts."""
    for index, ((judge,), counts) in enumerate(jury.count_results().items()):
        parts = [f"{counts[result]:,} {result}" for result in JUROR_RESULTS if result in counts]
        parts += [f"{n:,} invented quotations" for n in [jury.invented.get(judge, 0)] if n]
        is_complete = set(counts) == {"answered"} and not jury.invented.get(judge)
        name = "" if index else "judges"
        yield name, make_text(f"{judge}: {', '.join(parts)}", "" if is_complete else "yellow")
    if jury.disagreement is not None:
        share = format_share(jury.split, jury.compared)
        yield "", f"they disagree about {share} of {format_plural(jury.compared, 'draft')}"
    results = read_judge_results(run.folder)
    for judge, biases in results.dropped.items():
        yield "", make_text(f"{judge}: dropped after the traps: {', '.join(biases)}", "yellow")
    if results.waiting:
        folder = shlex.quote(str(run.output))
        command = f"`safegen quarantine list {folder}`"
        drafts = f"{format_plural(results.waiting, 'draft')} in the quarantine"
        yield "review", make_text(f"{drafts} for review by a person: {command}", "yellow")


def iter_effect_facts(effect: EffectStats) -> Iterator[tuple[str, RenderableType]]:
    """Yield the facts on the policy effect: in total, and of the leaves whose level changes most."""
    leaves = sorted(effect.by_leaf.items(), key=lambda item: (_rank_effect(item[1]), item[0]))
    entries = [("all", effect.total)] if len(leaves) > 1 else []
    for index, (name, counts) in enumerate([*entries, *leaves[:MAX_EFFECT_LEAVES]]):
        yield "" if index else "effect", make_text(f"{name}: {_describe_effect(counts)}")
    if len(leaves) > MAX_EFFECT_LEAVES:
        more = format_number(len(leaves) - MAX_EFFECT_LEAVES)
        yield "", f"and {more} more leaves: see the card, or `--json`"


def _rank_effect(counts: EffectCounts) -> float:
    """Rank a leaf: the one whose mean level changes most is first, one without a level last."""
    if not counts.compared:
        return 1.0
    return -abs(counts.level - counts.level_without) / counts.compared


def _describe_effect(counts: EffectCounts) -> str:
    parts: list[str] = []
    if counts.compared:
        level, without = (n / counts.compared for n in (counts.level, counts.level_without))
        changed = format_share(counts.changed, counts.compared)
        parts.append(f"level {level:.1f} with the spec, {without:.1f} without; {changed} changed")
    if counts.rated:
        safety, without = (n / counts.rated for n in (counts.safety, counts.safety_without))
        parts.append(f"safety {safety:.2f}, {without:.2f} without")
    if counts.unknown:
        drafts = format_number(counts.drafts)
        parts.append(f"level unknown for {format_number(counts.unknown)} of {drafts} drafts")
    return "; ".join(parts)


def _list_low_yields(report: BuildReport) -> list[str]:
    low = report.yields.low
    lines = [format_yield(value) for value in low[:MAX_LOW_YIELDS]]
    more = len(low) - MAX_LOW_YIELDS
    return lines + ([f"and {format_number(more)} more: see the card"] if more > 0 else [])


def format_yield(value: ValueYield) -> str:
    """Format a yield: mode safe_completion: 0 of 12 planned accepted; most frequent reason style."""
    reason = f"; most frequent reason {value.reason}" if value.reason else ""
    counts = f"{format_number(value.accepted)} of {format_number(value.planned)} planned accepted"
    if value.kept < value.accepted:
        counts += f", {format_number(value.kept)} kept"
    return f"{value.axis} {value.name}: {counts}{reason}"


def _iter_review_facts(run: Run, report: BuildReport) -> Iterator[tuple[str, RenderableType]]:
    for name, review in _REVIEWS.items():
        if rows := report.accepted_by.get(name, 0):
            yield ("review", Text(f"{format_plural(rows, 'row')} {review}", style="yellow"))
    if demo := report.by_grade.get("demo", 0):
        rows = "all rows" if demo == report.prompts else format_plural(demo, "row")
        yield ("grade", Text(f"{rows} are a demo: {DEMO_TEXT}", style="yellow"))


def _iter_failure_facts(losses: LossCounts) -> Iterator[tuple[str, RenderableType]]:
    if losses.failed_requests:
        yield ("failed", make_text(_requests_text(losses.failed_requests), "yellow"))
    for outcome, message in losses.messages.items():
        yield ("", make_text(f"{outcome}: {message}"))


def _requests_text(items: Mapping[Outcome, int]) -> str:
    return f"{format_plural(sum(items.values()), 'request')}: {format_counts(items)}"


def _empty_view_text(view: str, report: BuildReport) -> str:
    reason = report.empty.get(view, "")
    return f"empty, not written{reason and f'; {reason}'}"


def iter_import_facts(run: Run) -> Iterator[tuple[str, RenderableType]]:
    """Yield the rows of a user's prompt file: planned, not planned and skipped."""
    report = api.read_import_report(run)
    if not report:
        return
    parts = [f"{report['rows']:,} in {report['file']}", f"{report['planned']:,} planned"]
    parts += [f"{n:,} excluded by {by}" for by, n in report["excluded"].items()]
    yield "rows", make_text(", ".join(parts))
    if unlabelled := api.count_unlabelled(run):
        causes = format_counts(api.count_unlabelled_causes(run))
        yield "unplanned", make_text(_format_unplanned(run, unlabelled, causes), "yellow")
    if barred := report.get("not_under"):
        yield "skipped", make_text(format_barred(barred))
    if unused := report["columns_not_read"]:
        yield "unused", make_text(f"columns {', '.join(unused)}")


def _format_unplanned(run: Run, rows: int, causes: str) -> str:
    line = f"{format_plural(rows, 'row')} not planned ({causes}): see {run.folder.unlabelled_rows}"
    if not run.folder.read_label_failures():
        return line
    return f"{line}; `{RETRY.format(folder=shlex.quote(str(run.output)))}` repeats failed requests"


def format_barred(barred: Mapping[str, int]) -> str:
    """Format skipped rows by profile: 2 rows under minors."""
    counts = ", ".join(
        f"{format_plural(n, 'row')} under {profile}" for profile, n in barred.items()
    )
    return f"{counts}: the prompt contradicts the profile (for example an adult under `minors`)"


def _usage_text(usage: Usage) -> str:
    if not usage.requests and not usage.cached:
        return "requests: 0"
    parts = [format_plural(usage.requests, "request")]
    parts += (
        [f"{format_plural(usage.retries, 'retry', 'retries')} included"] if usage.retries else []
    )
    parts += [format_plural(usage.cached, "cached reply", "cached replies")] if usage.cached else []
    tokens = f"{format_short(usage.prompt_tokens)} tokens in, {format_short(usage.completion_tokens)} out"
    return ", ".join([*parts, tokens])


def _next_steps(
    run: Run, report: BuildReport, losses: LossCounts
) -> Iterator[tuple[str, RenderableType]]:
    folder = shlex.quote(str(run.output))
    if report.target is not None and report.target.shortfall:
        yield ("coverage", make_text(f"safegen coverage {folder}"))
    if losses.failed_requests:
        yield ("retry", make_text(f"safegen retry {folder}"))
    yield ("show", make_text(f"safegen show {folder} -n 1 --reveal"))
    # There is nothing to verify or to load.
    if report.why_empty is not None:
        return
    yield ("verify", make_text(f"safegen verify {folder}"))
    views = [name for name, splits in report.rows.items() if splits]
    if view := choose_preferred(views, report.views):
        path = str(run.output)
        yield ("polars", make_text(f'import safegen; safegen.open_run("{path}").view("{view}")'))
        yield ("datasets", make_text(f'datasets.load_dataset("{path}", "{view}", split="train")'))
