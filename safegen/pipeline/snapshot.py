"""The snapshot of a run: the recipe, specs, taxonomy, axes and language pack that it was made with.

`run/recipe.json` holds all of them, so commands that read a finished run need no other file and work
from any folder. If a file with the same name exists and is equal, messages refer to that file. If it
differs, the difference is reported and the snapshot counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, Self, TypeVar

from pydantic import BaseModel, Field, RootModel, ValidationError, model_validator

from safegen.config import contacts as registries, language_pack, recipe as recipes, taxonomy
from safegen.config.contacts import ContactRegistry, Contacts
from safegen.config.fields import FrozenModel
from safegen.config.language_pack import Locale
from safegen.config.recipe import Recipe
from safegen.config.taxonomy import Taxonomy, TaxonomyFile
from safegen.core import yaml_source
from safegen.core.errors import AssetNotFound, RecipeMismatch, StoreDamaged, UserError
from safegen.coverage import axes as axes_file
from safegen.coverage.axes import Axes
from safegen.pipeline.resolve import (
    CONTACTS,
    PLUGIN,
    POLICY,
    PROMPTS,
    RECIPE,
    Fingerprints,
    ResolvedRecipe,
    RunContext,
    SnapshotKey,
    snapshot_keys,
)
from safegen.policy import loader
from safegen.policy.spec import Policy, Spec, SpecSource
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.store.json_files import describe_first
from safegen.store.run_folder import SNAPSHOT_REMEDY, RunFolder

# Any: a user may have edited recipe.json.
SnapshotJson = Mapping[str, Any]
"""The content of `recipe.json`."""
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class SpecChains(RootModel[tuple[Annotated[tuple[Spec, ...], Field(min_length=1)], ...]]):
    """Specs, each followed by the specs that it inherits."""


class StoredContacts(FrozenModel):
    """The registries of contacts of a run, as its snapshot holds them."""

    registries: Mapping[str, ContactRegistry] = {}
    """All known registries by region."""
    regions: tuple[str, ...] = ()
    """Regions that the recipe chose, in its order."""

    @model_validator(mode="after")
    def _check_regions(self) -> Self:
        if unknown := [region for region in self.regions if region not in self.registries]:
            raise ValueError(f"no registry of the region `{unknown[0]}`")
        return self


@dataclass(frozen=True, kw_only=True)
class RunSnapshot(RunContext):
    """The context of a run, read from its folder."""

    axes: Axes
    fingerprints: Fingerprints
    """SHA-256 of each file that the run was made with, by kind and name."""
    differing: tuple[SnapshotKey, ...] = ()
    """Parts whose files have the same name here and another content."""

    @property
    def difference_line(self) -> str | None:
        """One line that names the differing parts and the command that adopts them; None if there are none."""
        if not self.differing:
            return None
        is_policy_edit = all(key.kind == POLICY for key in self.differing)
        command = (
            "safegen generate RECIPE" if is_policy_edit else "safegen generate RECIPE --replan"
        )
        return (
            f"{', '.join(k.quoted for k in self.differing)} changed since this run was made; the"
            f" output uses the stored version; `{command}` adopts the change"
        )


RECIPE_FILE = "recipe_file"
"""Key of the snapshot with the path of the recipe's file, as the user named it."""


class RecipeEdit(NamedTuple):
    """A recipe's file that differs from the recipe of a run."""

    file: str
    keys: tuple[str, ...]
    """The keys that differ, except `output`."""
    needs_replan: bool
    """True if a key differs that decides prompts, drafts or verdicts."""


def choose_recipe_file(stored: object, file: str | None) -> str | None:
    """Choose the path that a snapshot remembers: the file of this session, or the stored path.

    An equal copy of the stored file changes nothing.
    """
    known = stored if isinstance(stored, str) else None
    if file is None or known is None:
        return file or known
    try:
        return known if Path(known).read_bytes() == Path(file).read_bytes() else file
    except OSError:
        return file


