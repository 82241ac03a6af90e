"""The definitions of labels that authors, labellers and checkers of prompts share.

Their text is in the axes file, so that no two prompt files define a label differently.
"""

from __future__ import annotations

from typing import NamedTuple

from safegen.core.types import DETAIL_LEVELS, EVIDENCE, INTENTS
from safegen.coverage.axes import Axes, load_axes


class AxisValue(NamedTuple):
    """A value of an axis with its definition."""

    axis: str
    value: str
    definition: str


class LabelDefinition(NamedTuple):
    """A label with its values, and the rules by which a reader decides between them."""

    reading: str
    options: tuple[AxisValue, ...]


class LabelDefinitions(NamedTuple):
    """The labels of a prompt, for the field `definitions` of prompt files."""

    intent: LabelDefinition
    evidence: LabelDefinition
    detail: LabelDefinition
    task: LabelDefinition
    """The kinds of help."""


def load_definitions(axes: Axes | None = None) -> LabelDefinitions:
    """Take the definitions from an axes file, by default the one in use.

    Raises:
        ConfigError: the file lacks an axis or a value of a label.
    """
    axes = axes or load_axes()
    return LabelDefinitions(
        intent=_define(axes, "intent", INTENTS),
        evidence=_define(axes, "evidence", EVIDENCE),
        detail=_define(axes, "requested_detail", tuple(map(str, DETAIL_LEVELS))),
        task=_define(axes, "task", tuple(axes.get_axis("task").values)),
    )


def _define(axes: Axes, name: str, values: tuple[str, ...]) -> LabelDefinition:
    axis = axes.get_axis(name)
    return LabelDefinition(
        axis.reading or "",
        tuple(AxisValue(name, v, axis.values[axes.require_value(name, v)]) for v in values),
    )
