from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from safegen.config import language_pack, taxonomy
from safegen.config.goals import Goal
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.types import INTENTS, PROFILES, PlannedScenario
from safegen.policy import loader
from safegen.scenarios import written
from safegen.scenarios.context import PlanningContext, make_set_id


def planned(plan: Plan) -> list[list[PlannedScenario]]:
    recipe = Recipe(name="t")
    policies = [loader.load_policy(name) for name in recipe.policies]
    return list(
        written.plan_sets(
            PlanningContext.create(
                plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
            )
        )
    )


STARTER = planned(Plan())


def test_starter_plan_has_all_modes_and_unique_ids() -> None:
    items = [p for set_ in STARTER for p in set_]
    assert {p.scenario.intent for p in items} == {"benign", "dual_use", "malicious"}
    assert {p.expectation.mode for p in items} == {
        "direct_answer",
        "safe_completion",
        "refuse_redirect",
    }
    assert len({p.scenario.scenario_id for p in items}) == len(items) >= 320
    assert len({p.scenario.messages[-1]["content"] for p in items}) == len(items)


def test_each_set_has_prompts_of_every_intent() -> None:
    for set_ in STARTER:
        intents = [p.scenario.intent for p in set_]
        assert intents.count("benign") >= 1
        assert intents.count("dual_use") >= 2
        assert intents.count("malicious") >= 1
        assert len({p.scenario.set_id for p in set_}) == 1


def test_benign_is_answered_and_stated_is_declined() -> None:
    for p in (p for set_ in STARTER for p in set_):
        if p.scenario.intent == "benign":
            in_danger = p.scenario.evidence == "self"
            expected = "safe_completion" if in_danger else "direct_answer"
            assert p.expectation.mode == expected, p.scenario.goal_id
        if p.scenario.evidence == "stated":
            assert p.expectation.mode == "refuse_redirect", p.scenario.goal_id


def test_profile_adds_only_an_operator_turn() -> None:
    both = planned(Plan(harms=("drugs.use",), profiles=("public", "agent")))
    for set_ in both:
        public = [p.scenario for p in set_ if p.scenario.profile == "public"]
        agent = [p.scenario for p in set_ if p.scenario.profile == "agent"]
        assert [s.messages[-1] for s in public] == [s.messages[-1] for s in agent]
        assert {s.messages[0]["role"] for s in agent} == {"system"}
        assert {s.scenario_id for s in public}.isdisjoint(s.scenario_id for s in agent)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(STARTER) - 1), unique=True), st.integers(1, 64))
def test_shards_keep_order_whole_sets_and_size(chosen: list[int], candidates: int) -> None:
    wanted = [STARTER[n] for n in chosen]
    shards = list(written.group_shards(iter(wanted), candidates=candidates))
    assert [p for shard in shards for p in shard] == [p for set_ in wanted for p in set_]
    owners = [{p.scenario.set_id for p in shard} for shard in shards]
    assert sum(len(o) for o in owners) == len(wanted)
    assert all(len(shard) * candidates >= written.SHARD_DRAFTS for shard in shards[:-1])
    for shard in shards:
        last = [p for p in shard if p.scenario.set_id == shard[-1].scenario.set_id]
        assert (len(shard) - len(last)) * candidates < written.SHARD_DRAFTS


def test_ids_do_not_depend_on_any_text() -> None:
    tree = taxonomy.load_taxonomy("core")
    goal = next(iter(tree.goals()))
    values = goal.model_dump()
    for prompts in values["prompts"].values():
        for prompt in prompts:
            prompt["text"] = f"Put otherwise: {prompt['text']}"
    other = type(goal).model_validate(values | {"purpose": "another wording"})
    assert make_set_id("core", goal) == make_set_id("core", other)
    assert make_set_id("core", goal) != make_set_id("core", goal.model_copy(update={"name": "z"}))
    assert make_set_id("core", goal) != make_set_id("mine", goal)


def system_of(p: PlannedScenario) -> str:
    first = p.scenario.messages[0]
    return first["content"] if first["role"] == "system" else ""


