"""One validator, teacher, view and language pack from outside the package, used in a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import safegen
from tests.e2e.runs import cli

TEACHER = '''
"""A teacher in one file."""

from safegen.types import Reply, Request, Teacher, TeacherTraits

TRAITS = TeacherTraits(grade="demo", embedded=True)


def locksmith(*, sentence: str) -> Teacher:
    """Build a teacher that always gives one sentence."""

    async def answer(request: Request, /) -> Reply:
        return Reply(f"{sentence} Ask {request.sample + 1} of them.", "locksmith-1")

    return answer
'''
VALIDATOR = '''
"""A validator in one file."""

from typing import Literal, get_args

from safegen.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict

Code = Literal["calm", "shouts"]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(get_args(Code), teachable=("shouts",))


def no_shouting(*, most: int = 3) -> DraftValidator:
    """Pass a response with at most `most` exclamation marks."""

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        ok = (draft.response or "").count("!") <= most
        code = "calm" if ok else "shouts"
        return Verdict("no_shouting", "1", passed=ok, score=float(ok), code=code, reason=code)

    return check
'''
VIEW = '''
"""A view in one file."""

import pyarrow as pa

from safegen.dataset.view import ScenarioGroup, View


def lengths() -> View:
    """Make a view with the length of each selected response."""
    return View("lengths", _columns, _rows)


def _columns() -> pa.Schema:
    return pa.schema([pa.field("scenario_id", pa.string()), pa.field("length", pa.int64())])


def _rows(group: ScenarioGroup) -> list[dict[str, object]]:
    record = group.selected
    if record is None:
        return []
    return [{"scenario_id": record.scenario.scenario_id, "length": len(record.draft.response)}]
'''
PACK = """
inherits: en
version: 1.0.0
profiles:
  enterprise: [You are the assistant of Example Locks. Its staff talk to you.]
"""
RECIPE = """
name: outside
plan: {harms: [property.*], sets_per_harm: 1, profiles: [enterprise]}
locales: [house]
teachers:
  drafter: {"locksmith:locksmith": {sentence: "A locksmith opens this door and checks the owner."}}
validators: ["no_shouting:no_shouting": {most: 1}]
views: ["lengths:lengths"]
"""
FILES = {
    "locksmith.py": TEACHER,
    "no_shouting.py": VALIDATOR,
    "lengths.py": VIEW,
    "prompts/locales/house.yaml": PACK,
    "r.yaml": RECIPE,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_outside_plugins_work_without_other_changes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = [
        word for name in ("locksmith", "no_shouting", "lengths") for word in ("--plugin", name)
    ]
    result = cli(capsys, "generate", "r.yaml", "-o", "out", "--min-yield", "0", *trusted)
    assert result.code == 0, result
    run = safegen.open_run(folder / "out")
    records = run.folder.read_records(0)
    (verdict,) = records[0].verdicts
    assert (verdict.validator, verdict.code, verdict.passed) == ("no_shouting", "calm", True)
    assert {r.draft.model for r in records} == {"locksmith-1"}
    assert {r.grade for r in records} == {"demo"}
    assert {r.scenario.messages[0]["content"] for r in records} == {
        "You are the assistant of Example Locks. Its staff talk to you."
    }
    rows: pl.DataFrame = run.view("lengths")
    lengths = {r.scenario.scenario_id: len(r.draft.response or "") for r in records if r.accepted}
    # Curation keeps one of the equal answers.
    assert [lengths[id_] == length for id_, length in rows.rows()] == [True]


def test_outside_plugins_need_permission(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = cli(capsys, "check", "r.yaml")
    assert result.code == 2
    assert "--plugin" in result.err
