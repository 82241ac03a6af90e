"""What a recipe asks for that will not do what one may expect of it. Each hint is one sentence with its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from safegen.config.recipe import Recipe
from safegen.dataset.view import make_views
from safegen.pipeline.resolve import ResolvedRecipe, teacher_traits
from safegen.policy.spec import fitting_specs
from safegen.scenarios.context import choose_harms


def list_warnings(inputs: ResolvedRecipe) -> tuple[str, ...]:
    """Everything that is worth a second look; nothing of it keeps a recipe from running."""
    return (
        *_warn_unjudged(inputs),
        *_warn_idle_specs(inputs),
        *_warn_same_answers(inputs),
        *_warn_unused(inputs),
        *_warn_views(inputs),
    )


def list_overrides(inputs: ResolvedRecipe) -> tuple[str, ...]:
    """Leaves whose own spec goes before one that names their domain, as `leaf: one in place of another`."""
    lines: list[str] = []
    for harm in choose_harms(inputs.recipe.plan, inputs.tree):
        fitting = fitting_specs(inputs.policies, harm)
        others = [p for p in inputs.policies if p.covers(harm) and p not in fitting]
        if fitting and others:
            names = ", ".join(p.spec.policy for p in others)
            lines.append(f"{harm}: {fitting[0].spec.policy} in place of {names}")
    return tuple(lines)


def _warn_unjudged(inputs: ResolvedRecipe) -> Iterator[str]:
    if not inputs.recipe.required_validators:
        key = "require" if inputs.recipe.validators else "validators"
        yield f"`{key}` is empty, so every answer is accepted as it comes; name a validator that decides"


def _warn_idle_specs(inputs: ResolvedRecipe) -> Iterator[str]:
    """Specs that decide no leaf of the taxonomy, and further ones than the default that decide no chosen leaf."""
    every = _find_deciding_specs(inputs, inputs.tree.harms)
    chosen = _find_deciding_specs(inputs, choose_harms(inputs.recipe.plan, inputs.tree))
    shipped = Recipe.model_fields["policies"].default
    for name, policy in zip(inputs.recipe.policies, inputs.policies, strict=True):
        problem = f"`policies`: `{policy.spec.policy}` decides no leaf"
        if policy.policy_id not in every:
            tree = inputs.tree.file.taxonomy
            yield f"{problem} of taxonomy `{tree}`; mend its `harms`, or take it out"
        elif policy.policy_id not in chosen and name not in shipped:
            yield f"{problem} that `plan.harms` chooses; choose one of its leaves, or take it out"


def _find_deciding_specs(inputs: ResolvedRecipe, harms: Iterable[str]) -> set[str]:
    """The specs that some leaves go by."""
    return {p.policy_id for harm in harms for p in fitting_specs(inputs.policies, harm)}


def _warn_same_answers(inputs: ResolvedRecipe) -> Iterator[str]:
    recipe = inputs.recipe
    drafters, candidates = recipe.teachers.drafter, recipe.plan.candidates
    ways = len(drafters) * max(len(recipe.plan.styles), 1)
    if candidates == 1 and not recipe.target:
        return
    if all(_is_zero(ref.params.get("temperature")) for ref in drafters) and ways < max(
        candidates, 2
    ):
        amount = "all" if ways == 1 else f"all but {ways}"
        yield (
            f"`temperature` is 0, so the drafts of a prompt are likely {amount} alike; raise it, or name as many"
            f" drafters or `plan.styles` as there are candidates ({candidates})"
        )


def _is_zero(value: object) -> bool:
    """Whether a parameter is 0; from YAML it comes as text."""
    try:
        return value is not None and float(str(value)) == 0
    except ValueError:
        return False


def _warn_unused(inputs: ResolvedRecipe) -> Iterator[str]:
    plan, drafters = inputs.recipe.plan, inputs.recipe.teachers.drafter
    more = " until a further round" if inputs.recipe.target else ""
    for name, count in (("plan.styles", len(plan.styles)), ("teachers.drafter", len(drafters))):
        if count > plan.candidates:
            yield (
                f"`{name}` names {count}, and each prompt has `candidates: {plan.candidates}`: the others"
                f" draft nothing{more}; set `plan.candidates: {count}`"
            )
    for name in ("axes", "rows") if not plan.authored else ():
        if getattr(plan, name):
            yield f"`plan.{name}` says how authored sets vary, and there are none; set `plan.authored`"
    if plan.styles and not any(teacher_traits(inputs, ref).reads_styles for ref in drafters):
        yield "the offline teacher has styles of its own and reads no `plan.styles`; name a model"


def _warn_views(inputs: ResolvedRecipe) -> Iterator[str]:
    views = tuple(make_views(inputs.recipe, trusted=inputs.trusted).values())
    for view in views:
        yield from view.warnings(inputs.recipe, views, inputs.trusted)
