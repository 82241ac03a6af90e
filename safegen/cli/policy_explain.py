"""Output of `safegen policy explain` and of `safegen show --why`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from safegen.cli.render.console import (
    DETAIL_NAMES,
    format_json_line,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.errors import print_differences
from safegen.cli.render.tables import print_table
from safegen.core.types import Expectation, PlannedScenario
from safegen.pipeline import policies as policy_queries
from safegen.policy.explain import Explanation, SkippedRule
from safegen.policy.schema import Rule


def show_explanation(
    scenario: str,
    *,
    run: Path | None,
    recipe: str | None,
    policies: Sequence[str],
    taxonomy: str | None,
    json: bool,
) -> None:
    """Print the expectation of a situation, or of a scenario of a run, and its reasons."""
    report = policy_queries.explain_scenario(
        scenario, run=run, recipe=recipe, policies=policies, taxonomy=taxonomy
    )
    if report.context is not None:
        print_differences(report.context)
    planned, differing_expectation = report.planned, report.differing_expectation
    if json:
        scenario_id = {"scenario_id": planned.scenario.scenario_id} if planned else {}
        plan = {"plan": asdict(differing_expectation)} if differing_expectation else {}
        sys.stdout.write(format_json_line({**scenario_id, **report.explanation.to_json(), **plan}))
        return
    out = make_console(sys.stdout)
    print_explanation(report.explanation, planned, out)
    if differing_expectation:
        outcome = _describe_outcome(differing_expectation)
        rules = ", ".join(differing_expectation.rule_ids)
        line = f"the plan differs: {outcome}, by {rules} of {differing_expectation.policy_id}"
        print_out(out, "", make_text(line, "yellow"))


def print_explanation(
    explanation: Explanation, planned: PlannedScenario | None, out: Console
) -> None:
    """Print the expectation of a situation and the rule that decides."""
    at, rule = explanation.situation, explanation.rule
    summary = " · ".join(
        part
        for part in (
            explanation.harm,
            f"tier {at.tier}",
            f"evidence {at.evidence}",
            f"profile {at.profile}",
            f"detail {at.detail} {DETAIL_NAMES[at.detail]}",
        )
        if part
    )
    pairs = [
        ("situation", make_text(summary)),
        ("expected", make_text(_describe_outcome(rule), "bold")),
        ("required", make_text(", ".join(rule.required) or "nothing")),
        (
            "decided by",
            make_text(f"{rule.id} ({rule.authority}) of {explanation.policy.policy_id}", "bold"),
        ),
        ("", make_text(rule.says)),
    ]
    if planned is not None:
        pairs.insert(0, ("scenario", make_text(planned.scenario.scenario_id)))
    print_out(out, make_fact_table(pairs, indent=0))
    print_rule_reasons(explanation, out)


def print_rule_reasons(explanation: Explanation, out: Console) -> None:
    """Print the place of the deciding rule, the earlier rules, and changes that lead to another rule."""
    place = str(explanation.place or "in the run only; the policy file is not available")
    print_out(out, make_fact_table([("written at", make_text(place))], indent=0, width=10), "")
    if explanation.skipped:
        print_table(
            out,
            ("earlier rule", "does not apply because"),
            [_skipped_row(explanation, rule) for rule in explanation.skipped],
        )
        print_out(out, "")
    rows = [
        (n.axis, n.value, f"{_describe_outcome(n.rule)}, by {n.rule.id}")
        for n in explanation.neighbours
    ]
    print_table(out, ("if", "is", "expectation"), rows)
    if not rows:
        print_out(out, "no single change leads to another outcome")


def _skipped_row(explanation: Explanation, skipped: SkippedRule) -> tuple[str, str]:
    conditions = [
        _describe_failure(explanation, skipped.rule, n) for n in skipped.failed_conditions
    ]
    return skipped.rule.id, "; ".join(conditions)


def _describe_failure(explanation: Explanation, rule: Rule, name: str) -> str:
    if name == "harm":
        leaf = explanation.harm or explanation.policy.example_leaf
        leaves = _join_or(rule.harms) or f"outside {_join_or(rule.except_harms)}"
        return f"harm is {leaf}, not {leaves}"
    value, allowed = getattr(explanation.situation, name), getattr(rule.when, name)
    return f"{name} is {value}, not {_join_or(allowed)}"


def _join_or(values: Sequence[object]) -> str:
    return " or ".join(str(v) for v in values)


def _describe_outcome(outcome: Rule | Expectation) -> str:
    floor = f", floor {outcome.floor}" if outcome.floor else ""
    return f"{outcome.mode}, ceiling {outcome.ceiling}{floor}"
