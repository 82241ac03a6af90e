"""What `safegen policy check`, `explain` and `show` print."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from safegen import api, assets, taxonomy
from safegen.cli.grid import clean, grid
from safegen.cli.screen import console
from safegen.errors import AssetNotFound, ConfigError
from safegen.policy import compile as compiled
from safegen.policy import explain as explained
from safegen.policy import spec
from safegen.policy.check import Report, covered
from safegen.policy.check import check as checked
from safegen.policy.explain import Asked, Explanation, Passed
from safegen.policy.mode import expect_at
from safegen.policy.model import Rule, Situation, When
from safegen.policy.spec import Policy
from safegen.store import plan
from safegen.taxonomy import Taxonomy
from safegen.types import Expectation, Planned

FORMS = ("rules", "instructions", "rubric", "classifier")
DETAIL_NAMES = ("awareness", "concept", "strategy", "procedure", "executable")


def check(names: Sequence[str], *, taxonomy: str, json: bool) -> int:
    """Print what was found; 2 if anything was."""
    report = checked(names, _tree(taxonomy))
    if json:
        for found in report.findings:
            place = asdict_place(found.place)
            facts = {"kind": found.kind, "policy": found.policy, **place, "message": found.message}
            _line({"finding": facts})
        for sizes in report.sizes:
            _line({"policy": asdict(sizes)})
    else:
        _report(report)
    return 2 if report.findings else 0


def asdict_place(place: tuple[Path, int, int] | None) -> dict[str, object]:
    """A place as keys."""
    path, line, column = place or (None, None, None)
    return {"file": None if path is None else str(path), "line": line, "column": column}


def _report(report: Report) -> None:
    out = console(sys.stdout)
    for found in report.findings:
        colour = f"[red]{found.kind}[/red]"
        out.print(f"{escape(clean(found))}  {colour}", soft_wrap=True)
    head = ("spec", "own rules", "tested", "cases", "classifier", "instructions", "note")
    rows = [
        (
            s.policy_id,
            s.rules,
            f"{s.tested}/{s.rules}" if s.rules else "inherited",
            s.cases,
            f"~{s.classifier} tokens",
            f"~{s.instructions} tokens" if s.instructions else "no leaves",
            "its leaves are not of this taxonomy" if s.foreign else "",
        )
        for s in report.sizes
    ]
    grid(out, head, rows)
    count = len(report.findings)
    out.print(f"{count} found" if count else "[green]nothing found[/green]")


def explain(
    scenario: str, *, run: Path | None, policies: Sequence[str], taxonomy: str, json: bool
) -> None:
    """Print why a situation, or a scenario of a run, is answered as it is."""
    planned: Planned | None = None
    if run is None:
        tree = _tree(taxonomy)
        asked = explained.parse(scenario, _load(policies), tree.harms)
    else:
        planned, asked = _planned(scenario, run, policies)
    found = explained.explain(asked.policy, asked.at, harm=asked.harm)
    moved = planned is not None and planned.expectation != expect_at(asked.policy, asked.at)
    if json:
        extra = {"scenario_id": planned.scenario.scenario_id} if planned else {}
        _line(
            {
                **extra,
                **found.told(),
                **({"plan": asdict(planned.expectation)} if moved and planned else {}),
            }
        )
        return
    out = console(sys.stdout)
    if planned is not None:
        out.print(f"[bold]scenario[/bold]   {escape(planned.scenario.scenario_id)}")
    _told(found, out)
    if planned is not None and moved:
        was = planned.expectation
        out.print(
            f"[yellow]the plan was made otherwise[/yellow]: {escape(_expected(was))},"
            f" by {', '.join(was.rule_ids)} of {escape(was.policy_id)}"
        )


def _planned(prefix: str, output: Path, policies: Sequence[str]) -> tuple[Planned, Asked]:
    run = api.open_run(output)
    harms = taxonomy.load(run.recipe.taxonomy).harms
    for path in plans(output):
        for item in plan.every(path):
            scenario = item.scenario
            if scenario.scenario_id.startswith(prefix):
                harm = harms[scenario.harm]
                at = Situation(
                    harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail
                )
                specs = _load(policies or run.recipe.policies)
                return item, Asked(spec.policy_for(specs, harm), at, harm.id)
    raise AssetNotFound(f"no scenario in `{output}` has an id that starts with `{prefix}`")


def plans(output: Path) -> list[Path]:
    """The plan files of a run, round by round."""
    return sorted((output / "run" / "plan").glob("*.parquet"), key=lambda p: (len(p.stem), p.stem))


def _told(found: Explanation, out: Console) -> None:
    at, rule = found.at, found.rule
    asked = " · ".join(
        part
        for part in (
            found.harm,
            f"tier {at.tier}",
            f"evidence {at.evidence}",
            f"profile {at.profile}",
            f"detail {at.detail} {DETAIL_NAMES[at.detail]}",
        )
        if part
    )
    facts = [
        ("asked", asked),
        ("expected", _expected(rule)),
        ("required", ", ".join(rule.required) or "nothing in particular"),
        ("decided by", f"{rule.id} ({rule.authority}) of {found.policy.policy_id}"),
        ("", rule.says),
        ("written at", str(found.place or "")),
    ]
    for name, value in facts:
        out.print(f"[bold]{name:<11}[/bold]{escape(clean(value))}")
    out.print()
    grid(out, ("earlier rule", "did not decide, since"), [_why(found, p) for p in found.passed])
    head = ("if", "were", "then", "by")
    rows = [(n.axis, n.value, _expected(n.rule), n.rule.id) for n in found.neighbours]
    out.print()
    grid(out, head, rows)
    if not rows:
        out.print("No single change gives another outcome.")


def _why(found: Explanation, passed: Passed) -> tuple[str, str]:
    told = [
        f"{name} is {getattr(found.at, name)}, not {_or(getattr(passed.rule.when, name))}"
        for name in passed.fails
    ]
    return passed.rule.id, "; ".join(told)


def _or(values: Sequence[object]) -> str:
    return " or ".join(str(v) for v in values)


def _expected(what: Rule | Expectation) -> str:
    floor = f", floor {what.floor}" if what.floor else ""
    return f"{what.mode}, ceiling {what.ceiling}{floor}"


def show(name: str, *, as_: str, at: str | None, taxonomy: str, json: bool) -> None:
    """Print a spec's rules or a compiled form."""
    assets.known_or_fail(as_, FORMS, what="form called")
    policy, tree = spec.load(name), _tree(taxonomy)
    if as_ == "rules":
        _rules(policy, json=json)
        return
    form = _classifier(policy, tree) if as_ == "classifier" else _form(as_, policy, tree, at)
    if json:
        size = compiled.tokens(form.text)
        facts = {"policy_id": policy.policy_id, "form": as_, "at": form.at, "tokens": size}
        values = {f.name: _data(getattr(form.values, f.name)) for f in fields(form.values)}
        _line({**facts, "text": form.text, "values": values})
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
    text = compiled.instructions_prompt().render("system", told=values, operator="")
    return _Form(at, text, values)


