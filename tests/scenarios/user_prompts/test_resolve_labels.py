"""Labels of the file win; other rows are listed or excluded."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.judges.user_prompt_labels import BlindLabels
from safegen.scenarios.user_prompts.resolve_labels import ExcludedRow, Unlabelled, resolve_labels
from tests.scenarios.user_prompts.prompt_files import (
    Values,
    one,
    planned,
    world,
)


def test_file_labels_win_over_blind_labels(tmp_path: Path) -> None:
    item = planned(one(tmp_path), BlindLabels("fraud.identity", "malicious", "stated", 0))[0]
    assert item.scenario.intent == "dual_use"
    assert item.scenario.requested_detail == 3
    assert item.scenario.harm == "cyber.intrusion"


def test_system_turn_without_profile_is_listed(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Mind"}, {"role": "user", "content": "a box"}]
    row = one(tmp_path, prompt=None, messages=talk)
    listed = resolve_labels(row, BlindLabels(), world())
    assert isinstance(listed, Unlabelled)
    assert listed.fields == ("profile",)
    labelled = one(tmp_path, prompt=None, messages=talk, profile="enterprise")
    assert planned(labelled)[0].scenario.messages == tuple(talk)


@pytest.mark.parametrize(
    ("values", "blind", "fields"),
    [
        ({"harm": "minors.sexual"}, BlindLabels(), ("harm",)),
        ({"harm": None}, BlindLabels(harm="weapons.mass_casualty"), ("harm",)),
        ({"harm": None, "detail": None}, BlindLabels(), ("harm", "detail")),
        ({"intent": "malicious"}, BlindLabels(), ("intent", "evidence")),
        ({"evidence": "stated"}, BlindLabels(), ("intent", "evidence")),
        ({"evidence": None}, BlindLabels(evidence="stated"), ("intent", "evidence")),
    ],
)
def test_row_with_unknown_labels_is_listed(
    tmp_path: Path, values: Values, blind: BlindLabels, fields: tuple[str, ...]
) -> None:
    listed = resolve_labels(one(tmp_path, **values), blind, world())
    assert isinstance(listed, Unlabelled)
    assert listed.fields == fields
    assert listed.id == "a-1"


def test_row_outside_the_plan_is_excluded(tmp_path: Path) -> None:
    row = one(tmp_path)
    assert resolve_labels(row, BlindLabels(), world(harms=("fraud.*",))) == ExcludedRow("harms")
    assert resolve_labels(row, BlindLabels(), world(intents=("benign",))) == ExcludedRow("intents")
    unread = one(tmp_path, intent=None)
    assert resolve_labels(
        unread, BlindLabels(intent="dual_use"), world(intents=("benign",))
    ) == ExcludedRow("intents")


def test_harm_is_never_planned_under_excluded_profile(tmp_path: Path) -> None:
    about = {"harm": "sexual.adult", "intent": "benign", "evidence": "none", "detail": 0}
    named = one(tmp_path, **about, profile="minors")
    listed = resolve_labels(
        named, BlindLabels(), world(harms=("sexual.*",), profiles=("public", "minors"))
    )
    assert isinstance(listed, Unlabelled)
    assert listed.message == "the taxonomy excludes `sexual.adult` under `minors`"
    free = one(tmp_path, **about)
    both = planned(free, harms=("sexual.*",), profiles=("public", "minors"))
    assert [item.scenario.profile for item in both] == ["public"]
    alone = resolve_labels(free, BlindLabels(), world(harms=("sexual.*",), profiles=("minors",)))
    assert alone == ExcludedRow("profiles")
