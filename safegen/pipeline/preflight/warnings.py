"""Warnings about a recipe that runs but may not do what its author expects, each with its remedy."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from datetime import date

from safegen.config.recipe import PluginRef, Recipe
from safegen.core import plugins
from safegen.dataset.view import make_views
from safegen.pipeline.contact_warnings import list_contact_warnings
from safegen.pipeline.resolve import ResolvedRecipe, teacher_traits
from safegen.policy.spec import fitting_specs
from safegen.scenarios.context import choose_harms
from safegen.store.quarantine import describe_missing_key


def list_warnings(inputs: ResolvedRecipe, *, today: date) -> tuple[str, ...]:
    """List all warnings about a recipe; none of them keeps it from running."""
    return (
        *_warn_unjudged(inputs),
        *_warn_idle_specs(inputs),
        *_warn_same_answers(inputs),
        *_warn_unused(inputs),
        *_warn_effect(inputs),
        *_warn_quarantine(inputs.recipe),
        *list_contact_warnings(inputs, today=today),
        *_warn_views(inputs),
    )


def list_overrides(inputs: ResolvedRecipe) -> tuple[str, ...]:
    """List leaves whose own spec overrides a spec of their domain, as `leaf: spec in place of specs`."""
    overrides: list[str] = []
    for harm in choose_harms(inputs.recipe.plan, inputs.tree):
        fitting = fitting_specs(inputs.policies, harm)
        others = [p for p in inputs.policies if p.covers(harm) and p not in fitting]
        if fitting and others:
            names = ", ".join(p.spec.policy for p in others)
            overrides.append(f"{harm}: {fitting[0].spec.policy} in place of {names}")
    return tuple(overrides)


def _warn_unjudged(inputs: ResolvedRecipe) -> Iterator[str]:
    if not inputs.recipe.required_validators:
        key = "require" if inputs.recipe.validators else "validators"
        yield f"`{key}` is empty, so every response is accepted; name a validator that decides"


def _warn_idle_specs(inputs: ResolvedRecipe) -> Iterator[str]:
    """Warn about specs that apply to no leaf of the taxonomy, or to no chosen leaf unless they are defaults."""
    used = _find_deciding_specs(inputs, inputs.tree.harms)
    chosen = _find_deciding_specs(inputs, choose_harms(inputs.recipe.plan, inputs.tree))
    shipped = Recipe.model_fields["policies"].default
    for name, policy in zip(inputs.recipe.policies, inputs.policies, strict=True):
        problem = f"`policies`: `{policy.spec.policy}` applies to no leaf"
        if policy.policy_id not in used:
            tree = inputs.tree.file.taxonomy
            yield f"{problem} of taxonomy `{tree}`; correct its `harms` or remove it"
        elif policy.policy_id not in chosen and name not in shipped:
            yield f"{problem} that `plan.harms` chooses; choose one of its leaves or remove it"


def _find_deciding_specs(inputs: ResolvedRecipe, harms: Iterable[str]) -> set[str]:
    return {p.policy_id for harm in harms for p in fitting_specs(inputs.policies, harm)}


def _warn_same_answers(inputs: ResolvedRecipe) -> Iterator[str]:
    recipe = inputs.recipe
    drafters, candidates = recipe.teachers.drafter, recipe.plan.candidates
    variants = len(drafters) * max(len(recipe.plan.styles), 1)
    if (candidates == 1 and not recipe.target) or variants >= max(candidates, 2):
        return
    amount = "all" if variants == 1 else f"all but {variants}"
    remedy = f"name as many drafters or `plan.styles` as there are candidates ({candidates})"
    if all(_is_zero(ref.params.get("temperature")) for ref in drafters):
        yield (
            f"`temperature` is 0, so {amount} drafts of a prompt are likely identical; raise it, or {remedy}"
        )
    elif all(_lacks_temperature(inputs, ref) for ref in drafters):
        yield (
            f"`temperature` is not set: if the endpoint's default is 0, {amount} drafts of a prompt are"
            f" identical; set it, for example to 0.8, or {remedy}"
        )


def _lacks_temperature(inputs: ResolvedRecipe, ref: PluginRef) -> bool:
    """Return True if a teacher takes a temperature, and the recipe gives none or 0."""
    value = ref.params.get("temperature")
    factory = plugins.find_factory("teachers", ref.use, trusted=inputs.trusted)
    takes_one = "temperature" in inspect.signature(factory).parameters
    return takes_one and (value is None or _is_zero(value))


def _is_zero(value: object) -> bool:
    """Return True if a parameter is 0; YAML may give it as text."""
    try:
        return value is not None and float(str(value)) == 0
    except ValueError:
        return False


def _warn_unused(inputs: ResolvedRecipe) -> Iterator[str]:
    plan, drafters = inputs.recipe.plan, inputs.recipe.teachers.drafter
    exception = " until a top-up round" if inputs.recipe.target else ""
    for name, count in (("plan.styles", len(plan.styles)), ("teachers.drafter", len(drafters))):
        if count > plan.candidates:
            yield (
                f"`{name}` names {count}, and each prompt has `candidates: {plan.candidates}`: the others"
                f" draft nothing{exception}; set `plan.candidates: {count}`"
            )
    for name in ("axes", "rows") if not plan.authored else ():
        if getattr(plan, name):
            yield f"`plan.{name}` varies authored sets, and there are none; set `plan.authored`"
    if plan.styles and not any(teacher_traits(inputs, ref).reads_styles for ref in drafters):
        yield "no drafter reads `plan.styles`: the offline teacher has its own styles; name a model"


def _warn_effect(inputs: ResolvedRecipe) -> Iterator[str]:
    """Warn about a student that answers nothing, or that no spec can change."""
    recipe = inputs.recipe
    student = recipe.teachers.student
    if recipe.policy_effect is None:
        if student is not None:
            yield "`teachers.student` answers nothing without `policy_effect: true`"
        return
    # Such a teacher follows the expectation without reading the messages.
    if teacher_traits(inputs, student or recipe.teachers.drafter[0]).needs_knowledge:
        yield (
            "`policy_effect` measures nothing: the offline teacher answers without reading the spec; name a"
            " model under `teachers.student`"
        )


def _warn_quarantine(recipe: Recipe) -> Iterator[str]:
    settings = recipe.judges.quarantine
    if settings is None:
        return
    if not recipe.judges.panel:
        yield "`judges.quarantine` keeps nothing without a panel; name judges under `judges.panel`"
    elif (problem := describe_missing_key(settings.key_env)) is not None:
        yield problem


def _warn_views(inputs: ResolvedRecipe) -> Iterator[str]:
    views = tuple(make_views(inputs.recipe, trusted=inputs.trusted).values())
    for view in views:
        yield from view.warnings(inputs.recipe, views, inputs.trusted)
