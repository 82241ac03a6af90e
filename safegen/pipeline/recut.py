"""Re-cut of a dataset: other keys of acceptance over the stored records of a run, without a request.

The manifest of the dataset holds the keys that differ from the recipe (`overrides`), so that
`verify`, `show` and `coverage` read a re-cut dataset in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from pydantic import BaseModel

from safegen.config.recipe import (
    JUDGE_KEYS_WITHOUT_DIGEST,
    KEYS_WITHOUT_DIGEST,
    Recipe,
    override_recipe,
)
from safegen.core.errors import ConfigError, StoreDamaged
from safegen.core.suggestions import suggest, suggest_names
from safegen.core.types import Record
from safegen.dataset.curate import Recutter
from safegen.dataset.layout import MANIFEST
from safegen.pipeline.acceptance import (
    THRESHOLD,
    AcceptanceRules,
    convert_threshold,
    make_rules,
    passes_by_score,
    recut_records,
    verdict_name,
)
from safegen.store.json_files import read_json
from safegen.store.run_folder import RunFolder

LEAST_EFFECT = "policy_effect.least"
"""Key of the least policy effect; only a run that measured it has the key."""
OVERRIDES = "overrides"
"""Key of the manifest."""
JURY_KEYS = ("judges.quorum", "judges.tie")
"""Keys of a panel, in addition to its thresholds, that decide from stored findings."""
REBUILD_KEYS = frozenset({"name", "version", "views", "split"})
"""Keys that a rebuild takes from a recipe file."""


@dataclass(frozen=True)
class Recut:
    """Keys of acceptance that differ from those of a run."""

    recipe: Recipe
    """The recipe with these keys."""
    rules: AcceptanceRules
    overrides: Mapping[str, object]
    """Value by dotted key, as the manifest stores it."""

    @property
    def recutter(self) -> Recutter:
        """Decide the records of a shard again."""
        return partial(_recut_shard, self.rules)


def _recut_shard(rules: AcceptanceRules, records: Sequence[Record], /) -> list[Record]:
    return recut_records(records, rules)


def make_recut(
    recipe: Recipe, overrides: Mapping[str, object], *, trusted: Sequence[str] = ()
) -> Recut | None:
    """Apply dotted keys of acceptance to the recipe of a run.

    Args:
        recipe: the recipe of the run.
        overrides: values by key, see `list_acceptance_keys`.
        trusted: modules that its validators may be imported from.

    Returns:
        The re-cut; None if the keys have the values of the recipe.

    Raises:
        ConfigError: a key is unknown or needs new requests, or a value does not fit.
    """
    known = list_acceptance_keys(recipe, trusted=trusted)
    for key in overrides:
        if key not in known:
            raise ConfigError(_describe_wrong_key(key, known, recipe))
    return _apply(recipe, overrides, trusted=trusted)


def read_recut(folder: RunFolder, recipe: Recipe) -> Recut | None:
    """Read the keys that a dataset was built with from its manifest; None if it has those of the recipe.

    Raises:
        ConfigError: the manifest names other keys or values.
    """
    try:
        overrides: object = read_json(folder.output / MANIFEST).get(OVERRIDES, {})
    except StoreDamaged:
        # Without a manifest there is no dataset, and `verify` reports a damaged one.
        return None
    if not isinstance(overrides, dict):
        raise ConfigError(f"`{MANIFEST}` has `{OVERRIDES}` that are no object; build again")
    try:
        return _apply(recipe, cast("dict[str, object]", overrides))
    except (ConfigError, KeyError) as e:
        raise ConfigError(
            f"`{folder.output / MANIFEST}` has `{OVERRIDES}` that the recipe of its run cannot have; build"
            " again"
        ) from e


def list_acceptance_keys(recipe: Recipe, *, trusted: Sequence[str] = ()) -> list[str]:
    """List the dotted keys that decide acceptance from stored verdicts."""
    names = [
        verdict_name(ref.use)
        for ref in recipe.validators
        if passes_by_score(ref.use, trusted=trusted)
    ]
    keys = ["require", *(f"validators.{name}.{THRESHOLD}" for name in names)]
    keys += [LEAST_EFFECT] if recipe.policy_effect else []
    if not recipe.judges.panel:
        return keys
    leaves = _list_leaves("judges.thresholds", recipe.judges.thresholds.model_dump())
    return [*keys, *JURY_KEYS, *leaves]


def _list_leaves(parent: str, values: Mapping[str, object]) -> list[str]:
    leaves: list[str] = []
    for name, value in values.items():
        key = f"{parent}.{name}"
        is_inner = isinstance(value, dict)
        leaves += _list_leaves(key, cast("dict[str, object]", value)) if is_inner else [key]
    return leaves


def _read_key(recipe: Recipe, key: str) -> object:
    """Return the value of a dotted key, as JSON has it."""
    value: object = recipe.model_dump(mode="json")
    for name in key.split("."):
        value = cast("dict[str, object]", value)[name]
    return value


def _describe_wrong_key(key: str, known: Sequence[str], recipe: Recipe) -> str:
    head, _, rest = key.partition(".")
    near = suggest(key, known)
    names = f"keys that a rebuild can change: {', '.join(f'`{name}`' for name in known)}"
    if head in REBUILD_KEYS:
        return f"override `{key}`: this key is no key of acceptance; change it in a file with `--recipe`; {names}"
    validators = {verdict_name(ref.use) for ref in recipe.validators}
    name, _, parameter = rest.rpartition(".")
    if parts := [name for name in known if name.startswith(f"{key}.")]:
        return f"override `{key}`: this key has parts; set {', '.join(f'`{name}`' for name in parts)}; {names}"
    if head == "validators" and parameter == THRESHOLD and name in validators:
        return f"override `{key}`: `{name}` does not pass by a score; {names}"
    if _has_no_digest(head, rest):
        return (
            f"override `{key}`: this key changes no stored verdict; run `safegen generate` with the changed"
            f" recipe, which needs no re-plan; {names}"
        )
    # A key of the recipe is no misspelling of a similar one.
    if not _is_recipe_key(key, recipe) and (near is not None or head not in Recipe.model_fields):
        hint = f"; did you mean `{near}`?" if near else ""
        return f"override `{key}`: no such key{hint}; {names}"
    return (
        f"override `{key}`: this key needs new requests; run `safegen generate` with the changed recipe and"
        f" `--replan`; {names}"
    )


def _has_no_digest(head: str, rest: str) -> bool:
    """Return True if a key changes no request and no verdict."""
    of_judges = head == "judges" and rest.partition(".")[0] in JUDGE_KEYS_WITHOUT_DIGEST
    return head in KEYS_WITHOUT_DIGEST or of_judges


def _is_recipe_key(key: str, recipe: Recipe) -> bool:
    """Return True if a recipe has a dotted key, set or not."""
    model: object = recipe
    for name in key.split("."):
        if isinstance(model, BaseModel):
            if name not in type(model).model_fields:
                return False
            model = getattr(model, name)
        elif isinstance(model, Mapping):
            if name not in model:
                return False
            model = cast("Mapping[str, object]", model)[name]
        else:
            # Plug-ins with parameters of their own, or a part that is not set.
            return False
    return True


def _apply(
    recipe: Recipe, overrides: Mapping[str, object], *, trusted: Sequence[str] = ()
) -> Recut | None:
    changed, before = recipe, make_rules(recipe, trusted=trusted)
    thresholds, used = dict(before.thresholds), dict[str, object]()
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        name = rest.removesuffix(f".{THRESHOLD}")
        if head == "require":
            changed = _set_required(changed, value)
            if set(changed.required_validators) != set(recipe.required_validators):
                used[key] = changed.require if changed.require == "all" else [*changed.require]
        elif head == "validators" and name != rest:
            number = convert_threshold(name, value)
            changed = _set_threshold(changed, name, number)
            if before.thresholds.get(name) != number:
                thresholds[name] = used[key] = number
        elif head in ("judges", "policy_effect") and key in list_acceptance_keys(
            recipe, trusted=trusted
        ):
            is_list = isinstance(_read_key(recipe, key), list) and isinstance(value, str)
            changed = override_recipe(changed, {key: _split_names(value) if is_list else value})
            if _read_key(changed, key) != _read_key(recipe, key):
                used[key] = _read_key(changed, key)
        else:
            raise KeyError(key)
    if not used:
        return None
    rules = replace(make_rules(changed, trusted=trusted), thresholds=thresholds)
    return Recut(changed, rules, used)


def _split_names(value: object) -> list[str]:
    return [name.strip() for name in str(value).strip().strip("[]").split(",") if name.strip()]


def _set_required(recipe: Recipe, value: object) -> Recipe:
    names = value
    if isinstance(value, str) and value.strip() != "all":
        names = _split_names(value)
    if isinstance(names, str):
        return recipe.model_copy(update={"require": "all"})
    if not isinstance(names, list | tuple):
        raise ConfigError("override `require`: write `all` or names of validators with commas")
    listed = [str(name) for name in cast("Sequence[object]", names)]
    by_name = {verdict_name(ref.use): ref.use for ref in recipe.validators}
    uses = [*by_name.values()]
    for name in listed:
        if name not in by_name and name not in uses:
            raise ConfigError(
                f"override `require`: no validator `{name[:60]}` in the recipe{suggest_names(name, [*by_name])}"
            )
    return recipe.model_copy(
        update={"require": tuple(dict.fromkeys(by_name.get(name, name) for name in listed))}
    )


def _set_threshold(recipe: Recipe, name: str, value: float) -> Recipe:
    if name not in {verdict_name(ref.use) for ref in recipe.validators}:
        raise KeyError(name)
    refs = tuple(
        ref.model_copy(update={"params": ref.params | {THRESHOLD: value}})
        if verdict_name(ref.use) == name
        else ref
        for ref in recipe.validators
    )
    return recipe.model_copy(update={"validators": refs})
