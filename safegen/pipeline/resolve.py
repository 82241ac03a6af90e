"""Read and check everything that a recipe names; no model is called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safegen.config import language_pack, recipe as recipes, taxonomy
from safegen.config.language_pack import Locale
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import Taxonomy
from safegen.core import plugins, resources, templates
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest, file_sha256
from safegen.core.plugin_checks import (
    CheckedTeacher,
    PluginSource,
    check_attributes,
    guard_validator,
    locate_plugin,
)
from safegen.core.suggestions import suggest_names
from safegen.core.types import DraftValidator, Teacher, TeacherTraits, Tier
from safegen.coverage import axes as axes_file
from safegen.coverage.covering_array import BitCode, required_rows
from safegen.dataset.view import make_view
from safegen.judges.user_prompt_labels import QUESTIONS
from safegen.policy import loader, spec
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.plan_sets import build_axes_model
from safegen.scenarios.context import PlanningContext, choose_harms
from safegen.scenarios.user_prompts.reader import UserPrompts

ROLE_KEYS = {
    "drafter": ("teachers", "drafter"),
    "reviser": ("teachers", "reviser"),
    "author": ("teachers", "author"),
    "labeller": ("judges", "labellers"),
}
"""Key path of each role in a recipe."""
KINDS: Mapping[str, str] = {"prompt": "prompts", "axes": "axes", "scripts": "scripts"}
"""Kind of asset by kind of fingerprint."""
Fingerprints = Mapping[str, Mapping[str, str]]
"""SHA-256 of each file that a recipe names, by kind and name."""
RECIPE, POLICY, PROMPTS, PLUGIN = "recipe", "policy", "prompts", "plugin"


class SnapshotKey(NamedTuple):
    """A part of a run's snapshot: a recipe key or a file."""

    kind: str
    """`recipe` for a recipe key, else the kind of a fingerprint, such as `policy`."""
    name: str

    def __str__(self) -> str:
        return self.name if self.kind in (RECIPE, self.name) else f"{self.kind} {self.name}"

    @property
    def quoted(self) -> str:
        """Kind and name for people, the name in backticks."""
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
class RunContext:
    """The inputs that decide plan, verdicts and dataset of a run."""

    recipe: Recipe
    tree: Taxonomy
    policies: tuple[Policy, ...]
    locale: Locale
    trusted: tuple[str, ...] = ()
    user_prompts: UserPrompts | None = None
    """A user's prompts, in place of the taxonomy's sets."""

    @property
    def tiers(self) -> dict[str, Tier]:
        """Policy tier by leaf."""
        return {name: harm.tier for name, harm in self.tree.harms.items()}

    @property
    def barred_profiles(self) -> dict[str, tuple[str, ...]]:
        """Profiles under which a leaf has no prompts, by leaf."""
        return {name: h.not_under for name, h in self.tree.harms.items() if h.not_under}

    def make_planning_context(self) -> PlanningContext:
        """Collect what the planners read.

        Raises:
            ConfigError: a pattern matches no leaf, or not exactly one spec applies to a leaf.
        """
        return PlanningContext.create(self.recipe.plan, self.tree, self.policies, self.locale)

    def make_full_planning_context(self) -> PlanningContext:
        """Collect what the planners read, with all written sets unless `sets_per_harm` is 0.

        Raises:
            ConfigError: a pattern matches no leaf, or not exactly one spec applies to a leaf.
        """
        plan = self.recipe.plan
        full = plan if plan.sets_per_harm == 0 else plan.model_copy(update={"sets_per_harm": None})
        return PlanningContext.create(full, self.tree, self.policies, self.locale)


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe(RunContext):
    """A recipe with everything that it names, read and checked."""

    draft_prompt: templates.PromptTemplate
    revise_prompt: templates.PromptTemplate
    locator: recipes.SourceLocator = field(default_factory=recipes.SourceLocator)

    @property
    def fingerprints(self) -> Fingerprints:
        """SHA-256 of each file that the recipe names, by kind and name."""
        digests: dict[str, dict[str, str]] = {
            "taxonomy": {self.tree.file.taxonomy: file_sha256(self.tree.path)},
            # The resolved pack and no file: an overlay changes with its base.
            "locale": {self.locale.locale: digest(self.locale.model_dump(mode="json"))},
            "prompt": {"draft": self.draft_prompt.sha256, "revise": self.revise_prompt.sha256},
        }
        for kind, names in self._taxonomy_files().items():
            paths = {name: resources.resolve_inside(self.tree.path.parent, name) for name in names}
            if paths:
                digests[kind] = {name: file_sha256(path) for name, path in paths.items()}
        for kind, name in self._named_files():
            sha256 = file_sha256(resources.find_file(KINDS[kind], name))
            digests.setdefault(kind, {})[name] = sha256
        if self.user_prompts is not None:
            # One name for all files: a renamed file is the same input.
            digests[PROMPTS] = {PROMPTS: self.user_prompts.digest}
        if files := self._plugin_files():
            digests[PLUGIN] = {name: file_sha256(path) for name, path in files.items()}
        return digests | {POLICY: {p.spec.policy: p.policy_id for p in self.policies}}

    def _taxonomy_files(self) -> dict[str, tuple[str, ...]]:
        """List the taxonomy's files that the plan reads, by kind."""
        if self.user_prompts is not None:
            return {}
        dialogues = self.tree.file.dialogues if self.recipe.plan.dialogues else ()
        return {"sets": self.tree.file.sets, "dialogues": dialogues}

    def _plugin_files(self) -> dict[str, Path]:
        """Find the files of the user's plug-ins that decide drafts and verdicts, by name."""
        # Views are left out: every build runs them, so an edited view needs no new plan.
        refs = [("teachers", ref) for _, ref in list_roles(self.recipe)]
        refs += [("validators", ref) for ref in self.recipe.validators]
        files: dict[str, Path] = {}
        for kind, ref in refs:
            # A caller's own teacher can replace one of the recipe that is not trusted.
            if plugins.is_allowed(ref.use, self.trusted):
                files |= plugins.find_source_files(kind, ref.use, trusted=self.trusted)
        return files

    def _named_files(self) -> Iterator[tuple[str, str]]:
        """List the kind and name of the other files that the planner, an author or a labeller reads."""
        # Files that a run does not read must not block its resume when they change.
        plan = self.recipe.plan
        if self.user_prompts is not None:
            yield from (("prompt", n) for n in QUESTIONS if self.recipe.judges.labellers)
            return
        yield "axes", "axes"
        if plan.author_keys:
            yield from (("prompt", name) for name in ("author", "turn", "label", "same_goal"))
        if plan.authored_dialogues:
            yield "scripts", "dialogues"


