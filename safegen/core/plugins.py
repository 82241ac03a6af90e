"""Lookup of plug-ins: a name, or `module:factory`, to a factory.

A built-in plug-in is the attribute `<name>` of the module `<name>`, such as `safegen.validators.<name>`;
there is no registry. `module:factory` names a user's own code. The caller must trust that module by name,
because a recipe is untrusted input and must not import arbitrary modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

from safegen.core import resources
from safegen.core.errors import AssetNotFound, ConfigError, RunError
from safegen.core.plugin_checks import PluginGuard, PluginSource, check_traits, locate_plugin
from safegen.core.spelling import SpellingConflict, unify_names
from safegen.core.suggestions import suggest_names
from safegen.core.types import TeacherTraits, ValidatorTraits

COLLABORATORS = ("locales", "policies", "contacts", "phrasers", "journal", "meter", "limiters")
"""Parameters that safegen passes; a recipe cannot set them."""
KINDS = {
    "teachers": "safegen.teachers",
    "validators": "safegen.validators",
    "views": "safegen.dataset.views",
    "wrappers": "safegen.scenarios.wrappers",
}
"""Kinds of plug-ins and the packages of the built-in ones."""
_PACKAGE = __name__.partition(".")[0]


def is_external(name: str) -> bool:
    """Return True if a name is a user's own code (`module:factory`), not a built-in plug-in."""
    return ":" in name


def module_of(name: str) -> str:
    """Return the module of a user's plug-in."""
    return name.partition(":")[0]


def is_allowed(name: str, trusted: Sequence[str]) -> bool:
    """Return True if a plug-in may be imported: a built-in one, or one of a trusted module."""
    return not is_external(name) or module_of(name) in trusted


def guard_hook(
    name: str,
    hook: object,
    action: str,
    *,
    error: type[ConfigError | RunError],
    allowed: tuple[type[BaseException], ...] = (),
) -> AbstractContextManager[None]:
    """Guard a function of a plug-in's traits; a built-in one needs no guard."""
    if not is_external(name):
        return nullcontext()
    return PluginGuard(locate_plugin(name, hook), action, error=error, allowed=allowed)


def list_names(kind: str) -> list[str]:
    """List the built-in names of a kind, sorted."""
    return list(_list_modules(kind))


