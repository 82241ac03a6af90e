"""The `plan` of a recipe: selection of scenarios, and number of drafts."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from safegen.config.fields import UnifySpelling, require_distinct_names
from safegen.config.taxonomy import FrozenModel, Slug, Text
from safegen.core import plugins
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    CONTRASTS,
    INTENTS,
    NOISE_KINDS,
    TURN_STYLES,
    Contrast,
    Intent,
    NoiseKind,
    Profile,
    TurnStyle,
)
from safegen.core.yaml_errors import KeyProblem


def _expand_axis_names(value: object) -> object:
    # A list of names means all values of each. An empty mapping comes from a snapshot: default axes.
    if not isinstance(value, list | tuple | dict) or not value:
        return cast(object, value)
    names = list(cast("Sequence[str]", value))
    for name in require_distinct_names(names):
        if name in COMPUTED_AXES:
            raise ValueError(f"`{name}` is not an axis to vary: {COMPUTED_AXES[name]}; remove it")
    return cast(object, value) if isinstance(value, dict) else dict.fromkeys(names)


def _expand_all(names: Sequence[str]) -> BeforeValidator:
    # `all` means every name, and a single name means a list of one.

    def expand(value: object) -> object:
        if value == "all" or value in (["all"], ("all",)):
            return tuple(names)
        if isinstance(value, str) and value not in names:
            hint = suggest_names(value, ["all", *names])
            raise ValueError(f"must be `all`, or a list of some{hint}")
        return [value] if isinstance(value, str) else value

    return BeforeValidator(
        expand, json_schema_input_type=Literal["all"] | tuple[Literal[*names], ...]
    )


COMPUTED_AXES = {
    "intent": "every set has all of `plan.intents`",
    "evidence": "the intent determines it",
    "paraphrase": "`plan.paraphrases` sets their number",
    "mode": "the policy computes it",
    "tier": "the taxonomy fixes it by leaf",
    "severity": "the taxonomy fixes it by leaf",
    "language": "`locales` chooses it",
    "contrast": "`plan.contrast` asks for probes",
    "contrast_role": "`plan.contrast` asks for probes",
    "turn_style": "`plan.dialogues` asks for conversations",
    "obfuscation": "`plan.wrappers` asks for wrapped prompts",
    "noise": "`plan.noise` asks for it",
}
"""Axes that authored sets do not vary, and the reason."""
AUTHORED_KEYS = ("authored", "authored_probes", "authored_dialogues")
"""Keys of the plan that need an author."""


def _check_choice(value: object) -> object:
    # A union would report one error per member; report one mistake instead.
    if isinstance(value, dict):
        for name, weight in cast("dict[object, object]", value).items():
            if not _is_weight(weight):
                raise ValueError(f"the weight of `{name}` must be a number of 0 or more")
        if not value:
            raise ValueError("is empty; name values, or give the axis no value to use all of them")
        return cast(object, value)
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(  # noqa: TRY004 (what pydantic reports)
            "must be a list of values, or values with weights such as {urgent: 3}"
        )
    values = cast("Sequence[object]", value)
    if not all(isinstance(v, str) for v in values):
        raise ValueError("must be a list of plain values")
    require_distinct_names(cast("Sequence[str]", values))
    return values


def _is_weight(value: object) -> bool:
    try:
        # YAML scalars are still text here; the comparison is false for `nan`.
        return 0 <= float(cast(str, value)) < inf
    except (TypeError, ValueError):
        return False


AxisChoice = Annotated[
    tuple[Text, ...] | dict[Text, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None,
    BeforeValidator(
        _check_choice, json_schema_input_type=tuple[Text, ...] | dict[Text, float] | None
    ),
]
"""All values of an axis, some of them, or a weight for each value (default 1) where the array leaves a choice."""


class NoiseSettings(FrozenModel):
    """Surface noise that code adds to prompts; the draw does not depend on the intent."""

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5
    """Share of the prompts that get noise."""
    kinds: Annotated[
        tuple[NoiseKind, ...], _expand_all(NOISE_KINDS), AfterValidator(require_distinct_names)
    ] = NOISE_KINDS
    """Kinds of noise, or `all`; a prompt gets one of them."""

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if not self.kinds:
            raise KeyProblem("is empty; name a kind of noise, or `all`", loc=("kinds",))
        return self


def _expand_noise(value: object) -> object:
    # `true` means the defaults; a YAML file gives it as text.
    if isinstance(value, bool):
        return {} if value else None
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return {} if value.lower() == "true" else None
    return value


class WrapperSettings(FrozenModel):
    """Wrapped copies of single prompts; a copy has the goal, the split and the expectation of its prompt."""

    kinds: Annotated[tuple[Text, ...], AfterValidator(require_distinct_names)] | Literal["all"] = (
        "all"
    )
    """Names of wrappers, or `all` built-in ones."""
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of the sets on which each wrapper is used."""
    number: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Maximum number of wrappers on one set; default no limit."""

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if not self.kinds:
            raise KeyProblem("is empty; name a wrapper, or `all`", loc=("kinds",))
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the wrappers."""
        return tuple(plugins.list_names("wrappers")) if self.kinds == "all" else self.kinds