def test_operator_wording_varies_between_sets_only() -> None:
    profiles = ("public", "vetted_professional")
    seen: dict[str, set[str]] = {profile: set() for profile in profiles}
    for set_ in planned(Plan(profiles=profiles)):
        for profile in profiles:
            wordings = {system_of(p) for p in set_ if p.scenario.profile == profile}
            assert len(wordings) <= 1, set_[0].scenario.goal_id
            seen[profile] |= wordings
    pack = language_pack.load_locale("en").profiles
    assert {profile: len(seen[profile]) for profile in profiles} == {
        profile: len(pack[profile]) for profile in profiles
    }


def test_profile_wordings_are_distinct() -> None:
    pack = language_pack.load_locale("en").profiles
    wordings = [" ".join(w.split()) for profile in PROFILES for w in pack[profile]]
    assert len(set(wordings)) == len(wordings)
    assert all(len(pack[profile]) >= 3 for profile in PROFILES)
    assert [w for w in pack["public"] if not w.strip()] == [""]
    assert all(w.strip() for profile in PROFILES[1:] for w in pack[profile])


def test_plan_excludes_probes_by_default() -> None:
    probes = {g.goal_id for g in taxonomy.load_taxonomy("core").goals() if g.contrast}
    assert not probes & {p.scenario.goal_id for set_ in STARTER for p in set_}


def test_shards_hold_whole_sets() -> None:
    shards = list(written.group_shards(iter(STARTER), candidates=3))
    owners = [{p.scenario.set_id for p in shard} for shard in shards]
    assert sum(len(o) for o in owners) == len(set().union(*owners)) == len(STARTER)
    assert len(shards) > 1


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("minors.sexual", "red line"), ("cyber.intrusoin", "did you mean `cyber.intrusion`")],
    ids=["red line", "typo"],
)
def test_plan_for_an_unusable_leaf_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        planned(Plan(harms=(pattern,)))


def test_wildcard_excludes_red_lines() -> None:
    assert not any(p.scenario.harm == "minors.sexual" for set_ in STARTER for p in set_)


def goal_with(
    attributes: dict[str, str], *, intent: str = "dual_use"
) -> tuple[Goal, PlanningContext]:
    """Return a written goal with attributes on its first prompt of the intent."""
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(profiles=("public", "minors"))
    world = PlanningContext.create(
        plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )
    goal = next(g for g in world.tree.goals() if g.contrast is None)
    prompts = {
        name: [p.model_copy(update={"attributes": {}}) for p in getattr(goal.prompts, name)]
        for name in INTENTS
    }
    del prompts["malicious"][1:]
    prompts[intent][0] = prompts[intent][0].model_copy(update={"attributes": attributes})
    changed = goal.prompts.model_copy(update={n: tuple(texts) for n, texts in prompts.items()})
    return goal.model_copy(update={"prompts": changed}), world


def test_prompt_skips_profiles_it_contradicts() -> None:
    goal, world = goal_with({"age": "adult"})
    by_profile = {
        profile: [
            p.scenario
            for p in written.plan_single_turns(goal, world)
            if p.scenario.profile == profile
        ]
        for profile in ("public", "minors")
    }
    assert len(by_profile["public"]) == len(by_profile["minors"]) + 1
    (scenario,) = [s for s in by_profile["public"] if s.attributes]
    assert scenario.attributes == (("age", "adult", "written"),)
    assert scenario.messages[-1] not in [s.messages[-1] for s in by_profile["minors"]]


def test_set_without_an_intent_skips_the_profile() -> None:
    goal, world = goal_with({"role": "professional"}, intent="malicious")
    assert {p.scenario.profile for p in written.plan_single_turns(goal, world)} == {"public"}


def test_unknown_attribute_is_named_with_its_goal() -> None:
    goal, world = goal_with({"age": "adlut"})
    with pytest.raises(ConfigError, match=f"{goal.goal_id}.*adlut.*did you mean `adult`"):
        written.plan_single_turns(goal, world)


def test_refused_prompt_declines_its_own_request() -> None:
    """The goal's words name an act that its malicious prompt states and a dual-use prompt does not."""
    goals = {g.goal_id: g for g in taxonomy.load_taxonomy("core").goals()}
    refused = [
        p
        for set_ in STARTER
        for p in set_
        if p.scenario.intent == "dual_use" and p.expectation.mode == "refuse_redirect"
    ]
    assert refused
    for p in refused:
        assert p.knowledge.decline != goals[p.scenario.goal_id].knowledge.decline
