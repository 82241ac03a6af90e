"""Everything that a recipe names, found, read and checked; no model is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.config import language_pack, recipe as recipes, taxonomy
from safegen.config.language_pack import Locale
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import Taxonomy
from safegen.core import plugins, resources, templates
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest, file_sha256
from safegen.core.types import Teacher
from safegen.coverage import axes as axes_file
from safegen.coverage.covering_array import Code, musts_of
from safegen.judges.blind_panel import QUESTIONS
from safegen.policy import loader, spec
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.plan_sets import axes_model
from safegen.scenarios.context import World, chosen_harms
from safegen.scenarios.user_prompts.reader import OwnPrompts

PLACES = {
    "drafter": ("teachers", "drafter"),
    "reviser": ("teachers", "reviser"),
    "author": ("teachers", "author"),
    "labeller": ("judges", "labellers"),
}
"""Where a role stands in a recipe."""
KINDS: Mapping[str, str] = {"prompt": "prompts", "axes": "axes", "scripts": "scripts"}
"""Kind of asset by kind of fingerprint."""


Fingerprints = Mapping[str, Mapping[str, str]]
"""SHA-256 of each file that was found, by kind and name."""
RECIPE, POLICY = "recipe", "policy"


class SnapshotKey(NamedTuple):
    """A part of a run's snapshot: a key of the recipe, or a file that the run was made with."""

    kind: str
    """`recipe` for a key of it; else the kind of a fingerprint, such as `policy`."""
    name: str

    def __str__(self) -> str:
        return self.name if self.kind in (RECIPE, self.name) else f"{self.kind} {self.name}"

    @property
    def quoted(self) -> str:
        """The kind with the name in backticks, for people."""
        return self.name if self.kind in (RECIPE, self.name) else f"{self.kind} `{self.name}`"


def snapshot_keys(digests: Mapping[str, str], fingerprints: Fingerprints) -> dict[SnapshotKey, str]:
    """Map each part of a snapshot to its digest."""
    keys = {SnapshotKey(RECIPE, name): digest for name, digest in digests.items()}
    return keys | {
        SnapshotKey(kind, name): digest
        for kind, files in fingerprints.items()
        for name, digest in files.items()
    }


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a run's rows are planned and judged by: enough to look at it and to cut its dataset."""

    recipe: Recipe
    tree: Taxonomy
    policies: tuple[Policy, ...]
    locale: Locale
    trusted: tuple[str, ...] = ()
    own: OwnPrompts | None = None
    """A user's prompts in place of the taxonomy's sets."""

    @property
    def tiers(self) -> dict[str, str]:
        """Policy tier by leaf."""
        return {name: harm.tier for name, harm in self.tree.harms.items()}

    @property
    def barred(self) -> dict[str, tuple[str, ...]]:
        """Profiles under which a leaf is never asked, by leaf."""
        return {name: h.not_under for name, h in self.tree.harms.items() if h.not_under}

    def world(self) -> World:
        """What the plan is laid over.

        Raises:
            ConfigError: a pattern that fits no leaf, or a leaf that no spec covers, or two alike.
        """
        return World.of(self.recipe.plan, self.tree, self.policies, self.locale)

    def whole_world(self) -> World:
        """The same with every written set; with none where the plan takes 0 a leaf, since it wants none."""
        plan = self.recipe.plan
        every = plan if plan.sets_per_harm == 0 else plan.model_copy(update={"sets_per_harm": None})
        return World.of(every, self.tree, self.policies, self.locale)


@dataclass(frozen=True, kw_only=True)
class Inputs(Basis):
    """Everything that a recipe names, read and checked."""

    draft_prompt: templates.PromptFile
    revise_prompt: templates.PromptFile
    named: recipes.Named = field(default_factory=recipes.Named)

    @property
    def fingerprints(self) -> Fingerprints:
        """SHA-256 of each file that was found, by kind and name."""
        found: dict[str, dict[str, str]] = {
            "taxonomy": {self.tree.file.taxonomy: file_sha256(self.tree.path)},
            "locale": {self.locale.locale: digest(self.locale.model_dump(mode="json"))},
            "prompt": {"draft": self.draft_prompt.sha256, "revise": self.revise_prompt.sha256},
        }
        for kind, names in self._written().items():
            paths = {name: resources.inside(self.tree.path.parent, name) for name in names}
            if paths:
                found[kind] = {name: file_sha256(path) for name, path in paths.items()}
        for kind, name in self._asked():
            sha256 = file_sha256(resources.find(KINDS[kind], name))
            found.setdefault(kind, {})[name] = sha256
        if self.own is not None:
            found["prompts"] = {"prompts": self.own.digest}  # a renamed file is the same file
        return found | {POLICY: {p.spec.policy: p.policy_id for p in self.policies}}

    def _written(self) -> dict[str, tuple[str, ...]]:
        """The taxonomy's files that the plan reads, by kind."""
        if self.own is not None:
            return {}
        dialogues = self.tree.file.dialogues if self.recipe.plan.dialogues else ()
        return {"sets": self.tree.file.sets, "dialogues": dialogues}

    def _asked(self) -> Iterator[tuple[str, str]]:
        """Kind and name of what else the plan, an author or a labeller goes by."""
        plan = self.recipe.plan
        if self.own is not None:
            yield from (("prompt", n) for n in QUESTIONS if self.recipe.judges.labellers)
            return
        yield "axes", "axes"
        if plan.written_by_author:
            yield from (("prompt", name) for name in ("author", "turn", "label", "same_goal"))
        if plan.authored_dialogues:
            yield "scripts", "dialogues"


