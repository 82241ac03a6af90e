from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safegen.config.recipe import Recipe
from safegen.core.errors import TeacherUnavailable
from safegen.core.hashing import hash_fraction
from safegen.core.types import Reply, Request, Teacher
from safegen.dataset.curate import curate
from safegen.dataset.target import TargetReport
from safegen.pipeline import api
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.top_up import decide_round, report_target
from safegen.scenarios.context import make_draft_id
from safegen.store import plan
from safegen.teachers.scripted import scripted
from tests.e2e.runs import hashes

REFUSED = 0.3
LAST_TURN = 2
"""Number of the last turn of the conversations about persistence."""
HARMS = ("property.*", "privacy.*")


def recipe(
    *, accepted: int = 3, rounds: int = 5, patience: int = 3, plan_: Mapping[str, Any] | None = None
) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "topup",
            "plan": {"harms": HARMS, "sets_per_harm": 1} | dict(plan_ or {}),
            "validators": ["length_bounds"],
            "target": {"accepted": accepted, "rounds": rounds, "patience": patience},
        }
    )


def draft_of(request: Request) -> str:
    assert request.context is not None
    scenario = request.context.scenario.scenario_id
    return make_draft_id(scenario, candidate=request.sample, revision=request.revision)


def answer(request: Request, *, rejected: float = REFUSED) -> str:
    """Return a text that is too short for a share of the drafts, chosen by the draft id."""
    name = draft_of(request)
    if hash_fraction("reject", name) < rejected:
        return "Too short."
    return f"Here is an answer in plain words that is long enough to be kept, number {name}."


def shuffled(seed: int) -> Teacher:
    """Return the same answers in a shuffled order of arrival."""

    async def teacher(request: Request, /) -> Reply:
        await asyncio.sleep(0.02 * hash_fraction("late", seed, draft_of(request)))
        return Reply(answer(request), "scripted", finish_reason="stop")

    return teacher


async def run(folder: Path, recipe_: Recipe, teacher: Teacher) -> api.Run:
    return await api.agenerate(recipe_, output=folder, teachers={"drafter": teacher})


def target_of(done: api.Run) -> TargetReport:
    assert done.report is not None
    assert done.report.target is not None
    return done.report.target


def cell_counts(done: api.Run) -> dict[tuple[str, ...], int]:
    counts = curate(done.folder).stats.make_ledger(("harm", "intent"))
    return {cell: c.accepted for cell, c in counts.cells.items()}


@pytest.mark.slow
async def test_rejections_are_refilled_within_the_round_limit(tmp_path: Path) -> None:
    first = await run(
        tmp_path / "no", recipe().model_copy(update={"target": None}), scripted(answer)
    )
    assert min(cell_counts(first).values()) < 3
    done = await run(tmp_path / "yes", recipe(patience=5), scripted(answer))
    rounds = plan.Plans(done.folder.plans).rounds
    assert 2 <= rounds <= 6
    assert min(cell_counts(done).values()) >= 3
    assert (target_of(done).shortfall, target_of(done).stop_code) == ({}, "met")


@pytest.mark.slow
async def test_reply_order_changes_no_byte(tmp_path: Path) -> None:
    digests = []
    for seed in range(2):
        done = await run(tmp_path / str(seed), recipe(), shuffled(seed))
        assert plan.Plans(done.folder.plans).rounds > 1
        digests.append((hashes(done.output / "data"), hashes(done.folder.plans)))
    assert digests[0][0]
    assert digests[0] == digests[1]


async def test_rerun_after_met_target_adds_nothing(tmp_path: Path) -> None:
    await run(tmp_path, recipe(), scripted(answer))
    before = hashes(tmp_path)
    again = await run(tmp_path, recipe(), scripted(lambda _: pytest.fail("asked again")))
    assert again.shards_done == 0
    assert hashes(tmp_path) == before


async def test_round_skips_prompts_with_accepted_drafts(tmp_path: Path) -> None:
    teacher = scripted(answer)
    await run(tmp_path, recipe(), teacher)
    drafts = [draft_of(r) for r in teacher.requests]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(drafts) == len(set(drafts))
    by_prompt: dict[str, list[str]] = {}
    for request in teacher.requests:  # pyright: ignore[reportAttributeAccessIssue]
        by_prompt.setdefault(request.context.scenario.scenario_id, []).append(answer(request))
    assert any(len(answers) > 1 for answers in by_prompt.values())
    assert all("Too short." in answers[:-1] or len(answers) == 1 for answers in by_prompt.values())


