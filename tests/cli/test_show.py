from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safegen.core.types import Record
from safegen.store.run_folder import RunFolder
from safegen.testing import make_draft, make_messages, make_record, make_scenario, make_verdict
from tests.cli.harness import call, hand_made

ALL = ("-n", "100000")


def records_of(output: Path) -> list[Record]:
    run = RunFolder(output)
    return [record for shard in run.finished_shards() for record in run.read_records(shard)]


def texts_of(record: Record) -> list[str]:
    texts = [m["content"] for m in record.scenario.messages]
    return [t for t in [*texts, record.draft.response] if t]


def test_record_shows_scenario_expectation_and_verdicts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = next(r for r in records_of(finished) if not r.accepted)
    result = call(capsys, "show", finished, record.draft.draft_id)
    for words in (
        record.scenario.scenario_id,
        record.scenario.goal_id,
        record.expectation.mode,
        record.expectation.rule_ids[0],
        f"ceiling {record.expectation.ceiling}",
        "rejected",
        f"reason {record.reason}",
        *(v.reason for v in record.verdicts),
    ):
        assert words in result.out
    assert "not available" not in result.out
    assert result.err == ""


def test_why_follows_expectation_without_repeats(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = call(capsys, "show", finished, "-n", "1", "--why").out
    order = ["prompt", "expected", "written at", "earlier rule", "expectation", "delivered"]
    places = [output.index(name) for name in order]
    assert places == sorted(places)
    for name in ("prompt", "required", "decided by"):
        assert sum(line.startswith(f"  {name} ") for line in output.splitlines()) <= 1
    assert "decided by" not in output


def test_record_shows_checks_of_required_elements(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = records_of(finished)
    record = next(r for r in records if "safe_task" in r.expectation.required)
    output = call(capsys, "show", finished, record.draft.draft_id).out
    lines = [" ".join(line.split()) for line in output.splitlines()]
    for element, check in (
        ("limit: says in a few words what is left out", "(checked by wording only"),
        ("safe_task: gives concrete help", "(no validator checks it)"),
    ):
        (line,) = [line for line in lines if element in line]
        assert check in line


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_show_without_reveal_hides_texts(
    form: tuple[str, ...], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "show", finished, *ALL, *form)
    records = records_of(finished)
    assert result.out.count(records[0].scenario.scenario_id) >= 2
    for record in records:
        for text in texts_of(record):
            assert text[:40] not in result.out
        for verdict in record.verdicts:
            if len(verdict.evidence) > 12 and "characters" not in verdict.evidence:
                assert verdict.evidence not in result.out


def test_reveal_shows_conversation_and_answer(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records_of(finished)[0]
    result = call(capsys, "show", finished, record.draft.draft_id, "--reveal")
    for text in texts_of(record):
        for line in text.splitlines():
            assert line in result.out
    (payload,) = call(capsys, "show", finished, record.draft.draft_id, "--reveal", "--json").lines
    assert payload["response"] == record.draft.response
    assert payload["messages"] == list(record.scenario.messages)


def test_reason_that_quotes_the_answer_is_hidden(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = "the secret spice of the house is kept under the stairs"
    verdict = make_verdict(passed=False, reason=f"says that {answer}", evidence="spice")
    draft = make_draft(response=answer)
    hand_made(workdir / "out", [make_record(draft=draft, verdicts=(verdict,), accepted=False)])
    for form in ((), ("--json",)):
        assert "stairs" not in call(capsys, "show", "out", *form).out
        assert "stairs" in call(capsys, "show", "out", "--reveal", *form).out


def test_withheld_text_stays_hidden_with_reveal(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = make_verdict(passed=False, reason="unsafe", evidence="under the stairs")
    draft = make_draft(response=None, withheld=True)
    hand_made(workdir / "out", [make_record(draft=draft, verdicts=(verdict,), accepted=False)])
    for form in ((), ("--json",)):
        output = call(capsys, "show", "out", "--reveal", *form).out
        assert "stairs" not in output
        assert "withheld" in output


Fits = Callable[[dict[str, Any]], bool]


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        (("--accepted",), lambda r: r["accepted"]),
        (("--rejected",), lambda r: not r["accepted"]),
        (("--mode", "safe_completion"), lambda r: r["mode"] == "safe_completion"),
        (("--intent", "malicious"), lambda r: r["intent"] == "malicious"),
        (("--harm", "cyber"), lambda r: r["domain"] == "cyber"),
        (("--harm", "cyber.intrusion"), lambda r: r["harm"] == "cyber.intrusion"),
        (("--reason", "response_form"), lambda r: r["reason"] == "response_form"),
        (("--reason", "no_limit"), lambda r: "no_limit" in {v["code"] for v in r["verdicts"]}),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_filter_returns_all_matching_records(
    options: tuple[str, ...], fits: Fits, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = call(capsys, "show", finished, *ALL, "--json").lines
    payload = call(capsys, "show", finished, *ALL, "--json", *options).lines
    assert payload == [row for row in everything if fits(row)] != []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--accepted", "--rejected"), "`--accepted` and `--rejected` exclude each other"),
        (("--harm", "cyber.intrusoin"), "did you mean `cyber.intrusion`"),
        (("--harm", "cybr.*"), "no leaf or domain `cybr.*`"),
        (("--harm", ""), "no leaf or domain ``"),
        (("--mode", "maybe"), "safe_completion"),
        (("--intent", "good"), "dual_use"),
        (("--reason", "gate_frm"), "--reason: no reason `gate_frm`; did you mean `gate_form`?"),
        (("--reason", "lunch"), "no reason `lunch`; known: blocked, "),
        (("--reason", ""), "no reason ``; known: blocked, "),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_invalid_filter_exits_2(
    options: tuple[str, ...], expected: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "show", finished, *options)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err


def test_rejected_leaves_out_failed_requests(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        make_record(
            draft=make_draft(response=None, outcome="truncated", draft_id="cut"),
            accepted=False,
            reason="truncated",
        ),
        make_record(draft=make_draft(draft_id="bad"), accepted=False, reason="style"),
        make_record(
            draft=make_draft(draft_id="hidden", response=None, withheld=True),
            accepted=False,
            reason="withheld",
        ),
    ]
    hand_made(workdir / "out", records)
    rows = call(capsys, "show", "out", "--rejected", "--json").lines
    assert [row["draft_id"] for row in rows] == ["bad", "hidden"]
    failed = call(capsys, "show", "out", "--reason", "truncated").out
    assert "failed" in failed
    assert "rejected" not in failed


def test_code_of_own_validator_is_a_reason(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = make_verdict("own", code="shouts", passed=False)
    hand_made(workdir / "out", [make_record(verdicts=(verdict,), accepted=False)])
    assert "own" in call(capsys, "show", "out", "--reason", "shouts").out


def test_limit_reports_more_matching_records(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "show", finished, "-n", "2", "--json")
    assert len(result.lines) == 2
    assert "more records match" in result.err


@pytest.mark.parametrize(
    "form", [(), pytest.param(("--json",), marks=pytest.mark.slow)], ids=["text", "json"]
)
def test_closed_reader_is_no_failure(form: tuple[str, ...], finished: Path) -> None:
    command = [sys.executable, "-m", "safegen", "show", str(finished), *form, *ALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 0


def test_show_without_match_lists_known_reasons(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for reason in ("gate_unsure", "near_duplicate", "withheld", "unfinished", "length_bounds"):
        result = call(capsys, "show", finished, "--reason", reason)
        assert (result.code, result.out) == (0, "")
        assert "no record matches" in result.err
    assert "reasons in this run: " in result.err
    assert "response_form" in result.err
    result = call(capsys, "show", finished, "zzzz")
    assert (result.code, result.out) == (2, "")
    assert "`zzzz`" in result.err


def test_show_escapes_control_characters(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egnp.exe\r"
    record = make_record(
        scenario=make_scenario(harm=f"a.{evil}", goal_id=evil, messages=make_messages(evil)),
        draft=make_draft(model=evil, response=evil, style=evil),
        verdicts=(make_verdict(evil, reason=evil, evidence=evil, passed=False),),
        reason=evil,
        accepted=False,
    )
    hand_made(workdir / "out", [record])
    for form in ((), ("--reveal",), ("--json",), ("--json", "--reveal")):
        result = call(capsys, "show", "out", *form)
        assert result.code == 0
        assert [c for c in result.out if c != "\n" and not c.isprintable()] == []
    (row,) = call(capsys, "show", "out", "--json", "--reveal").lines
    assert row["response"] == evil
    result = call(capsys, "show", "out", evil + "x")
    assert "\x1b" not in result.err


def test_why_is_printed_once_per_scenario(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = call(capsys, "show", finished, "--json", "-n", "2").lines
    assert rows[0]["scenario_id"] == rows[1]["scenario_id"], "two drafts of one prompt"
    output = call(capsys, "show", finished, "-n", "2", "--why").out
    assert output.count("written at") == 1
    assert output.count("delivered") == 2
