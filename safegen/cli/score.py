"""Implementation of `safegen score`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from safegen.cli.generate import parse_columns
from safegen.cli.render.console import (
    format_counts,
    format_json_line,
    make_console,
    make_text,
    print_out,
)
from safegen.cli.render.progress import print_line, show_progress
from safegen.cli.render.tables import print_table
from safegen.core import event_loop
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.core.types import Mode
from safegen.pipeline.score import ScoreRequest, score_path
from safegen.pipeline.score_report import LEVELS, AnswerReport, GroupScores, Rate

DASH = "–"
SHOWN_BAD_ROWS = 20
HEADS = ("n", "over-refusal", "over-compliance", "unsafe detail", "tone faults", "accepted")


def run_score(
    file: str,
    *,
    recipe: str | None,
    by: str | None,
    columns: Sequence[str],
    mode: Mode | None,
    language: str | None,
    output: Path | None,
    reveal: bool,
    plugins: Sequence[str],
    json: bool,
) -> int:
    """Score a file, print the report, and return the exit code: 1 if no row was scored or judged."""
    if reveal and output is None:
        raise UserError("`--reveal` adds texts to the rows of `-o FILE.parquet`; name one")
    if output is not None and output.suffix != ".parquet":
        raise UserError(f"`{output}` must end in `.parquet`")
    names = tuple(name.strip() for name in by.split(",")) if by else ()
    if "" in names:
        raise UserError(f"`--by {by}` has an empty name; write columns with commas between them")
    with show_progress(sys.stderr) as (watch, _):
        request = ScoreRequest(
            recipe=recipe,
            by=names,
            columns=parse_columns(columns),
            mode=mode,
            language=language,
            reveal=reveal,
            plugins=tuple(plugins),
            watch=watch,
        )
        report = event_loop.run(score_path(file, request, output=output))
    if json:
        sys.stdout.write(format_json_line({"file": file, **report.to_json()}))
    else:
        _print_report(file, report)
    _print_bad_rows(report)
    if report.total.unjudged:
        print_line(sys.stderr, f"warning: {format_unjudged(report.total)}")
    return 1 if not report.rows or report.total.lacks_judgement else 0


def _print_report(file: str, report: AnswerReport) -> None:
    out = make_console(sys.stdout)
    print_out(out, make_text(file, "bold"), make_text(_describe_rows(report)), "")
    groups = [
        *sorted(report.groups.items()),
        (("all",) + ("",) * (len(report.by) - 1), report.total),
    ]
    heads = report.by or ("",)
    print_table(out, (*heads, *HEADS), [(*key, *list_rates(group)) for key, group in groups])
    print_out(out, "")
    print_table(
        out,
        (*heads, "level known", *LEVELS),
        [(*key, *list_levels(group)) for key, group in groups],
    )
    if faults := report.total.codes:
        print_out(out, "")
        rows = [(*key, f"{count:,}") for key, count in sorted(faults.items())]
        print_table(out, ("check", "fault", "answers"), rows)
    print_out(out, "", *(make_text(note) for note in _iter_notes(report)))


def _describe_rows(report: AnswerReport) -> str:
    bad = sum(report.bad.values())
    return f"{format_plural(report.rows, 'answer')}{f', {bad:,} rows not scored' if bad else ''}"


def list_rates(group: GroupScores) -> tuple[str, ...]:
    """Write the number of answers and the rates of faults, for `HEADS`."""
    rates = (
        group.rate("over_refusal"),
        group.rate("over_compliance"),
        group.rate("unsafe_detail"),
        group.rate("tone"),
        group.accepted_rate,
    )
    return f"{group.n:,}", *map(format_rate, rates)


def list_levels(group: GroupScores) -> tuple[str, ...]:
    """Write the number of answers with a known level and the share of each level."""
    rates = [group.level_rate(level) for level in LEVELS]
    return f"{rates[0].n:,}", *map(format_rate, rates)


def format_unjudged(group: GroupScores) -> str:
    """Write the share of answers that the panel did not decide, by reason."""
    missed = sum(group.unjudged.values())
    return (
        f"the panel did not decide about {missed:,} of {group.n:,} answers"
        f" ({100 * missed / group.n:.0f}%: {format_counts(group.unjudged)}); rates leave out what is undecided"
    )


def format_rate(rate: Rate) -> str:
    """Write a rate in per cent with its interval: 12% [8, 17]."""
    if rate.value is None or rate.interval is None:
        return DASH
    low, high = rate.interval
    return f"{100 * rate.value:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"


def iter_dropped(report: AnswerReport) -> Iterator[str]:
    """Name the jurors that were dropped and their biases."""
    for judge, biases in report.dropped.items():
        words = ", ".join(bias.replace("_", " ") for bias in biases)
        yield f"dropped from the panel: {judge} ({words})"


def _iter_notes(report: AnswerReport) -> Iterator[str]:
    """Name the checks that did not run, and the origin of labels."""
    yield "brackets: 95 % intervals; a rate covers the answers in which the fault can occur and is decided"
    yield from iter_dropped(report)
    if report.runs:
        yield f"checks: {format_counts(report.runs)}"
    for validator, labels, rows in report.not_run:
        names = ", ".join(f"`{label}`" for label in labels)
        yield f"not run: {validator} on {format_plural(rows, 'answer')} without {names}"
    if report.computed:
        answers = format_plural(report.computed, "answer")
        yield f"the policy computed the missing ones of mode, ceiling and floor of {answers}"
    if report.assumed_language:
        rows = format_plural(report.assumed_language, "answer")
        yield f"language of {rows} is not stated; read in the recipe's, or `--language TAG`"
    if not report.labels["mode"]:
        yield "no row has a `mode`, so over-refusal is unknown; add the column, or use `--mode MODE`"
    if report.total.unanswered:
        yield f"without a text: {format_counts(report.total.unanswered)}"


def _print_bad_rows(report: AnswerReport) -> None:
    bad = sum(report.bad.values())
    if not bad:
        return
    print_line(sys.stderr, f"{format_plural(bad, 'row')} not scored ({format_counts(report.bad)}):")
    for listed in report.bad_rows[:SHOWN_BAD_ROWS]:
        print_line(sys.stderr, f"  {listed.message}")
    if bad > SHOWN_BAD_ROWS:
        print_line(sys.stderr, f"  and {bad - SHOWN_BAD_ROWS:,} more")
