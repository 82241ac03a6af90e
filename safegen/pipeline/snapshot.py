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
from safegen.pipeline.resolve import POLICY, Basis, Fingerprints, Inputs, SnapshotKey
from safegen.policy import loader
from safegen.policy.spec import Policy, Source, Spec
from safegen.scenarios.user_prompts.reader import OwnPrompts
from safegen.store.run_folder import RunFolder

# Any: what recipe.json holds was written by some version of safegen.
Kept = Mapping[str, Any]
"""The run's `recipe.json`, read once."""
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Chains(RootModel[tuple[Annotated[tuple[Spec, ...], Field(min_length=1)], ...]]):
    """Specs with what each inherits, as `recipe.json` keeps them."""


@dataclass(frozen=True, kw_only=True)
class Thawed(Basis):
    """What a run was made with, read from its folder."""

    axes: Axes
    fingerprints: Fingerprints
    """SHA-256 of each file that was found when it was made, by kind and name."""
    differing: tuple[SnapshotKey, ...] = ()
    """What is at hand under the same name and says something else."""

    @property
    def line(self) -> str | None:
        """One line on what differs and on the way to adopt it; None where nothing does."""
        if not self.differing:
            return None
        policies = all(key.kind == POLICY for key in self.differing)
        way = "generate` with the recipe adopts" if policies else "generate --replan` plans anew by"
        return (
            f"this run was made with another {', '.join(k.quoted for k in self.differing)} than the one here; what is"
            f" shown is by its own, and `safegen {way} the edit"
        )


def told(inputs: Inputs, axes: Axes) -> dict[str, object]:
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


def policies_of(folder: RunFolder) -> tuple[Policy, ...]:
    """The specs that a run was begun with; none where it is older than that.

    Raises:
        StoreDamaged: they are not what this safegen writes.
    """
    return _chains(folder, folder.frozen())


def _chains(folder: RunFolder, kept: Kept) -> tuple[Policy, ...]:
    chains = _read(folder, "policies", Chains, kept.get("policies") or []).root
    return tuple(Policy(tuple(_source(folder, one) for one in chain)) for chain in chains)


def axes_of(folder: RunFolder) -> Axes:
    """The axes that a run was planned with; the axes file where it is older than that.

    Raises:
        StoreDamaged: they are not what this safegen writes.
    """
    return _axes(folder, folder.frozen())


def _axes(folder: RunFolder, kept: Kept) -> Axes:
    axes = kept.get("axes")
    return axes_file.load() if axes is None else _read(folder, "axes", Axes, axes)


def basis(
    folder: RunFolder,
    recipe: Recipe,
    *,
    own: OwnPrompts | None = None,
    trusted: Sequence[str] = (),
) -> Thawed:
    """Everything that a run was made with; what an older run did not keep is read by its name.

    Raises:
        StoreDamaged: the run holds what this safegen does not write.
        UserError: an older run whose files cannot be found or read.
    """
    kept: Kept = folder.frozen()
    found: list[tuple[SnapshotKey, bool]] = []
    tree = _tree(folder, kept, recipe, found)
    policies = _policies(folder, kept, recipe, found)
    locale = _locale(folder, kept, recipe, found)
    axes = _axes(folder, kept)
    found.append(
        (SnapshotKey("axes", "axes"), _at_hand(axes_file.load, lambda here: here == axes)[1])
    )
    return Thawed(
        recipe=recipe,
        tree=tree,
        policies=policies,
        locale=locale,
        axes=axes,
        own=own,
        trusted=tuple(trusted),
        fingerprints=kept["fingerprints"],
        differing=tuple(dict.fromkeys(key for key, same in found if not same)),
    )


def _tree(
    folder: RunFolder, kept: Kept, recipe: Recipe, found: list[tuple[SnapshotKey, bool]]
) -> Taxonomy:
    if kept.get("taxonomy") is None:
        return taxonomy.load(recipe.taxonomy)
    file = _read(folder, "taxonomy", TaxonomyFile, kept["taxonomy"])
    here, same = _at_hand(lambda: taxonomy.load(recipe.taxonomy), lambda tree: tree.file == file)
    found.append((SnapshotKey("taxonomy", file.taxonomy), same))
    return here or Taxonomy(file, folder.root / "taxonomy.yaml")


def _policies(
    folder: RunFolder, kept: Kept, recipe: Recipe, found: list[tuple[SnapshotKey, bool]]
) -> tuple[Policy, ...]:
    chains = _chains(folder, kept)
    if not chains:
        return tuple(loader.load(name) for name in recipe.policies)
    policies: list[Policy] = []
    for name, policy in zip(recipe.policies, chains, strict=False):
        here, same = _at_hand(
            lambda name=name: loader.read(name),
            lambda p, kept=policy: p.policy_id == kept.policy_id,
        )
        policies.append(here or policy)
        edited = [] if same else _edited(name, policy)
        found += [(SnapshotKey(POLICY, one), False) for one in edited]
    return tuple(policies)


def _edited(name: str, kept: Policy) -> list[str]:
    """The specs of a chain that say something else here; the first where it cannot be read or inherits others."""
    try:
        here = {source.spec.policy: source.spec for source in loader.read(name).chain}
    except UserError:
        here = {}
    edited = [s.policy for s, _ in kept.chain if s.policy in here and s != here[s.policy]]
    return edited if edited else [kept.spec.policy]


def _locale(
    folder: RunFolder, kept: Kept, recipe: Recipe, found: list[tuple[SnapshotKey, bool]]
) -> Locale:
    if kept.get("locale") is None:
        return language_pack.load(recipe.locales[0])
    locale = _read(folder, "locale", Locale, kept["locale"])
    _, same = _at_hand(lambda: language_pack.load(recipe.locales[0]), lambda here: here == locale)
    found.append((SnapshotKey("locale", locale.locale), same))
    return locale


def _source(folder: RunFolder, kept: Spec) -> Source:
    """A spec of a run, at the dataset's copy of it where that says the same."""
    copy = folder.output / "policies" / f"{kept.policy}.yaml"
    here, _ = _at_hand(lambda: yaml_source.load(copy, Spec), lambda copied: copied == kept)
    return Source(kept, copy if here else folder.recipe)


def _at_hand(read: Callable[[], T], is_same: Callable[[T], bool]) -> tuple[T | None, bool]:
    """What a name stands for here if it says the same; and whether nothing here says otherwise.

    A file that is there and cannot be read says something else.
    """
    try:
        here = read()
    except AssetNotFound:
        return None, True
    except UserError:
        return None, False
    return (here, True) if is_same(here) else (None, False)


def _read(folder: RunFolder, key: str, model: type[M], kept: object) -> M:
    try:
        return model.model_validate(kept)
    except ValidationError as e:
        raise _damaged(folder, key) from e


def _damaged(folder: RunFolder, key: str) -> StoreDamaged:
    return StoreDamaged(
        f"`{folder.recipe}` holds `{key}` that this safegen cannot read; run again with `--replan`:"
        " replies are kept"
    )
