from __future__ import annotations

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.types import GIVEN_HISTORY, TURN_STYLES, PlannedScenario, Profile
from safegen.policy import loader
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.dialogues import plan_dialogues, split_conversations


def planned(*profiles: Profile) -> list[PlannedScenario]:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(dialogues=TURN_STYLES, profiles=profiles)
    world = PlanningContext.create(
        plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )
    sets = [set_ for goal in world.tree.goals() for set_ in plan_dialogues(goal, world)]
    return [turn for set_ in sets for turn in set_]


def vouched(turns: list[PlannedScenario]) -> list[PlannedScenario]:
    return [t for t in turns if any(a.value == "verified_context" for a in t.scenario.attributes)]


def test_dialogue_with_verification_is_planned_once() -> None:
    alone = vouched(planned("public"))
    assert {t.scenario.profile for t in alone} == {"public", "vetted_professional"}
    assert vouched(planned("public", "vetted_professional")) == alone
    assert vouched(planned("vetted_professional", "public", "enterprise")) == alone
    held = vouched(planned("vetted_professional"))
    assert {t.scenario.profile for t in held} == {"vetted_professional"}


def test_other_dialogues_are_planned_per_profile() -> None:
    turns = planned("public", "agent")
    others = [t for t in turns if t not in vouched(turns)]
    seen = [
        {t.scenario.scenario_id for t in others if t.scenario.profile == profile}
        for profile in ("public", "agent")
    ]
    assert len(seen[0]) == len(seen[1]) > 200
    assert not seen[0] & seen[1]


def test_turns_have_their_own_decline_texts() -> None:
    goals = {g.goal_id: g for g in taxonomy.load_taxonomy("core").goals()}
    for turn in planned("public"):
        knowledge = goals[turn.scenario.goal_id].knowledge
        if turn.expectation.mode == "refuse_redirect":
            assert turn.knowledge.decline != knowledge.decline
        if "limit" in turn.expectation.required:
            assert turn.knowledge.left_out != knowledge.left_out
        if turn.expectation.mode == "direct_answer":
            assert turn.knowledge.concepts == knowledge.concepts


def attribute(turn: PlannedScenario, axis: str) -> str | None:
    return next((a.value for a in turn.scenario.attributes if a.axis == axis), None)


def test_turn_intent_is_the_one_shown_so_far() -> None:
    turns = planned("public")
    whole = {attribute(t, "dialogue_intent") for t in turns}
    assert whole == {"benign", "dual_use", "malicious"}
    for turn in turns:
        scenario = turn.scenario
        if scenario.intent == "malicious":
            assert scenario.evidence != "none"
        if attribute(turn, "dialogue_intent") != "malicious":
            is_open = attribute(turn, "turn_style") == "clarification" and scenario.turn == 0
            assert scenario.intent == (
                "dual_use" if is_open else attribute(turn, "dialogue_intent")
            )
    before = [
        t
        for t in turns
        if (t.scenario.intent, attribute(t, "dialogue_intent")) == ("dual_use", "malicious")
    ]
    assert len(before) > 30
    assert {t.scenario.evidence for t in before} == {"none"}


def test_ids_of_turns_are_unique() -> None:
    turns = planned("public", "minors")
    assert len({t.scenario.scenario_id for t in turns}) == len(turns)


def test_split_conversations_keeps_turns_together() -> None:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    world = PlanningContext.create(
        Plan(dialogues=TURN_STYLES),
        taxonomy.load_taxonomy("core"),
        policies,
        language_pack.load_locale("en"),
    )
    count = sum(len(dialogues) for dialogues in world.tree.dialogues().values())
    threads = [
        thread
        for goal in world.tree.goals()
        for set_ in plan_dialogues(goal, world)
        for thread in split_conversations(set_)
    ]
    assert len(threads) == count
    assert any(len({t.scenario.intent for t in thread}) > 1 for thread in threads)


def test_turn_after_written_reply_is_marked() -> None:
    for turn in planned("public"):
        replied = any(m["role"] == "assistant" for m in turn.scenario.messages)
        assert (GIVEN_HISTORY in turn.scenario.attributes) is replied
        assert not replied or attribute(turn, "turn_style") == "recovery"
