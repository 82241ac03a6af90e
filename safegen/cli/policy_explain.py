"""What `safegen policy explain` and `show --why` print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from safegen.cli.render.errors import print_differences, print_message
from safegen.cli.render.tables import print_table
from safegen.config import taxonomy as taxonomies
from safegen.config.recipe import Recipe, SourceLocator
from safegen.config.taxonomy import Harm
from safegen.core import resources
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.core.types import Expectation, PlannedScenario, Record
from safegen.pipeline import api
from safegen.pipeline.resolve import RunContext
from safegen.policy import explain as explained, loader, spec
from safegen.policy.decide import compute_expectation_at
from safegen.policy.explain import Explanation, SituationQuery, SkippedRule
from safegen.policy.schema import Rule, Situation
from safegen.policy.spec import Policy
from safegen.store import plan


def show_explanation(
    scenario: str,
    *,
    run: Path | None,
    recipe: str | None,
    policies: Sequence[str],
    taxonomy: str | None,
    json: bool,
) -> None:
    """Print why a situation, or a scenario of a run, is answered as it is."""
    planned: PlannedScenario | None = None
    if run is None:
        query = _parse_query(scenario, recipe, policies, taxonomy)
    elif recipe or taxonomy:
        option = "--recipe" if recipe else "--taxonomy"
        raise UserError(f"`--run` explains by what the run was made with; drop `{option}`")
    else:
        planned, query = _find_in_run(scenario, run, policies)
    explanation = explained.explain_situation(query.policy, query.situation, harm=query.harm)
    moved = planned is not None and planned.expectation != compute_expectation_at(
        query.policy, query.situation
    )
    if json:
        extra = {"scenario_id": planned.scenario.scenario_id} if planned else {}
        was = {"plan": asdict(planned.expectation)} if moved and planned else {}
        sys.stdout.write(format_json_line({**extra, **explanation.to_json(), **was}))
        return
    out = make_console(sys.stdout)
    print_explanation(explanation, planned, out)
    if planned is not None and moved:
        was = planned.expectation
        message = (
            f"the plan was made otherwise: {_describe_outcome(was)}, by {', '.join(was.rule_ids)}"
        )
        print_out(out, "", make_text(f"{message} of {was.policy_id}", "yellow"))


def _parse_query(
    scenario: str, recipe: str | None, policies: Sequence[str], taxonomy: str | None
) -> SituationQuery:
    """A situation by the specs of a recipe, by those that are named, or by every known one."""
    made, at = (api.load_recipe(recipe) if recipe else None), SourceLocator(recipe)
    with nullcontext() if taxonomy or made is None else at.prefix_errors("taxonomy"):
        harms = taxonomies.load_taxonomy(taxonomy or (made.taxonomy if made else "core")).harms
    named = policies or (made.policies if made else ())
    with nullcontext() if policies or made is None else at.prefix_errors("policies"):
        specs = _load_policies(named, harms=scenario)
    query = explained.parse_situation(scenario, specs, harms)
    if not named and query.policy.spec.policy not in Recipe.model_fields["policies"].default:
        print_message(
            f"`{query.policy.path}` decides here; a recipe goes by it only if its `policies:` names it"
            " (`--recipe FILE` asks as a recipe does)"
        )
    return query


def _find_in_run(
    text: str, output: Path, policies: Sequence[str]
) -> tuple[PlannedScenario | None, SituationQuery]:
    """A scenario by the start of its id, or a situation, by what the run was made with."""
    basis = api.load_context(api.open_run(output))
    harms, specs = basis.tree.harms, _load_policies(policies) if policies else basis.policies
    if not policies:
        print_differences(basis)
    if text in harms or any(sign in text for sign in ",="):
        return None, explained.parse_situation(text, specs, harms)
    return _find_planned(text, output, specs, harms)


def _find_planned(
    prefix: str, output: Path, specs: Sequence[Policy], harms: Mapping[str, Harm]
) -> tuple[PlannedScenario, SituationQuery]:
    for path in list_plans(output):
        for item in plan.iter_scenarios(path):
            scenario = item.scenario
            if scenario.scenario_id.startswith(prefix):
                harm = harms[scenario.harm]
                at = Situation(
                    harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail
                )
                return item, SituationQuery(spec.policy_for(specs, harm), at, harm.id)
    raise AssetNotFound(f"no scenario in `{output}` has an id that starts with `{prefix}`")


def list_plans(output: Path) -> list[Path]:
    """The plan files of a run, round by round."""
    return sorted((output / "run" / "plan").glob("*.parquet"), key=lambda p: (len(p.stem), p.stem))


def make_explainer(basis: RunContext) -> Callable[[Record], Explanation]:
    """Explain records of a run by the specs under which they were judged."""
    harms, specs = basis.tree.harms, basis.policies

    def told(record: Record) -> Explanation:
        scenario = record.scenario
        harm = harms[scenario.harm]
        at = Situation(harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail)
        return explained.explain_situation(spec.policy_for(specs, harm), at, harm=harm.id)

    return told


def print_explanation(
    explanation: Explanation, planned: PlannedScenario | None, out: Console
) -> None:
    """Print what is expected of a situation, and why."""
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
        ("asked", make_text(summary)),
        ("expected", make_text(_describe_outcome(rule), "bold")),
        ("required", make_text(", ".join(rule.required) or "nothing in particular")),
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
    """Print where the rule that decided is written, why no earlier one did, and what would change it."""
    place = str(explanation.place or "in the run alone; its file is not at hand")
    print_out(out, make_fact_table([("written at", make_text(place))], indent=0, width=10), "")
    if explanation.skipped:
        print_table(
            out,
            ("earlier rule", "did not decide, since"),
            [_skipped_row(explanation, p) for p in explanation.skipped],
        )
        print_out(out, "")
    rows = [
        (n.axis, n.value, f"{_describe_outcome(n.rule)}, by {n.rule.id}")
        for n in explanation.neighbours
    ]
    print_table(out, ("if", "were", "then expected"), rows)
    if not rows:
        print_out(out, "no single change gives another outcome")


def _skipped_row(explanation: Explanation, passed: SkippedRule) -> tuple[str, str]:
    conditions = [
        f"{name} is {getattr(explanation.situation, name)}, not {_join_or(getattr(passed.rule.when, name))}"
        for name in passed.failed_conditions
    ]
    return passed.rule.id, "; ".join(conditions)


def _join_or(values: Sequence[object]) -> str:
    return " or ".join(str(v) for v in values)


def _describe_outcome(outcome: Rule | Expectation) -> str:
    floor = f", floor {outcome.floor}" if outcome.floor else ""
    return f"{outcome.mode}, ceiling {outcome.ceiling}{floor}"


def _load_policies(names: Sequence[str], *, harms: str = "") -> list[Policy]:
    """The named specs, or every known one that names leaves.

    A known spec that does not load is left out and told, unless it names the leaf that is asked about.
    """
    if names:
        return [loader.load_policy(name) for name in names]
    policies: list[Policy] = []
    for name in resources.list_names("policies"):
        try:
            policies.append(loader.load_policy(name))
        except ConfigError as e:
            if _may_name_harm(name, harms.split(",")[0].strip()):
                raise
            print_message(f"`{name}` is left out, since it does not load: {str(e).splitlines()[0]}")
    if not policies:
        raise ConfigError("no policy spec is known; name one with `--policy`")
    return [policy for policy in policies if policy.spec.harms]


def _may_name_harm(name: str, harm: str) -> bool:
    """Whether a spec that does not load can still be read and names a leaf."""
    try:
        return loader.read_policy(name).covers(harm)
    except ConfigError:
        return False