def read_inputs(recipe: Recipe | str, *, trusted: Sequence[str] = ()) -> Inputs:
    """Read and check everything that a recipe names; no model is called.

    Raises:
        UserError: with file, line and column.
    """
    loaded = recipes.load(recipe) if isinstance(recipe, str) else recipe
    named = recipes.Named(recipe if isinstance(recipe, str) else None)
    with named.at("taxonomy"):
        tree = taxonomy.load(loaded.taxonomy)
    policies = tuple(_policies(loaded.policies, named))
    with named.at("locales"):
        locale = language_pack.load(loaded.locales[0])
    inputs = Inputs(
        recipe=loaded,
        tree=tree,
        policies=policies,
        locale=locale,
        draft_prompt=templates.load(
            "draft", blocks=["system"], fields=["told", "operator", "style"]
        ),
        revise_prompt=templates.load("revise", blocks=["user"], fields=["findings"]),
        trusted=tuple(trusted),
        named=named,
    )
    with named.at("plan", "harms"):
        chosen = chosen_harms(loaded.plan, tree)
    if loaded.plan.authored:
        with named.at("plan", "axes"):
            code = Code(axes_model(loaded.plan, axes_file.load()))
        with named.at("plan", "rows"):
            musts_of(code)
    with named.at("policies"):
        for harm in chosen.values():
            spec.policy_for(policies, harm)
    with named.at("validators"):
        make_validators(inputs)
    with named.at("views"):
        for ref in loaded.views:
            plugins.make("views", ref.use, ref.params, trusted=trusted)
    return inputs


def _policies(names: Sequence[str], named: recipes.Named) -> Iterator[Policy]:
    for index, name in enumerate(names):
        with named.at("policies", index):
            yield loader.load(name)


def check_drafters(inputs: Inputs) -> None:
    """Refuse the embedded teacher where prompts have no written knowledge to answer from.

    Raises:
        ConfigError: it is to draft answers to probes or conversations of an author.
    """
    plan = inputs.recipe.plan
    keys = [key for key in ("authored_probes", "authored_dialogues") if getattr(plan, key)]
    if keys and any(ref.use == "offline" for ref in inputs.recipe.teachers.drafter):
        with inputs.named.at(*PLACES["drafter"]):
            raise ConfigError(
                "the offline teacher composes answers from a goal's written knowledge, and prompts of"
                f" `plan.{keys[0]}` have none; name a model, such as"
                " `drafter: {openai_chat: {base_url: …, model: …}}`"
            )


def check_teachers(inputs: Inputs, *, given: Mapping[str, Teacher]) -> None:
    """Make the recipe's teachers as a trial; none is asked anything.

    Args:
        inputs: what the recipe names.
        given: teachers by role that take the place of the recipe's.

    Raises:
        UserError: an unknown teacher, a parameter that does not fit, a key that is not set.
    """
    if "drafter" not in given:
        check_drafters(inputs)
    for role, ref in roles(inputs.recipe):
        if role not in given:
            with inputs.named.at(*PLACES[role]):
                make_teacher(inputs, ref)


def roles(recipe: Recipe) -> list[tuple[str, PluginRef]]:
    """Every teacher and judge that a recipe names, by role."""
    teachers = recipe.teachers
    found = [("drafter", ref) for ref in teachers.drafter]
    found += [("reviser", teachers.reviser)] if teachers.reviser else []
    found += [("author", teachers.author)] if teachers.author else []
    return found + [("labeller", ref) for ref in recipe.judges.labellers]


# object: collaborators of whatever type a teacher takes.
def make_teacher(inputs: Inputs, ref: PluginRef, **more: object) -> Teacher:
    """Build a teacher of the recipe; collaborators that it does not take are left out."""
    given: dict[str, object] = {
        "locales": {inputs.locale.locale: inputs.locale},
        "journal": None,
        "meter": None,
        "gates": None,
    }
    if ref.use != "openai_chat":  # strict servers refuse a seed that nobody asked for
        given["seed"] = inputs.recipe.seed
    kept = {k: v for k, v in (given | more).items() if k not in ref.params}
    return plugins.make("teachers", ref.use, ref.params, trusted=inputs.trusted, **kept)


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
