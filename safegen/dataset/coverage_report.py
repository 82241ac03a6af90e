"""Coverage of a run: certificates of axis combinations before and after filtering.

Plans and records are read in batches and by column; only a number for each scenario and each distinct
row of axis values stays in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from safegen.core.types import PlannedScenario, Record
from safegen.coverage import axes as axes_file
from safegen.coverage.axes import BRANCHING_AXES, Axes
from safegen.coverage.certificate import Certificate, certify
from safegen.coverage.covering_array import CoverageModel, Void
from safegen.coverage.ledger import ScenarioAxes, attribute_row, scenario_axes
from safegen.dataset.run_stats import PLAN_AXES, UNKNOWN_VALUE, VALUE_AXES
from safegen.store import parquet, plan
from safegen.store.run_folder import RECORDS_REMEDY, RunFolder
from safegen.store.schema import plan_schema, record_schema

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

MAX_LISTED = 20
"""Missing combinations that a manifest names."""
_ROW_COLUMNS = (*PLAN_AXES, *VALUE_AXES, "attributes")


def collect_axis_labels(
    plans: plan.Plans, axes: Sequence[str], by_leaf: Mapping[str, Mapping[str, str]]
) -> pl.DataFrame:
    """Read the values of axes that plans have no column for, one row per scenario.

    Args:
        plans: the plans of the run.
        axes: the axes; a value comes from the leaf, the author's brief or the prompt.
        by_leaf: values by axis and leaf, such as the policy tier.
    """
    import polars as pl

    rows: list[tuple[str, ...]] = []
    for row in iter_planned_rows(plans, ["scenario_id", "harm", "attributes", "brief", "first"]):
        if not row["first"]:
            known = {**attribute_row(row), **brief_axes(row["brief"])}
            known |= {n: of[row["harm"]] for n, of in by_leaf.items() if row["harm"] in of}
            rows.append((row["scenario_id"], *(known.get(n, UNKNOWN_VALUE) for n in axes)))
    schema = dict.fromkeys(["scenario_id", *axes], pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


def iter_planned_rows(plans: plan.Plans, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield some columns of each planned scenario of all rounds.

    Raises:
        StoreDamaged: a plan that cannot be read, or of another safegen.
    """
    for path in plans.paths:
        yield from _read_rows(path, columns, plan_schema(), remedy=plan.REMEDY)