def find_recipe_edit(folder: RunFolder, recipe: Recipe) -> RecipeEdit | None:
    """Compare the recipe of a run with its file; None if they are equal or there is no file.

    Raises:
        UserError: the file is not a recipe.
        StoreDamaged: the snapshot cannot be read.
    """
    file = folder.read_snapshot().get(RECIPE_FILE)
    if not isinstance(file, str) or not Path(file).is_file():
        return None
    current = recipes.load_recipe(file)
    # In another folder, a file of this path may describe another run.
    if current.name != recipe.name:
        return None
    before, now = recipe.model_dump(mode="json"), current.model_dump(mode="json")
    keys = tuple(key for key in now if key != "output" and now[key] != before.get(key))
    if not keys:
        return None
    return RecipeEdit(file, keys, recipe.digests() != current.digests())


ENDPOINT_KEYS = (SnapshotKey(RECIPE, "teachers"), SnapshotKey(RECIPE, "judges"))


class _Part(NamedTuple, Generic[T]):
    """A part of a snapshot, and the keys of the files that differ from it."""

    value: T
    differing: list[SnapshotKey]


class _CurrentFile(NamedTuple, Generic[T]):
    """The current file: its value if it equals the snapshot, else None.

    `matches` is False if the file differs or cannot be read.
    """

    value: T | None
    matches: bool


def make_snapshot(inputs: ResolvedRecipe, axes: Axes) -> dict[str, object]:
    """Collect the files that a recipe names, as `recipe.json` stores them."""
    return {
        "policies": [
            [source.spec.model_dump(mode="json") for source in policy.chain]
            for policy in inputs.policies
        ],
        "taxonomy": inputs.tree.file.model_dump(mode="json"),
        "locale": inputs.locale.model_dump(mode="json"),
        CONTACTS: StoredContacts(
            registries=inputs.contacts.registries, regions=inputs.contacts.regions
        ).model_dump(mode="json"),
        "axes": axes.model_dump(mode="json"),
    }


def list_differences(folder: RunFolder, inputs: ResolvedRecipe) -> list[SnapshotKey]:
    """List the keys and files of a recipe that differ from the snapshot of a run."""
    payload = folder.read_snapshot()
    before = snapshot_keys(payload["digests"], payload["fingerprints"])
    now = snapshot_keys(inputs.recipe.digests(), inputs.fingerprints)
    return [
        key
        for key in {**now, **before}
        if before.get(key) != now.get(key) and not _is_unused_plugin(key, before, now)
    ]


def _is_unused_plugin(
    key: SnapshotKey, before: Mapping[SnapshotKey, str], now: Mapping[SnapshotKey, str]
) -> bool:
    # The recipe's keys decide which plug-ins a run uses. A file on one side only means that a
    # caller's own teacher replaced the plug-in, or that an older version wrote the snapshot.
    return key.kind == PLUGIN and not (key in before and key in now)


