"""What `safegen policy check` and `show_policy` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import BaseModel
from rich.text import Text

from safegen.cli.render.console import format_json_line, make_console, make_text, print_out
from safegen.cli.render.tables import print_table
from safegen.config import taxonomy as taxonomies
from safegen.config.taxonomy import Taxonomy
from safegen.core import resources
from safegen.policy import compile as compiled, explain as explained, loader
from safegen.policy.check import CheckReport, check_specs as checked, covered_leaves
from safegen.policy.decide import compute_expectation_at
from safegen.policy.schema import Rule, Situation, When
from safegen.policy.spec import Policy

FORMS = ("rules", "instructions", "rubric", "classifier")


def check_policies(names: Sequence[str], *, taxonomy: str, json: bool) -> int:
    """Print what was found; 2 if anything was but warnings."""
    report = checked(names, taxonomies.load_taxonomy(taxonomy))
    if json:
        for finding in report.findings:
            place = place_to_json(finding.place)
            payload = {
                "kind": finding.kind,
                "policy": finding.policy,
                **place,
                "message": finding.message,
            }
            sys.stdout.write(format_json_line({"finding": {**payload, "warning": finding.warning}}))
        for sizes in report.sizes:
            sys.stdout.write(format_json_line({"policy": asdict(sizes)}))
    else:
        _print_report(report, taxonomy)
    return 2 if any(not finding.warning for finding in report.findings) else 0


def place_to_json(place: tuple[Path, int, int] | None) -> dict[str, object]:
    """A place as keys."""
    path, line, column = place or (None, None, None)
    return {"file": None if path is None else str(path), "line": line, "column": column}


def _print_report(report: CheckReport, taxonomy: str) -> None:
    out = make_console(sys.stdout)
    for finding in report.findings:
        kind = make_text(finding.kind, "yellow" if finding.warning else "red")
        out.print(Text.assemble(make_text(finding), "  ", kind), soft_wrap=True)
    head = ("spec", "own rules", "tested", "cases", "classifier", "instructions", "note")
    rows = [
        (
            s.policy_id,
            s.rules,
            f"{s.tested}/{s.rules}" if s.rules else "inherited",
            s.cases,
            f"~{s.classifier} tokens",
            f"~{s.instructions} tokens" if s.instructions else "no leaves",
            f"its leaves are not of {taxonomy}; name theirs with --taxonomy" if s.foreign else "",
        )
        for s in report.sizes
    ]
    print_table(out, head, rows)
    warnings = sum(finding.warning for finding in report.findings)
    count = len(report.findings) - warnings
    if count:
        print_out(out, make_text(f"{count} found", "red"))
    if warnings:
        print_out(out, make_text(f"{warnings} to weigh: what is told may be on purpose", "yellow"))
    if not report.findings:
        print_out(out, make_text("nothing found", "green"))


def show_policy(name: str, *, as_: str, at: str | None, taxonomy: str, json: bool) -> None:
    """Print a spec's rules or a compiled form."""
    resources.require_known(as_, FORMS, kind="form called")
    policy, tree = loader.load_policy(name), taxonomies.load_taxonomy(taxonomy)
    if as_ == "rules":
        _print_rules(policy, json=json)
        return
    form = (
        _classifier_form(policy, tree)
        if as_ == "classifier"
        else _compile_form(as_, policy, tree, at)
    )
    if json:
        size = compiled.estimate_tokens(form.text)
        payload = {"policy_id": policy.policy_id, "form": as_, "at": form.at, "tokens": size}
        values = {f.name: _to_json(getattr(form.values, f.name)) for f in fields(form.values)}
        sys.stdout.write(format_json_line({**payload, "text": form.text, "values": values}))
        return
    if form.at:
        sys.stderr.write(f"safegen: {form.at}; choose another with --at\n")
    sys.stdout.write(form.text + "\n")


class _CompiledForm(NamedTuple):
    at: str | None
    text: str
    values: compiled.Instructions | compiled.Rubric | compiled.Classifier


def _classifier_form(policy: Policy, tree: Taxonomy) -> _CompiledForm:
    values = compiled.compile_classifier(policy, harms=covered_leaves(policy, tree))
    return _CompiledForm(
        None, compiled.load_classifier_prompt().render("system", instructions=values), values
    )


def _compile_form(as_: str, policy: Policy, tree: Taxonomy, at: str | None) -> _CompiledForm:
    if at is None:
        leaf = next(
            (h.id for h in covered_leaves(policy, tree) if not h.red_line), "tier=restricted"
        )
        at = f"{leaf},evidence=none,profile=public,detail=3"
    query = explained.parse_situation(at, [policy], tree.harms)
    expectation = compute_expectation_at(policy, query.situation)
    if as_ == "rubric":
        rubric = compiled.compile_rubric(policy, expectation, harm=query.harm)
        return _CompiledForm(
            at, compiled.load_rubric_prompt().render("user", instructions=rubric), rubric
        )
    values = compiled.compile_instructions(policy, expectation, harm=query.harm)
    text = compiled.load_instructions_prompt().render(
        "system", instructions=values, operator="", style=""
    )
    return _CompiledForm(at, text, values)


def _print_rules(policy: Policy, *, json: bool) -> None:
    if json:
        for rule in (r for r in policy.rules if r.id in policy.reached_rules):
            payload = rule.model_dump(mode="json", exclude={"profiles"})
            sys.stdout.write(format_json_line({"policy_id": policy.policy_id, **payload}))
        return
    out = make_console(sys.stdout)
    harms = ", ".join(policy.spec.harms) or "none of its own"
    payload = f"{policy.spec.title}; harms {harms}; clarify {policy.clarify}"
    print_out(out, make_text(policy.policy_id, "bold"), make_text(payload), "")
    rows = [
        (
            r.id,
            r.mode,
            f"{r.floor}-{r.ceiling}",
            r.authority,
            f"{_describe_when(r.when)}{_describe_needs(r)}",
        )
        for r in policy.rules
        if r.id in policy.reached_rules
    ]
    print_table(out, ("rule", "mode", "detail", "authority", "when"), rows)


def _describe_needs(rule: Rule) -> str:
    return f"; requires {', '.join(rule.required)}" if rule.required else ""


def _describe_when(when: When) -> str:
    whole = When()
    conditions = [
        f"{name} {'/'.join(str(v) for v in getattr(when, name))}"
        for name in Situation._fields
        if getattr(when, name) != getattr(whole, name)
    ]
    return ", ".join(conditions) or "always"


def _to_json(value: object) -> object:
    """Named tuples and models as JSON objects."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        names: tuple[str, ...] = getattr(parts, "_fields", ())
        items = [_to_json(part) for part in parts]
        return dict(zip(names, items, strict=True)) if names else items
    return value
