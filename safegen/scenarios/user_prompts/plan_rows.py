"""The scenarios of a labelled row, and the ids of its set and goal."""

from __future__ import annotations

from typing import NamedTuple

from safegen.core.hashing import digest, short_id
from safegen.core.types import (
    DANGER,
    Attribute,
    Evidence,
    Intent,
    Message,
    PlannedScenario,
    Profile,
    Scenario,
)
from safegen.policy.decide import compute_scenario_expectation
from safegen.scenarios.context import (
    EMPTY_KNOWLEDGE,
    PlanningContext,
    history_attributes,
    twin_attributes,
)
from safegen.scenarios.system_turns import choose_system_turn
from safegen.scenarios.user_prompts.age_signals import age_conflicts
from safegen.scenarios.user_prompts.rows import PromptRow


class RowLabels(NamedTuple):
    """The labels of a row that the policy needs."""

    harm: str
    intent: Intent
    evidence: Evidence
    detail: int
    danger: bool = False
    """True if the prompt states harm to another person and also shows danger to oneself."""


def plan_row(row: PromptRow, labels: RowLabels, context: PlanningContext) -> list[PlannedScenario]:
    """Plan a row under its own profile, or under each profile of the plan that it fits."""
    profiles = allowed_profiles(row, labels.harm, context)
    conflicts = age_conflicts(row.messages, profiles, context)
    return [
        _plan_scenario(row, labels, profile, context)
        for profile in profiles
        if profile not in conflicts
    ]


def allowed_profiles(
    row: PromptRow, harm: str | None, context: PlanningContext
) -> tuple[Profile, ...]:
    """List the profiles of a row by its labels alone; its harm may still be unknown."""
    if row.profile:
        return (row.profile,)
    return context.plan.profiles if harm is None else context.allowed_profiles(harm)


def row_set_id(row: PromptRow, context: PlanningContext) -> str:
    """Derive the id of a row's set from its goal and set names, or from the row itself."""
    # Without names a row is its own set, so that rows never match by accident.
    names: list[str | None] = list(row.key)
    if row.goal or row.set:
        names = ["names", row.goal, row.set]
    elif row.twin:
        names = ["twin", row.twin]
    return short_id("set", context.tree.file.taxonomy, "imported", names)


def row_goal_id(row: PromptRow) -> str:
    """Derive the goal id of a row, which decides its split."""
    # A row without names is its own goal; equal prompts have one digest and so one split.
    return f"imported/{row.goal or row.set or row.twin or row.id or digest(row.key)[:16]}"


def _plan_scenario(
    row: PromptRow, labels: RowLabels, profile: Profile, context: PlanningContext
) -> PlannedScenario:
    harm, set_ = context.harms[labels.harm], row_set_id(row, context)
    taxonomy = context.tree.file.taxonomy
    # A profile in the file is a label like the others: adding it must not change the id.
    id_profile = "" if row.profile or profile == context.plan.profiles[0] else profile
    # Under `public` there is no operator, so the prompt stays as the file has it.
    has_operator = not row.has_system and profile != "public"
    system = choose_system_turn(context.locale, set_, profile) if has_operator else ""
    operator = (Message(role="system", content=system),) if system else ()
    language = row.language or context.locale.locale
    scenario = Scenario(
        scenario_id=short_id("scenario", taxonomy, "imported", list(row.key), id_profile),
        set_id=set_,
        goal_id=row_goal_id(row),
        round=0,
        taxonomy=taxonomy,
        harm=labels.harm,
        domain=labels.harm.split(".")[0],
        task=row.task or "explain",
        intent=labels.intent,
        evidence=labels.evidence,
        requested_detail=labels.detail,
        paraphrase=0,
        turn=0,
        language=language,
        jurisdiction=context.contacts.region_of(language),
        profile=profile,
        contrast=None,
        attributes=_row_attributes(row, labels),
        benign_use=row.benign_use,
        misuse_risk=row.misuse_risk,
        messages=(*operator, *row.messages),
        source="imported",
        source_licence=row.licence,
    )
    expectation = compute_scenario_expectation(context.policy_by_harm[labels.harm], harm, scenario)
    return PlannedScenario(scenario, expectation, EMPTY_KNOWLEDGE)


def _row_attributes(row: PromptRow, labels: RowLabels) -> tuple[Attribute, ...]:
    """Mark each label as `written` (from the file) or `confirmed` (from blind labellers)."""
    own = (row.harm, row.intent, row.evidence, row.detail)
    values = (labels.harm, labels.intent, labels.evidence, labels.detail)
    axes = ("harm", "intent", "evidence", "requested_detail")
    attributes = [
        Attribute(axis, str(value), "confirmed" if stated is None else "written")
        for axis, value, stated in zip(axes, values, own, strict=True)
    ]
    if labels.danger:
        attributes.append(Attribute(DANGER, "self", "written" if row.evidence else "confirmed"))
    extra = (("profile", row.profile), ("task", row.task), ("source_id", row.id))
    attributes += [Attribute(axis, value, "written") for axis, value in extra if value]
    attributes += twin_attributes(row.twin, row.group)
    return (*attributes, *history_attributes(row.messages))
