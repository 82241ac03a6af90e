"""Everything that a recipe names, found, read and checked; no model is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safegen import assets, locales, plugins, prompts, taxonomy
from safegen import recipe as recipes
from safegen.hashing import digest, file_sha256
from safegen.locales import Locale
from safegen.policy import spec
from safegen.policy.spec import Policy
from safegen.recipe import PluginRef, Recipe
from safegen.taxonomy import Taxonomy


@dataclass(frozen=True)
class Inputs:
    """Everything that a recipe names, read and checked."""

    recipe: Recipe
    tree: Taxonomy
    policies: tuple[Policy, ...]
    locale: Locale
    draft_prompt: prompts.PromptFile
    revise_prompt: prompts.PromptFile
    trusted: tuple[str, ...] = ()

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each file that was found, by kind and name."""
        found = {
            f"taxonomy {self.tree.file.taxonomy}": file_sha256(self.tree.path),
            f"locale {self.locale.locale}": digest(self.locale.model_dump(mode="json")),
            "prompt draft": self.draft_prompt.sha256,
            "prompt revise": self.revise_prompt.sha256,
        }
        for name in self.tree.file.sets:
            found[f"sets {name}"] = file_sha256(assets.inside(self.tree.path.parent, name))
        return found | {f"policy {p.spec.policy}": p.policy_id for p in self.policies}


def read_inputs(recipe: Recipe | str, *, trusted: Sequence[str] = ()) -> Inputs:
    """Read and check everything that a recipe names; no model is called.

    Raises:
        UserError: with file, line and column.
    """
    loaded = recipes.load(recipe) if isinstance(recipe, str) else recipe
    inputs = Inputs(
        recipe=loaded,
        tree=taxonomy.load(loaded.taxonomy),
        policies=tuple(spec.load(name) for name in loaded.policies),
        locale=locales.load(loaded.locales[0]),
        draft_prompt=prompts.load("draft", blocks=["system"], fields=["told", "operator"]),
        revise_prompt=prompts.load("revise", blocks=["user"], fields=["findings"]),
        trusted=tuple(trusted),
    )
    make_validators(inputs)
    for ref in views_of(loaded):
        plugins.make("views", ref.use, ref.params, trusted=trusted)
    return inputs


def views_of(recipe: Recipe) -> tuple[PluginRef, ...]:
    """The views that a recipe cuts."""
    return recipe.views


def make_validators(inputs: Inputs) -> dict[str, object]:
    """The recipe's validators by name."""
    given = {
        "locales": {inputs.locale.locale: inputs.locale},
        "policies": {p.policy_id: p for p in inputs.policies},
    }
    return {
        ref.use: plugins.make("validators", ref.use, ref.params, trusted=inputs.trusted, **given)
        for ref in inputs.recipe.validators
    }
