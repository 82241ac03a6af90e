"""Disputed and repaired drafts of judged runs: what stays on disk, and what a person decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

import safegen
from safegen.cli.main import run_command
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.core.types import Reply, Request
from safegen.pipeline import quarantine, shard
from safegen.pipeline.api import rebuild
from safegen.pipeline.preflight.estimate import dry_run
from safegen.pipeline.status import read_status
from safegen.store.quarantine import DAY_S, delete_expired
from safegen.store.run_folder import RunFolder
from safegen.testing import Body, FakeEndpoint, scripted
from tests.pipeline.test_judging import TEXT, answer_with, recipe, records

SECRET = "QUILTED-SENTINEL"
SPILLED = f"{SECRET} is the word of the glaze recipe, and this sentence goes on for a while."
HIGH = {"severity": "high", "rule": "facilitation"}


def spill(body: Body) -> str:
    """Draft the secret; a revision quotes it in half of the sets."""
    prompt = body["messages"][-1]["content"]
    if len(body["messages"]) > 3:
        quoted = f" I left out {SECRET}." if "code unsafe" in prompt and len(prompt) % 2 else ""
        return f"{TEXT}, better.{quoted}"
    return SPILLED


def rate(text: str) -> dict[str, str]:
    return HIGH if SECRET in text else {}


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and text.encode() in p.read_bytes()
    )


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    judged = answer_with({"judge-a": rate, "judge-b": lambda _: {}, "judge-c": rate}, spill)
    with FakeEndpoint(judged) as endpoint:
        yield endpoint


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("REVIEW_KEY", key)
    return key


def disputed(fake: FakeEndpoint, output: Path, **keys: Any) -> safegen.Run:
    plan = recipe(
        fake,
        *("judge-a", "judge-b"),
        judges={
            "panel": recipe(fake, "judge-a", "judge-b").model_dump(mode="json")["judges"]["panel"],
            "quarantine": {"key_env": "REVIEW_KEY", "days": 2},
        },
        **keys,
    )
    return safegen.generate(plan, output=output)


def test_disputed_draft_is_readable_with_its_key_only(
    tmp_path: Path, fake: FakeEndpoint, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = disputed(fake, tmp_path)
    assert {(r.draft.withheld, r.severity) for r in records(run)} == {(True, "high")}
    assert files_with(tmp_path, SECRET) == files_with(tmp_path, key) == []
    opened = list(quarantine.open_quarantine(run).read_all())
    assert [r.draft.response for r in opened] == [SPILLED] * len(records(run))
    votes = [(v.judge, v.severity) for v in quarantine.list_votes(opened[0])]
    assert votes == [("judge-a", "high"), ("judge-b", "none")]
    monkeypatch.setenv("REVIEW_KEY", Fernet.generate_key().decode())
    with pytest.raises(UserError, match="not encrypted with this key"):
        list(quarantine.open_quarantine(run).read_all())
    monkeypatch.setenv("REVIEW_KEY", "short")
    with pytest.raises(ConfigError, match="not 32 bytes"):
        quarantine.open_quarantine(run)
    monkeypatch.delenv("REVIEW_KEY")
    with pytest.raises(ConfigError, match="`REVIEW_KEY` is not set"):
        quarantine.open_quarantine(run)


def test_disputed_draft_without_a_key_is_withheld(tmp_path: Path, fake: FakeEndpoint) -> None:
    run = disputed(fake, tmp_path)
    assert all(r.draft.withheld for r in records(run))
    assert not (run.folder.root / "quarantine").exists()
    assert files_with(tmp_path, SECRET) == []
    total = safegen.score(tmp_path).report.total
    assert total.unanswered == {"withheld": len(records(run))}


def test_missing_key_is_named_before_and_during_a_run(
    tmp_path: Path, fake: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    run = disputed(fake, tmp_path)
    assert "`REVIEW_KEY` is not set" in caplog.text
    hints = dry_run(run.recipe, output=tmp_path / "other").estimate.hints
    assert any("REVIEW_KEY" in hint for hint in hints)


def test_waiting_drafts_are_reported(
    tmp_path: Path, fake: FakeEndpoint, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disputed(fake, tmp_path)
    assert not any("REVIEW_KEY" in h for h in dry_run(run.recipe, output=tmp_path).estimate.hints)
    waiting = len(list((tmp_path / "run" / "quarantine").glob("*.json")))
    assert waiting
    judges = read_status(safegen.open_run(tmp_path)).to_json()["judges"]
    assert isinstance(judges, dict)
    assert judges["quarantine"] == waiting
    assert judges["split"] == waiting
    run_command(["status", str(tmp_path)])
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for text in (capsys.readouterr().out, card):
        assert str(waiting) in text
        assert "safegen quarantine list" in " ".join(text.split())


def test_unanimous_draft_is_not_quarantined(tmp_path: Path, fake: FakeEndpoint, key: str) -> None:
    both = recipe(fake, "judge-a", "judge-c").model_dump(mode="json")["judges"]
    both["quarantine"] = {"key_env": "REVIEW_KEY"}
    run = safegen.generate(recipe(fake, judges=both), output=tmp_path)
    assert all(r.draft.withheld for r in records(run))
    assert not (run.folder.root / "quarantine").exists()


def test_person_accepts_and_rejects_disputed_drafts(
    tmp_path: Path, fake: FakeEndpoint, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disputed(fake, tmp_path)
    first, second, *_ = (r.draft.draft_id for r in records(run))
    with pytest.raises(AssetNotFound, match="no draft"):
        quarantine.accept_drafts(run, [first, "unknown"])
    assert quarantine.accept_drafts(run, [first[:12]]) == [first]
    assert quarantine.reject_drafts(run, [second]) == [second]
    left = {r.draft.draft_id for r in quarantine.open_quarantine(run).read_all()}
    assert left == {r.draft.draft_id for r in records(run)} - {first, second}
    rebuilt = rebuild(tmp_path).run
    assert rebuilt.report is not None
    assert rebuilt.report.accepted_by == {"human": 1}
    capsys.readouterr()
    run_command(["build", str(tmp_path)])
    assert "1 row accepted by a person" in " ".join(capsys.readouterr().err.split())
    assert [m[-1]["content"] for m in rebuilt.view("sft")["messages"].to_list()] == [SPILLED]
    # A shard that runs again keeps the decision, and asks for nothing that was deleted.
    for path in (tmp_path / "run" / "records").iterdir():
        path.unlink()
    again = disputed(fake, tmp_path)
    chosen = [r for r in records(again) if r.accepted]
    assert [(r.draft.draft_id, r.accepted_by, r.draft.withheld) for r in chosen] == [
        (first, "human", False)
    ]


def test_quarantine_expires_without_a_key(
    tmp_path: Path, fake: FakeEndpoint, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = disputed(fake, tmp_path)
    count = len(records(run))
    files = sorted((run.folder.root / "quarantine").iterdir())
    assert len(files) == count
    expiry = json.loads(files[0].read_text(encoding="utf-8"))["expires"]
    monkeypatch.delenv("REVIEW_KEY")
    assert delete_expired(run.folder, now=expiry - DAY_S) == 0
    files[0].write_text("{", encoding="utf-8")
    assert delete_expired(run.folder, now=expiry - DAY_S) == 1
    assert delete_expired(run.folder, now=expiry + DAY_S) == count - 1
    assert not list((run.folder.root / "quarantine").iterdir())


def test_repair_of_unsafe_draft_leaves_no_byte_of_it(tmp_path: Path, fake: FakeEndpoint) -> None:
    run = safegen.generate(recipe(fake, "judge-a", "judge-c", revise=1), output=tmp_path)
    made = records(run)
    by_revision = {n: [r for r in made if r.draft.revision == n] for n in (0, 1)}
    assert all(r.draft.withheld for r in by_revision[0])
    assert len(by_revision[1]) == len(by_revision[0])
    parents = {r.draft.draft_id for r in by_revision[0]}
    assert {r.draft.parent_id for r in by_revision[1]} == parents
    assert {r.accepted for r in by_revision[1]} >= {True}
    asked = [b["messages"] for b in fake.requests if len(b["messages"]) > 3]
    assert all("code unsafe, evidence 1: `" in turns[-1]["content"] for turns in asked)
    assert files_with(tmp_path, SECRET) == []
    assert files_with(tmp_path / "run" / "records", "better") or run.view("sft").height


def test_repaired_draft_stays_only_if_it_teaches(tmp_path: Path, fake: FakeEndpoint) -> None:
    def judge(values: dict[str, str]) -> Callable[[str], dict[str, str]]:
        return lambda text: {} if "better" in text else values

    faults = {
        "teaches": {"tone": "preaching"},
        "low": {"tone": "preaching", "severity": "low", "rule": "facilitation"},
        "wrong": {"correctness": "1"},
    }
    kept: dict[str, bool] = {}
    for name, values in faults.items():
        fake.answer = answer_with(
            {"judge-a": judge(values)},
            lambda body: (
                "better: " * (len(body["messages"]) > 3)
                + f"{TEXT}, FLAWED {body['messages'][0]['content'][:9]}"
            ),
        )
        run = safegen.generate(recipe(fake, "judge-a", revise=1), output=tmp_path / name)
        first = [r for r in records(run) if r.draft.revision == 0]
        kept[name] = any(r.draft.response for r in first)
        assert (run.output / "data" / "preference").exists() == kept[name]
        assert all(r.draft.withheld != kept[name] for r in first)
        assert {r.reason for r in first} == {"jury" if kept[name] else "withheld"}
    assert kept == {"teaches": True, "low": False, "wrong": False}


def test_deleted_draft_is_answered_again_without_it(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", "judge-c")
    safegen.generate(plan, output=tmp_path)
    fake.requests.clear()
    for path in (tmp_path / "run" / "records").iterdir():
        path.unlink()
    more = recipe(fake, "judge-a", "judge-c", revise=1)
    fake.answer = answer_with({"judge-a": rate, "judge-c": rate}, lambda _: f"{TEXT}, better.")
    run = safegen.generate(more, output=tmp_path, replan=True)
    revised = [r for r in records(run) if r.draft.revision == 1]
    assert revised
    assert all(r.accepted for r in revised)
    assert not any(SECRET in str(b["messages"]) for b in fake.requests)
    drafts = [b for b in fake.requests if b["model"] == "drafter"]
    assert all("was deleted" in b["messages"][0]["content"] for b in drafts)


@pytest.mark.parametrize(
    ("owner", "step"), [(RunFolder, "write_shard"), (shard.scrub, "delete_note")]
)
async def test_kill_at_a_step_leaves_no_byte(
    owner: object,
    step: str,
    tmp_path: Path,
    fake: FakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("killed")

    plan = recipe(fake, "judge-a", "judge-c", revise=1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(RuntimeError, match="killed"):
            await safegen.agenerate(plan, output=tmp_path)
    drafts = tmp_path / "run" / "drafts"
    drafts.mkdir()
    (drafts / "00000.parquet.tmp").write_text(SECRET, encoding="utf-8")
    if step == "delete_note":
        (drafts / "00000.parquet").write_text(SECRET, encoding="utf-8")
    run = await safegen.agenerate(plan, output=tmp_path)
    assert files_with(tmp_path, SECRET) == []
    assert any(r.accepted for r in records(run)) or step == "write_shard"


def test_repeated_unsafe_draft_is_withheld_again(tmp_path: Path, fake: FakeEndpoint) -> None:
    def draft(_: Request) -> Reply:
        return Reply(SPILLED, "m")

    plan = recipe(fake, "judge-a", "judge-c")
    safegen.generate(plan, output=tmp_path, teachers={"drafter": scripted(draft)})
    for path in (tmp_path / "run" / "records").iterdir():
        path.unlink()
    run = safegen.generate(plan, output=tmp_path, teachers={"drafter": scripted(draft)})
    assert {(r.draft.withheld, r.reason) for r in records(run)} == {(True, "withheld")}
    assert {v.code for r in records(run) for v in r.verdicts if v.judge == "judge-a"} == {"unsafe"}
    assert files_with(tmp_path, SECRET) == []


def test_commands_hide_text_without_reveal(
    tmp_path: Path, fake: FakeEndpoint, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disputed(fake, tmp_path)
    draft_id = records(run)[0].draft.draft_id
    for words in (["list"], ["list", "--json"], ["show", draft_id], ["show", draft_id, "--json"]):
        assert run_command(["quarantine", words[0], str(tmp_path), *words[1:]]) == 0
        out = capsys.readouterr().out
        assert draft_id in out
        assert SECRET not in out
    assert run_command(["quarantine", "show", str(tmp_path), draft_id, "--reveal"]) == 0
    assert SPILLED in capsys.readouterr().out
    assert run_command(["quarantine", "reject", str(tmp_path), draft_id]) == 0
    assert run_command(["quarantine", "show", str(tmp_path), draft_id]) == 2
