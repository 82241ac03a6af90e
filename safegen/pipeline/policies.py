"""Check, compile, explain and compare policy specs, alone or as a run used them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import BaseModel

from safegen.config import recipe as recipes, taxonomy as taxonomies
from safegen.config.recipe import Recipe, SourceLocator
from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core import resources
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.core.types import Expectation, PlannedScenario, PolicyForm, Scenario
from safegen.pipeline.api import load_context, open_run
from safegen.pipeline.resolve import RunContext
from safegen.pipeline.snapshot import RunSnapshot
from safegen.policy import compile as compiler
from safegen.policy.check import CheckReport, check_specs, covered_leaves
from safegen.policy.decide import compute_expectation_at
from safegen.policy.diff import AffectedRows, Difference, diff_specs, find_affected
from safegen.policy.explain import (
    Explanation,
    SituationQuery,
    explain_situation,
    parse_profile,
    parse_situation,
)
from safegen.policy.importers import fms
from safegen.policy.importers.fms import ImportedSpec
from safegen.policy.loader import load_policy, read_policy
from safegen.policy.schema import Situation
from safegen.policy.spec import Policy, policy_for
from safegen.store import plan
from safegen.store.run_folder import RunFolder

logger = logging.getLogger(__name__)

__all__ = [
    "CompiledText",
    "PolicyComparison",
    "RunComparison",
    "SituationReport",
    "check_policies",
    "compare_policies",
    "compile_policy",
    "explain_record",
    "explain_scenario",
    "import_policy",
    "is_made_under",
    "load_policy",
]


def check_policies(names: Sequence[str] = (), *, taxonomy: str = "core") -> CheckReport:
    """Run the specs' own cases and the lints; without names, check all known specs and their coverage.

    Raises:
        UserError: the taxonomy cannot be read.
    """
    return check_specs(names, taxonomies.load_taxonomy(taxonomy))


@dataclass(frozen=True, slots=True)
class CompiledText:
    """A text that a spec compiles to, with the values that its template renders."""

    at: str
    """The situation; for a classifier the profile alone."""
    text: str
    tokens: int
    """An estimate from characters."""
    values: Mapping[str, object]
    """The template's values as JSON."""


def compile_policy(
    name: str, kind: PolicyForm, *, at: str | None = None, taxonomy: str = "core"
) -> CompiledText:
    """Compile a spec to instructions, rubric or classifier.

    Args:
        name: a known spec or a path.
        kind: the text to compile to.
        at: the situation of instructions and rubric, default the spec's first leaf at detail 3; for a
            classifier a profile, default `profile=public`.
        taxonomy: the taxonomy that holds its leaves.

    Raises:
        UserError: the spec, the taxonomy or the situation is wrong.

    Example:
        >>> compile_policy("security", "rubric").at
        'cyber.intrusion,evidence=none,profile=public,detail=3'
    """
    policy, tree = load_policy(name), taxonomies.load_taxonomy(taxonomy)
    if kind == "classifier":
        profile = parse_profile(at) if at else "public"
        values = compiler.compile_classifier(
            policy, harms=covered_leaves(policy, tree), profile=profile
        )
        text = compiler.load_classifier_prompt().render("system", instructions=values)
        return _make_text(f"profile={profile}", text, values)
    at = at or _default_situation(policy, tree)
    query = parse_situation(at, [policy], tree.harms)
    expectation = compute_expectation_at(policy, query.situation)
    if kind == "rubric":
        rubric = compiler.compile_rubric(policy, expectation, harm=query.harm)
        return _make_text(
            at, compiler.load_rubric_prompt().render("user", instructions=rubric), rubric
        )
    values = compiler.compile_instructions(policy, expectation, harm=query.harm)
    template = compiler.load_instructions_prompt()
    text = compiler.render_instructions(template, policy, expectation, harm=query.harm)
    return _make_text(at, text, values)


def _default_situation(policy: Policy, tree: Taxonomy) -> str:
    leaves = (harm.id for harm in covered_leaves(policy, tree) if not harm.red_line)
    return f"{next(leaves, 'tier=restricted')},evidence=none,profile=public,detail=3"


def _make_text(
    at: str,
    text: str,
    values: compiler.Instructions | compiler.Rubric | compiler.Classifier,
) -> CompiledText:
    payload = {f.name: _to_json(getattr(values, f.name)) for f in fields(values)}
    return CompiledText(at, text, compiler.estimate_tokens(text), payload)