def iter_draft_rows(
    folder: RunFolder, columns: Sequence[str], shards: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Yield some columns of each draft of some shards.

    Raises:
        StoreDamaged: a shard that cannot be read, or of another safegen.
    """
    for shard in shards:
        path = folder.records(shard)
        yield from _read_rows(path, columns, record_schema(), remedy=RECORDS_REMEDY)


def _read_rows(
    path: Path, columns: Sequence[str], schema: pa.Schema, *, remedy: str
) -> Iterator[dict[str, Any]]:
    names = list(dict.fromkeys(columns))
    for table in parquet.read_tables(path, names, schema, remedy=remedy, size=1_000):
        yield from table.to_pylist()


@dataclass(slots=True)
class AxisShapes:
    """Counts of distinct rows of written or confirmed axis values."""

    counts: Counter[tuple[tuple[str, str], ...]] = field(
        default_factory=Counter[tuple[tuple[str, str], ...]]
    )
    varied: dict[str, None] = field(default_factory=dict[str, None])
    """Further axes that an author varies."""
    _pairs: dict[tuple[str, str], tuple[str, str]] = field(
        default_factory=dict[tuple[str, str], tuple[str, str]]
    )

    def add(self, row: ScenarioAxes, *, brief_values: Mapping[str, str] | None = None) -> None:
        """Count a row; `brief_values` are the values of the author's brief, for a plan."""
        self.varied |= dict.fromkeys(brief_values or ())
        # What a prompt shows takes precedence over what its author was asked for.
        known = {**(brief_values or {}), **attribute_row(row), "harm": str(row["harm"])}
        # Pairs are shared, because a million rows have some hundred distinct ones.
        self.counts[tuple(self._pairs.setdefault(p, p) for p in sorted(known.items()))] += 1

    def add_planned(self, item: PlannedScenario) -> None:
        """Count a planned scenario."""
        self.add(scenario_axes(item), brief_values=brief_axes(item.brief))

    def add_kept(self, record: Record) -> None:
        """Count a kept scenario."""
        self.add(scenario_axes(record))

    def values(self, axis: str) -> list[str]:
        """Return the values of an axis, sorted."""
        return sorted({value for shape in self.counts for name, value in shape if name == axis})

    def rows(self, tiers: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Yield each row as often as it was counted, with its leaf's tier if it is known."""
        for shape in self.counts.elements():
            row = dict(shape)
            yield row | ({"tier": tiers[row["harm"]]} if row["harm"] in tiers else {})


@lru_cache(maxsize=8)
def brief_axes(brief: str | None) -> Mapping[str, str]:
    """Return the axis values of a planned set's brief. Equal briefs are adjacent, hence the small cache."""
    if brief is None:
        return {}
    payload = cast(dict[str, dict[str, list[list[str]]]], json.loads(brief))
    row = (
        payload["brief"]["row"] if "brief" in payload else []
    )  # a turn of a conversation has no row
    return {axis: value for axis, value, *_ in row}


def collect_planned_shapes(plans: plan.Plans) -> AxisShapes:
    """Collect the shapes of all rounds' plans; a prompt with further candidates counts once."""
    shapes = AxisShapes()
    for row in iter_planned_rows(plans, [*_ROW_COLUMNS, "brief", "first"]):
        if not row["first"]:
            shapes.add(row, brief_values=brief_axes(row["brief"]))
    return shapes


def collect_kept_shapes(folder: RunFolder, kept: Container[str]) -> AxisShapes:
    """Collect the shapes of the scenarios in the dataset."""
    shapes, seen = AxisShapes(), set[str]()
    columns = ["scenario_id", *_ROW_COLUMNS, "outcome", "accepted"]
    for row in iter_draft_rows(folder, columns, folder.finished_shards()):
        id_ = row["scenario_id"]
        if row["outcome"] == "ok" and row["accepted"] and id_ in kept and id_ not in seen:
            seen.add(id_)
            shapes.add(row)
    return shapes


def build_coverage_model(
    shapes: AxisShapes,
    tiers: Mapping[str, str],
    *,
    axes: Axes | None = None,
    restricted_axes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    barred_profiles: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> CoverageModel | None:
    """Build the model of a plan: pairs of axes with several values, triples of axes that the policy uses.

    Args:
        shapes: shapes of the plan.
        tiers: policy tier by leaf; without one, tiers are not reported.
        axes: the axes file by default.
        restricted_axes: axes that the plan restricts to some values.
        barred_profiles: excluded profiles by leaf.

    Returns:
        None if nothing is planned, or fewer than two axes vary.
    """
    if not shapes.counts:
        return None
    axes = axes or axes_file.load_axes()
    harms = shapes.values("harm")
    values = _list_varying_values(shapes, tiers, axes, restricted_axes)
    model = axes.build_model(list(values), values=values)
    factors = ({"harm": harms} if len(harms) > 1 else {}) | dict(model.factors)
    if len(factors) < 2:
        return None
    void = list(model.void)
    if {"harm", "tier"} <= set(factors):
        void += _tier_voids(harms, tiers)
    if {"harm", "profile"} <= set(factors):
        excluded = {h: barred_profiles[h] for h in harms if h in barred_profiles}
        void += _profile_voids(excluded, factors["profile"])
    return replace(model, factors=factors, void=tuple(void))


def _list_varying_values(
    shapes: AxisShapes,
    tiers: Mapping[str, str],
    axes: Axes,
    restricted_axes: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """List the values of each axis that has several, in the order of the axes file."""
    values = {
        name: [
            v
            for v in shapes.values(name)
            if name not in restricted_axes or v in restricted_axes[name]
        ]
        for name in PLAN_AXES[1:]
    }
    # A leaf decides its tier, so only tiers of planned leaves can occur.
    values["tier"] = sorted({tiers[h] for h in shapes.values("harm") if h in tiers})
    for name in (*VALUE_AXES, *shapes.varied):
        every = list(axes.by_id[name].values) if name in axes.by_id else []
        some = set(every)
        if name in restricted_axes:
            some = {*restricted_axes[name], *shapes.values(name)}
        values.setdefault(name, [value for value in every if value in some])
    known = {
        name: [v for v in axes.by_id[name].values if v in present]
        for name, present in values.items()
        if name in axes.by_id
    }
    return {name: present for name, present in known.items() if len(present) > 1}


def _profile_voids(excluded: Mapping[str, Sequence[str]], varied: Sequence[str]) -> Iterator[Void]:
    for harm, profiles in excluded.items():
        if some := [p for p in profiles if p in varied]:
            yield Void({"harm": [harm], "profile": some}, "the profile excludes the leaf")


def _tier_voids(harms: Sequence[str], tiers: Mapping[str, str]) -> Iterator[Void]:
    for tier in sorted({tiers[h] for h in harms if h in tiers}):
        others = [h for h in harms if tiers.get(h) != tier]
        if others:
            yield Void({"tier": [tier], "harm": others}, "a leaf has one tier")


class Certificates(NamedTuple):
    """Certificates of one model before and after filtering."""

    axes: tuple[str, ...]
    triples: tuple[str, ...]
    """Axes that are covered in triples."""
    before: Certificate
    after: Certificate


def certify_run(
    before: AxisShapes,
    after: AxisShapes,
    tiers: Mapping[str, str],
    *,
    axes: Axes | None = None,
    restricted_axes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    barred_profiles: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Certificates | None:
    """Certify plan and dataset; None if fewer than two axes vary."""
    model = build_coverage_model(
        before, tiers, axes=axes, restricted_axes=restricted_axes, barred_profiles=barred_profiles
    )
    if model is None:
        return None
    triples = tuple(
        name for group in model.groups for name in group.factors if name in BRANCHING_AXES
    )
    results = [certify(model, shapes.rows(tiers)) for shapes in (before, after)]
    return Certificates(tuple(model.factors), triples, results[0], results[1])


class CountComparison(NamedTuple):
    """A count of a certificate before and after filtering."""

    name: str
    before: int
    after: int


def compare_certificates(pair: Certificates) -> list[CountComparison]:
    """List the counts of a certificate before and after filtering."""
    before, after = pair.before.counts, pair.after.counts
    return [
        CountComparison("combinations", before.total, after.total),
        CountComparison("without sense (void)", before.void, after.void),
        CountComparison("covered", before.covered, after.covered),
        CountComparison("missing", before.missing, after.missing),
    ]


def certificates_json(pair: Certificates, *, listed: int = MAX_LISTED) -> dict[str, object]:
    """Convert certificates to JSON."""
    return {
        "axes": list(pair.axes),
        "pairs_of": list(pair.axes),
        "triples_of": list(pair.triples),
        "before": certificate_json(pair.before, listed=listed),
        "after": certificate_json(pair.after, listed=listed),
    }


def certificate_json(certificate: Certificate, *, listed: int = MAX_LISTED) -> dict[str, object]:
    """Convert one certificate to JSON."""
    counts = certificate.counts
    return {
        "rows": certificate.rows,
        "rows_that_break_a_constraint": certificate.invalid_rows,
        "total": counts.total,
        "void": counts.void,
        "covered": counts.covered,
        "missing": counts.missing,
        "first_missing": [dict(row) for row in certificate.missing[:listed]],
    }
