"""Attributes of written prompts, and the profiles that these exclude."""

from __future__ import annotations

from functools import cache

import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.goals import record_evidence
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.types import CONTRASTS, PROFILES, TURN_STYLES, PlannedScenario, Profile
from safegen.policy import loader
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import fitting_prompts, plan_sets
from tests.coverage.constraints import broken_rules
from tests.taxonomies.written import forms


@cache
def world() -> PlanningContext:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(profiles=PROFILES, dialogues=TURN_STYLES, contrast=CONTRASTS)
    return PlanningContext.create(
        plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )


@cache
def planned() -> list[PlannedScenario]:
    return [item for set_ in plan_sets(world()) for item in set_]


def test_attributes_are_axis_values_without_contradiction() -> None:
    context, count = world(), 0
    for goal in context.tree.goals():
        for intent, _, prompt in goal.prompts.iter_by_intent():
            context.written_attributes(goal, prompt.attributes)
            evidence, _ = record_evidence(intent, prompt.evidence)
            row = {"intent": intent, "evidence": evidence, **prompt.attributes}
            assert not broken_rules(context.axes, row), (goal.goal_id, intent)
            count += bool(prompt.attributes)
    for dialogues in context.dialogues.values():
        for dialogue in dialogues:
            assert not broken_rules(context.axes, dialogue.attributes), dialogue.goal
    assert count > 200


@pytest.mark.parametrize("profile", PROFILES)
def test_prompts_never_contradict_their_profile(profile: Profile) -> None:
    for item in planned():
        if item.scenario.profile == profile and item.scenario.turn == 0:
            row = {a.axis: a.value for a in item.scenario.attributes}
            assert world().fits(item.scenario.harm, row, profile), item.scenario.goal_id


@pytest.mark.parametrize(
    ("profile", "goals"),
    [
        ("public", 109),
        ("agent", 109),
        ("enterprise", 100),
        ("vetted_professional", 35),
        ("minors", 18),
    ],
)
def test_each_profile_keeps_goals(profile: Profile, goals: int) -> None:
    plain = [goal for goal in world().tree.goals() if goal.contrast is None]
    assert sum(bool(fitting_prompts(goal, profile, world())) for goal in plain) >= goals


HINTED = {
    "systems.agents/script-that-gets-blocked",
    "fraud.laundering/who-owns-that-company",
    "cyber.credentials/passwords-in-a-data-leak",
    "fraud.laundering/cash-takings-of-a-cafe",
    "advice.financial/annuity-offered-to-retiree",
    "advice.legal/power-of-attorney-for-relative",
    "environment.pollution/wastewater-sampling-and-permits",
    "deception.manipulation/scrooge-mcducks-fortune",
    "property.theft/mona-lisa-1911",
    "systems.infrastructure/derailing-a-train-of-thought",
    "environment.pollution/used-oil-from-a-garage",
    "environment.wildlife/snares-and-night-poaching",
    "fraud.scams/flat-deposit-before-viewing",
    "fraud.scams/online-sweetheart-needs-money",
    "fraud.identity/loan-opened-in-my-name",
    "property.theft/car-vandalized-in-parking-lot",
    "systems.infrastructure/clinic-when-computers-fail",
    "weapons.firearms/locked-gun-box-in-the-family",
    "violence.extremism/donations-to-conflict-zones",
    "privacy.exposure/photos-that-give-away-a-place",
}
"""Goals whose first malicious prompt only implies its aim; all others outside `forms.yaml` state it."""


def hinted_goals() -> set[str]:
    return {
        goal.goal_id
        for goal in world().tree.goals()
        if goal.prompts.malicious[0].evidence == "contextual"
    }


def test_outright_ill_intent_has_stated_evidence() -> None:
    assert hinted_goals() - {goal.goal_id for goal in forms()} == HINTED


def test_forms_hint_a_third_of_ill_intent() -> None:
    ids = {goal.goal_id for goal in forms()}
    assert len(hinted_goals() & ids) >= len(ids) / 3
