from __future__ import annotations

from pathlib import Path

import safegen
from safegen.config.recipe import Recipe
from safegen.core.types import Reply, Request
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


def test_prompt_characters_equal_those_of_requests(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "sizes",
            "plan": {
                "harms": ["property.*", "cyber.*"],
                "sets_per_harm": 1,
                "candidates": 3,
                "styles": ["as a numbered list of steps", "briefly"],
                "profiles": ["public", "enterprise"],
            },
            "validators": ["length_bounds"],
            "revise": 0,
        }
    )
    sent: list[int] = []

    async def answer(request: Request, /) -> Reply:
        sent.append(sum(len(m["content"]) for m in request.messages))
        return Reply("Plain help that is long enough to be kept in the set.", "plain-1")

    size = estimate(resolve_recipe(recipe)).size
    safegen.generate(
        recipe, output=tmp_path / "out", teachers={"drafter": answer}, until="validate"
    )
    assert len(sent) == size.prompts * 3
    assert sum(sent) == size.prompt_chars
