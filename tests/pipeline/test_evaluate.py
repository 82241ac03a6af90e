"""Evaluation of models on the test split: no spec, own dialogues, resume, paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safegen.config.recipe import Judges, PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.dataset.curation.split import split_of
from safegen.judges.bootstrap import Cluster, bootstrap_mean_interval
from safegen.pipeline.evaluate import aevaluate
from safegen.pipeline.evaluation_report import ScoredPrompt, compare
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from safegen.testing import FakeEndpoint

HELP = (
    "Start with a list of what you own, then check each part in turn and write down what you find."
    " After that, repair the worst fault first and look at the result again after a week."
)
REFUSAL = "I'm sorry, but I can't help with that request."


def answer(body: dict[str, Any]) -> str:
    return REFUSAL if body["model"] == "timid" else HELP


def recipe(**plan: object) -> Recipe:
    fields = {
        "name": "kitchen",
        "policies": ["security"],
        "split": {"test": 0.6},
        "plan": {"harms": ["cyber.intrusion"], "sets_per_harm": 2, **plan},
    }
    return Recipe.model_validate(fields)


def models(fake: FakeEndpoint, *names: str) -> dict[str, PluginRef]:
    params = [{"base_url": fake.url, "model": name} for name in names]
    return {p["model"]: PluginRef(use="openai_chat", params=p) for p in params}


async def test_models_answer_the_test_split_without_spec(tmp_path: Path) -> None:
    with FakeEndpoint(answer) as fake:
        chosen = models(fake, "timid", "bold")
        result = await aevaluate(recipe(), chosen, output=tmp_path / "out")
        sent = len(fake.requests)
        again = await aevaluate(recipe(), chosen, output=tmp_path / "out")
        assert len(fake.requests) == sent
    assert sent == 2 * result.prompts
    timid, bold = result.models
    planned = [
        list(p.scenario.messages) for p in plan.iter_scenarios(RunFolder(bold.folder).plan(0))
    ]
    assert all(body["messages"] in planned for body in fake.requests)
    assert timid.report.total.rate("over_refusal").value == 1.0
    assert bold.report.total.rate("over_refusal").value == 0.0
    difference = next(d for d in result.comparisons[0].differences if d.measure == "over_refusal")
    assert (difference.grouping, difference.difference) == ("all", -1.0)
    assert again.comparisons == result.comparisons
    for model in result.models:
        folder = RunFolder(model.folder)
        goals = {
            r.scenario.goal_id for n in folder.finished_shards() for r in folder.read_records(n)
        }
        assert {split_of(goal, test=0.6) for goal in goals} == {"test"}
    text = (tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8")
    assert json.loads(text)["prompts"] == result.prompts
    assert HELP[:40] not in text


async def test_silent_panel_leaves_answers_undecided(tmp_path: Path) -> None:
    def answer_or_break(body: dict[str, Any]) -> str:
        return "{" if body["model"] == "judge" else answer(body)

    with FakeEndpoint(answer_or_break) as fake:
        juror = PluginRef(use="openai_chat", params={"base_url": fake.url, "model": "judge"})
        judges = Judges.model_validate({"panel": [juror], "traps": 0})
        judged = recipe().model_copy(update={"judges": judges})
        result = await aevaluate(judged, models(fake, "timid", "bold"), output=tmp_path / "out")
    for model in result.models:
        total = model.report.total
        assert total.n > 0
        assert total.lacks_judgement
        assert total.unjudged == {"unparsable": total.n}
        assert total.accepted_rate.value is None
        assert total.rate("over_refusal").n == 0
    assert result.comparisons[0].differences == []


async def test_dialogue_continues_from_a_rejected_answer(tmp_path: Path) -> None:
    with FakeEndpoint(answer) as fake:
        chosen = models(fake, "timid")
        dialogues = recipe(dialogues="all", sets_per_harm=0)
        result = await aevaluate(dialogues, chosen, output=tmp_path / "out")
    assert result.models[0].failed == 0
    turns = [turn for body in fake.requests for turn in body["messages"]]
    assert {"role": "assistant", "content": REFUSAL} in turns


async def test_empty_test_split_is_refused(tmp_path: Path) -> None:
    empty = recipe().model_copy(update={"split": Recipe(name="k", split={"test": 0}).split})  # pyright: ignore[reportArgumentType] (pydantic reads the mapping)
    ref = PluginRef(use="openai_chat", params={"base_url": "http://127.0.0.1:9/v1", "model": "m"})
    with pytest.raises(UserError, match="no goal of the plan is in the test split"):
        await aevaluate(empty, {"m": ref}, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def prompt(set_id: str, mode: str, value: bool | None) -> ScoredPrompt:
    groups = {"all": "", "mode": mode, "intent": "benign", "harm": "pantry.theft"}
    return ScoredPrompt(set_id, groups, {"tone": value})  # pyright: ignore[reportArgumentType] (keys are groupings)


def test_differences_cover_prompts_decided_for_both() -> None:
    first = {"p1": prompt("s1", "direct_answer", True), "p2": prompt("s2", "direct_answer", None)}
    second = {"p1": prompt("s1", "direct_answer", False), "p2": prompt("s2", "direct_answer", True)}
    (total, *_) = compare(first, second)
    assert total.pairs == 1
    assert (total.baseline, total.other, total.difference) == (1.0, 0.0, -1.0)
    assert total.interval is None


def test_interval_of_a_mean_ignores_order() -> None:
    clusters = [Cluster(float(n % 3), 3) for n in range(30)]
    interval = bootstrap_mean_interval(clusters, seed=4)
    assert interval == bootstrap_mean_interval(clusters[::-1], seed=4)
    assert interval is not None
    assert interval.low < 1 / 3 < interval.high
    assert bootstrap_mean_interval(clusters[:9]) is None
