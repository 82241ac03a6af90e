"""The recipe: the one YAML file that describes a run. Load, override, digest.

A recipe is untrusted input: it can name assets and built-in plug-ins, write below the working folder
and send variables of the environment whose names say that they are secrets, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from safegen.config.assurance import AssuranceBounds, BelowRule, check_traps
from safegen.config.contacts import ContactChoice, ContactSettings
from safegen.config.fields import require_distinct_names
from safegen.config.plan import Plan
from safegen.config.taxonomy import FrozenModel, Slug, Text
from safegen.config.thresholds import JuryThresholds
from safegen.core import plugins, resources, yaml_source
from safegen.core.arguments import check_mapping, check_path, raise_user_errors
from safegen.core.errors import AssetNotFound, ConfigError, StoreDamaged, UserError
from safegen.core.hashing import digest
from safegen.core.spelling import SpellingConflict, match_spelling, unify_names
from safegen.core.suggestions import find_repeated, suggest_names
from safegen.core.visible_text import find_forbidden_character
from safegen.core.yaml_errors import KeyProblem, describe_error

CellAxis = Literal["domain", "harm", "intent", "mode", "language", "profile"]
TieRule = Literal["stricter", "lenient", "undecided"]
"""Result if two values have equally many votes, or if a median lies between two."""
PANEL_KEYS = frozenset({"panel", "quorum", "tie", "thresholds", "traps", "below", "assurance"})
"""Keys of `judges` that do nothing without a panel."""
KEYS_WITHOUT_DIGEST = frozenset({"name", "version", "target", "split", "views", "budget", "output"})
"""Keys that may change when a run resumes, because they change no request and no verdict."""
JUDGE_KEYS_WITHOUT_DIGEST = frozenset({"allow_drafter", "quarantine"})
"""Keys of `judges` of this kind."""


def _check_version(value: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+", value):
        raise ValueError("must be three numbers, such as 0.1.0")
    return value


def _check_output(value: str) -> str:
    # A backslash is a separator on Windows, where the same recipe must not lead elsewhere.
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or value.startswith("~") or "\\" in value:
        raise ValueError("must be a folder below the working folder; use `--output` for elsewhere")
    if not path.parts:
        raise ValueError("must be the name of a folder")
    if character := find_forbidden_character(value):
        raise ValueError(f"holds {character.description}; remove it")
    return value


class PluginRef(FrozenModel):
    """A plug-in by name with its parameters."""

    use: Text
    """A built-in name, or `module:factory` of a module that `--plugin` allows."""
    # Any: the plug-in's factory validates its parameters.
    params: dict[Slug, Any] = Field(default_factory=dict[str, Any])
    """Parameters of the plug-in, which validates them itself."""

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        # `length_bounds` and `{length_bounds: {min_chars: 80}}` are short for `{use, params}`.
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, dict) and "use" not in value:
            short = cast(dict[str, object], value)
            if len(short) == 1:
                name, params = next(iter(short.items()))
                return {"use": name, "params": params or {}}
        return cast(object, value)


def _to_tuple(value: object) -> object:
    return cast(object, value) if isinstance(value, list | tuple) else [value]


class Target(FrozenModel):
    """Accepted scenarios that each cell needs; top-up rounds fill cells below the target."""

    accepted: Annotated[int, Field(ge=1, le=1_000_000)]
    """Accepted scenarios in each cell that the plan can reach."""
    per: Annotated[tuple[CellAxis, ...], AfterValidator(require_distinct_names)] = (
        "harm",
        "intent",
    )
    """Axes whose values make a cell."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 5
    """Maximum number of top-up rounds."""
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Number of top-up rounds in a row without a gain after which a cell is given up."""


class Split(FrozenModel):
    """Shares of goals by split; the rest is `train`."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of goals in the test split, which training must not use."""


class Budget(FrozenModel):
    """Limits on requests and tokens; a run that reaches one stops cleanly."""

    requests: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of requests to endpoints, retries included."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum sum of prompt and completion tokens, as the endpoint counts them."""


class Teachers(FrozenModel):
    """Models that write, by role."""

    drafter: Annotated[
        tuple[PluginRef, ...],
        BeforeValidator(_to_tuple, json_schema_input_type=PluginRef | tuple[PluginRef, ...]),
        Field(min_length=1),
    ] = (PluginRef(use="offline"),)
    """Writes responses. Several drafters take turns over the candidates."""
    reviser: PluginRef | None = None
    """Revises responses that failed. Default: the first drafter."""
    author: PluginRef | None = None
    """Writes sets; needed for the `plan.authored` keys."""
    student: PluginRef | None = None
    """Answers without the spec for `policy_effect`. Default: the first drafter."""


