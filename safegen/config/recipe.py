"""The recipe: the one YAML file that describes a run. Load, override, digest.

A recipe is untrusted input: it names assets and built-in plug-ins, writes below the working folder
and reads keys only from variables that end in `_API_KEY`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from safegen.config.fields import require_distinct_names
from safegen.config.plan import Plan
from safegen.config.taxonomy import FrozenModel, Slug, Text
from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError, StoreDamaged, UserError
from safegen.core.hashing import digest

CellAxis = Literal["domain", "harm", "intent", "mode", "language", "profile"]
KEYS_WITHOUT_DIGEST = frozenset({"name", "version", "target", "split", "views", "budget", "output"})
"""Keys that may change when a run resumes: they cut or bound what is there, and ask nothing anew."""


def _check_version(value: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+", value):
        raise ValueError("must be three numbers, such as 0.1.0")
    return value


def _check_output(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or value.startswith("~") or "\\" in value:
        raise ValueError("must be a folder below the working folder; use `--output` for elsewhere")
    if not path.parts:
        raise ValueError("must name a folder")
    return value


class PluginRef(FrozenModel):
    """A plug-in by name with its parameters."""

    use: Text
    """A built-in name, or `module:factory` of a module that `--plugin` allows."""
    # Any: parameters belong to the plug-in, whose factory checks them.
    params: dict[Slug, Any] = Field(default_factory=dict[str, Any])
    """What the plug-in takes; it checks them itself."""

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        """`length_bounds`, `{length_bounds: {min_chars: 80}}` and the long form are one."""
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, dict) and "use" not in value:
            short = cast(dict[str, object], value)
            if len(short) == 1:
                name, params = next(iter(short.items()))
                return {"use": name, "params": params or {}}
        return cast(object, value)


def _to_tuple(value: object) -> object:
    """One is a list of one."""
    return cast(object, value) if isinstance(value, list | tuple) else [value]


class Target(FrozenModel):
    """How many accepted scenarios each cell is to have; missing ones are asked for in further rounds."""

    accepted: Annotated[int, Field(ge=1, le=1_000_000)]
    """Accepted scenarios in each cell that the plan reaches."""
    per: Annotated[tuple[CellAxis, ...], AfterValidator(require_distinct_names)] = (
        "harm",
        "intent",
    )
    """What makes a cell."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 5
    """Rounds after the first, at most."""
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """A cell is left alone after this many further rounds in a row that gained it nothing."""


class Split(FrozenModel):
    """Shares of goals by split; the rest is `train`."""

    test: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the goals that no trainer is to see."""


class Budget(FrozenModel):
    """Bounds on what this run may spend; reaching one stops it cleanly."""

    requests: Annotated[int, Field(ge=1)] | None = None
    """Requests to endpoints, repeats included."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Prompt and completion tokens together, as the endpoint counts them."""


class Teachers(FrozenModel):
    """Models by role."""

    drafter: Annotated[
        tuple[PluginRef, ...],
        BeforeValidator(_to_tuple, json_schema_input_type=PluginRef | tuple[PluginRef, ...]),
        Field(min_length=1),
    ] = (PluginRef(use="offline"),)
    """Writes the responses; one, or several that take turns over the candidates."""
    reviser: PluginRef | None = None
    """Mends responses that failed. Default: the first drafter."""
    author: PluginRef | None = None
    """Writes sets; needed for the `plan.authored` keys."""


class Judges(FrozenModel):
    """Models that read, by role."""

    labellers: tuple[PluginRef, ...] = ()
    """Read prompts blind to their labels; of several, more than half decide."""
    known: Annotated[int, Field(ge=35, le=2_000)] = 60
    """Written prompts of known labels that labellers read before they gate anything; below 35 nobody could pass."""
    bar: Annotated[float, Field(ge=0.5, le=0.99)] = 0.9
    """Share of these that they have to read right, at the lower end of its 95 % interval (59 of 60 at 0.9)."""