@cache
def _list_modules(kind: str) -> tuple[str, ...]:
    package = importlib.import_module(KINDS[kind])
    # A folder listing, so that a new file is a new plug-in. A recipe asks some 20 times for it.
    names = (m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")
    return tuple(sorted(names))


# Any: a factory returns what the protocol of its kind says; the caller knows the kind.
def find_factory(kind: str, name: str, *, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """Find the factory of a plug-in.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that has no such factory.
    """
    module, attribute = _import_module(kind, name, trusted=trusted), name.rpartition(":")[2]
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ConfigError(f"`{name}`: module `{module.__name__}` has no factory `{attribute}`")
    return factory


def list_parameters(kind: str, name: str, *, trusted: Sequence[str] = ()) -> list[str]:
    """List the parameters of a factory that a recipe can set.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that has no such factory.
    """
    factory = find_factory(kind, name, trusted=trusted)
    with PluginGuard(locate_plugin(name, factory), "was inspected", error=ConfigError):
        parameters = inspect.signature(factory).parameters
    return [parameter for parameter in parameters if parameter not in COLLABORATORS]


def find_source_files(kind: str, name: str, *, trusted: Sequence[str] = ()) -> dict[str, Path]:
    """Find the files of a user's plug-in: the module that a recipe names, and the one that defines the factory.

    Returns:
        Path by name, such as `my_checks.py`. A name is that of the module, so it does not depend on
        the working folder. A module without a file is left out, and a built-in plug-in has no files.

    Raises:
        ConfigError: a module that is not trusted, or that has no such factory.
    """
    if not is_external(name):
        return {}
    factory = find_factory(kind, name, trusted=trusted)
    # A package often defines its factories in a module of its own and only exports them.
    modules = dict.fromkeys((module_of(name), getattr(factory, "__module__", None)))
    own = [m for m in modules if m and m.partition(".")[0] != _PACKAGE]
    files = {m: Path(getattr(sys.modules.get(m), "__file__", None) or "") for m in own}
    return {_name_file(m, path): path for m, path in files.items() if path.is_file()}


def _name_file(module: str, path: Path) -> str:
    stem = module.replace(".", "/")
    return f"{stem}/{path.name}" if path.stem == "__init__" else f"{stem}{path.suffix}"


def teacher_traits(name: str, *, trusted: Sequence[str] = ()) -> TeacherTraits:
    """Return the traits of a teacher: `TRAITS` of its module, or the defaults.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that cannot be imported.
    """
    traits = getattr(_import_module("teachers", name, trusted=trusted), "TRAITS", None)
    return traits if isinstance(traits, TeacherTraits) else TeacherTraits()


def identifying_params(name: str, params: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a teacher that identify a run: those that change answers."""
    if name not in list_names("teachers"):
        return dict(params)
    traits = teacher_traits(name)
    kept = {key: value for key, value in params.items() if key not in traits.operational}
    for parameter, replaced in traits.identity_values.items():
        value = kept.pop(parameter, None)
        if value is not None:
            kept[replaced] = value
    return kept


def validator_traits(name: str, *, trusted: Sequence[str] = ()) -> ValidatorTraits[str]:
    """Return the traits of a validator: `TRAITS` of its module, or the defaults.

    Raises:
        AssetNotFound: no built-in of that name.
        ConfigError: a module that is not trusted, or that cannot be imported.
    """
    traits = getattr(_import_module("validators", name, trusted=trusted), "TRAITS", None)
    if isinstance(traits, ValidatorTraits):
        return cast("ValidatorTraits[str]", traits)
    return ValidatorTraits()


def _import_module(kind: str, name: str, *, trusted: Sequence[str]) -> ModuleType:
    if not is_external(name):
        known = list_names(kind)
        if name not in known and (successors := _find_successors(kind, name)):
            names = " and ".join(f"`{successor}`" for successor in successors)
            raise AssetNotFound(f"the validator `{name}` was replaced; use {names}")
        resources.require_known(name, known, kind=f"{kind.removesuffix('s')} called")
        return importlib.import_module(f"{KINDS[kind]}.{name}")
    module = module_of(name)
    if not is_allowed(name, trusted):
        raise ConfigError(
            f"`{name}` imports your own code; allow it with `--plugin {module}`"
            f" (in Python: plugins=['{module}'])"
        )
    # The console script has no working folder on its path. At the end, it cannot hide a library.
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    with PluginGuard(PluginSource(name, _find_file(module)), "was imported", error=ConfigError):
        loaded = importlib.import_module(module)
    check_traits(loaded, name, (TeacherTraits, ValidatorTraits))
    return loaded


def _find_successors(kind: str, name: str) -> list[str]:
    """List the validators that replace one that no longer exists."""
    names = list_names(kind) if kind == "validators" else []
    return [known for known in names if name in validator_traits(known).replaces]


def _find_file(module: str) -> str:
    """Return the file of a module that may not be importable; empty if it is not found."""
    # A dotted name would import its package here.
    if not module.isidentifier():
        return ""
    try:
        spec = importlib.util.find_spec(module)
    # ValueError: a loaded module without a spec, such as `__main__`.
    except (ImportError, ValueError):
        return ""
    return (spec.origin or "") if spec else ""


def make_plugin(
    kind: str,
    name: str,
    params: Mapping[str, Any],
    *,
    trusted: Sequence[str] = (),
    **collaborators: Any,
) -> Any:
    """Build a plug-in from the recipe's parameters.

    Collaborators that the factory does not take are left out.

    Raises:
        ConfigError: an unknown or missing parameter, or a value that the factory rejects.
    """
    factory = find_factory(kind, name, trusted=trusted)
    source = locate_plugin(name, factory)
    with PluginGuard(source, "was inspected", error=ConfigError):
        signature = inspect.signature(factory)
    excluded = {*collaborators, *COLLABORATORS}
    known = [p for p in signature.parameters if p not in excluded]
    try:
        keys = unify_names(params, known)
    except SpellingConflict as e:
        raise ConfigError(f"`{name}`: {e}") from e
    params = {keys[key]: value for key, value in params.items()}
    for key in params:
        if key not in known:
            raise ConfigError(
                f"`{name}` has no parameter `{key}`{suggest_names(key, known) or '; it has no parameters'}"
            )
    needed = {k: v for k, v in collaborators.items() if k in signature.parameters}
    values = {key: _convert(name, key, value, factory) for key, value in params.items()}
    missing = [p for p in known if p not in values and _is_required(signature.parameters[p])]
    if missing:
        raise ConfigError(f"`{name}` needs {', '.join(f'`{m}`' for m in missing)}; add it")
    if is_external(name):
        with PluginGuard(source, "was built", error=ConfigError):
            return factory(**values, **needed)
    try:
        return factory(**values, **needed)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"`{name}`: {e}") from e


def _is_required(parameter: inspect.Parameter) -> bool:
    named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return named and parameter.default is parameter.empty


# Any: a recipe's scalars are text; the factory's annotations give their types.
def _convert(name: str, key: str, value: Any, factory: Callable[..., Any]) -> Any:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    with PluginGuard(locate_plugin(name, factory), "was inspected", error=ConfigError):
        hints = get_type_hints(factory)
    try:
        return TypeAdapter(hints[key]).validate_python(value)
    # A parameter without an annotation takes the recipe's value as it is.
    except KeyError:
        return value
    except PydanticUserError as e:  # also PydanticSchemaGenerationError
        raise ConfigError(f"`{name}`: `{key}` cannot be given in a recipe, only in Python") from e
    except ValidationError as e:
        problem = e.errors()[0]["msg"]
        raise ConfigError(
            f"`{name}`: `{key}` is `{value}`: {problem[:1].lower()}{problem[1:]}"
        ) from e
