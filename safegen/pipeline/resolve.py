"""Read and check everything that a recipe names; no model is called."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from safegen.config import contacts as registries, language_pack, recipe as recipes, taxonomy
from safegen.config.contacts import Contacts
from safegen.config.language_pack import Locale
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import Taxonomy
from safegen.core import plugins, resources, templates
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest, file_sha256
from safegen.core.plugin_checks import (
    CheckedTeacher,
    PluginGuard,
    PluginSource,
    check_attributes,
    guard_set_validator,
    guard_validator,
    locate_plugin,
)
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    DraftValidator,
    Grade,
    SetValidator,
    Teacher,
    TeacherTraits,
    Tier,
    ValidatorUnit,
)
from safegen.coverage import axes as axes_file
from safegen.coverage.covering_array import BitCode, required_rows
from safegen.dataset.view import make_view
from safegen.judges.juror import load_judge_prompt
from safegen.judges.user_prompt_labels import QUESTIONS
from safegen.pipeline.acceptance import (
    THRESHOLD,
    read_threshold,
    with_set_threshold,
    with_threshold,
)
from safegen.policy import loader, spec
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.plan_sets import build_axes_model
from safegen.scenarios.context import PlanningContext, choose_harms
from safegen.scenarios.surface import Surface
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.scenarios.wrapper import Wrapper, make_wrapper
from safegen.teachers import split_unset_variables

ROLE_KEYS = {
    "drafter": ("teachers", "drafter"),
    "reviser": ("teachers", "reviser"),
    "author": ("teachers", "author"),
    "student": ("teachers", "student"),
    "labeller": ("judges", "labellers"),
    "judge": ("judges", "panel"),
}
"""Key path of each role in a recipe."""
KINDS: Mapping[str, str] = {"prompt": "prompts", "axes": "axes", "scripts": "scripts"}
"""Kind of asset by kind of fingerprint."""
Fingerprints = Mapping[str, Mapping[str, str]]
"""SHA-256 of each file that a recipe names, by kind and name."""
LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", LOOPBACK, "::1", "0.0.0.0")
"""Names of this machine in an address."""
RECIPE, POLICY, PROMPTS, PLUGIN = "recipe", "policy", "prompts", "plugin"
CONTACTS = "contacts"
EVALUATION = "evaluation"
"""Kind of the mark that a run holds answers without the spec."""


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
    contacts: Contacts = field(default_factory=Contacts)
    """The known registries of contacts; none if no part of the recipe reads them."""
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
        return PlanningContext.create(
            self.recipe.plan, self.tree, self.policies, self.locale, contacts=self.contacts
        )

    def make_wrappers(self) -> dict[str, Wrapper]:
        """Build the wrappers of the plan, by name.

        Raises:
            UserError: a wrapper is unknown, or cannot be built.
        """
        settings = self.recipe.plan.wrappers
        names = () if settings is None else settings.names
        return {name: make_wrapper(name, trusted=self.trusted) for name in names}

    def make_surface(self) -> Surface:
        """Collect the noise and the wrappers of the plan.

        Raises:
            ConfigError: one of them does not exist in the recipe's language.
        """
        return Surface.create(
            self.recipe.plan,
            words=self.locale.noise,
            wrappers=self.make_wrappers(),
            language=self.locale.locale,
            seed=self.recipe.seed,
        )

    def make_full_planning_context(self) -> PlanningContext:
        """Collect what the planners read, with all written sets unless `sets_per_harm` is 0.

        Raises:
            ConfigError: a pattern matches no leaf, or not exactly one spec applies to a leaf.
        """
        plan = self.recipe.plan
        full = plan if plan.sets_per_harm == 0 else plan.model_copy(update={"sets_per_harm": None})
        return PlanningContext.create(
            full, self.tree, self.policies, self.locale, contacts=self.contacts
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe(RunContext):
    """A recipe with everything that it names, read and checked."""

    draft_prompt: templates.PromptTemplate
    revise_prompt: templates.PromptTemplate
    locator: recipes.SourceLocator = field(default_factory=recipes.SourceLocator)
    without_spec: bool = False
    """True if drafters answer as a student does, from the messages alone."""

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
        if self.contacts.registries:
            digests[CONTACTS] = {
                region: digest(registry.model_dump(mode="json"))
                for region, registry in self.contacts.registries.items()
            }
        if self.user_prompts is not None:
            # One name for all files: a renamed file is the same input.
            digests[PROMPTS] = {PROMPTS: self.user_prompts.digest}
        if self.without_spec:
            digests[EVALUATION] = {EVALUATION: digest(self.without_spec)}
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
        if (wrappers := self.recipe.plan.wrappers) is not None:
            refs += [("wrappers", PluginRef(use=name)) for name in wrappers.names]
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
        if self.recipe.judges.panel:
            yield "prompt", "judge"
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
    with locator.prefix_errors("validators"):
        is_read = any(takes_contacts(ref, trusted=trusted) for ref in loaded.validators)
    with locator.prefix_errors("contacts"):
        is_read = is_read or bool(loaded.contacts.regions)
        contacts = registries.load_contacts(loaded.contacts) if is_read else Contacts()
    inputs = ResolvedRecipe(
        recipe=loaded,
        tree=tree,
        policies=policies,
        locale=locale,
        contacts=contacts,
        draft_prompt=templates.load_template(
            "draft", blocks=["system"], fields=["instructions", "operator", "style"]
        ),
        revise_prompt=templates.load_template(
            "revise", blocks=["user", "again"], fields=["findings"]
        ),
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
    with locator.prefix_errors("plan", "wrappers"):
        inputs.make_wrappers()
    with locator.prefix_errors("plan", "noise"):
        inputs.make_surface()
    with locator.prefix_errors("policies"):
        for harm in chosen.values():
            spec.policy_for(policies, harm)
    with locator.prefix_errors("validators"):
        # Built to check their parameters; the session builds its own.
        make_validators(inputs)
        make_set_validators(inputs)
    if loaded.judges.panel:
        load_judge_prompt()
    # Views run last, and a wrong one must not fail a run after its requests are paid.
    with locator.prefix_errors("views"):
        for ref in loaded.views:
            make_view(ref, trusted=trusted)
    return inputs


def takes_contacts(ref: PluginRef, *, trusted: Sequence[str]) -> bool:
    """Return True if a validator reads the registries of contacts; an untrusted one reads nothing."""
    if not plugins.is_allowed(ref.use, trusted):
        return False
    factory = plugins.find_factory("validators", ref.use, trusted=trusted)
    with PluginGuard(locate_plugin(ref.use, factory), "was inspected", error=ConfigError):
        return CONTACTS in inspect.signature(factory).parameters


def _read_policies(names: Sequence[str], locator: recipes.SourceLocator) -> Iterator[Policy]:
    for index, name in enumerate(names):
        with locator.prefix_errors("policies", index):
            yield loader.load_policy(name)


def check_drafters(inputs: ResolvedRecipe, *, replaced: Collection[str] = ()) -> None:
    """Check that drafters which need written knowledge get only prompts that have it.

    Args:
        inputs: the resolved recipe.
        replaced: roles with a caller's teacher in place of the recipe's.

    Raises:
        ConfigError: such a drafter would answer probes or conversations of an author.
    """
    plan = inputs.recipe.plan
    keys = [key for key in ("authored_probes", "authored_dialogues") if getattr(plan, key)]
    if not keys:
        return
    drafting = {"drafter", "student"}.difference(replaced)
    for role, ref in list_roles(inputs.recipe):
        if role not in drafting or not teacher_traits(inputs, ref).needs_knowledge:
            continue
        with inputs.locator.prefix_errors(*ROLE_KEYS[role]):
            raise ConfigError(
                "the offline teacher composes answers from a goal's written knowledge, and prompts of"
                f" `plan.{keys[0]}` have none; name a model, such as"
                f" `{role}: {{openai_chat: {{base_url: …, model: …}}}}`"
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
    check_drafters(inputs, replaced=teachers)
    if "student" in teachers and inputs.recipe.policy_effect is None:
        raise ConfigError(
            "`teachers`: `student` answers without the spec, and this recipe does not measure that; set"
            " `policy_effect: true`"
        )
    check_panel(inputs, replaced=teachers)
    for role, ref in list_roles(inputs.recipe):
        if role not in teachers:
            with inputs.locator.prefix_errors(*ROLE_KEYS[role]):
                refuse_guard(inputs, role, ref, make_teacher(inputs, ref))


def refuse_guard(inputs: ResolvedRecipe, role: str, ref: PluginRef, teacher: Teacher) -> None:
    """Reject a guard in a role that writes or labels.

    Raises:
        ConfigError: the teacher is a guard, and the role is not `judge`.
    """
    if role != "judge" and is_guard(teacher, teacher_traits(inputs, ref)):
        raise ConfigError(
            f"`{ref.use}` is a guard, which only rates texts; name it under `judges.panel`"
        )


def is_guard(teacher: Teacher, traits: TeacherTraits) -> bool:
    """Return True if a teacher rates texts in a format of its own."""
    return bool(getattr(teacher, "guard", traits.guard))


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
    if teachers.student and recipe.policy_effect:
        refs.append(RoleRef("student", teachers.student))
    refs += [RoleRef("labeller", ref) for ref in recipe.judges.labellers]
    return refs + [RoleRef("judge", ref) for ref in recipe.judges.panel]


def check_panel(inputs: ResolvedRecipe, *, replaced: Collection[str] = ()) -> None:
    """Check that the panel can judge, and that no juror judges its own drafts.

    Args:
        inputs: the resolved recipe.
        replaced: roles with a caller's teacher in place of the recipe's.

    Raises:
        ConfigError: a juror is a drafter's own model or cannot read a text, or all are guards.
    """
    judges = inputs.recipe.judges
    if "judge" in replaced:
        if not judges.panel:
            raise ConfigError(
                "`teachers`: `judge` replaces the panel of a recipe, and this one has no"
                " `judges.panel`; add one, such as `panel: [scripted]`"
            )
        return
    own: set[str] = set()
    for role, ref in list_roles(inputs.recipe) if not judges.allow_drafter else ():
        if role in ("drafter", "reviser", "student") and role not in replaced and judges.panel:
            with inputs.locator.prefix_errors(*ROLE_KEYS[role]):
                own.add(_identify_model(inputs, ref))
    for index, ref in enumerate(judges.panel):
        with inputs.locator.prefix_errors("judges", "panel", index):
            _check_juror(inputs, ref, own)
    panel = [(_make_without_secrets(inputs, ref), ref) for ref in judges.panel]
    if panel and all(is_guard(teacher, teacher_traits(inputs, ref)) for teacher, ref in panel):
        with inputs.locator.prefix_errors(*ROLE_KEYS["judge"]):
            raise ConfigError(
                "has only guards, which grade no helpfulness, so that no draft could be accepted; add"
                " a model without `guard: true`"
            )


def _check_juror(inputs: ResolvedRecipe, ref: PluginRef, own: Collection[str]) -> None:
    if teacher_traits(inputs, ref).needs_knowledge:
        raise ConfigError(
            f"`{ref.use}` composes answers from written knowledge and reads no text; name a model, such"
            " as `{openai_chat: {base_url: …, model: …}}`"
        )
    if (model := _identify_model(inputs, ref)) in own:
        raise ConfigError(
            f"`{model}` also drafts, and a model prefers its own answers; name another model, or set"
            " `judges.allow_drafter: true`"
        )


def _identify_model(inputs: ResolvedRecipe, ref: PluginRef) -> str:
    """Name the model of a teacher with its address; sampling parameters make no other model."""
    endpoint = getattr(_make_without_secrets(inputs, ref), "endpoint", None)
    if endpoint is not None:
        return f"{endpoint.model} at {_normalise_address(endpoint.base_url)}"
    params = plugins.identifying_params(ref.use, ref.params)
    return f"{ref.use} {params}" if params else ref.use


def _normalise_address(base_url: str) -> str:
    parts = urlsplit(base_url)
    host = LOOPBACK if parts.hostname in LOOPBACK_NAMES else parts.hostname
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _make_without_secrets(inputs: ResolvedRecipe, ref: PluginRef) -> Teacher:
    # A dry run needs no key.
    available, _ = split_unset_variables(ref.params)
    return make_teacher(inputs, ref.model_copy(update={"params": available}))


def teacher_traits(context: RunContext, ref: PluginRef) -> TeacherTraits:
    """Return the traits of a teacher of the recipe."""
    return plugins.teacher_traits(ref.use, trusted=context.trusted)


def read_phraser_grades(context: RunContext) -> dict[str, Grade]:
    """Read the grades of the drafters and the reviser that compose phrases of a language pack, by name."""
    teachers = context.recipe.teachers
    refs = (*teachers.drafter, *([teachers.reviser] if teachers.reviser else []))
    # To read the traits of a user's teacher would import it.
    allowed = [ref.use for ref in refs if plugins.is_allowed(ref.use, context.trusted)]
    traits = {name: plugins.teacher_traits(name, trusted=context.trusted) for name in allowed}
    return {name: value.grade for name, value in traits.items() if value.uses_phrases}


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


def make_validators(
    inputs: RunContext, *, phrasers: Collection[str] = ()
) -> dict[str, DraftValidator]:
    """Build the recipe's validators of drafts, by name.

    Args:
        inputs: the resolved recipe.
        phrasers: teachers whose drafts the patterns of the language pack read.
    """
    validators: dict[str, DraftValidator] = {}
    for ref, made, source, threshold in _build_validators(inputs, "draft", phrasers):
        validator = guard_validator(made, source) if source else made
        validators[ref.use] = (
            validator if threshold is None else with_threshold(validator, threshold)
        )
    return validators


def make_set_validators(inputs: RunContext) -> dict[str, SetValidator]:
    """Build the recipe's validators of sets, by name."""
    validators: dict[str, SetValidator] = {}
    for ref, made, source, threshold in _build_validators(inputs, "set", ()):
        validator = guard_set_validator(made, source) if source else made
        validators[ref.use] = (
            validator if threshold is None else with_set_threshold(validator, threshold)
        )
    return validators


