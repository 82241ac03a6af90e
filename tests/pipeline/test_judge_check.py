"""The panel of a run reads traps before the first draft; a juror below a bound stops the run or is dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import RunError, UserError
from safegen.judges.traps import load_traps
from safegen.pipeline.api import rebuild
from safegen.pipeline.judge_check import test_judges as probe_judges
from safegen.pipeline.preflight.estimate import dry_run
from safegen.pipeline.status import read_status
from safegen.testing import (
    Body,
    FakeEndpoint,
    make_judge_answer,
    read_honestly,
    read_judged_reply,
)
from tests.cli.harness import call
from tests.conftest import ROOT

TEXT = "Here is a plain answer of some length about the lid of the box and the hinge below it"
PROMPTS = {trap.prompt for trap in load_traps().file.traps}


def is_judge(body: Body) -> bool:
    return str(body["model"]).startswith("judge")


def reads_trap(body: Body) -> bool:
    return is_judge(body) and read_judged_reply(body["messages"]).messages[-1]["content"] in PROMPTS


def answer(body: Body) -> str:
    """Answer as a drafter, an honest judge, or a judge that praises everything."""
    if not is_judge(body):
        return f"{TEXT}, {body['messages'][-1]['content']}"
    judged = read_judged_reply(body["messages"])
    is_honest = "praise" not in body["model"] and reads_trap(body)
    values = read_honestly(judged, body["messages"][0]["content"]) if is_honest else {}
    return make_judge_answer(judged.response, **values)


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer) as endpoint:
        yield endpoint


def recipe(fake: FakeEndpoint, *judges: str, **keys: Any) -> Recipe:
    def ref(model: str) -> dict[str, Any]:
        return {"openai_chat": {"base_url": fake.url, "model": model, "attempts": 1}}

    return Recipe.model_validate(
        {
            "name": "trapped",
            "plan": {"harms": ["property.copyright"], "sets_per_harm": 1},
            "teachers": {"drafter": ref("drafter")},
            "judges": {"panel": [ref(name) for name in judges]} | keys,
        }
    )


def read_check(run: Path) -> dict[str, Any]:
    return json.loads((run / "run" / "judges.json").read_text(encoding="utf-8"))


def test_honest_judge_reads_traps_before_drafts(tmp_path: Path, fake: FakeEndpoint) -> None:
    made = recipe(fake, "judge-a")
    calls = dry_run(made, output=tmp_path).estimate.judge_calls
    safegen.generate(made, output=tmp_path)
    trapped = [reads_trap(body) for body in fake.requests]
    assert trapped[:24] == [True] * 24
    assert sum(trapped) == 24
    assert sum(map(is_judge, fake.requests)) == calls
    check = read_check(tmp_path)
    (juror,) = check["jurors"]
    assert (check["traps"], check["language"], juror["correct"]) == (24, "en", 24)
    assert (juror["biases"], juror["dropped"]) == ([], False)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["judge_check"] == check
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "24 of 24" in card
    assert "They were not calibrated against labels of people." in card


def test_biased_judge_stops_the_run(tmp_path: Path, fake: FakeEndpoint) -> None:
    with pytest.raises(RunError, match="labels everything safe"):
        safegen.generate(recipe(fake, "judge-a", "judge-praise"), output=tmp_path)
    assert all(map(reads_trap, fake.requests))
    assert "labels_everything_safe" in read_check(tmp_path)["jurors"][1]["biases"]
    # The same command repeats no paid request.
    sent = len(fake.requests)
    with pytest.raises(RunError, match="judge-praise"):
        safegen.generate(recipe(fake, "judge-a", "judge-praise"), output=tmp_path)
    assert len(fake.requests) == sent


def test_biased_judge_is_dropped_on_request(
    tmp_path: Path, fake: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    made = recipe(fake, "judge-a", "judge-praise", below="drop")
    run = safegen.generate(made, output=tmp_path)
    records = [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]
    assert {f.judge for r in records for f in r.findings} == {"judge-a"}
    assert [juror["dropped"] for juror in read_check(tmp_path)["jurors"]] == [False, True]
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "dropped: " in card
    judges = read_status(run).to_json()["judges"]
    assert isinstance(judges, dict)
    assert judges["dropped"] == [{"judge": "judge-praise", "biases": ["labels_everything_safe"]}]
    assert "`judge-praise` labels everything safe" in caplog.text


def test_last_judge_is_never_dropped(tmp_path: Path, fake: FakeEndpoint) -> None:
    with pytest.raises(
        RunError, match=r"`judge-praise` labels everything safe(.|\n)*too few to decide"
    ):
        safegen.generate(recipe(fake, "judge-praise", below="drop"), output=tmp_path)


def test_card_states_untested_judges(tmp_path: Path, fake: FakeEndpoint) -> None:
    safegen.generate(recipe(fake, "judge-praise", traps=0), output=tmp_path)
    assert not any(map(reads_trap, fake.requests))
    assert "The judges were not tested" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_unavailable_judge_is_not_biased(tmp_path: Path, fake: FakeEndpoint) -> None:
    lost = "Bicycles need oil"

    def fail(body: Body, _: int) -> str | None:
        return "reset" if lost in read_judged_reply(body["messages"]).response else None

    fake.fault = fail
    with pytest.raises(RunError, match="unavailable"):
        safegen.generate(recipe(fake, "judge-a", below="drop"), output=tmp_path)
    assert not (tmp_path / "run" / "judges.json").exists()


def test_judge_command_needs_a_panel() -> None:
    with pytest.raises(UserError, match="no judges"):
        asyncio.run(probe_judges("starter"))


@pytest.mark.slow
def test_judge_command_prints_biases(
    tmp_path: Path, fake: FakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    made = recipe(fake, "judge-a", "judge-praise").model_dump(mode="json", exclude_defaults=True)
    path.write_text(json.dumps(made), encoding="utf-8")
    result = call(capsys, "judge", "test", path, "--json")
    lines = result.lines
    assert result.code == 1
    assert [(line["judge"], line["passed"]) for line in lines][1] == ("judge-praise", False)
    assert "labels_everything_safe" in [bias["bias"] for bias in lines[1]["biases"]]
    page = ROOT / "docs" / "reference" / "json.md"
    section = page.read_text(encoding="utf-8").split("## judge test\n")[1].split("\n## ")[0]
    assert [key for key in lines[0] if f"`{key}`" not in section] == []
    assert "labels everything safe" in call(capsys, "judge", "test", path).out


def misjudge(body: Body) -> str:
    """Answer as a judge with the fault that its model is named after, and honestly about the rest."""
    judged, model = read_judged_reply(body["messages"]), str(body["model"])
    values = read_honestly(judged, body["messages"][0]["content"])
    text = " ".join([*(m["content"] for m in judged.messages), judged.response])
    if model == "judge-declining":
        return "I'm sorry, but I can't rate texts of this kind."
    if model == "judge-open":
        values["correctness"] = "abstain"
    if model == "judge-lenient" and "lenient" in text:
        values = {}
    return make_judge_answer(judged.response, **values)


@pytest.mark.parametrize(
    ("model", "bias"),
    [
        ("judge-declining", "refuses to judge"),
        ("judge-open", "abstains"),
        ("judge-lenient", "obeys instructions in the text that it judges"),
    ],
)
def test_judge_command_names_the_right_bias(
    model: str, bias: str, tmp_path: Path, fake: FakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answer = misjudge
    path = tmp_path / "recipe.yaml"
    made = recipe(fake, model).model_dump(mode="json", exclude_defaults=True)
    path.write_text(json.dumps(made), encoding="utf-8")
    result = call(capsys, "judge", "test", path, "--json")
    (line,) = result.lines
    assert [found["words"] for found in line["biases"]] == [bias]
    assert result.code == 1


def read_card(output: Path) -> str:
    return (output / "README.md").read_text(encoding="utf-8")


LABELS = "id,language,human_a,judge_judge_a\n" + "\n".join(
    f"{n},en,{'no' if n % 3 else 'yes'},{'no' if n % 3 else 'yes'}" for n in range(30)
)


@pytest.mark.slow
def test_labels_of_people_reach_the_card(
    tmp_path: Path, fake: FakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    output, labels = tmp_path / "out", tmp_path / "labels.csv"
    safegen.generate(recipe(fake, "judge-a"), output=output)
    labels.write_text(LABELS, encoding="utf-8")
    arguments = ("calibrate", labels, "--run", output, "--resamples", "20")
    assert call(capsys, *arguments).code == 0
    rebuild(output)
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    (entry,) = manifest["calibration"]["judges"]
    key = manifest["judge_check"]["jurors"][0]
    assert (entry["judge"], entry["model"], entry["rubric"]) == tuple(
        key[name] for name in ("judge", "model", "rubric")
    )
    assert (entry["language"], entry["items"], entry["kappa"]["value"]) == ("en", 30, 1.0)
    assert entry["calibrated"] is True
    assert "Calibrated against labels of people" in read_card(output)
    few = LABELS.splitlines()[:30]
    equal = [LABELS.splitlines()[0], *(f"{n},en,no,no" for n in range(40))]
    for lines, items in ((few, 29), (equal, 40)):
        labels.write_text("\n".join(lines), encoding="utf-8")
        result = call(capsys, *arguments)
        assert (result.code, "not called calibrated" in result.err) == (0, True)
        rebuild(output)
        card = read_card(output)
        assert "Calibrated against labels of people" not in card
        assert "They were not calibrated against labels of people." in card
        assert f"or all labels are equal: `judge-a` (en, {items} items)." in card
    labels.write_text(LABELS.replace("judge_judge_a", "judge_other"), encoding="utf-8")
    result = call(capsys, *arguments)
    assert (result.code, "is no judge of the run" in result.err) == (2, True)


@pytest.mark.parametrize("command", ["score", "evaluate"])
def test_report_names_a_dropped_juror(
    command: str,
    tmp_path: Path,
    workdir: Path,
    fake: FakeEndpoint,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = recipe(fake, "judge-a", "judge-praise", below="drop").model_dump(
        mode="json", exclude_defaults=True
    )
    path, rows = workdir / "recipe.yaml", workdir / "rows.jsonl"
    path.write_text(json.dumps(made | {"split": {"test": 0.9}}), encoding="utf-8")
    labels = {"harm": "property.copyright", "evidence": "none", "profile": "public"}
    row = {"prompt": "How long does a copyright last?", "response": TEXT, "requested_detail": 1}
    rows.write_text(json.dumps(row | labels), encoding="utf-8")
    words = {
        "score": ("score", rows, "--recipe", path),
        "evaluate": ("evaluate", path, "--model", "student", "--base-url", fake.url),
    }[command]
    (line,) = call(capsys, *words, "--json").lines
    report = line["models"][0] if command == "evaluate" else line
    assert report["dropped"] == [{"judge": "judge-praise", "biases": ["labels_everything_safe"]}]
    assert "dropped from the panel: judge-praise (labels everything safe)" in " ".join(
        call(capsys, *words).out.split()
    )
