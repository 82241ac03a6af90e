"""Records round-trip through Parquet; ids depend on identity, never on text."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from safegen.core.errors import StoreDamaged
from safegen.core.types import (
    Attribute,
    Draft,
    Evidence,
    Expectation,
    Intent,
    Message,
    Mode,
    Outcome,
    PolicyEffect,
    Profile,
    Record,
    Scenario,
    Severity,
    Source,
    Task,
    Verdict,
)
from safegen.scenarios.context import make_draft_id, make_scenario_id
from safegen.store import parquet
from safegen.store.schema import LATER_COLUMNS, record_from_row, record_row, record_schema
from safegen.testing import make_draft, make_findings, make_record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)
COUNT = st.integers(0, 2**40)
SCORE = st.floats(0, 1)


def one_of(literal: object) -> st.SearchStrategy[str]:
    return st.sampled_from(get_args(literal))


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


def tuples(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(strategy, max_size=3).map(tuple)


MESSAGES = tuples(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=TEXT)
)
ATTRIBUTE = st.builds(
    Attribute, axis=TEXT, value=TEXT, source=st.sampled_from(["written", "confirmed"])
)
SCENARIOS = st.builds(
    Scenario,
    **dict.fromkeys(
        "scenario_id set_id goal_id taxonomy harm domain language benign_use misuse_risk "
        "source_licence".split(),
        TEXT,
    ),
    **dict.fromkeys(["round", "requested_detail", "paraphrase", "turn"], INT64),
    task=one_of(Task),
    intent=one_of(Intent),
    evidence=one_of(Evidence),
    profile=one_of(Profile),
    source=one_of(Source),
    jurisdiction=maybe(TEXT),
    contrast=maybe(TEXT),
    attributes=tuples(ATTRIBUTE),
    messages=MESSAGES,
)
EXPECTATIONS = st.builds(
    Expectation,
    policy_id=TEXT,
    mode=one_of(Mode),
    ceiling=INT64,
    floor=INT64,
    required=tuples(TEXT),
    rule_ids=tuples(TEXT),
)
DRAFTS = st.builds(
    Draft,
    **dict.fromkeys(["draft_id", "scenario_id", "teacher", "model"], TEXT),
    **dict.fromkeys(
        "parent_id response reasoning_content response_sha256 style finish_reason".split(),
        maybe(TEXT),
    ),
    candidate=INT64,
    revision=INT64,
    withheld=st.booleans(),
    outcome=one_of(Outcome),
    prompt_tokens=maybe(COUNT),
    completion_tokens=maybe(COUNT),
)
VERDICTS = st.builds(
    Verdict,
    **dict.fromkeys(["validator", "version", "reason", "evidence"], TEXT),
    passed=maybe(st.booleans()),
    score=maybe(SCORE),
    threshold=maybe(SCORE),
    severity=maybe(one_of(Severity)),
    delivered=maybe(st.sampled_from(["A0", "A1", "A2", "A3", "A4"])),
    judge=maybe(TEXT),
    prompt_digest=maybe(TEXT),
    code=TEXT.filter(str.strip),
    teachable=st.booleans(),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    record = Record(
        scenario=draw(SCENARIOS),
        expectation=draw(EXPECTATIONS),
        draft=draw(DRAFTS),
        verdicts=tuple(draw(st.lists(VERDICTS, max_size=3))),
        delivered=draw(st.sampled_from([None, "A0", "A4"])),
        accepted=draw(st.booleans()),
        accepted_by=draw(st.sampled_from([None, "rules"])),
        reason=draw(st.none() | TEXT),
        grade=draw(st.sampled_from(["demo", "generated"])),
    )
    return replace(record, draft=replace(record.draft, scenario_id=record.scenario.scenario_id))


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=4))
def test_records_round_trip_through_parquet(made: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00000.parquet"
        parquet.write_rows(path, [record_row(r) for r in made], record_schema())
        first = path.read_bytes()
        assert [record_from_row(row) for row in parquet.read_rows(path)] == made
        parquet.write_rows(path, [record_row(r) for r in made], record_schema())
        assert path.read_bytes() == first


PARTS = st.tuples(
    TEXT, one_of(Intent), st.integers(0, 99), TEXT, one_of(Profile), st.integers(0, 9)
)


def named(parts: tuple[str, Intent, int, str, Profile, int]) -> str:
    set_, intent, paraphrase, language, profile, turn = parts
    return make_scenario_id(
        set_, intent=intent, paraphrase=paraphrase, language=language, profile=profile, turn=turn
    )


@given(PARTS, PARTS)
def test_scenario_ids_equal_only_for_equal_identities(
    one: tuple[str, Intent, int, str, Profile, int], two: tuple[str, Intent, int, str, Profile, int]
) -> None:
    assert (named(one) == named(two)) == (one == two)


@given(st.tuples(TEXT, COUNT, COUNT), st.tuples(TEXT, COUNT, COUNT))
def test_draft_ids_equal_only_for_equal_identities(
    one: tuple[str, int, int], two: tuple[str, int, int]
) -> None:
    ids = [make_draft_id(name, candidate=c, revision=r) for name, c, r in (one, two)]
    assert (ids[0] == ids[1]) == (one == two)


def test_records_without_later_columns_are_read_as_null(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    record = make_record()
    older = pa.schema([f for f in record_schema() if f.name not in LATER_COLUMNS])
    row = {k: v for k, v in record_row(record).items() if k not in LATER_COLUMNS}
    parquet.write_rows(path, [row], older)
    (read,) = parquet.read_rows(path, schema=record_schema())
    assert record_from_row(read) == record
    columns = ["draft_id", *LATER_COLUMNS]
    frames = parquet.read_frames(path, columns, record_schema(), remedy="")
    rows = [row for frame in frames for row in frame.rows()]
    assert rows == [(record.draft.draft_id, *(None for _ in LATER_COLUMNS))]


def test_findings_and_scores_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    findings = make_findings("j", severity="low", tone=None)
    record = make_record(findings=findings, reward=0.5, safety=1.0, disagreement=0.0)
    parquet.write_rows(path, [record_row(record)], record_schema())
    (read,) = parquet.read_rows(path, schema=record_schema())
    assert record_from_row(read) == record


EFFECT = PolicyEffect(
    "A2", "A4", 1.0, 0.5, "openai_chat", "m", "ok", findings=make_findings("j", severity="low")
)


@pytest.mark.parametrize(
    "effect", [EFFECT, PolicyEffect(), None], ids=["known", "unknown", "not measured"]
)
def test_policy_effect_round_trips(effect: PolicyEffect | None, tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    record = make_record(policy_effect=effect)
    parquet.write_rows(path, [record_row(record)], record_schema())
    (read,) = parquet.read_rows(path, schema=record_schema())
    assert record_from_row(read) == record
    assert (read["policy_effect"] or {}).get("level_change") == (effect and effect.level_change)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delivered_without", "A9"),
        ("safety_without", 1.5),
        ("outcome", "gone"),
        ("findings", [{"judge": "j", "field": "mood", "code": "answered", "evidence": ""}]),
    ],
)
def test_wrong_policy_effect_is_named_with_its_row(
    name: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "records.parquet"
    rows = [
        record_row(make_record(draft=make_draft(draft_id=id_), policy_effect=effect))
        for id_, effect in (("a", None), ("b", EFFECT))
    ]
    rows[1]["policy_effect"] |= {name: value}
    parquet.write_rows(path, rows, record_schema())
    with pytest.raises(StoreDamaged, match=rf"row 2: `policy_effect\.{name}"):
        parquet.read_rows(path, schema=record_schema())
