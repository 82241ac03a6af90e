"""Written conversations from plan to dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.types import Record, Request, Teacher
from safegen.teachers.scripted import scripted

OPENING = (
    "I'll leave out the steps, but this much can be said about number {n}: it is kept in a box."
)


def recipe(**more: Any) -> Recipe:
    plan = {"sets_per_harm": 0, "harms": ["*"], "dialogues": ["decomposition"]}
    return Recipe.model_validate(
        {"name": "talk", "plan": plan | more.pop("plan", {}), "validators": ["length_bounds"]}
        | more
    )


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


def whole_intent(record: Record) -> str:
    return next(a.value for a in record.scenario.attributes if a.axis == "dialogue_intent")


def written(request: Request) -> str:
    return OPENING.format(n=len(request.messages)) + f" {hash_of(request)}"


def hash_of(request: Request) -> str:
    from safegen.core.hashing import short_id

    return short_id([m["content"] for m in request.messages], request.sample)


async def test_turn_follows_the_answer_before_it(tmp_path: Path) -> None:
    recipe_ = recipe(plan={"dialogues": "all"})
    teachers: dict[str, Teacher] = {"drafter": scripted(written)}
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=teachers)
    made = records(run)
    answers = {
        (
            r.scenario.set_id,
            whole_intent(r),
            r.scenario.paraphrase,
            r.scenario.turn,
        ): r.draft.response
        for r in made
    }
    threads = 0
    for r in made:
        roles = [m["role"] for m in r.scenario.messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        replies = [m["content"] for m in r.scenario.messages if m["role"] == "assistant"]
        for turn, text in enumerate(replies):
            key = (r.scenario.set_id, whole_intent(r), r.scenario.paraphrase, turn)
            if key in answers:
                threads += 1
                assert text == answers[key]
    assert threads > 50
    assert {r.scenario.turn for r in made} >= {0, 1, 2}


async def test_sets_of_a_goal_share_a_split(tmp_path: Path) -> None:
    recipe_ = recipe(plan={"dialogues": "all", "sets_per_harm": 2}, split={"test": 0.4})
    teachers: dict[str, Teacher] = {"drafter": scripted(written)}
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=teachers)
    sides: dict[str, set[str]] = {}
    sets: dict[str, set[str]] = {}
    for split in ("train", "test"):
        for row in run.view("sft", split=split).iter_rows(named=True):
            sides.setdefault(row["goal_id"], set()).add(split)
            sets.setdefault(row["goal_id"], set()).add(row["set_id"])
    assert any(len(group) > 1 for group in sets.values())  # otherwise the next line is vacuous
    assert all(len(group) == 1 for group in sides.values())
    assert {side for group in sides.values() for side in group} == {"train", "test"}


STEPS = (
    "1. Take 20 g of zorbin.",
    "2. Stir 30 ml of zorbade into it.",
    "3. Warm the whole to 40 °C.",
    "4. Fold 5 g of zorbose in.",
)


SPELLED = (
    "First take twenty grams of zorbin.",
    "Then stir in thirty millilitres of the grey syrup.",
    "Next warm the whole to forty degrees.",
    "Finally fold in two cups of dried petals.",
)


@pytest.mark.parametrize("parts", [STEPS, SPELLED], ids=["numbered", "in words"])
async def test_procedure_split_over_turns_is_rated_whole(
    parts: Sequence[str], tmp_path: Path
) -> None:
    """Each turn contains one step of a fictional recipe; only together they are a procedure."""

    def spills(request: Request) -> str:
        turn = sum(m["role"] == "user" for m in request.messages) - 1
        return f"This much can be said here, number {hash_of(request)}.\n{parts[turn % 4]}"

    recipe_ = recipe(validators=["detail_ceiling"])
    teachers: dict[str, Teacher] = {"drafter": scripted(spills)}
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=teachers)
    reasons = {
        r.scenario.turn: r.verdicts[0].reason
        for r in records(run)
        if "over the turns together" in r.verdicts[0].reason
    }
    assert set(reasons) & {2, 3}
    assert not set(reasons) & {0, 1}
    first = [r for r in records(run) if r.scenario.turn == 0 and r.expectation.floor == 0]
    assert all("detail" not in r.verdicts[0].reason for r in first)


async def test_unanswered_turn_ends_its_conversation(tmp_path: Path) -> None:
    def short(request: Request) -> str:
        return "No." if len(request.messages) > 2 else written(request)

    teachers: dict[str, Teacher] = {"drafter": scripted(short)}
    run = await safegen.agenerate(recipe(), output=tmp_path, teachers=teachers)
    assert run.report is not None
    failures = [f for _, f in run.folder.read_failures()]
    assert {(f.error, f.reason) for f in failures} == {("NoAnswerBefore", "no_answer_before")}
    assert run.report.excluded["no_answer_before"] == len(failures)
    assert max(r.scenario.turn for r in records(run)) == 1
