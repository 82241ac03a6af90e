from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from safegen.core.errors import ConfigError
from safegen.core.types import Attribute, PlannedScenario
from safegen.coverage import axes
from safegen.coverage.covering_array import CoverageModel
from safegen.coverage.ledger import (
    CellCounts,
    CellTarget,
    ScenarioAxes,
    attribute_row,
    build_ledger,
    certify_attributes,
    scenario_axes,
)
from safegen.testing import make_draft, make_expectation, make_knowledge, make_record, make_scenario


def planned(
    id_: str, harm: str = "a.x", intent: str = "benign", mode: str = "direct_answer"
) -> ScenarioAxes:
    return {"scenario_id": id_, "harm": harm, "intent": intent, "mode": mode, "language": "en"}


def draft(row: ScenarioAxes, *, accepted: bool, outcome: str = "ok") -> ScenarioAxes:
    return {**row, "outcome": outcome, "accepted": accepted}


PLAN = [
    planned("1"),
    planned("2"),
    planned("3", intent="malicious", mode="refuse_redirect"),
    planned("4", harm="b.y"),
]
DRAFTS = [
    draft(PLAN[0], accepted=True),
    draft(PLAN[0], accepted=True),
    draft(PLAN[1], accepted=False),
    draft(PLAN[2], accepted=False, outcome="truncated"),
]


def test_scenarios_count_once_at_each_stage() -> None:
    book = build_ledger(PLAN, DRAFTS)
    assert dict(book.cells) == {
        ("a.x", "benign", "direct_answer", "en"): CellCounts(2, 2, 1, 1),
        ("a.x", "malicious", "refuse_redirect", "en"): CellCounts(1, 0, 0),
        ("b.y", "benign", "direct_answer", "en"): CellCounts(1, 0, 0),
    }


def test_ledger_does_not_depend_on_order() -> None:
    forward, backward = (
        build_ledger(PLAN, DRAFTS),
        build_ledger(iter(PLAN[::-1]), iter(DRAFTS[::-1])),
    )
    assert forward == backward
    assert list(forward.cells) == list(backward.cells)


def test_shortfall_counts_planned_cells_only() -> None:
    stray = draft(planned("9", harm="c.z"), accepted=True)
    book = build_ledger(PLAN, [*DRAFTS, stray])
    assert book.shortfall(CellTarget(accepted=2)) == {
        ("a.x", "benign"): 1,
        ("a.x", "malicious"): 2,
        ("b.y", "benign"): 2,
    }
    assert book.shortfall(CellTarget(accepted=1, per=("harm",))) == {("b.y",): 1}
    assert book.shortfall(CellTarget(accepted=0)) == {}


def test_totals_add_up_over_other_axes() -> None:
    book = build_ledger(PLAN, DRAFTS)
    assert book.totals_by(("intent",)) == {
        ("benign",): CellCounts(3, 2, 1, 1),
        ("malicious",): CellCounts(1, 0, 0),
    }
    assert book.totals_by(()) == {(): CellCounts(4, 2, 1, 1)}


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean `intent`"):
        build_ledger(PLAN).totals_by(("intend",))
    with pytest.raises(ConfigError, match="no column `harm`"):
        build_ledger([{"scenario_id": "1"}])
    with pytest.raises(ConfigError, match="0 or more"):
        build_ledger(PLAN).shortfall(CellTarget(accepted=-1))


def test_records_and_planned_scenarios_count_like_rows() -> None:
    scenario, expectation = make_scenario(), make_expectation()
    record = make_record(
        scenario=scenario, expectation=expectation, draft=make_draft(), accepted=True
    )
    plan = PlannedScenario(scenario, expectation, make_knowledge())
    book = build_ledger(
        [scenario_axes(plan)], map(scenario_axes, [record, replace(record, accepted=False)])
    )
    assert dict(book.cells) == {
        (scenario.harm, scenario.intent, expectation.mode, "en"): CellCounts(1, 1, 1, 1)
    }


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
    proof = certify_attributes(model, [row])
    assert (proof.counts.total, proof.counts.covered, proof.counts.missing) == (8, 1, 7)


def test_removed_rows_reopen_their_combinations() -> None:
    model = axes.load_axes().build_model(("tone", "requested_detail"))
    rows = [
        {"requested_detail": d, "attributes": [Attribute("tone", tone, "written")]}
        for d in range(5)
        for tone in model.factors["tone"]
    ]
    assert certify_attributes(model, rows).counts.missing == 0
    left = certify_attributes(model, chain(rows[:4], rows[6:]))
    assert left.counts.missing == 2
    assert [m["requested_detail"] for m in left.missing] == ["0", "0"]
