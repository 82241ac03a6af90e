"""Coverage of a run: scenarios by cell, reasons of missing ones, target and certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from safegen.core.errors import UserError
from safegen.core.spelling import match_spelling
from safegen.core.suggestions import suggest_names
from safegen.coverage.ledger import Cell, Ledger, StageCounts
from safegen.dataset.coverage_report import (
    Certificates,
    certificates_json,
    certify_run,
    collect_axis_labels,
    collect_kept_shapes,
)
from safegen.dataset.curate import CurationResult, curate
from safegen.dataset.run_stats import STORED_AXES
from safegen.dataset.target import TargetReport
from safegen.pipeline.api import Run
from safegen.pipeline.records import run_element_coverage
from safegen.pipeline.recut import read_recut
from safegen.pipeline.snapshot import RunSnapshot
from safegen.pipeline.top_up import report_target
from safegen.store import plan
from safegen.validators import ElementCoverage

AxisNames = tuple[str, ...]
DEFAULT_AXES = ("harm", "intent")
"""Axes of the table, unless others are requested."""
# `nothing_kept` names cells of these axes, whatever table was requested.
LEDGER_AXES = ("harm", "intent", "mode", "language")
"""Axes that every ledger has."""
MAX_LISTED = 100
"""Missing combinations in the JSON form of a certificate."""


class CoverageReport(NamedTuple):
    """Scenarios of a run by the values of axes."""

    ledger: Ledger
    by: AxisNames
    """Axes of the table."""
    heat: AxisNames | None
    """The two axes of the heat map."""
    target: TargetReport | None
    certificates: Certificates | None
    required: ElementCoverage | None = None
    """Checks of the required elements; None if no rule requires one."""
    reasons: Mapping[Cell, Mapping[str, int]] = MappingProxyType({})
    """Prompts that are not in the dataset, by cell of `by` and reason."""
    rounds: int = 1

    @property
    def total(self) -> StageCounts:
        """The counts of the whole run."""
        return self.ledger.totals_by(()).get((), StageCounts())

    def missing_by_cell(self) -> Mapping[Cell, int]:
        """Count what each cell is missing: of the target if it has the same axes, else of the plan."""
        if self.target is not None and self.target.per == self.by:
            return self.target.shortfall
        return self.lost_by_cell()

    def lost_by_cell(self) -> Mapping[Cell, int]:
        """Count the planned scenarios of each cell that are not in the dataset."""
        cells = self.ledger.totals_by(self.by)
        return {cell: c.planned - c.kept for cell, c in cells.items() if c.kept < c.planned}

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        axes = tuple(dict.fromkeys([*self.by, *(self.heat or ())]))
        # Reasons are counted for the axes of the table; a heat map adds others.
        has_reasons = axes == self.by
        missing = self.missing_by_cell() if has_reasons else dict[Cell, int]()
        return {
            "axes": list(axes),
            "cells": [
                dict(zip(axes, cell, strict=True))
                | {
                    "planned": c.planned,
                    "answered": c.answered,
                    "accepted": c.accepted,
                    "kept": c.kept,
                }
                | (
                    {
                        "missing": missing.get(cell, 0),
                        "reasons": dict(self.reasons.get(cell, {})),
                    }
                    if has_reasons
                    else {}
                )
                for cell, c in self.ledger.totals_by(axes).items()
            ],
            "nothing_kept": [
                f"{' · '.join(cell)}: 0 of {c.planned:,}"
                for cell, c in self.ledger.totals_by(LEDGER_AXES).items()
                if c.planned and not c.kept
            ],
            "required": None
            if self.required is None
            else {"by_form": self.required.by_form, "not_checked": self.required.unread},
            "target": None if self.target is None else self.target.to_json(),
            "certificate": None
            if self.certificates is None
            else certificates_json(self.certificates, listed=MAX_LISTED),
        }


def measure_coverage(
    run: Run,
    context: RunSnapshot,
    *,
    by: Sequence[str] | None = None,
    heat: Sequence[str] | None = None,
    certificate: bool = False,
) -> CoverageReport:
    """Count the scenarios of a run by the values of axes; change nothing.

    Args:
        run: the run.
        context: its snapshot.
        by: axes of the table; default those of the heat map, else `DEFAULT_AXES`.
        heat: the two axes of a heat map.
        certificate: count the axis combinations in the plan and in the dataset.

    Raises:
        UserError: an axis is unknown or named twice, or a heat map has not two axes.
    """
    known = tuple(dict.fromkeys([*STORED_AXES, *context.axes.by_id]))
    heat_axes = None if heat is None else _check_axes(heat, known, option="--heat")
    if heat_axes is not None and len(heat_axes) != 2:
        raise UserError("--heat: a heat map needs two axes, as `--heat AXIS,AXIS`")
    axes = heat_axes or DEFAULT_AXES if by is None else _check_axes(by, known, option="--by")
    plans = plan.Plans(run.folder.plans)
    ledger_axes = tuple(dict.fromkeys([*axes, *(heat_axes or ()), *LEDGER_AXES]))
    leaf_values = {
        "tier": context.tiers,
        "severity": {name: harm.severity for name, harm in context.tree.harms.items()},
    }
    computed = [name for name in ledger_axes if name not in STORED_AXES]
    # Other axes are read from plans, because records hold only what a prompt shows.
    labels = collect_axis_labels(plans, computed, leaf_values) if computed else None
    recut = read_recut(run.folder, run.recipe)
    curated = curate(run.folder, recut=recut.recutter if recut else None)
    return CoverageReport(
        ledger=curated.stats.make_ledger(ledger_axes, labels),
        by=axes,
        heat=heat_axes,
        target=report_target(run.folder, context, curated),
        certificates=_build_certificates(run, context, plans, curated) if certificate else None,
        required=run_element_coverage(run.folder, context),
        reasons=curated.stats.count_reasons(axes, labels),
        rounds=plans.rounds,
    )


def _check_axes(names: Sequence[str], known: Sequence[str], *, option: str) -> AxisNames:
    names = [match_spelling(name, known) for name in names]
    for name in names:
        if name not in known:
            raise UserError(f"{option}: no axis `{name[:60]}`{suggest_names(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"{option}: an axis is named twice; keep one")
    return tuple(names)


def _build_certificates(
    run: Run, context: RunSnapshot, plans: plan.Plans, curated: CurationResult
) -> Certificates | None:
    shapes = curated.planned_shapes, collect_kept_shapes(run.folder, curated.kept_ids)
    return certify_run(
        *shapes,
        context.tiers,
        axes=context.axes,
        restricted_axes=context.recipe.plan.restricted_axes,
        barred_profiles=context.barred_profiles,
    )
