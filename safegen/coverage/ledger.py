"""The ledger: scenarios planned, answered, accepted and kept by cell, what is missing, and which attributes stand.

Rows are small mappings (a Parquet row will do; `scenario_axes` makes one of a record) and are read once, so
memory holds the cells and one id a scenario, never the rows.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from safegen.core.errors import ConfigError
from safegen.core.types import PlannedScenario, Record
from safegen.core.yaml_source import suggest_names
from safegen.coverage.certificate import Certificate, certify
from safegen.coverage.covering_array import CoverageModel

ScenarioAxes = Mapping[str, object]
Cell = tuple[str, ...]
DEFAULT_LEDGER_AXES = ("harm", "intent", "mode", "language")
"""Axes of the ledger's cells."""
COUNTED_SOURCES = frozenset({"written", "confirmed"})
"""Where an attribute must come from to count: it stands in the prompt, or a blind judge read it."""
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
"""Axes that a row carries as columns; the others stand in its attributes."""


@dataclass(frozen=True, slots=True)
class CellCounts:
    """Scenarios of a cell. Several drafts of a scenario count once."""

    planned: int = 0
    answered: int = 0
    """With a response."""
    accepted: int = 0
    """With an accepted one."""
    kept: int = 0
    """With an accepted one, and in the dataset: no near copy, no duplicate."""

    def __add__(self, other: CellCounts) -> CellCounts:
        return CellCounts(
            self.planned + other.planned,
            self.answered + other.answered,
            self.accepted + other.accepted,
            self.kept + other.kept,
        )


@dataclass(frozen=True, slots=True)
class CellTarget:
    """How many accepted scenarios each cell of the reported axes is to have."""

    accepted: int
    per: tuple[str, ...] = ("harm", "intent")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts by cell, sorted."""

    axes: tuple[str, ...]
    cells: Mapping[Cell, CellCounts]

    def totals_by(self, per: Sequence[str]) -> dict[Cell, CellCounts]:
        """The counts added up over all other axes.

        Raises:
            ConfigError: an axis that the ledger does not have.
        """
        for name in per:
            if name not in self.axes:
                raise ConfigError(
                    f"the ledger has no axis `{name[:60]}`{suggest_names(name, self.axes)}"
                )
        at = [self.axes.index(name) for name in per]
        out: dict[Cell, CellCounts] = {}
        for cell, counts in self.cells.items():
            key = tuple(cell[i] for i in at)
            out[key] = out.get(key, CellCounts()) + counts
        return dict(sorted(out.items()))

    def shortfall(self, target: CellTarget) -> dict[Cell, int]:
        """Accepted scenarios that are missing, by cell; only cells that the plan makes reachable.

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
            if counts.planned
        }
        return {cell: n for cell, n in short.items() if n > 0}


def scenario_axes(item: Record | PlannedScenario) -> dict[str, object]:
    """What the ledger and the attribute coverage read of a record or of a planned scenario."""
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


def build_ledger(
    planned: Iterable[ScenarioAxes],
    drafts: Iterable[ScenarioAxes] = (),
    *,
    axes: Sequence[str] = DEFAULT_LEDGER_AXES,
    kept: Container[str] | None = None,
) -> Ledger:
    """Count scenarios by cell.

    Args:
        planned: one row for each planned scenario, of all rounds.
        drafts: one row for each draft, with `outcome` and `accepted`.
        axes: the columns that make a cell.
        kept: ids of the scenarios that the dataset holds; default all that are accepted.

    Raises:
        ConfigError: a row without one of these columns, or without `scenario_id`.
    """
    counts: dict[Cell, list[int]] = {}
    seen: tuple[set[str], ...] = (set(), set(), set(), set())
    for row, stages in _iter_stages(planned, drafts, kept):
        id_ = str(_column_value(row, "scenario_id"))
        cell = tuple(str(_column_value(row, name)) for name in axes)
        for stage in stages:
            if id_ not in seen[stage]:
                seen[stage].add(id_)
                counts.setdefault(cell, [0, 0, 0, 0])[stage] += 1
    return Ledger(tuple(axes), {c: CellCounts(*n) for c, n in sorted(counts.items())})


def _iter_stages(
    planned: Iterable[ScenarioAxes], drafts: Iterable[ScenarioAxes], kept: Container[str] | None
) -> Iterator[tuple[ScenarioAxes, tuple[int, ...]]]:
    """Each row with the stages that it proves: 0 planned, 1 answered, 2 accepted, 3 kept."""
    for row in planned:
        yield row, (0,)
    for row in drafts:
        if _column_value(row, "outcome") != "ok":
            continue
        accepted = bool(_column_value(row, "accepted"))
        stays = accepted and (kept is None or str(row["scenario_id"]) in kept)
        yield row, (1, 2, 3)[: 1 + accepted + stays]


def _column_value(row: ScenarioAxes, name: str) -> object:
    if name not in row:
        raise ConfigError(f"a row has no column `{name}`{suggest_names(name, list(row))}")
    return row[name]


def attribute_row(row: ScenarioAxes) -> dict[str, str]:
    """The axis values that a row is known to have; an axis that nothing is known of is absent."""
    known = {name: str(row[name]) for name in AXIS_COLUMNS if row.get(name) is not None}
    for item in cast(Iterable[object], row.get("attributes") or ()):
        axis, value, source = _unpack_attribute(item)
        if source in COUNTED_SOURCES:
            known[axis] = value
    return known


def _unpack_attribute(item: object) -> tuple[str, str, str]:
    """Axis, value and source of an attribute, as a value or as an Arrow struct."""
    if isinstance(item, Mapping):
        struct = cast(Mapping[str, str], item)
        return struct["axis"], struct["value"], struct["source"]
    axis, value, source = cast(tuple[str, str, str], item)
    return axis, value, source


def certify_attributes(model: CoverageModel, accepted: Iterable[ScenarioAxes]) -> Certificate:
    """What accepted rows cover of the axes, counting only what is written or confirmed."""
    return certify(model, map(attribute_row, accepted))