def resolve_recipe(recipe: Recipe | str, *, trusted: Sequence[str] = ()) -> ResolvedRecipe:
    """Read and check everything that a recipe names; no model is called.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        trusted: modules that the recipe may name as `module:factory`.

    Raises:
        UserError: a file is missing or wrong; the message has file, line and column.
    """
    loaded = recipes.load_recipe(recipe) if isinstance(recipe, str) else recipe
    locator = recipes.SourceLocator(recipe if isinstance(recipe, str) else None)
    with locator.prefix_errors("taxonomy"):
        tree = taxonomy.load_taxonomy(loaded.taxonomy)
    policies = tuple(_read_policies(loaded.policies, locator))
    with locator.prefix_errors("locales"):
        locale = language_pack.load_locale(loaded.locales[0])
    inputs = ResolvedRecipe(
        recipe=loaded,
        tree=tree,
        policies=policies,
        locale=locale,
        draft_prompt=templates.load_template(
            "draft", blocks=["system"], fields=["instructions", "operator", "style"]
        ),
        revise_prompt=templates.load_template("revise", blocks=["user"], fields=["findings"]),
        trusted=tuple(trusted),
        locator=locator,
    )
    with locator.prefix_errors("plan", "harms"):
        chosen = choose_harms(loaded.plan, tree)
    if loaded.plan.authored:
        with locator.prefix_errors("plan", "axes"):
            code = BitCode(build_axes_model(loaded.plan, axes_file.load_axes()))
        with locator.prefix_errors("plan", "rows"):
            required_rows(code)
    with locator.prefix_errors("policies"):
        for harm in chosen.values():
            spec.policy_for(policies, harm)
    with locator.prefix_errors("validators"):
        # Built to check their parameters; the session builds its own.
        make_validators(inputs)
    # Views run last, and a wrong one must not fail a run after its requests are paid.
    with locator.prefix_errors("views"):
        for ref in loaded.views:
            make_view(ref, trusted=trusted)
    return inputs


def _read_policies(names: Sequence[str], locator: recipes.SourceLocator) -> Iterator[Policy]:
    for index, name in enumerate(names):
        with locator.prefix_errors("policies", index):
            yield loader.load_policy(name)


def check_drafters(inputs: ResolvedRecipe) -> None:
    """Check that drafters which need written knowledge get only prompts that have it.

    Raises:
        ConfigError: such a drafter would answer probes or conversations of an author.
    """
    plan = inputs.recipe.plan
    keys = [key for key in ("authored_probes", "authored_dialogues") if getattr(plan, key)]
    if not keys:
        return
    with inputs.locator.prefix_errors(*ROLE_KEYS["drafter"]):
        drafters = inputs.recipe.teachers.drafter
        if any(teacher_traits(inputs, ref).needs_knowledge for ref in drafters):
            raise ConfigError(
                "the offline teacher composes answers from a goal's written knowledge, and prompts of"
                f" `plan.{keys[0]}` have none; name a model, such as"
                " `drafter: {openai_chat: {base_url: …, model: …}}`"
            )


