"""Scenarios of a user's rows: ids, sets, profiles and sources of labels."""

from __future__ import annotations

from pathlib import Path

from safegen.judges.user_prompt_labels import BlindLabels
from safegen.scenarios.context import EMPTY_KNOWLEDGE
from tests.scenarios.user_prompts.prompt_files import (
    FULL,
    one,
    planned,
    read_file,
    written,
)


def test_file_labels_are_written_and_blind_labels_confirmed(tmp_path: Path) -> None:
    row = one(tmp_path, evidence=None, detail=None, task="plan")
    item = planned(row, BlindLabels(evidence="contextual", detail=1))[0]
    axes = {a.axis: (a.value, a.source) for a in item.scenario.attributes}
    assert axes == {
        "harm": ("cyber.intrusion", "written"),
        "intent": ("dual_use", "written"),
        "evidence": ("contextual", "confirmed"),
        "requested_detail": ("1", "confirmed"),
        "task": ("plan", "written"),
        "source_id": ("a-1", "written"),
    }
    assert item.knowledge == EMPTY_KNOWLEDGE
    assert item.scenario.source == "imported"
    assert item.scenario.source_licence == "CC-BY-4.0"
    assert item.scenario.goal_id == "imported/a-1"


def test_ids_hold_when_rows_move_and_labels_change(tmp_path: Path) -> None:
    first, second = FULL, FULL | {"id": "b", "prompt": "Another box?"}
    before = read_file(written(tmp_path, "jsonl", first, second))
    changed = first | {"prompt": "Mended words.", "harm": "property.theft", "licence": "MIT"}
    changed |= {"intent": "benign", "detail": 0, "profile": "public"}
    after = read_file(written(tmp_path, "csv", second, changed))
    ids = {row.id: planned(row)[0].scenario.scenario_id for row in before}
    assert {row.id: planned(row)[0].scenario.scenario_id for row in after} == ids
    assert len(set(ids.values())) == 2


def test_row_without_id_is_identified_by_its_messages(tmp_path: Path) -> None:
    bare = {k: v for k, v in FULL.items() if k != "id"}
    rows = [bare, bare | {"prompt": "Another box?"}, bare | {"detail": 1}]
    ids = [
        planned(row)[0].scenario.scenario_id for row in read_file(written(tmp_path, "jsonl", *rows))
    ]
    assert ids[0] == ids[2] != ids[1]


def test_rows_of_a_set_share_set_and_goal(tmp_path: Path) -> None:
    rows = [FULL | {"id": name, "set": "boxes"} for name in "ab"]
    items = [planned(row)[0] for row in read_file(written(tmp_path, "csv", *rows))]
    assert {i.scenario.goal_id for i in items} == {"imported/boxes"}
    assert len({i.scenario.set_id for i in items}) == 1
    assert len({i.scenario.scenario_id for i in items}) == 2


def test_row_is_planned_under_own_or_all_profiles(tmp_path: Path) -> None:
    own = planned(one(tmp_path, profile="minors"), profiles=("public", "enterprise"))
    each = planned(one(tmp_path), profiles=("public", "enterprise"))
    assert [i.scenario.profile for i in own] == ["minors"]
    assert own[0].scenario.messages[0]["role"] == "system"
    assert [i.scenario.profile for i in each] == ["public", "enterprise"]
    assert [len(i.scenario.messages) for i in each] == [1, 2]
    assert len({i.scenario.scenario_id for i in each}) == 2


def test_rows_of_a_twin_share_set_and_goal(tmp_path: Path) -> None:
    rows = [FULL | {"id": name, "twin": "boxes"} for name in "ab"]
    items = [planned(row)[0] for row in read_file(written(tmp_path, "csv", *rows))]
    assert {i.scenario.goal_id for i in items} == {"imported/boxes"}
    assert len({i.scenario.set_id for i in items}) == 1
    assert [i.scenario.find_attribute("twin") for i in items] == ["boxes"] * 2
    assert {i.scenario.find_attribute("group") for i in items} == {None}