MIN_KNOWN = 35
"""With fewer prompts hardly any labeller could reach the default bar."""


def _check_known(count: int) -> int:
    if 0 < count < MIN_KNOWN:
        raise ValueError(
            f"`{count}` known prompts decide nothing; use {MIN_KNOWN} or more, or 0 for no check"
        )
    return count


class QuarantineSettings(FrozenModel):
    """The key and the time of the drafts that a person reviews."""

    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
    """Environment variable with the key. Without it the drafts are deleted."""
    days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """Days after which a draft is deleted, at the next start."""


class Judges(FrozenModel):
    """Models that read, by role."""

    labellers: tuple[PluginRef, ...] = ()
    """Read prompts blind to their labels; of several, the majority decides."""
    known: Annotated[int, AfterValidator(_check_known), Field(ge=0, le=2_000)] = 120
    """Written prompts with known labels that labellers read before they decide anything; 0 uses them untested."""
    bar: Annotated[float, Field(ge=0.5, le=0.99)] = 0.85
    """Share of these that labellers must label correctly, at the lower end of its 95 % interval (110 of 120 at 0.85)."""
    panel: tuple[PluginRef, ...] = ()
    """Read the drafts and decide which are accepted, in place of the rules; a guard has `guard: true`."""
    quorum: Annotated[int, Field(ge=1, le=100)] | None = None
    """Jurors that must answer a question to settle it; default more than half of those that are asked it."""
    tie: TieRule = "stricter"
    """Result of a tie: the value nearer to rejection, the one nearer to acceptance, or none."""
    thresholds: JuryThresholds = JuryThresholds()
    """The least that an accepted answer must reach."""
    traps: Annotated[int, AfterValidator(check_traps), Field(ge=0, le=1_000)] = 24
    """Replies with known verdicts that each juror reads first; 0 uses jurors untested."""
    below: BelowRule = "stop"
    """Stop the run if a juror is below a bound, or drop that juror."""
    assurance: AssuranceBounds = AssuranceBounds()
    """Bounds that each juror must keep."""
    allow_drafter: bool = False
    """Allow a juror that is a drafter's, reviser's or student's own model at the same address."""
    quarantine: QuarantineSettings | None = None
    """Keep drafts about whose harm the judges disagree, encrypted, for review by a person."""


class EffectSettings(FrozenModel):
    """One answer to each prompt without the spec, with which its drafts are compared."""

    least: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    """Least effect of an accepted draft, 0 to 1; 0.25 is one assistance level, 0 accepts any draft."""


def _expand_switch(value: object) -> object:
    # `true` means the defaults; a YAML file gives it as text.
    if not isinstance(value, str | bool):
        return value
    try:
        return {} if TypeAdapter(bool).validate_python(value) else None
    except ValidationError:
        return value