def _expand_wrappers(value: object) -> object:
    if isinstance(value, str | list | tuple):
        return {"kinds": cast(object, value)}
    return value


class Plan(FrozenModel):
    """Selection of scenarios, and number of drafts."""

    harms: Annotated[tuple[Text, ...], AfterValidator(require_distinct_names)] = ("*",)
    """Leaf ids, `domain.*`, or `*` for every leaf except red lines."""
    intents: Annotated[tuple[Intent, ...], AfterValidator(require_distinct_names)] = INTENTS
    """Intents of the prompts."""
    profiles: Annotated[tuple[Profile, ...], AfterValidator(require_distinct_names)] = ("public",)
    """Deployment profiles; each prompt is used once under each profile that it does not contradict."""
    sets_per_harm: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Maximum number of written sets of a leaf, in the order of the files; default all."""
    candidates: Annotated[int, Field(ge=1, le=64)] = 1
    """Drafts per scenario."""
    contrast: Annotated[tuple[Contrast, ...], _expand_all(CONTRASTS)] = ()
    """Types of over-refusal probes: safe prompts that look unsafe, with their unsafe twins."""
    dialogues: Annotated[tuple[TurnStyle, ...], _expand_all(TURN_STYLES)] = ()
    """Kinds of conversations; each assistant turn is a scenario of its own."""
    authored: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Sets of each leaf that `teachers.author` writes, in addition to the written ones."""
    authored_probes: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Probes of each leaf and each type of `contrast` that `teachers.author` writes, in addition to the written ones."""
    authored_dialogues: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Sets of conversations of each leaf and each kind in `dialogues` that `teachers.author` writes, turn by turn."""
    paraphrases: Annotated[int, Field(ge=2, le=8)] = 3
    """Dual-use prompts of an authored set."""
    axes: Annotated[
        dict[Slug, AxisChoice],
        BeforeValidator(
            _expand_axis_names, json_schema_input_type=dict[Slug, AxisChoice] | tuple[Slug, ...]
        ),
        UnifySpelling,
    ] = Field(default_factory=dict[Slug, AxisChoice])
    """Axes along which authored sets vary: a list of names, or values or weights by name."""
    rows: Annotated[tuple[dict[Slug, Text], ...], UnifySpelling] = ()
    """Combinations of axis values, full or partial, that authored sets must include."""
    noise: Annotated[
        NoiseSettings | None,
        BeforeValidator(_expand_noise, json_schema_input_type=NoiseSettings | bool | None),
    ] = None
    """Surface noise by code in a share of the prompts: `true`, or a mapping; default none."""
    wrappers: Annotated[
        WrapperSettings | None,
        BeforeValidator(
            _expand_wrappers,
            json_schema_input_type=WrapperSettings | tuple[Text, ...] | Literal["all"] | None,
        ),
    ] = None
    """Wrapped copies of single prompts, as many benign as other ones: `all`, a list, or a mapping; default none."""
    styles: tuple[Text, ...] = ()
    """Styles that candidates take in turn; each completes `Write it …`."""
    reasoning: bool = False
    """Keep a model's reasoning in a separate column; it is validated like the answer."""

    @property
    def restricted_axes(self) -> dict[str, tuple[str, ...]]:
        """Axes that the plan restricts to some of their values."""
        # Within a conversation an operator can grant a profile that `profiles` does not list.
        talks = self.dialogues or self.authored_dialogues
        profiles: dict[str, tuple[str, ...]] = {"profile": self.profiles} if talks else {}
        chosen = {name: values for name, values in self.axes.items() if isinstance(values, tuple)}
        return profiles | chosen

    @property
    def author_keys(self) -> tuple[str, ...]:
        """The keys of this plan that need an author."""
        return tuple(key for key in AUTHORED_KEYS if getattr(self, key))
