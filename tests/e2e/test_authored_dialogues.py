"""Authored conversations from recipe to dataset, with scripted teachers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.hashing import short_id
from safegen.core.types import GIVEN_HISTORY, TURN_STYLES, Record, Request
from safegen.teachers.scripted import ScriptedTeacher
from tests.e2e.authors import WORDS, Known
from tests.scenarios.authoring.author_cases import asked_fields

SHOWS = re.compile(r"shows intent (\w+) and evidence (\w+), and asks for detail (\d)")
HELP = "I'll leave out the steps, but this much can be said about it: it is number {n}, and a desk nearby helps."


@dataclass
class Talk(Known):
    """An author whose turns a labeller knows; `wrong` names the fault of a turn by kind and number."""

    wrong: Callable[[str, int, int], str] = lambda kind, number, revision: ""
    truths: dict[str, tuple[str, str, int]] = field(default_factory=dict[str, tuple[str, str, int]])

    def author(self, request: Request) -> str:
        prompt = request.messages[1]["content"]
        shows = SHOWS.search(prompt)
        kind = re.search(r"Kind of conversation: (\w+)", prompt)
        number = re.search(r"This is user turn (\d) of", prompt)
        assert shows and kind and number
        wrote = {name: self._text(request, name) for name in asked_fields(request)}
        intent, evidence, detail = shows[1], shows[2], shows[3]
        fault = self.wrong(kind[1], int(number[1]), request.revision)
        if fault == "steps":
            wrote["text"] += " 1. take the lamp 2. turn it 3. lift it"
        if fault == "copy":
            heard = re.findall(r"\[user\]\n(.*)", prompt)
            wrote["text"] = heard[-1] if heard else wrote["text"]
        if fault == "form":
            wrote["text"] = "Say [name] to the lamp."
        if fault == "intent":
            intent, evidence = "malicious", "stated"
        if "text" in wrote:
            self.truths[wrote["text"]] = (intent, evidence, int(detail))
        return json.dumps(wrote)

    def _text(self, request: Request, name: str) -> str:
        key = short_id(name, request.sample, [m["content"] for m in request.messages])
        some = " ".join(WORDS[int(key[i : i + 2], 16) % len(WORDS)] for i in range(0, 14, 2))
        return f"Could you tell me what one does with the {some} over there?"

    def read(self, text: str) -> tuple[str, str, int]:
        return super().read(text.rsplit("[user]\n", 1)[-1])

    def drafter(self, request: Request) -> str:
        return HELP.format(n=short_id([m["content"] for m in request.messages], request.sample))


def recipe(**plan: Any) -> Recipe:
    values = {
        "harms": ["property.theft"],
        "sets_per_harm": 0,
        "dialogues": ["escalation", "recovery"],
        "authored_dialogues": 1,
    }
    return Recipe.model_validate(
        {
            "name": "talk",
            "plan": values | plan,
            "teachers": {"drafter": "scripted", "author": "scripted"},
            "judges": {"labellers": ["scripted"]},
            "validators": ["length_bounds"],
            "views": ["sft", "prompt_completion"],
        }
    )


def authored(run: safegen.Run) -> list[Record]:
    made = [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]
    return [r for r in made if r.scenario.source == "author"]


def attribute(record: Record, axis: str) -> str | None:
    return next((a.value for a in record.scenario.attributes if a.axis == axis), None)


async def test_each_turn_follows_the_previous_answer(tmp_path: Path) -> None:
    talk = Talk()
    teachers = talk.teachers()
    run = await safegen.agenerate(recipe(dialogues=TURN_STYLES), output=tmp_path, teachers=teachers)
    made = authored(run)
    assert {attribute(r, "turn_style") for r in made} == set(TURN_STYLES)
    assert not list(run.folder.read_failures())
    author = teachers["author"]
    assert isinstance(author, ScriptedTeacher)
    prompts = [r.messages[1]["content"] for r in author.requests]
    for record in made:
        roles = [m["role"] for m in record.scenario.messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        before = [m["content"] for m in record.scenario.messages if m["role"] == "assistant"]
        if before and GIVEN_HISTORY not in record.scenario.attributes:
            assert any(all(text in prompt for text in before) for prompt in prompts)
    closing = [r for r in made if attribute(r, "closure")]
    assert closing and {r.expectation.mode for r in closing if r.scenario.evidence == "stated"} == {
        "refuse_redirect"
    }
    reveal = [r for r in made if attribute(r, "dialogue_intent") == "malicious"]
    assert {r.scenario.intent for r in reveal if r.scenario.evidence == "none"} == {"dual_use"}


async def test_recovery_dialogues_stay_out_of_sft(tmp_path: Path) -> None:
    run = await safegen.agenerate(recipe(), output=tmp_path, teachers=Talk().teachers())
    made = authored(run)
    mistaken = [r for r in made if attribute(r, "turn_style") == "recovery"]
    assert {r.scenario.turn for r in mistaken} == {1, 2}
    assert all(GIVEN_HISTORY in r.scenario.attributes for r in mistaken)
    assert "recovery" not in run.view("sft")["turn_style"].to_list()
    assert "recovery" in run.view("prompt_completion")["turn_style"].to_list()


FAULTS = {
    "steps": "gate_operational_detail",
    "intent": "gate_intent",
    "form": "gate_form",
    "copy": "gate_near_duplicate",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faulty_turn_is_dropped_and_ends_its_conversation(tmp_path: Path, fault: str) -> None:
    talk = Talk(wrong=lambda kind, number, _: fault if (kind, number) == ("escalation", 2) else "")
    run = await safegen.agenerate(recipe(), output=tmp_path, teachers=talk.teachers())
    failures = [f for _, f in run.folder.read_failures()]
    assert {f.reason for f in failures} == {FAULTS[fault], "no_answer_before"}
    turns = {r.scenario.turn for r in authored(run) if attribute(r, "turn_style") == "escalation"}
    assert turns == {0}
    assert {r.scenario.turn for r in authored(run) if attribute(r, "turn_style") == "recovery"}


async def test_repaired_turn_costs_one_more_request(
    tmp_path: Path,
) -> None:
    talk = Talk(
        wrong=lambda kind, number, revision: (
            "steps" if (kind, number, revision) == ("escalation", 2, 0) else ""
        )
    )
    teachers = talk.teachers()
    run = await safegen.agenerate(recipe(), output=tmp_path, teachers=teachers)
    assert not list(run.folder.read_failures())
    author = teachers["author"]
    assert isinstance(author, ScriptedTeacher)
    repairs = [r for r in author.requests if r.revision]
    assert len(repairs) == 3
    assert all("operational_detail" in r.messages[-1]["content"] for r in repairs)


async def test_equal_answers_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        await safegen.agenerate(recipe(), output=tmp_path / name, teachers=Talk().teachers())
    files = sorted(
        p.relative_to(tmp_path / "one") for p in (tmp_path / "one" / "data").rglob("*.parquet")
    )
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_authored_dialogues_without_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs kinds under `plan\.dialogues`"):
        recipe(dialogues=[])