class Recipe(FrozenModel):
    """A recipe file. Every key except `name` has a default."""

    name: Slug
    """Name of the run and the dataset."""
    version: Annotated[str, AfterValidator(_check_version)] = "0.1.0"
    """Version of the dataset: three numbers."""
    taxonomy: Text = "core"
    """The tree of harms with its written goals, by name or path."""
    policies: tuple[Text, ...] = Field(
        default=("security", "deceit", "violence", "wellbeing", "health", "intimacy"), min_length=1
    )
    """Policy specs, by name or path; a spec for a leaf takes precedence over a spec for its domain."""
    locales: tuple[Text, ...] = Field(default=("en",), min_length=1, max_length=1)
    """One language, that of the written sets of the taxonomy."""
    contacts: ContactChoice = ContactSettings()
    """Registries of contacts whose entries answers may quote, such as `[US]`; default none: answers name no number."""
    plan: Plan = Plan()
    """Selection of scenarios, and number of drafts."""
    teachers: Teachers = Teachers()
    """Models that write, by role."""
    judges: Judges = Judges()
    """Models that read, by role."""
    validators: tuple[PluginRef, ...] = tuple(
        PluginRef(use=name)
        for name in (
            # First: it waits for other drafts, and the others then share what they read of this one.
            "response_form",
            "length_bounds",
            "language",
            "policy_leak",
            "required_elements",
            "style",
            "detail_ceiling",
            "encoding",
            "personal_data",
            "contacts",
            "regulated_advice",
        )
    )
    """Checks of every draft; each returns a verdict and drops nothing."""
    require: tuple[Text, ...] | Literal["all"] = "all"
    """Validators that a draft must pass to be accepted."""
    revise: Annotated[int, Field(ge=0, le=8)] = 0
    """Maximum number of revisions of a failing draft."""
    policy_effect: Annotated[
        EffectSettings | None,
        BeforeValidator(_expand_switch, json_schema_input_type=EffectSettings | bool | None),
    ] = None
    """Compare drafts with an answer without the spec: `true`, or a mapping; default no comparison."""
    target: Target | None = None
    """Accepted scenarios that each cell needs; top-up rounds fill cells below the target."""
    split: Split = Split()
    """Shares of goals by split; the rest is `train`."""
    views: Annotated[tuple[PluginRef, ...], Field(min_length=1)] = (
        PluginRef(use="sft"),
        PluginRef(use="prompt_completion"),
        PluginRef(use="preference"),
    )
    """Formats of the dataset, one folder each."""
    redact: Literal["mask", "drop"] | None = None
    """Mask likely personal data, keys and tokens in your own prompts, or drop such rows; default neither."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    """Seed of embedded teachers and of the plan of authored sets; an endpoint has its own `seed` parameter."""
    budget: Budget = Budget()
    """Limits on requests and tokens; a run that reaches one stops cleanly and keeps cached replies."""
    output: Annotated[str, AfterValidator(_check_output)] | None = None
    """Folder of the run and the dataset; default `outputs/<name>`."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if keys := self.plan.author_keys:
            lacks = [] if self.teachers.author else ["a teacher under `teachers.author`"]
            lacks += [] if self.judges.labellers else ["a judge under `judges.labellers`"]
            if lacks:
                raise KeyProblem(
                    f"`plan.{keys[0]}` needs {' and '.join(lacks)}", loc=("plan", keys[0])
                )
        if self.plan.authored_probes and not self.plan.contrast:
            raise KeyProblem(
                "`plan.authored_probes` needs types under `plan.contrast`, or `all`",
                loc=("plan", "authored_probes"),
            )
        if self.plan.authored_dialogues and not self.plan.dialogues:
            raise KeyProblem(
                "`plan.authored_dialogues` needs kinds under `plan.dialogues`, or `all`",
                loc=("plan", "authored_dialogues"),
            )
        for kind, refs in (("validator", self.validators), ("view", self.views)):
            names = [ref.use for ref in refs]
            if (name := find_repeated(names)) is not None:
                raise ValueError(f"{kind} `{name}` appears twice; keep one")
        names = [v.use for v in self.validators]
        known = frozenset(names)
        for name in () if self.require == "all" else self.require:
            if name not in known:
                hint = suggest_names(name, names)
                raise KeyProblem(
                    f"`require` names `{name}`, which is not under `validators`{hint}",
                    loc=("require",),
                )
        return self

    @model_validator(mode="after")
    def _check_quorum(self) -> Self:
        quorum, size = self.judges.quorum, len(self.judges.panel)
        if quorum is not None and quorum > size:
            raise KeyProblem(
                f"`judges.quorum` is {quorum}, and `judges.panel` has {size}; lower it or name more judges",
                loc=("judges", "quorum"),
            )
        return self

    @property
    def required_validators(self) -> tuple[str, ...]:
        """Names of the validators that a draft must pass."""
        return tuple(v.use for v in self.validators) if self.require == "all" else self.require

    @property
    def has_single_draft(self) -> bool:
        """True if a prompt gets only one draft, which makes no preference pair."""
        return self.plan.candidates == 1 and not self.revise

    @property
    def folder(self) -> Path:
        """Folder of the run and the dataset, relative to the working folder."""
        return Path(self.output or f"outputs/{self.name}")

    def digests(self) -> dict[str, str]:
        """Compute a digest of each key that changes requests or verdicts."""
        data = self.model_dump(mode="json")
        # A run of an older version has no digest of this key, and resumes if the key is not set.
        unset = {key for key in ("redact", "policy_effect") if data[key] is None}
        if self.contacts == ContactSettings():
            unset.add("contacts")
        omitted = KEYS_WITHOUT_DIGEST | unset
        if self.policy_effect is None or self.teachers.student is None:
            data["teachers"].pop("student")
        for key in JUDGE_KEYS_WITHOUT_DIGEST:
            data["judges"].pop(key)
        if not self.judges.panel:
            # A run of an older version has none of these keys.
            data["judges"] = {k: v for k, v in data["judges"].items() if k not in PANEL_KEYS}
        # A run of an older version has neither key.
        for key in ("noise", "wrappers"):
            if data["plan"][key] is None:
                data["plan"].pop(key)
        for key in ("teachers", "judges"):
            data[key] = _drop_operational(data[key])
        # One digest for each key, so that a resume can name the keys that differ.
        return {key: digest(value) for key, value in data.items() if key not in omitted}


