"""A name, or `module:factory`, to the factory of a plug-in.

`safegen.validators.<name>` is imported and its attribute of that name taken; nothing registers.
`module:factory` reaches a user's own code, and only from modules that the caller trusts by name:
a recipe is untrusted input and may not import what it likes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, cast, get_type_hints

from safegen.core import resources
from safegen.core.errors import ConfigError
from safegen.core.types import TeacherTraits, ValidatorTraits
from safegen.core.yaml_source import suggest_names

COLLABORATORS = ("locales", "policies", "journal", "meter", "gates")
"""Parameters that safegen gives; a recipe never does."""
KINDS = {
    "teachers": "safegen.teachers",
    "validators": "safegen.validators",
    "views": "safegen.dataset.views",
}
"""Kinds of plug-ins, with the package of the built-in ones."""


def list_names(kind: str) -> list[str]:
    """The built-in names of a kind, sorted."""
    package = importlib.import_module(KINDS[kind])
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


# Any: a factory makes whatever its kind's protocol says; the caller knows which.
def find_factory(kind: str, name: str, *, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """The factory behind a name.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that has no such factory.
    """
    module, attribute = _module(kind, name, trusted=trusted), name.rpartition(":")[2]
    attribute_value = getattr(module, attribute, None)
    if not callable(attribute_value):
        raise ConfigError(f"`{name}`: module `{module.__name__}` has no factory `{attribute}`")
    return attribute_value


def teacher_traits(name: str, *, trusted: Sequence[str] = ()) -> TeacherTraits:
    """Return what a teacher says of itself: `TRAITS` of its module, or the defaults.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that cannot be imported.
    """
    traits = getattr(_module("teachers", name, trusted=trusted), "TRAITS", None)
    return traits if isinstance(traits, TeacherTraits) else TeacherTraits()


def validator_traits(name: str, *, trusted: Sequence[str] = ()) -> ValidatorTraits[str]:
    """What a validator says of itself: `TRAITS` of its module; nothing if it has none.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that cannot be imported.
    """
    traits = getattr(_module("validators", name, trusted=trusted), "TRAITS", None)
    if isinstance(traits, ValidatorTraits):
        return cast("ValidatorTraits[str]", traits)
    return ValidatorTraits()


def _module(kind: str, name: str, *, trusted: Sequence[str]) -> ModuleType:
    if ":" not in name:
        resources.require_known(name, list_names(kind), kind=f"{kind.removesuffix('s')} called")
        return importlib.import_module(f"{KINDS[kind]}.{name}")
    module = name.partition(":")[0]
    if module not in trusted:
        raise ConfigError(
            f"`{name}` would import code of yours; allow it with `--plugin {module}`"
            f" (in Python: plugins=['{module}'])"
        )
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError, ValueError) as e:
        raise ConfigError(f"`{name}`: module `{module}` cannot be imported ({e})") from e


def make_plugin(
    kind: str, name: str, params: Mapping[str, Any], *, trusted: Sequence[str] = (), **given: Any
) -> Any:
    """Build a plug-in from the recipe's parameters.

    `given` are collaborators; those that the factory does not take are left out.

    Raises:
        ConfigError: an unknown parameter, a missing one, or a value that the factory refuses.
    """
    build = find_factory(kind, name, trusted=trusted)
    signature = inspect.signature(build)
    known = [p for p in signature.parameters if p not in given and p not in COLLABORATORS]
    for key in params:
        if key not in known:
            raise ConfigError(
                f"`{name}` takes no `{key}`{suggest_names(key, known) or '; it takes nothing'}"
            )
    needed = {k: v for k, v in given.items() if k in signature.parameters}
    values = {key: _convert(name, key, value, build) for key, value in params.items()}
    missing = [p for p in known if p not in values and _is_required(signature.parameters[p])]
    if missing:
        raise ConfigError(f"`{name}` needs {', '.join(f'`{m}`' for m in missing)}; add it")
    try:
        return build(**values, **needed)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"`{name}`: {e}") from e


def _is_required(parameter: inspect.Parameter) -> bool:
    named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return named and parameter.default is parameter.empty


# Any: a recipe's scalars are text; the factory's annotations say what they are to become.
def _convert(name: str, key: str, value: Any, build: Callable[..., Any]) -> Any:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        return TypeAdapter(get_type_hints(build)[key]).validate_python(value)
    except KeyError:
        return value
    except PydanticUserError as e:  # also PydanticSchemaGenerationError
        raise ConfigError(f"`{name}`: `{key}` cannot be given in a recipe, only in Python") from e
    except ValidationError as e:
        problem = e.errors()[0]["msg"]
        raise ConfigError(
            f"`{name}`: `{key}` is `{value}`: {problem[:1].lower()}{problem[1:]}"
        ) from e
