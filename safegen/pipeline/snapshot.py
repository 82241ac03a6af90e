"""What a run was made with, kept in its folder: so that a look at it needs no file from elsewhere.

`recipe.json` holds the specs, the tree of harms, the axes and the language pack beside the recipe.
Whoever looks at a finished run reads these, from any working folder; where a file of that name is at
hand and says the same, it is named as the place, and where it says something else, that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, RootModel, ValidationError

from safegen.config import language_pack, taxonomy
from safegen.config.language_pack import Locale
from safegen.config.recipe import Recipe
from safegen.config.taxonomy import Taxonomy, TaxonomyFile
from safegen.core import yaml_source
from safegen.core.errors import AssetNotFound, StoreDamaged, UserError
from safegen.coverage import axes as axes_file
from safegen.coverage.axes import Axes
from safegen.pipeline.resolve import POLICY, Fingerprints, ResolvedRecipe, RunContext, SnapshotKey
from safegen.policy import loader
from safegen.policy.spec import Policy, Spec, SpecSource
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.store.run_folder import RunFolder

# Any: what recipe.json holds was written by some version of safegen.
SnapshotJson = Mapping[str, Any]
"""The run's `recipe.json`, read once."""
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class SpecChains(RootModel[tuple[Annotated[tuple[Spec, ...], Field(min_length=1)], ...]]):
    """Specs with what each inherits, as `recipe.json` keeps them."""


@dataclass(frozen=True, kw_only=True)
class RunSnapshot(RunContext):
    """What a run was made with, read from its folder."""

    axes: Axes
    fingerprints: Fingerprints
    """SHA-256 of each file that was found when it was made, by kind and name."""
    differing: tuple[SnapshotKey, ...] = ()
    """What is at hand under the same name and says something else."""

    @property
    def difference_line(self) -> str | None:
        """One line on what differs and on the way to adopt it; None where nothing does."""
        if not self.differing:
            return None
        policies = all(key.kind == POLICY for key in self.differing)
        way = "generate` with the recipe adopts" if policies else "generate --replan` plans anew by"
        return (
            f"this run was made with another {', '.join(k.quoted for k in self.differing)} than the one here; what is"
            f" shown is by its own, and `safegen {way} the edit"
        )


def make_snapshot(inputs: ResolvedRecipe, axes: Axes) -> dict[str, object]:
    """What `recipe.json` keeps of the files that a recipe names."""
    return {
        "policies": [
            [source.spec.model_dump(mode="json") for source in policy.chain]
            for policy in inputs.policies
        ],
        "taxonomy": inputs.tree.file.model_dump(mode="json"),
        "locale": inputs.locale.model_dump(mode="json"),
        "axes": axes.model_dump(mode="json"),
    }


def read_policies(folder: RunFolder) -> tuple[Policy, ...]:
    """The specs that a run was begun with; none where it is older than that.

    Raises:
        StoreDamaged: they are not what this safegen writes.
    """
    return _read_chains(folder, folder.read_snapshot())


def _read_chains(folder: RunFolder, kept: SnapshotJson) -> tuple[Policy, ...]:
    chains = _parse_kept(folder, "policies", SpecChains, kept.get("policies") or []).root
    return tuple(Policy(tuple(_find_spec_source(folder, one) for one in chain)) for chain in chains)


def read_axes(folder: RunFolder) -> Axes:
    """The axes that a run was planned with; the axes file where it is older than that.

    Raises:
        StoreDamaged: they are not what this safegen writes.
    """
    return _read_kept_axes(folder, folder.read_snapshot())


def _read_kept_axes(folder: RunFolder, kept: SnapshotJson) -> Axes:
    axes = kept.get("axes")
    return axes_file.load_axes() if axes is None else _parse_kept(folder, "axes", Axes, axes)


