"""`safegen calibrate`: measure how well judges agree with people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from safegen.cli.render.console import (
    format_json_line,
    make_console,
    make_text,
    print_out,
)
from safegen.cli.render.tables import print_table
from safegen.core.plural import format_plural
from safegen.dataset.judge_results import MIN_CALIBRATED
from safegen.pipeline.calibration import (
    MAIN_KAPPA,
    CalibrationOptions,
    CalibrationReport,
    Coefficient,
    JudgeReport,
    RaterAgreement,
    calibrate,
)
from safegen.pipeline.calibration_store import attach_calibration
from safegen.pipeline.label_table import LabelColumns

DASH = "–"
COEFFICIENTS = ("items", "agree", "κ", "α", "AC1", "macro F1")


def show_calibration(
    file: Path,
    columns: LabelColumns,
    options: CalibrationOptions,
    *,
    run: Path | None = None,
    json: bool,
) -> None:
    """Print the agreement of judges with people, and store it in a run if one is named."""
    report = calibrate(file, columns, options)
    if run is not None:
        _print_uncalibrated(attach_calibration(report, file, run=run))
    if json:
        sys.stdout.write(format_json_line({"file": str(file), **_to_json(report)}))
        return
    out = make_console(sys.stdout)
    _print_head(out, file, report)
    print_table(out, ("raters", *COEFFICIENTS), list(_agreement_rows(report)))
    for judge in report.judges:
        _print_judge(out, judge, report)
    for score in report.scores:
        head = f"{score.score}: predicts {score.positive}, {format_plural(score.items, 'item')}"
        print_out(out, "", make_text(head, "bold"))
        rows = [
            (f"{t.threshold:g}", *map(_format, t[1:]), "best F1" if t == score.best else "")
            for t in score.thresholds
        ]
        print_table(out, ("from", "precision", "recall", "F1", "accuracy", ""), rows)


def _print_uncalibrated(judges: Sequence[str]) -> None:
    if judges:
        line = (
            f"stored, but not called calibrated: {', '.join(judges)}; label {MIN_CALIBRATED} items or"
            " more by both, with different labels"
        )
        print_out(make_console(sys.stderr), make_text(line))


def _print_head(out: Console, file: Path, report: CalibrationReport) -> None:
    print_out(out, make_text(file, "bold"))
    ties = f", {format_plural(report.ties, 'tie')} left out" if report.ties else ""
    counts = f"{format_plural(report.items, 'item')}, {report.human_labelled:,} with a human label"
    print_out(out, make_text(f"{counts}{ties}"))
    sign = " < " if report.scale == "ordinal" else ", "
    named = "" if report.scale == "interval" else f": {sign.join(map(str, report.categories))}"
    print_out(out, make_text(f"scale {report.scale}{named}"), "")


def _agreement_rows(report: CalibrationReport) -> Iterator[Sequence[str]]:
    if report.people is not None:
        yield "people", *_coefficients(report.people, report), DASH
    if report.jury is not None:
        yield "judges", *_coefficients(report.jury, report), DASH
    for judge in report.judges:
        yield judge.judge, *_coefficients(judge.agreement, report), _format(judge.macro_f1)


def _coefficients(agreement: RaterAgreement, report: CalibrationReport) -> tuple[str, ...]:
    weights = MAIN_KAPPA.get(report.scale)
    kappa = agreement.kappa.get(weights) if weights else None
    percent = DASH if agreement.percent is None else f"{100 * agreement.percent:.0f}%"
    estimates = (kappa, agreement.alpha, agreement.ac1)
    return f"{agreement.items:,}", percent, *map(_format_estimate, estimates)


def _print_judge(out: Console, judge: JudgeReport, report: CalibrationReport) -> None:
    missing = f", {judge.unanswered:,} without a label" if judge.unanswered else ""
    print_out(out, "", make_text(f"{judge.judge}{missing}", "bold"))
    classes = [
        (c.label, f"{c.support:,}", *map(_format, (c.precision, c.recall, c.f1)))
        for c in judge.classes
    ]
    print_table(out, ("label", "people", "precision", "recall", "F1"), classes)
    means = [("mean", judge.mean)] if judge.mean else []
    rates = [(rate.label, rate.estimate) for rate in judge.rates] + means
    corrected = [
        (
            label,
            _format(e.raw),
            _format_estimate(Coefficient(e.mean, e.interval)),
            f"{e.labelled:,}",
            f"{e.weight:.2f}",
        )
        for label, e in rates
    ]
    heads = ("rate of" if judge.rates else "", "raw", "corrected", "human labels", "judge's weight")
    print_table(out, heads, corrected)
    groups = [
        (g.column, g.value or DASH, *_coefficients(g.agreement, report), _format(g.macro_f1))
        for g in judge.groups
    ]
    print_table(out, ("group", "", *COEFFICIENTS), groups)
    test = judge.alternative
    if test is None:
        line = "not run; it needs 3 people who share 30 items with another person"
    else:
        verdict = "passed" if test.passes else "failed"
        line = (
            f"{verdict}: winning rate {test.winning_rate:.2f}, advantage {test.advantage:.2f},"
            f" epsilon {test.epsilon:g}"
        )
    print_out(out, make_text(f"  alternative-annotator test {line}"))


def _format(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _format_estimate(estimate: Coefficient | None) -> str:
    if estimate is None or estimate.interval is None:
        return _format(estimate.value if estimate else None)
    low, high = estimate.interval
    return f"{_format(estimate.value)} [{low:.2f}, {high:.2f}]"


# Any: the values of a JSON object.
def _to_json(report: CalibrationReport) -> dict[str, Any]:
    return {
        "items": report.items,
        "human_labelled": report.human_labelled,
        "ties": report.ties,
        "scale": report.scale,
        "categories": report.categories,
        "people": report.people and _agreement_to_json(report.people),
        "jury": report.jury and _agreement_to_json(report.jury),
        "judges": [_judge_to_json(judge) for judge in report.judges],
        "scores": [
            {
                **score._asdict(),
                "thresholds": [step._asdict() for step in score.thresholds],
                "best": score.best._asdict(),
            }
            for score in report.scores
        ],
    }


def _agreement_to_json(agreement: RaterAgreement) -> dict[str, Any]:
    return {
        "items": agreement.items,
        "percent": agreement.percent,
        "kappa": {weights: e._asdict() for weights, e in agreement.kappa.items()},
        "alpha": agreement.alpha._asdict(),
        "ac1": agreement.ac1._asdict(),
    }


def _judge_to_json(judge: JudgeReport) -> dict[str, Any]:
    test = judge.alternative
    return {
        "judge": judge.judge,
        "unanswered": judge.unanswered,
        **_agreement_to_json(judge.agreement),
        "classes": [scores._asdict() for scores in judge.classes],
        "macro_f1": judge.macro_f1,
        "rates": [{"label": r.label, **r.estimate._asdict()} for r in judge.rates],
        "mean": judge.mean and judge.mean._asdict(),
        "alternative_annotator": test
        and {
            "passes": test.passes,
            "winning_rate": test.winning_rate,
            "advantage": test.advantage,
            "epsilon": test.epsilon,
            "raters": [rater._asdict() for rater in test.raters],
        },
        "groups": [
            {
                "column": group.column,
                "value": group.value,
                **_agreement_to_json(group.agreement),
                "macro_f1": group.macro_f1,
            }
            for group in judge.groups
        ],
    }
