"""Every command reports the same counts of dropped prompts and failed requests."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import AssetNotFound, BudgetSpent
from safegen.core.types import Teacher
from safegen.dataset.dropped import count_losses, iter_dropped
from safegen.teachers.scripted import scripted
from tests.e2e.runs import cli
from tests.e2e.test_authored_sets import World, recipe


@pytest.fixture
async def spoilt(tmp_path: Path) -> safegen.Run:
    """A run in which a gate dropped some sets."""
    world = World(spoil=0.5)
    run = await safegen.agenerate(
        recipe(authored=6), output=tmp_path / "out", teachers=world.teachers()
    )
    assert count_losses(run.folder).dropped
    return run


async def test_dropped_counts_agree_everywhere(
    spoilt: safegen.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped = dict(count_losses(spoilt.folder).dropped)
    assert spoilt.report is not None
    assert {r: n for r, n in spoilt.report.excluded.items() if r.startswith("gate_")} == dropped
    assert Counter(lost.reason for lost in iter_dropped(spoilt.folder)) == dropped
    payload = json.loads(cli(capsys, "status", str(spoilt.output), "--json").out)
    assert (payload["failed_requests"], payload["dropped"]) == ({}, dropped)
    again = cli(capsys, "retry", str(spoilt.output), "--json")
    assert again.code == 0
    assert json.loads(again.out)["dropped"] == dropped
    assert f"{sum(dropped.values())} prompts dropped before drafting" in again.err


async def test_dropped_prompt_is_shown_by_reason_or_id(
    spoilt: safegen.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    reason, count = next(iter(count_losses(spoilt.folder).dropped.items()))
    result = cli(capsys, "show", str(spoilt.output), "--reason", reason, "-n", "999", "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert len(rows) == count
    assert {row["reason"] for row in rows} == {reason}
    assert not any("message" in row for row in rows), "messages may quote and need --reveal"
    assert not any("text" in row for row in rows)
    args = ("show", str(spoilt.output), "--reason", reason, "-n", "999", "--json", "--reveal")
    texts = [json.loads(line)["text"] for line in cli(capsys, *args).out.splitlines()]
    assert all(text.startswith("Could you tell me what one does") for text in texts)
    one = cli(capsys, "show", str(spoilt.output), rows[0]["scenario_id"], "--reveal")
    assert one.code == 0
    assert "dropped" in one.out
    assert "Could you tell me" in one.out
    assert reason in one.out
    assert reason.removeprefix("gate_") + "," in one.out, "--reveal shows the message of the fault"


async def test_failed_author_request_is_no_dropped_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = World().teachers() | {"author": scripted(lambda _: "no JSON at all")}
    run = await safegen.agenerate(recipe(authored=1), output=tmp_path / "out", teachers=teachers)
    losses = count_losses(run.folder)
    assert set(losses.failed_requests) == {"malformed"}
    assert not losses.dropped
    shown = cli(capsys, "show", str(run.output), "--reason", "malformed", "--json", "-n", "99")
    assert len(shown.out.splitlines()) == sum(losses.failed_requests.values())


async def test_coverage_names_drop_reasons_by_axis(
    spoilt: safegen.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped = count_losses(spoilt.folder).dropped
    result = cli(capsys, "coverage", str(spoilt.output), "--by", "tone,contrast,tier", "--json")
    cells = json.loads(result.out)["cells"]
    reasons = Counter[str]()
    for cell in cells:
        reasons.update(cell["reasons"])
        assert (
            cell["missing"] == cell["planned"] - cell["accepted"] == sum(cell["reasons"].values())
        )
    assert reasons == dropped
    assert "unknown" not in {cell["tone"] for cell in cells}, "each set was asked for a tone"
    assert {cell["contrast"] for cell in cells} == {"none"}
    assert {cell["tier"] for cell in cells} == {"restricted", "sensitive"}
    wrong = cli(capsys, "coverage", str(spoilt.output), "--by", "zzz")
    assert wrong.code == 2
    assert wrong.err.count("intent") == 1, "known names stand once"
    only = cli(capsys, "coverage", str(spoilt.output), "--heat", "tone,intent")
    assert "heat map: tone by intent" in only.out
    assert "property.theft" not in only.out


def test_empty_split_is_a_frame_without_rows(tmp_path: Path) -> None:
    plan = {"harms": ["property.theft"], "sets_per_harm": 1}
    run = safegen.generate(Recipe.model_validate({"name": "a", "plan": plan}), output=tmp_path)
    sizes = {split: run.view("sft", split=split) for split in ("train", "test")}
    assert sorted(frame.height > 0 for frame in sizes.values()) == [False, True], (
        "one goal, one split"
    )
    assert sizes["train"].schema == sizes["test"].schema
    with pytest.raises(AssetNotFound, match="no split of `sft` called `tset`; did you mean `test`"):
        run.view("sft", split="tset")


async def test_passed_teachers_are_metered_and_bounded(tmp_path: Path) -> None:
    values = {"name": "a", "plan": {"harms": ["property.theft"], "sets_per_harm": 1}}
    long = "Here is an answer in plain words that is long enough to be kept, and it says no more."
    drafter = {"drafter": scripted(lambda _: long)}
    recipe_ = Recipe.model_validate(values)
    run = await safegen.agenerate(recipe_, output=tmp_path / "out", teachers=drafter)
    assert run.usage.requests == run.report.drafts > 0  # pyright: ignore[reportOptionalMemberAccess]
    assert {
        r.draft.model for n in run.folder.finished_shards() for r in run.folder.read_records(n)
    } == {"scripted"}
    bound = Recipe.model_validate(values | {"budget": {"requests": 1}})
    with pytest.raises(BudgetSpent):
        await safegen.agenerate(bound, output=tmp_path / "other", teachers=drafter)


async def test_turns_without_answer_get_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = Recipe.model_validate(
        {
            "name": "talk",
            "plan": {"harms": ["property.*"], "sets_per_harm": 0, "dialogues": ["persistence"]},
            "validators": ["length_bounds"],
        }
    )
    teachers: dict[str, Teacher] = {"drafter": scripted(lambda _: "No.")}
    run = await safegen.agenerate(talk, output=tmp_path / "out", teachers=teachers)
    assert set(count_losses(run.folder).dropped) == {"no_answer_before"}
    again = cli(capsys, "retry", str(run.output))
    # No answer was accepted, so the dataset has no rows.
    assert again.code == 1
    assert "needs an accepted answer to the previous turn" in again.err
    assert "change the author" not in again.err
