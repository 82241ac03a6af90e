"""What a recipe would do, before anything is asked."""

from __future__ import annotations

from safegen.inputs import Inputs
from safegen.scenarios.sets import plan_sets
from safegen.types import Tally


def forecast(inputs: Inputs) -> dict[str, object]:
    """What a recipe would do: scenarios, sets, and calls at most."""
    recipe = inputs.recipe
    scenarios = sets = 0
    modes: list[str] = []
    for set_ in plan_sets(recipe.plan, inputs.tree, inputs.policies, inputs.locale):
        sets += 1
        scenarios += len(set_)
        modes += [p.expectation.mode for p in set_]
    drafts = scenarios * recipe.plan.candidates
    return {
        "recipe": f"{recipe.name} {recipe.version}",
        "taxonomy": f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        "policies": ", ".join(p.policy_id for p in inputs.policies),
        "sets": sets,
        "scenarios": scenarios,
        "expected modes": ", ".join(f"{k} {v}" for k, v in Tally.of(modes).counts.items()),
        "drafts": drafts,
        "calls at most": drafts * (1 + recipe.revise),
        "drafter": recipe.teachers.drafter.use,
        "validators": ", ".join(v.use for v in recipe.validators),
        "output": str(recipe.folder),
    }