async def test_repeated_prompt_keeps_all_its_drafts(tmp_path: Path) -> None:
    done = await run(tmp_path, recipe(accepted=2), scripted(lambda r: answer(r, rejected=0.6)))
    assert done.report is not None
    drafts: dict[str, list[int]] = {}
    for shard in done.folder.finished_shards():
        for record in done.folder.read_records(shard):
            drafts.setdefault(record.scenario.scenario_id, []).append(record.draft.candidate)
    assert any(sorted(numbers) == [0, 1] for numbers in drafts.values())
    assert (
        done.report.planned
        == len(drafts)
        == done.report.prompts + sum(done.report.excluded.values())
    )
    assert done.report.drafts == sum(map(len, drafts.values()))
    rows = done.view("sft")
    assert rows["scenario_id"].is_unique().all()
    assert set(rows["scenario_id"]) & {s for s, n in drafts.items() if len(n) > 1}


async def test_rounds_end_at_the_round_limit(tmp_path: Path) -> None:
    script = scripted(lambda r: answer(r, rejected=0.8))
    done = await run(tmp_path, recipe(accepted=50, rounds=2), script)
    assert plan.Plans(done.folder.plans).rounds == 3
    report = target_of(done)
    assert report.stop_code == "round_limit"
    assert report.stop_reason == "the round limit (2) is reached"
    assert report.shortfall
    assert f"{sum(report.shortfall.values())} missing in" in "\n".join(report.lines)


async def test_rounds_without_gain_stall(tmp_path: Path) -> None:
    done = await run(tmp_path, recipe(), scripted(lambda _: "Too short."))
    assert plan.Plans(done.folder.plans).rounds == 4
    report = target_of(done)
    assert report.stop_code == "stalled"
    assert (
        report.stop_reason == "stalled: the last 3 rounds added no accepted scenario to these cells"
    )
    assert report.stalled == set(report.shortfall)
    assert "raise `target.patience`" in report.lines[-1]


def barren(request: Request) -> str:
    """Reject everything about theft and half of the rest."""
    assert request.context is not None
    theft = request.context.scenario.harm == "property.theft"
    return "Too short." if theft else answer(request, rejected=0.5)


async def test_stalled_cell_does_not_stop_others(
    tmp_path: Path,
) -> None:
    done = await run(tmp_path, recipe(accepted=4, rounds=9, patience=2), scripted(barren))
    report = target_of(done)
    assert "property.theft" in {cell[0] for cell in report.stalled}
    assert report.stalled <= set(report.shortfall)
    plans = plan.Plans(done.folder.plans)
    rounds = {
        harm: {
            plans.round_of(n)
            for n in range(plans.shards)
            for p in plans.read(n)
            if (p.scenario.harm == "property.theft") is (harm == "theft")
        }
        for harm in ("theft", "others")
    }
    assert rounds["theft"] == {0, 1, 2}
    assert max(rounds["others"]) > 2


@pytest.mark.slow
async def test_raised_target_resumes_without_double_payment(
    tmp_path: Path,
) -> None:
    first, second = scripted(barren), scripted(barren)
    before = await run(tmp_path, recipe(accepted=2, patience=1), first)
    rounds = plan.Plans(before.folder.plans).rounds
    more = recipe(accepted=4, patience=3)
    after = await run(tmp_path, more, second)
    assert plan.Plans(after.folder.plans).rounds > rounds
    drafts = [{draft_of(r) for r in teacher.requests} for teacher in (first, second)]  # pyright: ignore[reportAttributeAccessIssue]
    assert drafts[1]
    assert not drafts[0] & drafts[1]
    assert "property.theft" in {cell[0] for cell in target_of(after).shortfall}


async def test_turns_not_requested_again_are_reported(tmp_path: Path) -> None:
    talk = recipe(plan_={"dialogues": ["persistence"], "sets_per_harm": 0})
    done = await run(tmp_path, talk, scripted(lambda _: "Too short."))
    report = target_of(done)
    assert report.turns > 0
    assert any("turns of conversations lack an accepted draft" in line for line in report.lines)
    assert report.to_json()["turns_without_accepted_draft"] == report.turns


