from __future__ import annotations

from itertools import chain

import polars as pl
import pytest

from safegen.core.errors import ConfigError
from safegen.core.types import Attribute
from safegen.coverage import axes
from safegen.coverage.certificate import certify
from safegen.coverage.covering_array import CoverageModel
from safegen.coverage.ledger import CellTarget, Ledger, ScenarioAxes, StageCounts, attribute_row
from safegen.dataset.run_stats import DraftStats, RunStats


def counts_of(frame: dict[str, list[object]], results: dict[str, list[object]]) -> RunStats:
    return RunStats(pl.LazyFrame(frame), pl.LazyFrame(results), DraftStats())


STATS = counts_of(
    {
        # The second round plans scenario 1 again.
        "scenario_id": ["1", "2", "3", "4", "1"],
        "harm": ["a.x", "a.x", "a.x", "b.y", "a.x"],
        "intent": ["benign", "benign", "malicious", "benign", "benign"],
        "first": [0, 0, 0, 0, 2],
    },
    {
        # Scenario 9 has a record and no plan.
        "scenario_id": ["1", "2", "3", "9"],
        "harm": ["a.x", "a.x", "a.x", "c.z"],
        "intent": ["benign", "benign", "malicious", "benign"],
        "has_record": [True, True, True, True],
        "answered": [True, True, False, False],
        "accepted": [True, False, False, False],
        "kept": [True, False, False, False],
    },
)
LEDGER = STATS.make_ledger(("harm", "intent"))


def test_scenarios_count_once_at_each_stage() -> None:
    assert dict(LEDGER.cells) == {
        ("a.x", "benign"): StageCounts(2, 2, 1, 1),
        ("a.x", "malicious"): StageCounts(1, 0, 0, 0),
        ("b.y", "benign"): StageCounts(1, 0, 0, 0),
    }


def test_shortfall_counts_planned_cells_only() -> None:
    cells = {**LEDGER.cells, ("c.z", "benign"): StageCounts(0, 1, 1, 1)}
    book = Ledger(LEDGER.axes, cells)
    assert book.shortfall(CellTarget(accepted=2)) == {
        ("a.x", "benign"): 1,
        ("a.x", "malicious"): 2,
        ("b.y", "benign"): 2,
    }
    assert book.shortfall(CellTarget(accepted=1, per=("harm",))) == {("b.y",): 1}
    assert book.shortfall(CellTarget(accepted=0)) == {}


def test_totals_add_up_over_other_axes() -> None:
    assert LEDGER.totals_by(("intent",)) == {
        ("benign",): StageCounts(3, 2, 1, 1),
        ("malicious",): StageCounts(1, 0, 0),
    }
    assert LEDGER.totals_by(()) == {(): StageCounts(4, 2, 1, 1)}


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean `intent`"):
        LEDGER.totals_by(("intend",))
    with pytest.raises(ConfigError, match="0 or more"):
        LEDGER.shortfall(CellTarget(accepted=-1))


def test_unconfirmed_attributes_cover_nothing() -> None:
    row: ScenarioAxes = {
        "task": "plan",
        "requested_detail": 3,
        "contrast": None,
        "attributes": [
            {"axis": "tone", "value": "urgent", "source": "written"},
            Attribute("role", "student", "confirmed"),
            {"axis": "skill", "value": "skilled", "source": "asked"},
        ],
    }
    assert attribute_row(row) == {
        "task": "plan",
        "requested_detail": "3",
        "tone": "urgent",
        "role": "student",
    }
    model = CoverageModel(
        {"tone": ["urgent", "neutral"], "role": ["student", "minor"], "skill": ["skilled"]}
    )
    proof = certify(model, [attribute_row(row)])
    assert (proof.counts.total, proof.counts.covered, proof.counts.missing) == (8, 1, 7)


def test_removed_rows_reopen_their_combinations() -> None:
    model = axes.load_axes().build_model(("tone", "requested_detail"))
    rows = [
        {"requested_detail": d, "attributes": [Attribute("tone", tone, "written")]}
        for d in range(5)
        for tone in model.factors["tone"]
    ]
    assert certify(model, map(attribute_row, rows)).counts.missing == 0
    left = certify(model, map(attribute_row, chain(rows[:4], rows[6:])))
    assert left.counts.missing == 2
    assert [m["requested_detail"] for m in left.missing] == ["0", "0"]