class Recipe(FrozenModel):
    """What a recipe file holds; every key has a default but `name`."""

    name: Slug
    """Of the run and the dataset."""
    version: Annotated[str, AfterValidator(_check_version)] = "0.1.0"
    """Of the dataset, three numbers."""
    taxonomy: Text = "core"
    """The tree of harms with its written goals, by name or path."""
    policies: tuple[Text, ...] = Field(
        default=("security", "deceit", "violence", "wellbeing", "health", "intimacy"), min_length=1
    )
    """Specs, by name or path; one that names a leaf goes before one that names its domain."""
    locales: tuple[Text, ...] = Field(default=("en",), min_length=1, max_length=1)
    """One language; the written sets of a taxonomy are in one."""
    plan: Plan = Plan()
    """Which scenarios, and how many drafts of each."""
    teachers: Teachers = Teachers()
    """Models by role."""
    judges: Judges = Judges()
    """Models that read, by role."""
    validators: tuple[PluginRef, ...] = tuple(
        PluginRef(use=name)
        for name in (
            "length_bounds",
            "language",
            "policy_leak",
            "refusal_form",
            "required_elements",
            "style",
            "mode_fit",
        )
    )
    """Checks of every draft; each leaves a verdict, none drops anything."""
    require: tuple[Text, ...] | Literal["all"] = "all"
    """Validators that a draft must pass to be accepted."""
    revise: Annotated[int, Field(ge=0, le=8)] = 0
    """Revisions of a failing draft, at most."""
    target: Target | None = None
    """How many accepted scenarios each cell is to have; missing ones are asked for in further rounds."""
    split: Split = Split()
    """Shares of goals by split; the rest is `train`."""
    views: Annotated[tuple[PluginRef, ...], Field(min_length=1)] = (
        PluginRef(use="sft"),
        PluginRef(use="preference"),
    )
    """Formats of the dataset, one folder each."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    """Part of the embedded teacher's choices and of the plan of authored sets; an endpoint's own `seed` stands with it."""
    budget: Budget = Budget()
    """Bounds on what the run may spend; reaching one stops it cleanly, what was paid for is kept."""
    output: Annotated[str, AfterValidator(_check_output)] | None = None
    """Folder of the run and the dataset; default `outputs/<name>`."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if keys := self.plan.author_keys:
            lacks = [] if self.teachers.author else ["a teacher under `teachers.author`"]
            lacks += [] if self.judges.labellers else ["a judge under `judges.labellers`"]
            if lacks:
                raise yaml_source.KeyProblem(
                    f"`plan.{keys[0]}` needs {' and '.join(lacks)}", loc=("plan", keys[0])
                )
        if self.plan.authored_probes and not self.plan.contrast:
            raise yaml_source.KeyProblem(
                "`plan.authored_probes` needs types under `plan.contrast`, or `all`",
                loc=("plan", "authored_probes"),
            )
        if self.plan.authored_dialogues and not self.plan.dialogues:
            raise yaml_source.KeyProblem(
                "`plan.authored_dialogues` needs kinds under `plan.dialogues`, or `all`",
                loc=("plan", "authored_dialogues"),
            )
        for kind, refs in (("validator", self.validators), ("view", self.views)):
            names = [ref.use for ref in refs]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{kind} `{name}` stands twice; keep one")
        names = [v.use for v in self.validators]
        for name in () if self.require == "all" else self.require:
            if name not in names:
                hint = yaml_source.suggest_names(name, names)
                raise yaml_source.KeyProblem(
                    f"`require` names `{name}`, which is not under `validators`{hint}",
                    loc=("require",),
                )
        return self

    @property
    def required_validators(self) -> tuple[str, ...]:
        """Names of the validators that decide."""
        return tuple(v.use for v in self.validators) if self.require == "all" else self.require

    @property
    def has_single_draft(self) -> bool:
        """Whether a prompt gets one draft alone, so that no pair can come of it."""
        return self.plan.candidates == 1 and not self.revise

    @property
    def folder(self) -> Path:
        """Where the run and the dataset go, relative to the working folder."""
        return Path(self.output or f"outputs/{self.name}")

    def digests(self) -> dict[str, str]:
        """A digest of each key that decides what is asked or judged."""
        data = self.model_dump(mode="json")
        return {key: digest(value) for key, value in data.items() if key not in KEYS_WITHOUT_DIGEST}


def load_recipe(name: str | Path, *, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read a recipe by path, or a built-in one by name.

    Args:
        name: `recipe.yaml`, or a bare name such as `starter`.
        overrides: values by dotted key, such as `{"plan.candidates": 2}`.

    Raises:
        AssetNotFound: no such recipe.
        ConfigError: with file, line and column of each mistake.
    """
    text = str(name)
    recipe = yaml_source.load(_find_file(text), Recipe, shown=text if _is_path(text) else None)
    return override_recipe(recipe, overrides) if overrides else recipe


def _find_file(name: str) -> Path:
    if _is_path(name):
        return Path(name)
    try:
        return resources.find_file("recipes", name)
    except AssetNotFound as e:
        beside = next((f"{name}{s}" for s in (".yaml", ".yml") if Path(f"{name}{s}").is_file()), "")
        raise AssetNotFound(
            f"{e}; a file is named with its ending: `{beside}`" if beside else str(e)
        ) from e


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


class SourceLocator:
    """Where the keys of a recipe stand, so that a mistake behind one is told with file and line."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    @contextmanager
    def prefix_errors(self, *keys: str | int) -> Generator[None]:
        """Put the place of a key, or of an item of its list, before the message of a `UserError` from the block."""
        try:
            yield
        except UserError as e:
            key = e.key or ".".join(name for name in keys if isinstance(name, str))
            raise type(e)(f"{self._locate(keys)}{key}: {e.message}") from e

    def _locate(self, keys: Sequence[str | int]) -> str:
        if self._name is None:
            return ""
        path = _find_file(self._name)
        marks = yaml_source.compose(yaml_source.read_text(path), shown=str(path)).marks
        shown = self._name if path == Path(self._name) else str(path)
        places = [
            marks[tuple(keys[:n])] for n in range(len(keys), 0, -1) if tuple(keys[:n]) in marks
        ]
        return f"{shown}:{places[0].line}:{places[0].column}: " if places else f"{shown}: "


def recipe_from_snapshot(value: object, *, shown: str) -> Recipe:
    """The recipe that a run was begun with.

    Raises:
        StoreDamaged: it is no recipe of this safegen.
    """
    from pydantic import ValidationError

    try:
        return Recipe.model_validate(value)
    except ValidationError as e:
        where = ".".join(str(part) for part in e.errors()[0]["loc"])
        raise StoreDamaged(
            f"`{shown}` is not a recipe that this safegen reads (`{where}`); run `safegen generate`"
            " with the recipe and `--replan`: replies are kept"
        ) from e


def override_recipe(recipe: Recipe, overrides: Mapping[str, object]) -> Recipe:
    """The recipe with some keys replaced and everything checked again.

    Raises:
        ConfigError: an unknown key or a value that does not fit.
    """
    from pydantic import ValidationError

    data: dict[str, Any] = recipe.model_dump(mode="json")
    for dotted, value in overrides.items():
        target = data
        *parents, last = dotted.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    try:
        return Recipe.model_validate(data)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"override `{where}`: {first['msg']}") from e
