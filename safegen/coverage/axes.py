"""The axes along which scenarios vary, and constraints that exclude combinations: YAML → Axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from safegen.config.fields import FrozenModel, Slug, Text, UnifyKeys, UnifySpelling
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.suggestions import find_repeated, suggest_names
from safegen.coverage.covering_array import AxisRow, CoverageModel, FactorGroup, Void

AxisLevel = Literal["leaf", "set", "scenario", "prompt"]
DEFAULT_AXES = (
    "task",
    "skill",
    "role",
    "role_basis",
    "tone",
    "surface_form",
    "requested_detail",
    "profile",
)
"""Axes that an author varies by default; intents vary within every set in any case."""
# Specs branch on these; a pair of them can hide a rule that needs three values.
BRANCHING_AXES = ("tier", "evidence", "profile", "requested_detail", "role_basis")
"""Axes that change an expectation; those that a plan varies are covered in triples."""
STRENGTH = 3
"""Strength of the group of branching axes."""


def _check_value_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise ValueError("must be letters, digits, `-` and `_`")
    return value


def _to_tuple(value: object) -> object:
    return [value] if isinstance(value, str) else value


AxisId = Annotated[Slug, UnifySpelling]
ValueId = Annotated[str, AfterValidator(_check_value_id), Field(max_length=80), UnifySpelling]


class Axis(FrozenModel):
    """One attribute in which scenarios differ."""

    id: AxisId
    name: Text
    definition: Text
    reading: Text | None = None
    """Rules by which a reader of a prompt decides between the values."""
    source: Text
    """Source of the term in the literature."""
    level: AxisLevel
    """Unit that has one value of the axis: the leaf, the set, the scenario around the prompt, or one prompt."""
    values: Annotated[dict[ValueId, Text], UnifyKeys] = Field(min_length=1)
    """Value → definition, in display order."""
    default: ValueId | None = None
    """Value of a scenario that states none."""

    @model_validator(mode="after")
    def _check_default(self) -> Self:
        if self.default is not None and self.default not in self.values:
            hint = suggest_names(self.default, list(self.values))
            raise ValueError(f"default `{self.default}` is not a value of `{self.id}`{hint}")
        return self


Combination = Annotated[
    dict[
        AxisId,
        Annotated[
            tuple[ValueId, ...],
            BeforeValidator(_to_tuple, json_schema_input_type=str | tuple[ValueId, ...]),
            Field(min_length=1),
        ],
    ],
    UnifyKeys,
]


class VoidRule(FrozenModel):
    """A constraint: an excluded combination of values. A list means any of its values."""

    when: Combination = Field(min_length=2)
    why: Text

    def matches(self, row: AxisRow) -> bool:
        """Return True if a row contains the combination."""
        return all(row.get(name) in values for name, values in self.when.items())


class UnfitRule(FrozenModel):
    """Values that do not fit the subject of some leaves."""

    when: Combination = Field(min_length=1)
    under: tuple[Text, ...] = ()
    """Leaves, or `domain.*`, that the values do not fit."""
    except_under: tuple[Text, ...] = ()
    """Leaves, or `domain.*`, that alone the values fit."""
    why: Text

    @model_validator(mode="after")
    def _check_leaves(self) -> Self:
        if bool(self.under) == bool(self.except_under):
            raise ValueError("name either `under` or `except_under`")
        return self

    def matches(self, row: AxisRow, harm: str) -> bool:
        """Return True if a row contains the combination and the leaf does not fit it."""
        names_harm = any(
            name in (harm, f"{harm.split('.')[0]}.*") for name in self.under or self.except_under
        )
        return names_harm == bool(self.under) and all(
            row.get(name) in values for name, values in self.when.items()
        )


class Axes(FrozenModel):
    """An axes file."""

    axes: tuple[Axis, ...] = Field(min_length=1)
    void: tuple[VoidRule, ...] = ()
    unfit: tuple[UnfitRule, ...] = ()
    """Combinations that the subject of a leaf excludes; they bind authors, not the covering array."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [axis.id for axis in self.axes]
        if (name := find_repeated(names)) is not None:
            raise ValueError(f"axis `{name}` appears twice; keep one")
        for section, rules in (("void", self.void), ("unfit", self.unfit)):
            for rule in rules:
                self._check_combination(f"{section}, `{rule.why}`", rule.when)
        return self

    def _check_combination(self, place: str, when: Mapping[str, Sequence[str]]) -> None:
        for name, values in when.items():
            try:
                for value in values:
                    self.require_value(name, value)
            except ConfigError as e:
                raise ValueError(f"{place}: {e}") from e

    def fits(self, row: AxisRow, *, harm: str) -> bool:
        """Return True if no constraint excludes a row of a brief, also because of the leaf's subject."""
        return not any(rule.matches(row) for rule in self.void) and not any(
            rule.matches(row, harm) for rule in self.unfit
        )

    @cached_property
    def by_id(self) -> Mapping[str, Axis]:
        """Axes by id, in the order of the file."""
        return {axis.id: axis for axis in self.axes}

    @cached_property
    def voids_by_profile(self) -> Mapping[str, tuple[VoidRule, ...]]:
        """Constraints by the deployment profile that they name."""
        named = {value for rule in self.void for value in rule.when.get("profile", ())}
        return {
            name: tuple(rule for rule in self.void if name in rule.when.get("profile", ()))
            for name in named
        }

    def get_axis(self, name: str) -> Axis:
        """Return the axis with a name.

        Raises:
            ConfigError: the name is unknown; the message suggests the nearest known one.
        """
        if name not in self.by_id:
            raise ConfigError(f"no axis `{name[:60]}`{suggest_names(name, list(self.by_id))}")
        return self.by_id[name]

    def require_value(self, name: str, value: str) -> str:
        """Return the value if its axis has it.

        Raises:
            ConfigError: the axis or value is unknown; the message suggests the nearest known one.
        """
        known = self.get_axis(name).values
        if value not in known:
            raise ConfigError(
                f"`{name}` has no value `{value[:60]}`{suggest_names(value, list(known))}"
            )
        return value

    def constraints(self, names: Sequence[str]) -> list[Void]:
        """Return the constraints that name no other axes than these."""
        return [Void(r.when, r.why) for r in self.void if set(r.when) <= set(names)]

    def build_model(
        self,
        names: Sequence[str] = DEFAULT_AXES,
        *,
        values: Mapping[str, Sequence[str]] | None = None,
        groups: Sequence[FactorGroup] | None = None,
        seeds: Sequence[AxisRow] = (),
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> CoverageModel:
        """Build the model of an array over these axes: pairs, and triples of branching axes.

        Args:
            names: the axes to vary.
            values: values to use, by axis; default all.
            groups: groups of a higher strength; default triples of the branching axes among `names`.
            seeds: full or partial rows that the array must contain.
            weights: relative frequency of values, by axis.

        Raises:
            ConfigError: an unknown axis or value.
        """
        chosen = {name: tuple(self.get_axis(name).values) for name in names}
        for name, some in (values or {}).items():
            if name not in chosen:
                raise ConfigError(
                    f"`{name}` is not among the axes to vary{suggest_names(name, names)}"
                )
            chosen[name] = tuple(self.require_value(name, value) for value in some)
        if groups is None:
            branching = tuple(name for name in names if name in BRANCHING_AXES)
            groups = [FactorGroup(branching, STRENGTH)] if len(branching) >= STRENGTH else []
        return CoverageModel(
            chosen,
            groups=tuple(groups),
            void=tuple(_restrict_voids(self.constraints(names), chosen)),
            seeds=tuple(seeds),
            weights=weights or {},
        )


def _restrict_voids(voids: Sequence[Void], chosen: Mapping[str, Sequence[str]]) -> list[Void]:
    # A constraint on values that are not varied can never be broken.
    cut = [
        Void({f: [v for v in vs if v in chosen[f]] for f, vs in void.when.items()}, void.reason)
        for void in voids
    ]
    return [void for void in cut if all(void.when.values())]


def load_axes(name: str = "axes") -> Axes:
    """Load axes by name or path; a file in the working folder's `taxonomies/` comes first.

    Raises:
        AssetNotFound: no such file.
        ConfigError: the file is invalid.
    """
    return yaml_source.load(resources.find_file("axes", name), Axes)
