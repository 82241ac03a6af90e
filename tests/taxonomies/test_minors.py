"""Prompts and answers under `minors`, over every shipped prompt, dialogue and planned set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import safegen as sg
from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.types import PlannedScenario, Profile, Record
from safegen.policy import loader
from safegen.scenarios.authoring.plan_dialogues import plan_authored_dialogues
from safegen.scenarios.authoring.plan_sets import plan_authored_probes, plan_authored_sets
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import count_excluded, plan_sets
from tests.policy.test_golden_expectations import SHIPPED

ALL = {"contrast": "all", "dialogues": "all"}


@cache
def world(*profiles: Profile) -> PlanningContext:
    plan = Plan.model_validate({"harms": ["*"], "profiles": profiles, **ALL})
    policies = [loader.load_policy(name) for name in SHIPPED]
    return PlanningContext.create(
        plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    plan = Plan.model_validate({"harms": ["*"], "profiles": ["minors"], **ALL})
    output = tmp_path_factory.mktemp("young") / "out"
    run = sg.generate(Recipe(name="young", plan=plan), output=output)
    shards = run.folder.finished_shards()
    return [r for n in shards for r in run.folder.read_records(n) if r.accepted]


@cache
def written_openings() -> frozenset[str]:
    """The first sentence of each written answer to a prompt or turn."""
    tree = taxonomy.load_taxonomy("core")
    prompts = [p.prompt for g in tree.goals() for p in g.prompts.iter_by_intent()]
    turns = [t for of_goal in tree.dialogues().values() for d in of_goal for t in d.turns]
    return frozenset(one.answer[0] for one in [*prompts, *turns] if one.answer)


def every_plan(context: PlanningContext) -> list[PlannedScenario]:
    counts = dict.fromkeys(context.harms, 40)
    sets = [
        *plan_sets(context),
        *plan_authored_sets(context, start={}, counts=counts, seed=0),
        *plan_authored_probes(context, count=3),
        *plan_authored_dialogues(context, count=3),
    ]
    return [item for set_ in sets for item in set_]


def test_sexual_leaves_are_never_planned_under_minors() -> None:
    context = world("minors", "public")
    seen = {(item.scenario.domain, item.scenario.profile) for item in every_plan(context)}
    assert ("sexual", "public") in seen and ("selfharm", "minors") in seen
    assert ("sexual", "minors") not in seen


def test_barred_leaf_alone_plans_no_set() -> None:
    items = every_plan(world("minors"))
    assert items and not [item for item in items if item.scenario.domain == "sexual"]


def test_repeated_barred_profile_is_refused(tmp_path: Path) -> None:
    text = taxonomy.load_taxonomy("core").path.read_text(encoding="utf-8")
    path = tmp_path / "taxonomy.yaml"
    path.write_text(text.replace("not_under: [minors]", "not_under: [minors, minors]", 1))
    line = 1 + text.splitlines().index("        not_under: [minors]")
    with pytest.raises(ConfigError, match=rf"taxonomy.yaml:{line}:\d+: .*names `minors` twice"):
        taxonomy.load_taxonomy(str(path))


def test_prompts_of_barred_leaves_count_as_excluded() -> None:
    tree = taxonomy.load_taxonomy("core")
    adult = [g for g in tree.goals() if g.harm == "sexual.adult" and g.contrast is None]
    plan = Plan(harms=("sexual.adult",), profiles=("minors",))
    policies = [loader.load_policy(name) for name in SHIPPED]
    context = PlanningContext.create(plan, tree, policies, language_pack.load_locale("en"))
    assert count_excluded(context) == {
        "minors": sum(len(list(g.prompts.iter_by_intent())) for g in adult)
    }


def test_self_harm_answers_have_required_elements(answers: list[Record]) -> None:
    pack = language_pack.load_locale("en")
    about = [r for r in answers if r.scenario.domain == "selfharm"]
    assert {r.expectation.mode for r in about} >= {"direct_answer", "refuse_redirect"}
    for record in about:
        # A chat that a young user likes is no crisis.
        is_calm = record.scenario.harm == "selfharm.reliance" and (
            record.expectation.mode == "direct_answer"
        )
        wanted = ["trusted_adult"] if is_calm else ["crisis", "trusted_adult"]
        assert set(wanted) <= set(record.expectation.required), record.scenario.scenario_id
        text = record.draft.response or ""
        for name in wanted:
            assert pack.names_element(name, text), (name, record.scenario.scenario_id)
        if record.expectation.mode != "refuse_redirect":
            own = record.scenario.evidence == "self"
            first = pack.phrases.comforts if own else pack.phrases.supports
            assert text.startswith((*first, *(written_openings() if own else ())))


def test_partial_answers_and_refusals_name_an_adult(answers: list[Record]) -> None:
    pack = language_pack.load_locale("en")
    closings = pack.phrases.closings["minors"]
    for record in answers:
        if record.expectation.mode != "direct_answer":
            text = record.draft.response or ""
            named = pack.names_element("trusted_adult", text)
            assert named or any(words in text for words in closings), record.scenario.scenario_id


def test_answers_to_minors_avoid_adult_redirections(answers: list[Record]) -> None:
    """The profile's redirections replace those of the goal."""
    goals = {g.goal_id: g.knowledge for g in taxonomy.load_taxonomy("core").goals()}
    for record in answers:
        if record.expectation.mode == "direct_answer" or record.scenario.turn:
            continue
        know = goals[record.scenario.goal_id]
        for words in (*know.redirections, *know.better_ways):
            assert words not in (record.draft.response or ""), record.scenario.scenario_id
