"""What `safegen policy check` and `show` print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import BaseModel
from rich.text import Text

from safegen.cli.render.console import console, json_line, put, word
from safegen.cli.render.tables import table
from safegen.config import taxonomy as taxonomies
from safegen.config.taxonomy import Taxonomy
from safegen.core import resources
from safegen.policy import compile as compiled, explain as explained, loader
from safegen.policy.check import Report, check as checked, covered
from safegen.policy.decide import expect_at
from safegen.policy.schema import Rule, Situation, When
from safegen.policy.spec import Policy

FORMS = ("rules", "instructions", "rubric", "classifier")


def check(names: Sequence[str], *, taxonomy: str, json: bool) -> int:
    """Print what was found; 2 if anything was but warnings."""
    report = checked(names, taxonomies.load(taxonomy))
    if json:
        for found in report.findings:
            place = asdict_place(found.place)
            told = {"kind": found.kind, "policy": found.policy, **place, "message": found.message}
            sys.stdout.write(json_line({"finding": {**told, "warning": found.warning}}))
        for sizes in report.sizes:
            sys.stdout.write(json_line({"policy": asdict(sizes)}))
    else:
        _report(report, taxonomy)
    return 2 if any(not found.warning for found in report.findings) else 0


def asdict_place(place: tuple[Path, int, int] | None) -> dict[str, object]:
    """A place as keys."""
    path, line, column = place or (None, None, None)
    return {"file": None if path is None else str(path), "line": line, "column": column}


def _report(report: Report, taxonomy: str) -> None:
    out = console(sys.stdout)
    for found in report.findings:
        kind = word(found.kind, "yellow" if found.warning else "red")
        out.print(Text.assemble(word(found), "  ", kind), soft_wrap=True)
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
    table(out, head, rows)
    warnings = sum(found.warning for found in report.findings)
    count = len(report.findings) - warnings
    if count:
        put(out, word(f"{count} found", "red"))
    if warnings:
        put(out, word(f"{warnings} to weigh: what is told may be on purpose", "yellow"))
    if not report.findings:
        put(out, word("nothing found", "green"))


def show(name: str, *, as_: str, at: str | None, taxonomy: str, json: bool) -> None:
    """Print a spec's rules or a compiled form."""
    resources.known_or_fail(as_, FORMS, what="form called")
    policy, tree = loader.load(name), taxonomies.load(taxonomy)
    if as_ == "rules":
        _rules(policy, json=json)
        return
    form = _classifier(policy, tree) if as_ == "classifier" else _form(as_, policy, tree, at)
    if json:
        size = compiled.tokens(form.text)
        told = {"policy_id": policy.policy_id, "form": as_, "at": form.at, "tokens": size}
        values = {f.name: _data(getattr(form.values, f.name)) for f in fields(form.values)}
        sys.stdout.write(json_line({**told, "text": form.text, "values": values}))
        return
    if form.at:
        sys.stderr.write(f"safegen: {form.at}; choose another with --at\n")
    sys.stdout.write(form.text + "\n")


class _Form(NamedTuple):
    at: str | None
    text: str
    values: compiled.Instructions | compiled.Rubric | compiled.Classifier


def _classifier(policy: Policy, tree: Taxonomy) -> _Form:
    values = compiled.classifier(policy, harms=covered(policy, tree))
    return _Form(None, compiled.classifier_prompt().render("system", told=values), values)


def _form(as_: str, policy: Policy, tree: Taxonomy, at: str | None) -> _Form:
    if at is None:
        leaf = next((h.id for h in covered(policy, tree) if not h.red_line), "tier=restricted")
        at = f"{leaf},evidence=none,profile=public,detail=3"
    asked = explained.parse(at, [policy], tree.harms)
    expectation = expect_at(policy, asked.at)
    if as_ == "rubric":
        rubric = compiled.rubric(policy, expectation, harm=asked.harm)
        return _Form(at, compiled.rubric_prompt().render("user", told=rubric), rubric)
    values = compiled.instructions(policy, expectation, harm=asked.harm)
    text = compiled.instructions_prompt().render("system", told=values, operator="", style="")
    return _Form(at, text, values)


def _rules(policy: Policy, *, json: bool) -> None:
    if json:
        for rule in (r for r in policy.rules if r.id in policy.reached):
            told = rule.model_dump(mode="json", exclude={"profiles"})
            sys.stdout.write(json_line({"policy_id": policy.policy_id, **told}))
        return
    out = console(sys.stdout)
    harms = ", ".join(policy.spec.harms) or "none of its own"
    told = f"{policy.spec.title}; harms {harms}; clarify {policy.clarify}"
    put(out, word(policy.policy_id, "bold"), word(told), "")
    rows = [
        (r.id, r.mode, f"{r.floor}-{r.ceiling}", r.authority, f"{_when(r.when)}{_needs(r)}")
        for r in policy.rules
        if r.id in policy.reached
    ]
    table(out, ("rule", "mode", "detail", "authority", "when"), rows)


def _needs(rule: Rule) -> str:
    return f"; requires {', '.join(rule.required)}" if rule.required else ""


def _when(when: When) -> str:
    whole = When()
    told = [
        f"{name} {'/'.join(str(v) for v in getattr(when, name))}"
        for name in Situation._fields
        if getattr(when, name) != getattr(whole, name)
    ]
    return ", ".join(told) or "always"


def _data(value: object) -> object:
    """Named tuples and models as JSON objects."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        names: tuple[str, ...] = getattr(parts, "_fields", ())
        told = [_data(part) for part in parts]
        return dict(zip(names, told, strict=True)) if names else told
    return value