def check_custom_teachers(teachers: Mapping[str, Teacher]) -> None:
    """Reject a role that no teacher has, because it would be ignored, and a caller's wrong teacher.

    Raises:
        ConfigError: an unknown role, or a teacher that cannot be called or has a wrong attribute.
    """
    for role, teacher in teachers.items():
        if role not in ROLE_KEYS:
            name = str(role)
            raise ConfigError(
                f"`teachers`: no role `{name[:60]}`{suggest_names(name, list(ROLE_KEYS))}"
            )
        check_attributes(teacher, locate_plugin(role, teacher))


def check_teachers(inputs: ResolvedRecipe, *, teachers: Mapping[str, Teacher]) -> None:
    """Build the recipe's teachers to check their parameters; no model is called.

    Args:
        inputs: the resolved recipe.
        teachers: teachers by role in place of the recipe's; they are not checked.

    Raises:
        UserError: a teacher is unknown, a parameter is wrong, or an API key is not set.
    """
    if "drafter" not in teachers:
        check_drafters(inputs)
    for role, ref in list_roles(inputs.recipe):
        if role not in teachers:
            with inputs.locator.prefix_errors(*ROLE_KEYS[role]):
                make_teacher(inputs, ref)


class RoleRef(NamedTuple):
    """A teacher or judge of a recipe, with its role."""

    role: str
    ref: PluginRef


def list_roles(recipe: Recipe) -> list[RoleRef]:
    """List every teacher and judge of a recipe."""
    teachers = recipe.teachers
    refs = [RoleRef("drafter", ref) for ref in teachers.drafter]
    refs += [RoleRef("reviser", teachers.reviser)] if teachers.reviser else []
    refs += [RoleRef("author", teachers.author)] if teachers.author else []
    return refs + [RoleRef("labeller", ref) for ref in recipe.judges.labellers]


def teacher_traits(context: RunContext, ref: PluginRef) -> TeacherTraits:
    """Return the traits of a teacher of the recipe."""
    return plugins.teacher_traits(ref.use, trusted=context.trusted)


def makes_weaker_drafts(recipe: Recipe) -> bool:
    """Return True if all drafters make weaker drafts on purpose; a user's own drafters do not."""
    drafters = recipe.teachers.drafter
    has_user_code = any(plugins.is_external(ref.use) for ref in drafters)
    return not has_user_code and all(
        plugins.teacher_traits(r.use).makes_weaker_drafts for r in drafters
    )


def has_layers(ref: PluginRef, inputs: ResolvedRecipe) -> bool:
    """Return True if a teacher takes the run's journal and so has its own cache and limits."""
    build = plugins.find_factory("teachers", ref.use, trusted=inputs.trusted)
    return "journal" in inspect.signature(build).parameters


# object: a teacher declares the types of its collaborators.
def make_teacher(inputs: ResolvedRecipe, ref: PluginRef, **extra: object) -> Teacher:
    """Build a teacher of the recipe, with those collaborators that it takes."""
    collaborators: dict[str, object] = {
        "locales": {inputs.locale.locale: inputs.locale},
        "journal": None,
        "meter": None,
        "limiters": None,
    }
    if teacher_traits(inputs, ref).takes_seed:
        collaborators["seed"] = inputs.recipe.seed
    # A parameter of the recipe, such as `seed`, takes precedence over a collaborator.
    kept = {k: v for k, v in (collaborators | extra).items() if k not in ref.params}
    teacher = plugins.make_plugin("teachers", ref.use, ref.params, trusted=inputs.trusted, **kept)
    if not plugins.is_external(ref.use):
        return teacher
    source = _locate("teachers", ref, inputs)
    is_complete = has_layers(ref, inputs) or teacher_traits(inputs, ref).embedded
    has_retries = not is_complete and getattr(teacher, "identity", None) is not None
    return CheckedTeacher(teacher, source, retried=has_retries)


def make_validators(inputs: ResolvedRecipe) -> dict[str, DraftValidator]:
    """Build the recipe's validators, by name."""
    collaborators = {
        "locales": {inputs.locale.locale: inputs.locale},
        "policies": {p.policy_id: p for p in inputs.policies},
    }
    validators: dict[str, DraftValidator] = {}
    for ref in inputs.recipe.validators:
        validator = plugins.make_plugin(
            "validators", ref.use, ref.params, trusted=inputs.trusted, **collaborators
        )
        if plugins.is_external(ref.use):
            source = _locate("validators", ref, inputs)
            validator = guard_validator(validator, source)
        validators[ref.use] = validator
    return validators


def _locate(kind: str, ref: PluginRef, inputs: ResolvedRecipe) -> PluginSource:
    factory = plugins.find_factory(kind, ref.use, trusted=inputs.trusted)
    return locate_plugin(ref.use, factory)