def _rules(policy: Policy, *, json: bool) -> None:
    if json:
        for rule in (r for r in policy.rules if r.id in policy.reached):
            _line(
                {
                    "policy_id": policy.policy_id,
                    **rule.model_dump(mode="json", exclude={"profiles"}),
                }
            )
        return
    out = console(sys.stdout)
    out.print(f"[bold]{escape(policy.policy_id)}[/bold]  {escape(policy.spec.title)}")
    out.print(
        f"harms {', '.join(policy.spec.harms) or 'none of its own'} · clarify {policy.clarify}"
    )
    rows = [
        (r.id, _expected(r), r.authority, _when(r.when), ", ".join(r.required))
        for r in policy.rules
        if r.id in policy.reached
    ]
    grid(out, ("rule", "expects", "authority", "when", "required"), rows)


def _when(when: When) -> str:
    whole = When()
    told = [
        f"{name} {'/'.join(str(v) for v in getattr(when, name))}"
        for name in Situation._fields
        if getattr(when, name) != getattr(whole, name)
    ]
    return ", ".join(told) or "always"


def _load(names: Sequence[str]) -> list[Policy]:
    """The named specs, or every known one that names leaves."""
    found = [spec.load(name) for name in names or assets.names("policies")]
    if not found:
        raise ConfigError("no policy spec is known; name one with `--policy`")
    return found if names else [policy for policy in found if policy.spec.harms]


def _tree(name: str) -> Taxonomy:
    return taxonomy.load(name)


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


def _line(facts: dict[str, object]) -> None:
    sys.stdout.write(jsonlib.dumps(facts, ensure_ascii=False) + "\n")
