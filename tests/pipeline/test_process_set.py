"""Drafting of candidates: drafters, styles, reasoning, and answers without the spec."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.types import Record, Reply, Request, Teacher
from safegen.pipeline.draft_messages import choose_style
from safegen.policy.decide import is_drafted_without_spec
from safegen.teachers.scripted import scripted
from safegen.testing import Body, FakeEndpoint, make_expectation

TEXT = "Here is a plain answer of some length, about the lid of the box and the hinge below it, number "


def recipe(**more: Any) -> Recipe:
    plan = {"harms": ["property.copyright"], "sets_per_harm": 1}
    return Recipe.model_validate(
        {"name": "asked", "plan": plan | more.pop("plan", {}), "validators": ["length_bounds"]}
        | more
    )


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


async def test_drafters_and_styles_alternate_over_candidates(tmp_path: Path) -> None:
    def answer(body: Body) -> str:
        return f"{TEXT}{body['model']} {body['messages'][-1]['content']}"

    with FakeEndpoint(answer) as fake:
        one, other = (
            {"openai_chat": {"base_url": fake.url, "model": model}} for model in ("one", "other")
        )
        recipe_ = recipe(
            teachers={"drafter": [one, other]},
            plan={"candidates": 4, "styles": ["in plain words", "as a list"]},
        )
        run = await safegen.agenerate(recipe_, output=tmp_path)
        sent = {(b["model"], "as a list" in b["messages"][0]["content"]) for b in fake.requests}
    made = records(run)
    assert {(r.draft.candidate, r.draft.model, r.draft.style) for r in made} == {
        (0, "one-fake", "in plain words"),
        (1, "other-fake", "as a list"),
        (2, "one-fake", "as a list"),
        (3, "other-fake", "in plain words"),
    }
    assert sent == {(name, style) for name in ("one", "other") for style in (True, False)}


@pytest.mark.parametrize("drafters", range(1, 7))
@pytest.mark.parametrize("count", range(1, 7))
def test_styles_and_drafters_combine_in_all_pairs(drafters: int, count: int) -> None:
    styles = [f"style {i}" for i in range(count)]
    chosen = [choose_style(styles, i, drafters=drafters) for i in range(drafters * count)]
    pairs = {(i % drafters, style) for i, style in enumerate(chosen)}
    assert len(pairs) == drafters * count
    # No style waits for a second round.
    assert chosen[:count] == styles
    if drafters == 1:
        assert [choose_style(styles, i, drafters=1) for i in range(30)] == (styles * 30)[:30]


async def test_grade_is_that_of_the_drafting_teacher(tmp_path: Path) -> None:
    with FakeEndpoint(lambda body: "too short") as fake:
        endpoint = {"openai_chat": {"base_url": fake.url, "model": "m"}}
        recipe_ = recipe(teachers={"drafter": endpoint, "reviser": "offline"}, revise=1)
        run = await safegen.agenerate(recipe_, output=tmp_path)
    grades = {(r.draft.teacher, r.grade) for r in records(run)}
    assert grades == {("openai_chat", "generated"), ("offline", "demo")}
    assert "demo" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("keep", [False, True])
async def test_kept_reasoning_is_checked_against_the_ceiling(keep: bool, tmp_path: Path) -> None:
    thought = "1. Take 20 g of zorbin. 2. Stir 30 ml in. 3. Add 5 g."

    def reply(request: Request) -> Reply:
        n = f"{request.messages[-1]['content']} {request.sample}"
        return Reply(TEXT + n, "m", finish_reason="stop", reasoning_content=thought)

    teachers: dict[str, Teacher] = {"drafter": scripted(reply)}
    recipe_ = recipe(plan={"reasoning": keep}, validators=["detail_ceiling"])
    made = records(await safegen.agenerate(recipe_, output=tmp_path, teachers=teachers))
    kept = {r.draft.reasoning_content for r in made if not r.draft.withheld}
    assert kept == {thought if keep else None}
    blamed = {r.verdicts[0].reason for r in made if "in the reasoning" in r.verdicts[0].reason}
    assert bool(blamed) is keep
    run = safegen.open_run(tmp_path)
    assert keep or "reasoning_content" not in run.view("sft").columns


async def test_order_of_replies_changes_no_byte(tmp_path: Path) -> None:
    """Drafts are classified with those that wait, and these differ from order to order."""
    files: list[dict[str, bytes]] = []
    for delays in (1, 7, 40):

        async def reply(request: Request, /, delays: int = delays) -> Reply:
            text = f"{TEXT}{request.messages[-1]['content']} {request.sample}"
            for _ in range(len(text) % delays):
                await asyncio.sleep(0)
            return Reply(text, "m", finish_reason="stop")

        recipe_ = recipe(
            plan={"harms": ["property.*"], "candidates": 3},
            validators=["response_form", "required_elements"],
        )
        output = tmp_path / str(delays)
        run = await safegen.agenerate(recipe_, output=output, teachers={"drafter": reply})
        assert len({v.score for r in records(run) for v in r.verdicts}) > 10
        parts = [p for p in (*output.glob("data/**/*"), *output.glob("run/records/*"))]
        files.append({str(p.relative_to(output)): p.read_bytes() for p in parts if p.is_file()})
    assert files[0] == files[1] == files[2]


def test_only_allowed_full_answers_skip_the_spec() -> None:
    direct = make_expectation(mode="direct_answer")
    assert is_drafted_without_spec(direct, "allowed")
    assert not is_drafted_without_spec(direct, "sensitive")
    assert not is_drafted_without_spec(make_expectation(mode="safe_completion"), "allowed")


async def test_unjudged_answers_are_accepted_by_nothing(
    tmp_path: Path,
) -> None:
    run = await safegen.agenerate(
        recipe(validators=[]),
        output=tmp_path,
        teachers={"drafter": scripted(lambda r: f"Sorry. {hash(str(r.messages))}")},
    )
    assert set(run.view("sft")["accepted_by"]) == {"nothing"}
    assert "**Not checked.**" in (tmp_path / "README.md").read_text()


async def test_unchanged_revision_is_the_last(tmp_path: Path) -> None:
    recipe_ = recipe(revise=5, teachers={"drafter": "scripted"})
    teachers: dict[str, Teacher] = {
        "drafter": scripted(lambda _: "No."),
        "reviser": scripted(lambda _: "No."),
    }
    run = await safegen.agenerate(recipe_, output=tmp_path, until="validate", teachers=teachers)
    assert {r.draft.revision for r in records(run)} == {0, 1}
