"""Yields of a run: accepted scenarios of those planned, by mode, intent, leaf and language, and drafts by teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from safegen.dataset.run_stats import UNFINISHED, RunStats

YIELD_AXES = ("mode", "intent", "harm", "language")
"""Axes of the yields of scenarios."""
CHECKED_AXES = ("mode", "intent", "harm")
"""Axes whose low yields are reported."""
LOW_SHARE = 1 / 3
"""A yield below this share of the median of its axis is low."""
MinYield = Literal["rows"] | float
"""Least yield of a run: `rows` if every planned mode needs a row, a share of accepted scenarios, or 0 for none."""


@dataclass(frozen=True, slots=True)
class ValueYield:
    """Yield of one value of an axis."""

    axis: str
    name: str
    planned: int
    """Planned scenarios, or drafts of a teacher."""
    accepted: int
    kept: int
    """Scenarios in the dataset."""
    reason: str | None = None
    """Most frequent reason of scenarios that have no accepted draft; None if all have one."""

    @property
    def share(self) -> float:
        """Accepted of planned."""
        return self.accepted / self.planned if self.planned else 0.0

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {
            "axis": self.axis,
            "name": self.name,
            "planned": self.planned,
            "accepted": self.accepted,
            "kept": self.kept,
            "yield": round(self.share, 4),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class YieldReport:
    """Yields of a run."""

    by_axis: Mapping[str, tuple[ValueYield, ...]] = field(
        default_factory=dict[str, tuple[ValueYield, ...]]
    )
    """By axis, and `teacher`; only values with planned scenarios."""

    @property
    def low(self) -> tuple[ValueYield, ...]:
        """Modes, intents and leaves whose yield is zero or below a third of the median of their axis."""
        return tuple(self._iter_low())

    def _iter_low(self) -> Iterator[ValueYield]:
        for axis in CHECKED_AXES:
            values = self.by_axis.get(axis, ())
            bound = median(v.share for v in values) * LOW_SHARE if values else 0.0
            yield from (v for v in values if not v.accepted or v.share < bound)

    def find_below(self, least: MinYield) -> tuple[ValueYield, ...]:
        """Find the modes without a row or, for a share, also the modes, intents and leaves below it."""
        if least == 0:
            return ()
        without_row = [v for v in self.by_axis.get("mode", ()) if not v.kept]
        if least == "rows":
            return tuple(without_row)
        values = [v for axis in CHECKED_AXES for v in self.by_axis.get(axis, ())]
        return tuple(v for v in values if v in without_row or v.share < least)

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {axis: [v.to_json() for v in values] for axis, values in self.by_axis.items()}


def measure_yields(stats: RunStats) -> YieldReport:
    """Measure the yields of a run."""
    by_axis = {axis: tuple(_iter_values(stats, axis)) for axis in YIELD_AXES}
    by_axis["teacher"] = tuple(
        ValueYield("teacher", name, drafts, accepted, accepted)
        for name, (drafts, accepted) in stats.drafts.count_teachers().items()
    )
    return YieldReport(by_axis)


def _iter_values(stats: RunStats, axis: str) -> Iterator[ValueYield]:
    reasons = stats.count_unaccepted(axis)
    for name, counts in stats.count_stages(axis).items():
        if not counts.planned:
            continue
        own = reasons.get(name, {})
        reason = min(own, key=lambda r: (-own[r], r), default=None)
        if reason is None and counts.accepted < counts.planned:
            reason = UNFINISHED
        yield ValueYield(axis, name, counts.planned, counts.accepted, counts.kept, reason)
