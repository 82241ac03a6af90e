from __future__ import annotations

from pathlib import Path

from safegen.config.recipe import Recipe
from safegen.pipeline.preflight.estimate import estimate
from safegen.pipeline.resolve import resolve_recipe

ENDPOINT = {"openai_chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}


def test_estimate_counts_authored_sets(workdir: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "authored",
            "plan": {"harms": ["property.theft"], "sets_per_harm": 1, "authored": 2},
            "teachers": {"drafter": ENDPOINT, "author": ENDPOINT},
            "judges": {"labellers": [ENDPOINT]},
        }
    )
    estimated = estimate(resolve_recipe(recipe))
    written = estimate(
        resolve_recipe(
            recipe.model_copy(update={"plan": recipe.plan.model_copy(update={"authored": 0})})
        )
    )
    assert estimated.size.sets == written.size.sets + 2 == 3
    assert estimated.drafts == written.drafts + 2 * (2 + recipe.plan.paraphrases)


def test_profile_granted_in_a_dialogue_is_covered() -> None:
    plan = {"harms": ["cyber.*", "drugs.*"], "dialogues": ["verified_context"], "sets_per_harm": 1}
    made = estimate(resolve_recipe(Recipe.model_validate({"name": "talk", "plan": plan})))
    assert made.size.certificate is not None
    axes = {f for strength in made.size.certificate.groups for f in strength.factors}
    assert "profile" not in axes
    both = {**plan, "profiles": ["public", "vetted_professional"]}
    made = estimate(resolve_recipe(Recipe.model_validate({"name": "talk", "plan": both})))
    assert made.size.certificate is not None
    axes = {f for strength in made.size.certificate.groups for f in strength.factors}
    assert "profile" in axes
