"""Measure planning by axes: python benchmarks/planning.py [SCENARIOS ...].

For each number, in a process of its own: the array over the default axes, its rows dealt out to
that many scenarios in matched sets over the taxonomy's leaves, each with its expectation and its
id, the ledger of them and the certificate of their attributes. Prints seconds and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import polars as pl

from safegen.config import taxonomy
from safegen.config.recipe import Recipe
from safegen.config.taxonomy import Harm
from safegen.core.hashing import short_id
from safegen.core.types import Evidence, Intent, Profile
from safegen.coverage import axes
from safegen.coverage.assign import assign_rows
from safegen.coverage.certificate import certify
from safegen.coverage.covering_array import build_array
from safegen.coverage.ledger import ScenarioAxes
from safegen.dataset.coverage_report import AxisShapes
from safegen.dataset.run_stats import DraftStats, RunStats
from safegen.policy import loader, spec
from safegen.policy.spec import Policy, Situation

LEDGER_AXES = ("harm", "intent", "mode", "language")
FLAGS = ("has_record", "answered", "accepted", "kept")
VARIANTS: tuple[tuple[Intent, Evidence], ...] = (
    ("benign", "none"),
    ("dual_use", "none"),
    ("dual_use", "contextual"),
    ("malicious", "stated"),
)
"""A matched set: four scenarios."""


def scenarios(
    n: int, rows: list[dict[str, str]], harms: list[tuple[Harm, Policy]]
) -> Iterator[ScenarioAxes]:
    """Set number i is of leaf i modulo the leaves, at the row that its position is dealt."""
    for position, number in enumerate(assign_rows(len(rows), n // len(VARIANTS))):
        harm, policy = harms[position % len(harms)]
        row = rows[number]
        attributes = [(axis, value, "written") for axis, value in row.items()]
        set_ = short_id("set", "core", harm.id, sorted(row.items()), position // len(harms))
        for intent, evidence in VARIANTS:
            case = Situation(
                harm.tier, evidence, cast(Profile, row["profile"]), int(row["requested_detail"])
            )
            yield {
                **row,
                "attributes": attributes,
                "scenario_id": short_id("scenario", set_, intent, evidence),
                "harm": harm.id,
                "intent": intent,
                "mode": policy.decide(case).mode,
                "language": "en",
            }


def make_stats(planned: Iterable[ScenarioAxes]) -> RunStats:
    """Count planned scenarios without drafts, as a run does before its first draft."""
    frame = pl.DataFrame(
        {**{axis: row[axis] for axis in LEDGER_AXES}, "first": 0} for row in planned
    )
    texts = {axis: pl.Series(axis, [], pl.String) for axis in LEDGER_AXES}
    flags = {flag: pl.Series(flag, [], pl.Boolean) for flag in FLAGS}
    return RunStats(frame.lazy(), pl.LazyFrame({**texts, **flags}), DraftStats())


def measure(n: int) -> None:
    policies = [loader.load_policy(name) for name in Recipe(name="planning").policies]
    tree = taxonomy.load_taxonomy("core")
    harms = [(h, spec.policy_for(policies, h)) for h in tree.harms.values() if not h.red_line]
    model = axes.load_axes().build_model()
    at = [time.perf_counter()]
    rows = build_array(model)
    at.append(time.perf_counter())
    for _ in scenarios(n, rows, harms):
        pass
    at.append(time.perf_counter())
    dealt_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    book = make_stats(scenarios(n, rows, harms)).make_ledger(LEDGER_AXES)
    at.append(time.perf_counter())
    shapes = AxisShapes()
    for row in scenarios(n, rows, harms):
        shapes.add(row)
    proof = certify(model, shapes.rows({harm.id: harm.tier for harm, _ in harms}))
    at.append(time.perf_counter())
    array_s, deal_s, ledger_s, proof_s = (b - a for a, b in pairwise(at))
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{n:>9,} scenarios: array {array_s:.1f} s ({len(rows)} rows),"
        f" dealt in {deal_s:.1f} s (peak {dealt_kib / 1024:.0f} MiB), ledger {ledger_s:.1f} s"
        f" ({len(book.cells)} cells), certificate {proof_s:.1f} s ({proof.counts.missing} missing),"
        f" peak {peak_kib / 1024:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--here", action="store_true", help="measure in this process")
    args = parser.parse_args()
    for n in args.scenarios:
        if args.here:
            measure(n)
        else:
            subprocess.run([sys.executable, __file__, str(n), "--here"], check=True)


if __name__ == "__main__":
    main()
