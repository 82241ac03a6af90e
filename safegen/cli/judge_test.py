"""Output of `safegen judge test`: the biases of each judge of a recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console

from safegen.cli.render.console import format_json_line, make_console, make_text, print_out
from safegen.cli.render.progress import show_progress
from safegen.cli.render.tables import print_table
from safegen.core import event_loop
from safegen.pipeline.judge_check import (
    REWRITES,
    Comparison,
    JudgeTest,
    JurorAssurance,
    test_judges,
)

DASH = "–"
HEADS = ("judge", "traps right", "leaks passed", "largest shift", "flips", "policy", "injections")


def run_judge_test(recipe: str, *, plugins: Sequence[str], json: bool) -> int:
    """Print the result of each judge; return 1 if one has a bias."""
    with show_progress(sys.stderr) as (watch, _):
        test = event_loop.run(test_judges(recipe, trusted=plugins, watch=watch))
    if json:
        for result in test.results:
            sys.stdout.write(format_json_line(_to_json(test, result)))
    else:
        _print_report(make_console(sys.stdout), test)
    return 0 if test.passes else 1


def _print_report(out: Console, test: JudgeTest) -> None:
    print_table(out, HEADS, [list(_iter_cells(result)) for result in test.results])
    for result in test.results:
        style = "green" if result.passes else "bold red"
        print_out(out, "", make_text(f"{result.judge}: {_word(result)}", style))
        for finding in result.bias_findings:
            measure = f"{abs(finding.measure):.2f}, allowed {abs(finding.bound):.2f}"
            print_out(out, make_text(f"  {finding.words} ({measure})"))
            print_out(out, make_text(f"    {', '.join(finding.probes[:6])}", "dim"))
        if result.is_guard:
            print_out(
                out, make_text("  a guard knows no policy: tested on good replies only", "dim")
            )


def _word(result: JurorAssurance) -> str:
    return "passed" if result.passes else "failed"


def _iter_cells(result: JurorAssurance) -> Iterator[str]:
    yield result.judge
    yield f"{result.right} of {result.traps}"
    yield str(len(result.leaks_passed))
    largest = max(result.shifts, key=lambda shift: abs(shift.mean), default=None)
    yield DASH if largest is None else f"{largest.mean:+.2f}"
    yield _format_wrong([c for c in result.comparisons if c.kind in REWRITES])
    for kind in ("policy_swap", "injection"):
        yield _format_wrong([c for c in result.comparisons if c.kind == kind])


def _format_wrong(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return DASH
    return f"{sum(len(c.wrong) for c in comparisons)} of {sum(c.n for c in comparisons)}"


def _to_json(test: JudgeTest, result: JurorAssurance) -> dict[str, object]:
    return {
        **test.keys[result.judge]._asdict(),
        "language": test.language,
        "passed": result.passes,
        "guard": result.is_guard,
        "requests": result.requests,
        "traps": result.traps,
        "right": result.right,
        "misjudged": list(result.misjudged),
        "leaks_passed": list(result.leaks_passed),
        "without_verdict": dict(result.null_codes),
        "biases": [finding._asdict() for finding in result.bias_findings],
        "shifts": [shift._asdict() for shift in result.shifts],
        "comparisons": [
            {"kind": c.kind, "n": c.n, "wrong": list(c.wrong)} for c in result.comparisons
        ],
    }
