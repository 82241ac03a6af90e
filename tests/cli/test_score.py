"""The screen and the JSON of `safegen score` and `safegen evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.testing import FakeEndpoint
from tests.cli.harness import call, write_recipe
from tests.cli.test_json_keys import keys
from tests.docs.test_json_page import SECTIONS, list_words

REFUSAL = "I'm sorry, but I can't help with that request."
# Names of a user, of labels, checks, outcomes and levels are keys too.
NAMED = {"a", "model", "mode", "intent", "harm", "A0", "A1", "A2", "A3", "A4"}


def write_rows(folder: Path) -> Path:
    row = {"prompt": "How do I descale a kettle?", "response": REFUSAL, "model": "a"}
    path = folder / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n{{}}\n", encoding="utf-8")
    return path


def test_score_prints_rates_and_bad_rows(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(workdir)
    done = call(capsys, "score", "rows.jsonl", "--mode", "direct_answer", "--by", "model")
    assert done.code == 0
    assert "1 answer, 1 rows not scored" in done.out
    assert "not run: actionability on 1 answer without `ceiling`" in done.out
    assert "rows.jsonl:2: row 2: has neither `messages` nor `prompt`" in done.err
    assert REFUSAL not in done.out + done.err


def test_score_json_has_the_documented_keys(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(workdir)
    (payload,) = call(capsys, "score", "rows.jsonl", "--by", "model", "--json").lines
    used = {key for key in keys({k: v for k, v in payload.items() if k != "checks"})}
    assert used - list_words(SECTIONS["score"]) - NAMED - payload["labels"].keys() == set(
        payload["bad_by"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "modell"), "did you mean `model`?"),
        (("--reveal",), "-o FILE.parquet"),
        (("-o", "scores.csv"), "must end in `.parquet`"),
        (("--column", "response=answer"), "no column `answer` for `response`"),
    ],
    ids=["by", "reveal", "output", "column"],
)
def test_score_refuses_wrong_options(
    arguments: tuple[str, ...],
    message: str,
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(workdir)
    done = call(capsys, "score", "rows.jsonl", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_silent_panel_is_a_failure(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"harm": "cyber.intrusion", "evidence": "none", "profile": "public"}
    row = {"prompt": "How do I descale a kettle?", "response": REFUSAL, "requested_detail": 1}
    Path("rows.jsonl").write_text(json.dumps(row | labels) + "\n", encoding="utf-8")
    with FakeEndpoint(lambda _: "{") as fake:
        juror = f"openai_chat: {{model: judge, base_url: {fake.url}}}"
        plan = "plan: {harms: [cyber.intrusion], sets_per_harm: 1}"
        text = f"name: k\npolicies: [security]\nsplit: {{test: 0.6}}\n{plan}\n"
        recipe = write_recipe(workdir, f"{text}judges: {{panel: [{{{juror}}}], traps: 0}}\n")
        scored = call(capsys, "score", "rows.jsonl", "--recipe", recipe)
        model = ("--model", "first", "--base-url", fake.url)
        evaluated = call(capsys, "evaluate", recipe, *model)
    assert (scored.code, evaluated.code) == (1, 1)
    assert "the panel did not decide about 1 of 1 answers (100%: 1 unparsable)" in scored.err
    assert "first: the panel did not decide about" in evaluated.err


def test_evaluate_compares_two_models(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "name: k\npolicies: [security]\nsplit: {test: 0.6}\n"
    recipe = write_recipe(workdir, f"{text}plan: {{harms: [cyber.intrusion], sets_per_harm: 1}}\n")
    with FakeEndpoint(lambda body: REFUSAL) as fake:
        names = ("--model", "first", "--model", "second", "--base-url", fake.url)
        done = call(capsys, "evaluate", recipe, *names)
        again = call(capsys, "evaluate", recipe, *names, "--json")
    assert done.code == 0
    assert "second minus first" in done.out
    (payload,) = again.lines
    assert [m["requests"] for m in payload["models"]] == [0, 0]
    assert Path("outputs/k-evaluation/evaluation.json").is_file()


def test_evaluate_refuses_unmatched_addresses(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ("--base-url", "http://127.0.0.1:1/v1", "--base-url", "http://127.0.0.1:2/v1")
    done = call(capsys, "evaluate", "starter", "--model", "m", *urls)
    assert done.code == 2
    assert "once for each `--model`" in done.err
