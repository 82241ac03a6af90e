"""Output of `safegen policy check` and `safegen policy show`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from rich.text import Text

from safegen.cli.options import POLICY_FORMS
from safegen.cli.render.console import (
    format_json_line,
    make_console,
    make_text,
    print_out,
)
from safegen.cli.render.tables import print_table
from safegen.core import resources
from safegen.core.plural import format_plural
from safegen.core.types import PolicyForm
from safegen.pipeline import policies
from safegen.policy.check import CheckReport
from safegen.policy.schema import Rule, Situation, When
from safegen.policy.spec import Policy


def check_policies(names: Sequence[str], *, taxonomy: str, json: bool) -> int:
    """Print findings and sizes; return 2 for any finding except warnings."""
    report = policies.check_policies(names, taxonomy=taxonomy)
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
    """Convert a place to JSON keys."""
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
            f"its leaves are not in {taxonomy}; name their taxonomy with --taxonomy"
            if s.foreign
            else "",
        )
        for s in report.sizes
    ]
    print_table(out, head, rows)
    warnings = sum(finding.warning for finding in report.findings)
    count = len(report.findings) - warnings
    if count:
        print_out(out, make_text(format_plural(count, "error"), "red"))
    if warnings:
        text = f"{format_plural(warnings, 'warning')}: check if it is intended"
        print_out(out, make_text(text, "yellow"))
    if not report.findings:
        print_out(out, make_text("no findings", "green"))


def show_policy(name: str, *, as_: str, at: str | None, taxonomy: str, json: bool) -> None:
    """Print the rules of a spec, or a text that it compiles to."""
    resources.require_known(as_, POLICY_FORMS, kind="form called")
    if as_ == "rules":
        _print_rules(policies.load_policy(name), json=json)
        return
    kind = cast(PolicyForm, as_)
    compiled = policies.compile_policy(name, kind, at=at, taxonomy=taxonomy)
    if json:
        payload = {
            "policy_id": policies.load_policy(name).policy_id,
            "form": as_,
            "at": compiled.at,
            "tokens": compiled.tokens,
            "text": compiled.text,
            "values": compiled.values,
        }
        sys.stdout.write(format_json_line(payload))
        return
    if compiled.at:
        sys.stderr.write(f"safegen: {compiled.at}; choose another situation with --at\n")
    sys.stdout.write(compiled.text + "\n")


def _print_rules(policy: Policy, *, json: bool) -> None:
    if json:
        for rule in (r for r in policy.rules if r.id in policy.reached_rules):
            payload = rule.model_dump(mode="json", exclude={"profiles"})
            sys.stdout.write(format_json_line({"policy_id": policy.policy_id, **payload}))
        return
    out = make_console(sys.stdout)
    harms = ", ".join(policy.spec.harms) or "none of its own"
    summary = f"{policy.spec.title}; harms {harms}; clarify {policy.clarify}"
    print_out(out, make_text(policy.policy_id, "bold"), make_text(summary), "")
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
    unrestricted = When()
    conditions = [
        f"{name} {'/'.join(str(v) for v in getattr(when, name))}"
        for name in Situation._fields
        if getattr(when, name) != getattr(unrestricted, name)
    ]
    return ", ".join(conditions) or "always"
