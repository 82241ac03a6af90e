"""What `safegen policy explain` and `show --why` print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from safegen.cli.render.console import DETAIL, console, facts, json_line, put, word
from safegen.cli.render.errors import say, say_what_differs
from safegen.cli.render.tables import table
from safegen.config import taxonomy as taxonomies
from safegen.config.recipe import Named, Recipe
from safegen.config.taxonomy import Harm
from safegen.core import resources
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.core.types import Expectation, Planned, Record
from safegen.pipeline import api
from safegen.pipeline.resolve import Basis
from safegen.policy import explain as explained, loader, spec
from safegen.policy.decide import expect_at
from safegen.policy.explain import Asked, Explanation, Passed
from safegen.policy.schema import Rule, Situation
from safegen.policy.spec import Policy
from safegen.store import plan


def explain(
    scenario: str,
    *,
    run: Path | None,
    recipe: str | None,
    policies: Sequence[str],
    taxonomy: str | None,
    json: bool,
) -> None:
    """Print why a situation, or a scenario of a run, is answered as it is."""
    planned: Planned | None = None
    if run is None:
        asked = _asked(scenario, recipe, policies, taxonomy)
    elif recipe or taxonomy:
        option = "--recipe" if recipe else "--taxonomy"
        raise UserError(f"`--run` explains by what the run was made with; drop `{option}`")
    else:
        planned, asked = _of_run(scenario, run, policies)
    found = explained.explain(asked.policy, asked.at, harm=asked.harm)
    moved = planned is not None and planned.expectation != expect_at(asked.policy, asked.at)
    if json:
        extra = {"scenario_id": planned.scenario.scenario_id} if planned else {}
        was = {"plan": asdict(planned.expectation)} if moved and planned else {}
        sys.stdout.write(json_line({**extra, **found.told(), **was}))
        return
    out = console(sys.stdout)
    tell(found, planned, out)
    if planned is not None and moved:
        was = planned.expectation
        said = f"the plan was made otherwise: {_expected(was)}, by {', '.join(was.rule_ids)}"
        put(out, "", word(f"{said} of {was.policy_id}", "yellow"))


def _asked(
    scenario: str, recipe: str | None, policies: Sequence[str], taxonomy: str | None
) -> Asked:
    """A situation by the specs of a recipe, by those that are named, or by every known one."""
    made, at = (api.load_recipe(recipe) if recipe else None), Named(recipe)
    with nullcontext() if taxonomy or made is None else at.at("taxonomy"):
        harms = taxonomies.load(taxonomy or (made.taxonomy if made else "core")).harms
    named = policies or (made.policies if made else ())
    with nullcontext() if policies or made is None else at.at("policies"):
        specs = _load(named, harms=scenario)
    asked = explained.parse(scenario, specs, harms)
    if not named and asked.policy.spec.policy not in Recipe.model_fields["policies"].default:
        say(
            f"`{asked.policy.path}` decides here; a recipe goes by it only if its `policies:` names it"
            " (`--recipe FILE` asks as a recipe does)"
        )
    return asked


def _of_run(told: str, output: Path, policies: Sequence[str]) -> tuple[Planned | None, Asked]:
    """A scenario by the start of its id, or a situation, by what the run was made with."""
    basis = api.basis(api.open_run(output))
    harms, specs = basis.tree.harms, _load(policies) if policies else basis.policies
    if not policies:
        say_what_differs(basis)
    if told in harms or any(sign in told for sign in ",="):
        return None, explained.parse(told, specs, harms)
    return _planned(told, output, specs, harms)


def _planned(
    prefix: str, output: Path, specs: Sequence[Policy], harms: Mapping[str, Harm]
) -> tuple[Planned, Asked]:
    for path in plans(output):
        for item in plan.every(path):
            scenario = item.scenario
            if scenario.scenario_id.startswith(prefix):
                harm = harms[scenario.harm]
                at = Situation(
                    harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail
                )
                return item, Asked(spec.policy_for(specs, harm), at, harm.id)
    raise AssetNotFound(f"no scenario in `{output}` has an id that starts with `{prefix}`")


def plans(output: Path) -> list[Path]:
    """The plan files of a run, round by round."""
    return sorted((output / "run" / "plan").glob("*.parquet"), key=lambda p: (len(p.stem), p.stem))


def why(basis: Basis) -> Callable[[Record], Explanation]:
    """Explain records of a run by the specs under which they were judged."""
    harms, specs = basis.tree.harms, basis.policies

    def told(record: Record) -> Explanation:
        scenario = record.scenario
        harm = harms[scenario.harm]
        at = Situation(harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail)
        return explained.explain(spec.policy_for(specs, harm), at, harm=harm.id)

    return told


def tell(found: Explanation, planned: Planned | None, out: Console) -> None:
    """Print what is expected of a situation, and why."""
    at, rule = found.at, found.rule
    asked = " · ".join(
        part
        for part in (
            found.harm,
            f"tier {at.tier}",
            f"evidence {at.evidence}",
            f"profile {at.profile}",
            f"detail {at.detail} {DETAIL[at.detail]}",
        )
        if part
    )
    pairs = [
        ("asked", word(asked)),
        ("expected", word(_expected(rule), "bold")),
        ("required", word(", ".join(rule.required) or "nothing in particular")),
        ("decided by", word(f"{rule.id} ({rule.authority}) of {found.policy.policy_id}", "bold")),
        ("", word(rule.says)),
    ]
    if planned is not None:
        pairs.insert(0, ("scenario", word(planned.scenario.scenario_id)))
    put(out, facts(pairs, indent=0))
    because(found, out)


def because(found: Explanation, out: Console) -> None:
    """Print where the rule that decided is written, why no earlier one did, and what would change it."""
    place = str(found.place or "in the run alone; its file is not at hand")
    put(out, facts([("written at", word(place))], indent=0, width=10), "")
    if found.passed:
        table(
            out, ("earlier rule", "did not decide, since"), [_why(found, p) for p in found.passed]
        )
        put(out, "")
    rows = [(n.axis, n.value, f"{_expected(n.rule)}, by {n.rule.id}") for n in found.neighbours]
    table(out, ("if", "were", "then expected"), rows)
    if not rows:
        put(out, "no single change gives another outcome")


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


def _load(names: Sequence[str], *, harms: str = "") -> list[Policy]:
    """The named specs, or every known one that names leaves.

    A known spec that does not load is left out and told, unless it names the leaf that is asked about.
    """
    if names:
        return [loader.load(name) for name in names]
    found: list[Policy] = []
    for name in resources.names("policies"):
        try:
            found.append(loader.load(name))
        except ConfigError as e:
            if _may_name(name, harms.split(",")[0].strip()):
                raise
            say(f"`{name}` is left out, since it does not load: {str(e).splitlines()[0]}")
    if not found:
        raise ConfigError("no policy spec is known; name one with `--policy`")
    return [policy for policy in found if policy.spec.harms]


def _may_name(name: str, harm: str) -> bool:
    """Whether a spec that does not load can still be read and names a leaf."""
    try:
        return loader.read(name).covers(harm)
    except ConfigError:
        return False
