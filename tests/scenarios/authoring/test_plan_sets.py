"""Labels and traits that a brief asks an author for fit each other."""

from __future__ import annotations

from functools import cache

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.policy import loader
from safegen.scenarios.authoring.brief import Brief
from safegen.scenarios.authoring.plan_sets import plan_authored_sets, read_brief
from safegen.scenarios.context import PlanningContext


@cache
def briefs() -> tuple[Brief, ...]:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    context = PlanningContext.create(
        Plan(harms=("*",)),
        taxonomy.load_taxonomy("core"),
        policies,
        language_pack.load_locale("en"),
    )
    counts = dict.fromkeys(context.harms, 30)
    sets = plan_authored_sets(context, start={}, counts=counts, seed=0)
    return tuple(read_brief(set_[0].brief or "").brief for set_ in sets)


def test_steps_of_safe_help_are_planned_without_detail() -> None:
    steps = [b for b in briefs() if b.goal.task in ("plan", "troubleshoot")]
    assert {s.detail for b in steps for s in b.slots if s.intent == "benign"} == {0}


def test_plan_beyond_safe_help_asks_for_an_order() -> None:
    plans = [s for b in briefs() if b.goal.task == "plan" for s in b.slots]
    assert {s.detail for s in plans if s.intent != "benign"} == {3, 4}


def test_alarming_words_exclude_a_tone() -> None:
    alarming = [b for b in briefs() if "alarming_words" in b.wishes]
    assert alarming
    assert not [value for b in alarming for value in b.row if value.axis == "tone"]
    calm = [b for b in briefs() if "calm_words" in b.wishes]
    assert {v.value for b in calm for v in b.row if v.axis == "tone"} == {"neutral"}