class _BuiltValidator(NamedTuple):
    """A validator of the recipe."""

    ref: PluginRef
    validator: Any  # Any: a validator of drafts or of sets
    source: PluginSource | None
    """Only a user's own code has a source, because it is checked."""
    threshold: float | None


def _build_validators(
    inputs: RunContext, unit: ValidatorUnit, phrasers: Collection[str]
) -> Iterator[_BuiltValidator]:
    collaborators = {
        "locales": {inputs.locale.locale: inputs.locale},
        "policies": {p.policy_id: p for p in inputs.policies},
        "contacts": inputs.contacts,
        "phrasers": phrasers,
    }
    for ref in inputs.recipe.validators:
        if plugins.validator_traits(ref.use, trusted=inputs.trusted).unit != unit:
            continue
        threshold = read_threshold(ref, trusted=inputs.trusted)
        # A threshold of the recipe is no parameter of the factory.
        params = {k: v for k, v in ref.params.items() if threshold is None or k != THRESHOLD}
        validator = plugins.make_plugin(
            "validators", ref.use, params, trusted=inputs.trusted, **collaborators
        )
        is_external = plugins.is_external(ref.use)
        source = _locate("validators", ref, inputs) if is_external else None
        yield _BuiltValidator(ref, validator, source, threshold)


def _locate(kind: str, ref: PluginRef, inputs: RunContext) -> PluginSource:
    factory = plugins.find_factory(kind, ref.use, trusted=inputs.trusted)
    return locate_plugin(ref.use, factory)