def adopt_prompt_options(folder: RunFolder, inputs: ResolvedRecipe) -> ResolvedRecipe:
    """Take options for a prompt file that the caller did not repeat from a planned run of that file.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    if inputs.user_prompts is None or not folder.plan(0).exists():
        return inputs
    stored = UserPrompts.from_json(folder.read_snapshot().get("prompts"))
    return replace(inputs, user_prompts=inputs.user_prompts.with_options_of(stored))


def update_snapshot(folder: RunFolder, context: RunSnapshot) -> None:
    """Store another version, other views or another split of a run's recipe before a rebuild.

    Raises:
        RecipeMismatch: a key that decides prompts, drafts or verdicts differs.
    """
    payload, digests = folder.read_snapshot(), context.recipe.digests()
    before = payload["digests"]
    differing = [
        SnapshotKey(RECIPE, key)
        for key, digest in digests.items()
        # An older run lacks the digest of a newer key, which then has its default.
        if before.get(key, digest) != digest
    ]
    if differing:
        keys = ", ".join(f"`{key}`" for key in differing)
        raise RecipeMismatch(
            f"`{folder.root}` was created with another {keys}; `build` can change only name, version,"
            " views and split, and thresholds with `--set`: for the rest run `safegen generate` with"
            " `--replan`"
        )
    folder.write_snapshot(payload | {"recipe": context.recipe.model_dump(mode="json")})


def make_mismatch_error(folder: RunFolder, differing: Sequence[SnapshotKey]) -> RecipeMismatch:
    """Build the error that names the parts that differ from the snapshot."""
    keys = ", ".join(f"`{key}`" for key in differing)
    stored = UserPrompts.from_json(folder.read_snapshot().get("prompts"))
    if any(key.kind == PROMPTS for key in differing):
        origin = f"the file `{stored.name}`" if stored else "the taxonomy's sets"
        remedy = (
            "repeat `--prompts` with the unchanged file (other options are remembered)"
            if stored
            else "leave out `--prompts`"
        )
        return RecipeMismatch(
            f"`{folder.root}` was planned from {origin}; {remedy}, or choose another `--output`, or"
            " re-plan with `--replan`"
        )
    moved = ""
    if any(key in ENDPOINT_KEYS for key in differing):
        moved = "; if only the address of an endpoint changed, set its `cache_address` to the former one"
    return RecipeMismatch(
        f"`{folder.root}` was begun with another {keys}; restore it, choose another `--output`, or"
        " re-plan with `--replan` (cached replies are reused, unless the address, the model or a"
        f" parameter of the requests changed){moved}"
    )


def read_policies(folder: RunFolder) -> tuple[Policy, ...]:
    """Read the specs of a run.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    chains = _parse_part(folder, folder.read_snapshot(), "policies", SpecChains).root
    return tuple(_locate_policy(folder, chain) for chain in chains)


