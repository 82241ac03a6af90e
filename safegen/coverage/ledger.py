"""The ledger: counts of planned, answered, accepted and kept scenarios by cell, and their shortfalls.

`safegen.dataset.run_stats` makes the ledger of a run. Rows of axis values are mappings, such as Parquet rows
or the result of `scenario_axes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names
from safegen.core.types import PlannedScenario, Record

ScenarioAxes = Mapping[str, object]
Cell = tuple[str, ...]
# An author's claim about its own prompt is no evidence.
COUNTED_SOURCES = frozenset({"written", "confirmed"})
"""Attribute sources that count: written in the prompt's file, or confirmed by a blind labeller."""
AXIS_COLUMNS = (
    "task",
    "intent",
    "evidence",
    "requested_detail",
    "profile",
    "mode",
    "language",
    "contrast",
    "paraphrase",
)
"""Axes with a column of their own; the others are in `attributes`."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Scenarios by the stage that they reached. Several drafts of a scenario count once."""

    planned: int = 0
    answered: int = 0
    """Scenarios with a response."""
    accepted: int = 0
    """Scenarios with an accepted response."""
    kept: int = 0
    """Scenarios with an accepted response in the dataset: neither duplicate nor near-duplicate."""

    @property
    def excluded(self) -> int:
        """Planned scenarios that are not in the dataset."""
        return self.planned - self.kept

    def __add__(self, other: StageCounts) -> StageCounts:
        return StageCounts(
            self.planned + other.planned,
            self.answered + other.answered,
            self.accepted + other.accepted,
            self.kept + other.kept,
        )


@dataclass(frozen=True, slots=True)
class CellTarget:
    """Accepted scenarios in the dataset that each cell of the axes `per` needs."""

    accepted: int
    per: tuple[str, ...] = ("harm", "intent")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts by cell, sorted by cell."""

    axes: tuple[str, ...]
    cells: Mapping[Cell, StageCounts]

    def totals_by(self, per: Sequence[str]) -> dict[Cell, StageCounts]:
        """Sum the counts over all other axes.

        Raises:
            ConfigError: an axis that the ledger does not have.
        """
        for name in per:
            if name not in self.axes:
                raise ConfigError(
                    f"the ledger has no axis `{name[:60]}`{suggest_names(name, self.axes)}"
                )
        at = [self.axes.index(name) for name in per]
        out: dict[Cell, StageCounts] = {}
        for cell, counts in self.cells.items():
            key = tuple(cell[i] for i in at)
            out[key] = out.get(key, StageCounts()) + counts
        return dict(sorted(out.items()))

    def shortfall(self, target: CellTarget) -> dict[Cell, int]:
        """Count missing kept scenarios by cell, for cells with planned scenarios.

        Raises:
            ConfigError: an axis that the ledger does not have, or a negative number.
        """
        if target.accepted < 0:
            raise ConfigError(
                f"target: `{target.accepted}` accepted scenarios; it must be 0 or more"
            )
        short = {
            cell: target.accepted - counts.kept
            for cell, counts in self.totals_by(target.per).items()
            # A cell without a plan cannot be filled by another round.
            if counts.planned
        }
        return {cell: n for cell, n in short.items() if n > 0}


def scenario_axes(item: Record | PlannedScenario) -> dict[str, object]:
    """Convert a record or planned scenario to a row of the ledger."""
    s = item.scenario
    out: dict[str, object] = {
        "scenario_id": s.scenario_id,
        "harm": s.harm,
        "domain": s.domain,
        "task": s.task,
        "intent": s.intent,
        "evidence": s.evidence,
        "requested_detail": s.requested_detail,
        "profile": s.profile,
        "language": s.language,
        "contrast": s.contrast,
        "paraphrase": s.paraphrase,
        "mode": item.expectation.mode,
        "attributes": s.attributes,
    }
    if isinstance(item, Record):
        out |= {"outcome": item.draft.outcome, "accepted": item.accepted}
    return out


def attribute_row(row: ScenarioAxes) -> dict[str, str]:
    """Return the known axis values of a row; unknown axes are absent."""
    known = {name: str(row[name]) for name in AXIS_COLUMNS if row.get(name) is not None}
    for item in cast(Iterable[object], row.get("attributes") or ()):
        axis, value, source = _unpack_attribute(item)
        if source in COUNTED_SOURCES:
            known[axis] = value
    return known


def _unpack_attribute(item: object) -> tuple[str, str, str]:
    # An attribute is a tuple of axis, value and source, or an Arrow struct.
    if isinstance(item, Mapping):
        struct = cast(Mapping[str, str], item)
        return struct["axis"], struct["value"], struct["source"]
    axis, value, source = cast(tuple[str, str, str], item)
    return axis, value, source