def _to_json(value: object) -> object:
    """Convert named tuples and models to JSON objects."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        names: tuple[str, ...] = getattr(parts, "_fields", ())
        items = [_to_json(part) for part in parts]
        return dict(zip(names, items, strict=True)) if names else items
    return value


@dataclass(frozen=True, slots=True)
class SituationReport:
    """The rule that decides a situation, or a scenario of a run."""

    explanation: Explanation
    planned: PlannedScenario | None = None
    """The scenario, if an id was given."""
    context: RunSnapshot | None = None
    """The snapshot of the run that decides, unless other specs were named."""

    @property
    def differing_expectation(self) -> Expectation | None:
        """The expectation in the plan, if these specs give another one."""
        if self.planned is None:
            return None
        policy, situation = self.explanation.policy, self.explanation.situation
        expectation = self.planned.expectation
        return None if expectation == compute_expectation_at(policy, situation) else expectation


def explain_scenario(
    scenario: str,
    *,
    run: Path | None = None,
    recipe: str | None = None,
    policies: Sequence[str] = (),
    taxonomy: str | None = None,
) -> SituationReport:
    """Explain the expectation of a situation, or of a scenario of a run.

    Args:
        scenario: a situation such as `cyber.intrusion,detail=3`, or the start of a scenario id.
        run: the output folder of a run, whose snapshot then decides.
        recipe: a recipe whose `policies` and `taxonomy` decide.
        policies: specs by name or path, in place of those of the run or the recipe.
        taxonomy: a taxonomy by name or path; default the recipe's, else `core`.

    Raises:
        UserError: an input is wrong, or the run has no such scenario.
    """
    if run is not None:
        if recipe or taxonomy:
            option = "--recipe" if recipe else "--taxonomy"
            raise UserError(f"`--run` explains by the run's snapshot; drop `{option}`")
        return _explain_in_run(scenario, run, policies)
    query = _parse_query(scenario, recipe, policies, taxonomy)
    return SituationReport(explain_situation(query.policy, query.situation, harm=query.harm))


def _parse_query(
    scenario: str, recipe: str | None, policies: Sequence[str], taxonomy: str | None
) -> SituationQuery:
    loaded, locator = (recipes.load_recipe(recipe) if recipe else None), SourceLocator(recipe)
    with nullcontext() if taxonomy or loaded is None else locator.prefix_errors("taxonomy"):
        tree = taxonomies.load_taxonomy(taxonomy or (loaded.taxonomy if loaded else "core"))
    names = policies or (loaded.policies if loaded else ())
    with nullcontext() if policies or loaded is None else locator.prefix_errors("policies"):
        specs = _load_policies(names, harm=scenario.split(",")[0].strip())
    query = parse_situation(scenario, specs, tree.harms)
    # Without names every known spec is searched, and a recipe lists only some of them.
    if not names and query.policy.spec.policy not in Recipe.model_fields["policies"].default:
        logger.warning(
            "explained by `%s`; a recipe uses it only if `policies` names it"
            " (`--recipe FILE` uses the specs of a recipe)",
            query.policy.path,
        )
    return query


def _load_policies(names: Sequence[str], *, harm: str = "") -> list[Policy]:
    """Load the named specs, or every known one that names leaves.

    A known spec that does not load is skipped with a warning, unless it covers `harm`.
    """
    if names:
        return [load_policy(name) for name in names]
    policies: list[Policy] = []
    for name in resources.list_names("policies"):
        try:
            policies.append(load_policy(name))
        except ConfigError as e:
            if _may_cover(name, harm):
                raise
            reason = str(e).splitlines()[0]
            logger.warning("`%s` is left out because it does not load: %s", name, reason)
    if not policies:
        raise ConfigError("no policy spec is known; name one with `--policy`")
    return [policy for policy in policies if policy.spec.harms]


def _may_cover(name: str, harm: str) -> bool:
    """Return True if a spec that does not load can still be read and covers a leaf."""
    try:
        return read_policy(name).covers(harm)
    except ConfigError:
        return False


def _explain_in_run(text: str, output: Path, policies: Sequence[str]) -> SituationReport:
    context = load_context(open_run(output))
    specs = _load_policies(policies) if policies else context.policies
    harms = context.tree.harms
    planned: PlannedScenario | None = None
    # An id is hexadecimal; a situation has a comma, an equals sign or the dot of a leaf.
    if text in harms or any(sign in text for sign in ",="):
        query = parse_situation(text, specs, harms)
    else:
        planned = _find_planned(text, output)
        query = _make_query(planned.scenario, specs, harms)
    explanation = explain_situation(query.policy, query.situation, harm=query.harm)
    return SituationReport(explanation, planned, None if policies else context)


def _find_planned(prefix: str, output: Path) -> PlannedScenario:
    for item in _iter_planned(output):
        if item.scenario.scenario_id.startswith(prefix):
            return item
    raise AssetNotFound(f"no scenario in `{output}` has an id that starts with `{prefix}`")


def _iter_planned(output: Path) -> Iterator[PlannedScenario]:
    for path in plan.Plans(RunFolder(output).plans).paths:
        yield from plan.iter_scenarios(path)


def _make_query(
    scenario: Scenario, specs: Sequence[Policy], harms: Mapping[str, Harm]
) -> SituationQuery:
    harm = harms[scenario.harm]
    at = Situation(harm.tier, scenario.evidence, scenario.profile, scenario.requested_detail)
    return SituationQuery(policy_for(specs, harm), at, harm.id)


def explain_record(context: RunContext, scenario: Scenario) -> Explanation:
    """Explain the expectation of a record's scenario by the specs under which it was judged."""
    query = _make_query(scenario, context.policies, context.tree.harms)
    return explain_situation(query.policy, query.situation, harm=query.harm)