def _drop_operational(value: object) -> object:
    """Drop the parameters of teachers that change no answer."""
    if isinstance(value, list):
        return [_drop_operational(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("dict[str, Any]", value)
    if "use" not in mapping:
        return {key: _drop_operational(item) for key, item in mapping.items()}
    return mapping | {"params": plugins.identifying_params(mapping["use"], mapping["params"])}


def load_recipe(name: str | Path, *, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Load a recipe by path, or a built-in one by name.

    Args:
        name: `recipe.yaml`, or a bare name such as `starter`.
        overrides: values by dotted key, such as `{"plan.candidates": 2}`.

    Raises:
        UserError: an argument has a wrong type.
        AssetNotFound: no such recipe.
        ConfigError: a key or value is invalid; the message has file, line and column of each mistake.
    """
    with raise_user_errors():
        check_path("name", name)
        check_mapping("overrides", overrides, "a mapping: {'plan.candidates': 2}")
    text = str(name)
    recipe = yaml_source.load(_find_file(text), Recipe, shown=text if _is_path(text) else None)
    return override_recipe(recipe, overrides) if overrides else recipe


def _find_file(name: str) -> Path:
    if _is_path(name):
        return Path(name)
    try:
        return resources.find_file("recipes", name)
    except AssetNotFound as e:
        path = next((f"{name}{s}" for s in (".yaml", ".yml") if Path(f"{name}{s}").is_file()), "")
        raise AssetNotFound(
            f"{e}; write a file with its extension: `{path}`" if path else str(e)
        ) from e


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


class SourceLocator:
    """Positions of a recipe's keys, for errors found after the recipe was loaded."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    @property
    def file(self) -> str | None:
        """The recipe's file as the caller named it; None for a built-in recipe or a value."""
        return self._name if self._name is not None and _is_path(self._name) else None

    @contextmanager
    def prefix_errors(self, *keys: str | int) -> Generator[None]:
        """Prefix a `UserError` from the block with the position of a key or list item."""
        try:
            yield
        except UserError as e:
            key = e.key or ".".join(name for name in keys if isinstance(name, str))
            # An error may name a more exact key than the block.
            paths = (e.key.split("."), keys) if e.key else (keys,)
            raise type(e)(f"{self._locate(paths)}{key}: {e.message}") from e

    def _locate(self, paths: Iterable[Sequence[str | int]]) -> str:
        if self._name is None:
            return ""
        path = _find_file(self._name)
        marks = yaml_source.compose(yaml_source.read_text(path), shown=str(path)).marks
        shown = self._name if path == Path(self._name) else str(path)
        # A default has no position in the file; the nearest key above it has.
        places = [
            marks[tuple(keys[:n])]
            for keys in paths
            for n in range(len(keys), 0, -1)
            if tuple(keys[:n]) in marks
        ]
        return f"{shown}:{places[0].line}:{places[0].column}: " if places else f"{shown}: "


def recipe_from_snapshot(value: object, *, shown: str) -> Recipe:
    """Read the recipe of a run's snapshot.

    Raises:
        StoreDamaged: this version of safegen cannot read it.
    """
    try:
        return Recipe.model_validate(value)
    except ValidationError as e:
        raise StoreDamaged(
            f"`{shown}`: `recipe` cannot be read: {describe_error(e.errors()[0], Recipe)}; run `safegen"
            " generate` with the recipe and `--replan`: cached replies are reused"
        ) from e


def override_recipe(recipe: Recipe, overrides: Mapping[str, object]) -> Recipe:
    """Replace some keys of a recipe and validate it again.

    Raises:
        ConfigError: an unknown key, a value that does not fit, or both spellings of one key.
    """
    try:
        # Of two spellings of one key, the later one would silently win.
        unify_names(dict.fromkeys(_list_key_paths(overrides)))
    except SpellingConflict as e:
        raise ConfigError(f"overrides: {e}") from e
    data: dict[str, Any] = recipe.model_dump(mode="json")
    for dotted, value in overrides.items():
        target = data
        *parents, last = dotted.split(".")
        for parent in parents:
            inner: object = target.setdefault(match_spelling(parent, target), {})
            if not isinstance(inner, dict):
                raise ConfigError(f"override `{dotted}`: `{parent}` has no keys of its own")
            target = cast("dict[str, Any]", inner)
        target[match_spelling(last, target)] = value
    try:
        return Recipe.model_validate(data)
    except ValidationError as e:
        first = e.errors()[0]
        cause = first.get("ctx", {}).get("error")
        # A combination of keys is checked in the model above them.
        loc = (*first["loc"], *cause.loc) if isinstance(cause, KeyProblem) else first["loc"]
        words = str(cause) if isinstance(cause, KeyProblem) else first["msg"]
        raise ConfigError(f"override `{'.'.join(map(str, loc))}`: {words}") from e


def _list_key_paths(values: Mapping[str, object], parent: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield parent + key
        if isinstance(value, Mapping):
            yield from _list_key_paths(
                cast("Mapping[str, object]", value), parent=f"{parent}{key}."
            )