def read_axes(folder: RunFolder, payload: SnapshotJson | None = None) -> Axes:
    """Read the axes that a run was planned with.

    Args:
        folder: the run.
        payload: the content of its snapshot; default: read it now.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    return _parse_part(folder, payload or folder.read_snapshot(), "axes", Axes)


def read_snapshot(
    folder: RunFolder,
    recipe: Recipe,
    *,
    user_prompts: UserPrompts | None = None,
    trusted: Sequence[str] = (),
) -> RunSnapshot:
    """Read the context of a run, and compare it with the files that have these names now.

    Raises:
        StoreDamaged: the snapshot cannot be read.
    """
    payload: SnapshotJson = folder.read_snapshot()
    tree = _read_taxonomy(folder, payload, recipe)
    policies = _read_policies(folder, payload, recipe)
    locale = _read_locale(folder, payload, recipe)
    contacts = _read_contacts(folder, payload, recipe)
    axes = _read_axes(folder, payload)
    parts = (tree, policies, locale, contacts, axes)
    differing = [key for part in parts for key in part.differing]
    return RunSnapshot(
        recipe=recipe,
        tree=tree.value,
        policies=policies.value,
        locale=locale.value,
        contacts=contacts.value,
        axes=axes.value,
        user_prompts=user_prompts,
        trusted=tuple(trusted),
        fingerprints=payload["fingerprints"],
        differing=tuple(dict.fromkeys(differing)),
    )


def _read_taxonomy(folder: RunFolder, payload: SnapshotJson, recipe: Recipe) -> _Part[Taxonomy]:
    file = _parse_part(folder, payload, "taxonomy", TaxonomyFile)
    current = _find_current(
        lambda: taxonomy.load_taxonomy(recipe.taxonomy), lambda tree: tree.file == file
    )
    differing = [] if current.matches else [SnapshotKey("taxonomy", file.taxonomy)]
    return _Part(current.value or Taxonomy(file, folder.root / "taxonomy.yaml"), differing)


def _read_policies(
    folder: RunFolder, payload: SnapshotJson, recipe: Recipe
) -> _Part[tuple[Policy, ...]]:
    policies: list[Policy] = []
    differing: list[SnapshotKey] = []
    chains = _parse_part(folder, payload, "policies", SpecChains).root
    # Not strict: a user may have edited the snapshot.
    for name, chain in zip(recipe.policies, chains, strict=False):
        current = _find_current(
            lambda name=name: loader.read_policy(name),
            lambda policy, chain=chain: _has_specs(policy, chain),
        )
        policies.append(current.value or _locate_policy(folder, chain))
        if not current.matches:
            edited = _find_edited_specs(name, policies[-1])
            differing += [SnapshotKey(POLICY, one) for one in edited]
    return _Part(tuple(policies), differing)


def _has_specs(policy: Policy, chain: Sequence[Spec]) -> bool:
    """Check if a policy decides and instructs as the specs of a chain do."""
    if [spec for spec, _ in policy.chain] == list(chain):
        return True
    stored = Policy(tuple(SpecSource(spec, policy.path) for spec in chain))
    return policy.policy_id == stored.policy_id


def _find_edited_specs(name: str, policy: Policy) -> list[str]:
    """Name the edited specs of a chain; the first one if it cannot be read or inherits other specs now."""
    try:
        current = {source.spec.policy: source.spec for source in loader.read_policy(name).chain}
    except UserError:
        current = {}
    # An edited base is reported once, not for every spec that inherits it.
    edited = [s.policy for s, _ in policy.chain if s.policy in current and s != current[s.policy]]
    return edited or [policy.spec.policy]


def _read_locale(folder: RunFolder, payload: SnapshotJson, recipe: Recipe) -> _Part[Locale]:
    locale = _parse_part(folder, payload, "locale", Locale)
    current = _find_current(
        lambda: language_pack.load_locale(recipe.locales[0]), lambda pack: pack == locale
    )
    return _Part(locale, [] if current.matches else [SnapshotKey("locale", locale.locale)])


def _read_contacts(folder: RunFolder, payload: SnapshotJson, recipe: Recipe) -> _Part[Contacts]:
    # A run of an older version has no registries.
    stored = _parse_part(folder, {CONTACTS: {}, **payload}, CONTACTS, StoredContacts)
    # A recipe may name the registry of a region by path.
    names = dict(zip(stored.regions, recipe.contacts.regions, strict=False))
    differing: list[SnapshotKey] = []
    for region, registry in stored.registries.items():
        name = names.get(region, region)
        current = _find_current(
            lambda name=name: registries.load_registry(name),
            lambda other, registry=registry: other == registry,
        )
        differing += [] if current.matches else [SnapshotKey(CONTACTS, region)]
    contacts = Contacts(stored.registries, stored.regions, recipe.contacts.as_of)
    return _Part(contacts, differing)


def _read_axes(folder: RunFolder, payload: SnapshotJson) -> _Part[Axes]:
    axes = _parse_part(folder, payload, "axes", Axes)
    current = _find_current(axes_file.load_axes, lambda file: file == axes)
    return _Part(axes, [] if current.matches else [SnapshotKey("axes", "axes")])


def _locate_policy(folder: RunFolder, chain: Sequence[Spec]) -> Policy:
    return Policy(tuple(_find_spec_source(folder, spec) for spec in chain))


def _find_spec_source(folder: RunFolder, spec: Spec) -> SpecSource:
    """Locate a spec of a run: the dataset's copy if it is equal, else the snapshot."""
    # Messages should point to YAML that a user can open; `recipe.json` is the last resort.
    copy = folder.output / "policies" / f"{spec.policy}.yaml"
    current = _find_current(lambda: yaml_source.load(copy, Spec), lambda other: other == spec)
    return SpecSource(spec, copy if current.value else folder.snapshot_path)


def _find_current(read: Callable[[], T], is_same: Callable[[T], bool]) -> _CurrentFile[T]:
    """Read the file that has a name now. A missing file is no difference; an unreadable one is."""
    try:
        current = read()
    except AssetNotFound:
        return _CurrentFile(None, True)
    except UserError:
        return _CurrentFile(None, False)
    return _CurrentFile(current, True) if is_same(current) else _CurrentFile(None, False)


def _parse_part(folder: RunFolder, payload: SnapshotJson, key: str, model: type[M]) -> M:
    try:
        return model.model_validate(payload.get(key))
    except ValidationError as e:
        raise StoreDamaged(
            f"`{folder.snapshot_path}`: `{key}` cannot be read: {describe_first(e, model)};"
            f" {SNAPSHOT_REMEDY}"
        ) from e