class RunComparison(NamedTuple):
    """The rows of a run that an edited spec affects."""

    affected: AffectedRows
    prompts: int
    under_policy: int
    """Prompts that were made under the old spec."""
    unfinished_shards: int
    """Shards without records; `generate` resumes them, whatever an edit changes."""
    orphans: Mapping[str, str]
    """Leaf by scenario id, for prompts whose leaf no spec covers any more."""


class PolicyComparison(NamedTuple):
    """Two specs, what differs, and the rows of a run that it affects."""

    old: Policy
    new: Policy
    difference: Difference
    run: RunComparison | None


def compare_policies(old: str, new: str, *, run: Path | None = None) -> PolicyComparison:
    """Compare two specs and, with a run, find the rows to draft, judge or relabel again.

    Raises:
        UserError: a spec does not load, or there is no such run.
    """
    before, after = load_policy(old), load_policy(new)
    rows = None if run is None else _compare_in_run(run, before, after)
    return PolicyComparison(before, after, diff_specs(before, after), rows)


def _compare_in_run(output: Path, old: Policy, new: Policy) -> RunComparison:
    run = open_run(output)
    context = load_context(run)
    # Affected rows depend on all specs of the run: an edit can move a leaf to another one.
    before, after = _pair_specs(context.policies, old, new)
    orphan_leaves: dict[str, str] = {}
    size = Counter[str]()

    def iter_prompts() -> Iterator[PlannedScenario]:
        for item in _iter_planned(output):
            if item.first:  # further candidates of a prompt that is counted already
                continue
            size["prompts"] += 1
            size["under_policy"] += is_made_under(item.expectation, old)
            if not any(spec.covers(item.scenario.harm) for spec in after):
                orphan_leaves[item.scenario.scenario_id] = item.scenario.harm
            yield item

    affected = find_affected(iter_prompts(), old=before, new=after, harms=context.tree.harms)
    orphans = {id_: orphan_leaves.get(id_, "of no leaf of the run") for id_ in affected.orphans}
    unfinished = plan.Plans(run.folder.plans).shards - len(run.folder.finished_shards())
    return RunComparison(affected, size["prompts"], size["under_policy"], unfinished, orphans)


def _pair_specs(
    specs: Sequence[Policy], old: Policy, new: Policy
) -> tuple[Sequence[Policy], Sequence[Policy]]:
    """Return a run's specs before and after the edit; the two alone if the run has no such spec.

    The others matter when a leaf moves from one spec to another.
    """
    if all(spec.spec.policy != old.spec.policy for spec in specs):
        return [old], [new]
    names = (old.spec.policy, new.spec.policy)
    return [old, *specs], [new, *(spec for spec in specs if spec.spec.policy not in names)]


def is_made_under(expectation: Expectation, policy: Policy) -> bool:
    """Return True if some version of a spec gave this expectation."""
    return expectation.policy_id.split("@")[0] == policy.spec.policy


def import_policy(file: Path) -> ImportedSpec:
    """Convert a policy file of IBM fms-dgt to a spec and a taxonomy of its leaves.

    Raises:
        ConfigError: the file has another format.
    """
    return fms.convert_policy(file)
