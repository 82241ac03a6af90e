"""The teachers of a recipe as a dry run sees them: checked, without a need for their secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from safegen.config.recipe import PluginRef
from safegen.core.errors import ConfigError
from safegen.core.plugins import guard_hook
from safegen.pipeline.resolve import (
    ROLE_KEYS,
    ResolvedRecipe,
    list_roles,
    make_teacher,
    refuse_guard,
    teacher_traits,
)
from safegen.teachers import split_unset_variables


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """A teacher of a recipe; its secrets themselves are never stored here."""

    role: str
    name: str
    model: str | None
    base_url: str | None
    key: str | None
    """Name of the environment variable with the API key."""
    key_set: bool
    max_tokens: int | None
    unset: tuple[str, ...] = ()
    """Environment variables of key, headers and query that are not set."""
    embedded: bool = False
    """True if it calls no endpoint."""


def list_teacher_facts(inputs: ResolvedRecipe) -> tuple[TeacherFacts, ...]:
    """Check the parameters of all teachers; a variable that is not set is no error.

    Raises:
        UserError: a teacher is unknown, or a parameter is wrong.
    """
    return tuple(_check_teacher(role, ref, inputs) for role, ref in list_roles(inputs.recipe))


def list_unset(teachers: tuple[TeacherFacts, ...]) -> tuple[str, ...]:
    """List each environment variable that a teacher needs and that is not set."""
    return tuple(dict.fromkeys(name for teacher in teachers for name in teacher.unset))


def _check_teacher(role: str, ref: PluginRef, inputs: ResolvedRecipe) -> TeacherFacts:
    params = ref.params
    key = str(params["api_key_env"]) if params.get("api_key_env") else None
    # An estimate needs no secret, and users run it before they have one.
    available, unset = split_unset_variables(params)
    with inputs.locator.prefix_errors(*ROLE_KEYS[role]):
        traits = teacher_traits(inputs, ref)
        if traits.check_params is not None:
            _check_params(ref, traits.check_params)
        teacher = make_teacher(inputs, ref.model_copy(update={"params": available}))
        refuse_guard(inputs, role, ref, teacher)
    most = params.get("max_tokens") or params.get("max_completion_tokens")
    return TeacherFacts(
        role=role,
        name=ref.use,
        model=str(params["model"]) if "model" in params else None,
        base_url=str(params["base_url"]) if "base_url" in params else None,
        key=key,
        key_set=key is not None and key not in unset,
        max_tokens=int(most) if most else None,
        unset=tuple(dict.fromkeys(unset)),
        embedded=traits.embedded,
    )


def _check_params(ref: PluginRef, check: Callable[[Mapping[str, object]], None]) -> None:
    try:
        with guard_hook(
            ref.use, check, "checked its parameters", error=ConfigError, allowed=(ValueError,)
        ):
            check(ref.params)
    except ValueError as e:
        # A plug-in reports a wrong parameter as ValueError; users get the place in the recipe.
        raise ConfigError(f"`{ref.use}`: {e}") from e