async def test_rejected_last_turn_is_requested_again(tmp_path: Path) -> None:
    talk = recipe(accepted=50, rounds=1, plan_={"dialogues": ["persistence"], "sets_per_harm": 0})
    asked: list[Request] = []

    def teacher(request: Request) -> str:
        assert request.context is not None
        asked.append(request)
        is_rejected = request.sample == 0 and request.context.scenario.turn >= LAST_TURN
        return "Too short." if is_rejected else answer(request, rejected=0)

    done = await run(tmp_path, talk, scripted(teacher))
    again = [r for r in asked if r.sample > 0]
    assert again
    for request in again:
        assert request.context is not None
        # Every earlier turn has the answer that was accepted.
        roles = [m["role"] for m in request.messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * request.context.scenario.turn + ["user"]
    kept = {
        r.draft.draft_id
        for n in done.folder.finished_shards()
        for r in done.folder.read_records(n)
        if r.accepted
    }
    assert {draft_of(r) for r in again} <= kept


async def test_exhausted_goals_stop_with_nothing_left(tmp_path: Path) -> None:
    every = recipe(accepted=500, plan_={"sets_per_harm": None})
    done = await run(tmp_path, every, scripted(lambda r: answer(r, rejected=0)))
    assert plan.Plans(done.folder.plans).rounds == 1
    report = target_of(done)
    assert (report.stop_code, report.stop_reason) == ("nothing_left", "no prompt is left to draft")
    state = json.loads(done.folder.stop_state.read_text("utf-8"))
    assert [state[name] for name in ("stop_code", "stop_reason", "hint")] == [
        report.stop_code,
        report.stop_reason,
        report.hint,
    ]
    assert "let an author write sets (`plan.authored`)" in report.hint
    assert "sets_per_harm" not in report.hint


async def test_nothing_left_outranks_the_round_limit(tmp_path: Path) -> None:
    few = recipe(accepted=500, rounds=1)
    done = await run(tmp_path, few, scripted(lambda r: answer(r, rejected=0)))
    assert plan.Plans(done.folder.plans).rounds == 2
    assert target_of(done).stop_code == "nothing_left"


async def test_cells_stalled_in_last_round_are_reported(tmp_path: Path) -> None:
    done = await run(tmp_path, recipe(rounds=3), scripted(lambda _: "Too short."))
    assert plan.Plans(done.folder.plans).rounds == 4
    assert target_of(done).stop_code == "stalled"


async def test_killed_round_resumes_to_equal_bytes(tmp_path: Path) -> None:
    whole = await run(tmp_path / "whole", recipe(), scripted(answer))
    shutil.copytree(whole.output, tmp_path / "half")
    half = replace(whole.folder, output=tmp_path / "half")
    half.reset_shard(half.finished_shards()[-1])
    assert decide_round(half, recipe(), curate(half)).code == "unfinished"
    done = await run(tmp_path / "half", recipe(), scripted(answer))
    assert hashes(done.output / "data") == hashes(whole.output / "data")
    assert hashes(done.folder.plans) == hashes(whole.folder.plans)


@pytest.mark.slow
async def test_unavailable_items_block_the_next_round(tmp_path: Path) -> None:
    def away(request: Request) -> str | TeacherUnavailable:
        return (
            TeacherUnavailable("away")
            if hash_fraction("away", draft_of(request)) < 0.2
            else answer(request)
        )

    first = await run(tmp_path, recipe(patience=5), scripted(away))
    assert plan.Plans(first.folder.plans).rounds == 1
    assert target_of(first).stop_code == "unavailable"
    assert target_of(first).shortfall
    then = await run(tmp_path, recipe(patience=5), scripted(answer))
    assert target_of(then).stop_code == "met"


async def test_added_goal_brings_its_whole_set(tmp_path: Path) -> None:
    done = await run(tmp_path, recipe(), scripted(lambda r: answer(r, rejected=0)))
    plans = plan.Plans(done.folder.plans)
    later = [p for n in range(plans.shards) if plans.round_of(n) for p in plans.read(n)]
    sets: dict[str, set[str]] = {}
    for item in later:
        assert item.first == 0
        assert item.scenario.round > 0
        sets.setdefault(item.scenario.set_id, set()).add(item.scenario.intent)
    assert sets
    assert all(intents == {"benign", "dual_use", "malicious"} for intents in sets.values())


async def test_run_without_target_reports_none(tmp_path: Path) -> None:
    plain = recipe().model_copy(update={"target": None})
    done = await run(tmp_path, plain, scripted(answer))
    assert done.report is not None
    assert done.report.target is None
    assert report_target(done.folder, resolve_recipe(plain), curate(done.folder)) is None
