"""The `plan` of a recipe: which scenarios, and how many drafts of each."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field

from safegen.config.fields import require_distinct_names
from safegen.config.taxonomy import FrozenModel, Slug, Text
from safegen.core import yaml_source
from safegen.core.types import CONTRASTS, INTENTS, TURN_STYLES, Contrast, Intent, Profile, TurnStyle


def _expand_axis_names(value: object) -> object:
    """A list of names stands for all values of each; none at all, as a kept recipe has it, for the default ones."""
    if not isinstance(value, list | tuple | dict) or not value:
        return cast(object, value)
    names = list(cast("Sequence[str]", value))
    for name in require_distinct_names(names):
        if name in COMPUTED_AXES:
            raise ValueError(f"`{name}` is no axis to vary: {COMPUTED_AXES[name]}; take it out")
    return cast(object, value) if isinstance(value, dict) else dict.fromkeys(names)


def _expand_all(names: Sequence[str]) -> BeforeValidator:
    """`all` stands for every name, and one name for a list of one."""

    def expand(value: object) -> object:
        if value == "all" or value in (["all"], ("all",)):
            return tuple(names)
        if isinstance(value, str) and value not in names:
            hint = yaml_source.suggest_names(value, ["all", *names])
            raise ValueError(f"must be `all`, or a list of some{hint}")
        return [value] if isinstance(value, str) else value

    return BeforeValidator(
        expand, json_schema_input_type=Literal["all"] | tuple[Literal[*names], ...]
    )


COMPUTED_AXES = {
    "intent": "every set has all of `plan.intents`",
    "evidence": "it follows from the intent",
    "paraphrase": "`plan.paraphrases` says how many there are",
    "mode": "the policy computes it",
    "tier": "the taxonomy fixes it by leaf",
    "severity": "the taxonomy fixes it by leaf",
    "language": "`locales` chooses it",
    "contrast": "`plan.contrast` asks for probes",
    "contrast_role": "`plan.contrast` asks for probes",
    "turn_style": "`plan.dialogues` asks for conversations",
}
"""Axes that authored sets do not vary along, and what decides them."""
AUTHORED_KEYS = ("authored", "authored_probes", "authored_dialogues")
"""Keys of the plan that an author works for."""


def _check_choice(value: object) -> object:
    """A list of values, values with a weight each, or nothing; told as one mistake."""
    if isinstance(value, dict):
        for name, weight in cast("dict[object, object]", value).items():
            if not _is_weight(weight):
                raise ValueError(f"the weight of `{name}` must be a number from 0 on")
        if not value:
            raise ValueError("is empty; name values, or leave the axis without any for all of them")
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
        return 0 <= float(cast(str, value)) < inf
    except (TypeError, ValueError):
        return False


AxisChoice = Annotated[
    tuple[Text, ...] | dict[Text, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None,
    BeforeValidator(
        _check_choice, json_schema_input_type=tuple[Text, ...] | dict[Text, float] | None
    ),
]
"""All values of an axis, some of them, or how much each is preferred where an array leaves a choice; 1 else."""


class Plan(FrozenModel):
    """Which scenarios, and how many drafts of each."""

    harms: Annotated[tuple[Text, ...], AfterValidator(require_distinct_names)] = ("*",)
    """Leaf ids, `domain.*`, or `*` for every leaf that is not a red line."""
    intents: Annotated[tuple[Intent, ...], AfterValidator(require_distinct_names)] = INTENTS
    """Intents of the prompts that are asked."""
    profiles: Annotated[tuple[Profile, ...], AfterValidator(require_distinct_names)] = ("public",)
    """Deployment profiles; each prompt is asked once under each that its words do not contradict."""
    sets_per_harm: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """At most this many written sets of a leaf, in the order of the files; default all."""
    candidates: Annotated[int, Field(ge=1, le=64)] = 1
    """Drafts per scenario."""
    contrast: Annotated[tuple[Contrast, ...], _expand_all(CONTRASTS)] = ()
    """Types of over-refusal probes: safe prompts that look unsafe, with their unsafe twins."""
    dialogues: Annotated[tuple[TurnStyle, ...], _expand_all(TURN_STYLES)] = ()
    """Kinds of conversations; each assistant turn is a scenario of its own."""
    authored: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Sets of each leaf that `teachers.author` writes, beside the written ones."""
    authored_probes: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Probes of each leaf, for each type of `contrast`, that `teachers.author` writes beside the written ones."""
    authored_dialogues: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Sets of conversations of each leaf and each kind in `dialogues` that `teachers.author` holds, turn by turn."""
    paraphrases: Annotated[int, Field(ge=2, le=8)] = 3
    """Dual-use prompts of an authored set."""
    axes: Annotated[
        dict[Slug, AxisChoice],
        BeforeValidator(
            _expand_axis_names, json_schema_input_type=dict[Slug, AxisChoice] | tuple[Slug, ...]
        ),
    ] = Field(default_factory=dict[Slug, AxisChoice])
    """Axes along which authored sets vary: names; or by name some values, or how much each value is preferred."""
    rows: tuple[dict[Slug, Text], ...] = ()
    """Combinations of axis values that authored sets are to have in any case, whole or in part."""
    styles: tuple[Text, ...] = ()
    """How candidates are to be written, one after the other; completes `Write it …`."""
    reasoning: bool = False
    """Keep a model's reasoning in a column of its own; it is checked like the answer."""

    @property
    def restricted_axes(self) -> dict[str, tuple[str, ...]]:
        """Axes of which the plan takes some values alone.

        A profile that an operator grants within a conversation is none that the plan asks for.
        """
        talks = self.dialogues or self.authored_dialogues
        profiles: dict[str, tuple[str, ...]] = {"profile": self.profiles} if talks else {}
        chosen = {name: values for name, values in self.axes.items() if isinstance(values, tuple)}
        return profiles | chosen

    @property
    def author_keys(self) -> tuple[str, ...]:
        """The keys that ask an author for something."""
        return tuple(key for key in AUTHORED_KEYS if getattr(self, key))