def read_snapshot(
    folder: RunFolder,
    recipe: Recipe,
    *,
    own: UserPrompts | None = None,
    trusted: Sequence[str] = (),
) -> RunSnapshot:
    """Everything that a run was made with; what an older run did not keep is read by its name.

    Raises:
        StoreDamaged: the run holds what this safegen does not write.
        UserError: an older run whose files cannot be found or read.
    """
    kept: SnapshotJson = folder.read_snapshot()
    checks: list[tuple[SnapshotKey, bool]] = []
    tree = _read_taxonomy(folder, kept, recipe, checks)
    policies = _read_kept_policies(folder, kept, recipe, checks)
    locale = _read_locale(folder, kept, recipe, checks)
    axes = _read_kept_axes(folder, kept)
    checks.append(
        (
            SnapshotKey("axes", "axes"),
            _find_current(axes_file.load_axes, lambda here: here == axes)[1],
        )
    )
    return RunSnapshot(
        recipe=recipe,
        tree=tree,
        policies=policies,
        locale=locale,
        axes=axes,
        user_prompts=own,
        trusted=tuple(trusted),
        fingerprints=kept["fingerprints"],
        differing=tuple(dict.fromkeys(key for key, same in checks if not same)),
    )


def _read_taxonomy(
    folder: RunFolder, kept: SnapshotJson, recipe: Recipe, checks: list[tuple[SnapshotKey, bool]]
) -> Taxonomy:
    if kept.get("taxonomy") is None:
        return taxonomy.load_taxonomy(recipe.taxonomy)
    file = _parse_kept(folder, "taxonomy", TaxonomyFile, kept["taxonomy"])
    current, same = _find_current(
        lambda: taxonomy.load_taxonomy(recipe.taxonomy), lambda tree: tree.file == file
    )
    checks.append((SnapshotKey("taxonomy", file.taxonomy), same))
    return current or Taxonomy(file, folder.root / "taxonomy.yaml")


def _read_kept_policies(
    folder: RunFolder, kept: SnapshotJson, recipe: Recipe, checks: list[tuple[SnapshotKey, bool]]
) -> tuple[Policy, ...]:
    chains = _read_chains(folder, kept)
    if not chains:
        return tuple(loader.load_policy(name) for name in recipe.policies)
    policies: list[Policy] = []
    for name, policy in zip(recipe.policies, chains, strict=False):
        current, same = _find_current(
            lambda name=name: loader.read_policy(name),
            lambda p, kept=policy: p.policy_id == kept.policy_id,
        )
        policies.append(current or policy)
        edited = [] if same else _find_edited_specs(name, policy)
        checks += [(SnapshotKey(POLICY, one), False) for one in edited]
    return tuple(policies)


def _find_edited_specs(name: str, kept: Policy) -> list[str]:
    """The specs of a chain that say something else here; the first where it cannot be read or inherits others."""
    try:
        current = {source.spec.policy: source.spec for source in loader.read_policy(name).chain}
    except UserError:
        current = {}
    edited = [s.policy for s, _ in kept.chain if s.policy in current and s != current[s.policy]]
    return edited if edited else [kept.spec.policy]


def _read_locale(
    folder: RunFolder, kept: SnapshotJson, recipe: Recipe, checks: list[tuple[SnapshotKey, bool]]
) -> Locale:
    if kept.get("locale") is None:
        return language_pack.load_locale(recipe.locales[0])
    locale = _parse_kept(folder, "locale", Locale, kept["locale"])
    _, same = _find_current(
        lambda: language_pack.load_locale(recipe.locales[0]), lambda here: here == locale
    )
    checks.append((SnapshotKey("locale", locale.locale), same))
    return locale


def _find_spec_source(folder: RunFolder, kept: Spec) -> SpecSource:
    """A spec of a run, at the dataset's copy of it where that says the same."""
    copy = folder.output / "policies" / f"{kept.policy}.yaml"
    current, _ = _find_current(lambda: yaml_source.load(copy, Spec), lambda copied: copied == kept)
    return SpecSource(kept, copy if current else folder.recipe)


def _find_current(read: Callable[[], T], is_same: Callable[[T], bool]) -> tuple[T | None, bool]:
    """What a name stands for here if it says the same; and whether nothing here says otherwise.

    A file that is there and cannot be read says something else.
    """
    try:
        current = read()
    except AssetNotFound:
        return None, True
    except UserError:
        return None, False
    return (current, True) if is_same(current) else (None, False)


def _parse_kept(folder: RunFolder, key: str, model: type[M], kept: object) -> M:
    try:
        return model.model_validate(kept)
    except ValidationError as e:
        raise _make_damage_error(folder, key) from e


def _make_damage_error(folder: RunFolder, key: str) -> StoreDamaged:
    return StoreDamaged(
        f"`{folder.recipe}` holds `{key}` that this safegen cannot read; run again with `--replan`:"
        " replies are kept"
    )
