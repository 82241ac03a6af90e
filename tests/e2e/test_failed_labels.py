"""Failed requests of labellers are listed, and a retry plans the rows that they left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from safegen.testing import Body, FakeEndpoint
from tests.e2e.runs import cli, fails
from tests.e2e.test_user_prompts import MAP, OPEN, labels, listed, recipe, records, write_csv

ROWS = [
    ("own", "How is a lid opened?", "cyber.intrusion", "dual_use", "none", "3", "MIT", "g", ""),
    ("late", "Which lid is [late]?", *OPEN),
    ("also", "Which jar is [late]?", *OPEN),
]
ALL = {"own", "late", "also"}
ARGS = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]


def is_label(body: Body) -> bool:
    # After an error, the teacher asks for the object in words.
    return "response_format" in body or "one JSON object" in json.dumps(body["messages"])


def is_late(body: Body) -> bool:
    return is_label(body) and "[late]" in json.dumps(body["messages"])


class Failing(NamedTuple):
    """An endpoint that fails for some labels until `ill` is empty."""

    fake: FakeEndpoint
    ill: list[bool]


def make_failing(outcome: str) -> Failing:
    """Make an endpoint whose labels of late rows are prose, a refusal or an error of the server."""
    ill = [True]

    def answer(body: Body) -> str:
        is_prose = outcome == "malformed" and ill and is_late(body)
        return "Fine, I think." if is_prose else labels(body)

    def fault(body: Body, nth: int) -> str | None:
        code = {"unavailable": "500", "refused": "refusal"}.get(outcome)
        return code if ill and is_late(body) else None

    return Failing(FakeEndpoint(answer, fault=fault), ill)


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(cli(capsys, "status", "out", "--json").out)


def planned_ids(folder: Path) -> set[str]:
    attributes = [a for record in records(folder) for a in record["attributes"]]
    return {a["value"] for a in attributes if a["axis"] == "source_id"}


@pytest.mark.parametrize(
    "outcome",
    ["malformed", *(pytest.param(o, marks=pytest.mark.slow) for o in ("refused", "unavailable"))],
)
def test_retry_plans_rows_of_failed_labellers(
    workdir: Path, capsys: pytest.CaptureFixture[str], outcome: str
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    failing = make_failing(outcome)
    with failing.fake as fake:
        recipe(workdir, fake.url)
        first = cli(capsys, *ARGS)
        before = status(capsys)
        drafted = [body for body in fake.requests if not is_label(body)]
        failing.ill.clear()
        done = cli(capsys, "retry", "out")
        after = [body for body in fake.requests if not is_label(body)]
        count = len(fake.requests)
        again = cli(capsys, *ARGS)
        assert len(fake.requests) == count
    assert (first.code, done.code, again.code) == (0, 0, 0), done.err
    assert "2 rows not planned (2 labeller failed)" in first.err
    assert "`safegen retry out` repeats failed requests" in first.err
    assert (before["failed_requests"], before["unlabelled"]) == ({outcome: 4}, 2)
    assert before["imported"]["unlabelled_by"] == {"label_request_failed": 2}
    # The draft of the first row is not paid again.
    assert after[: len(drafted)] == drafted
    assert len(after) == 3 * len(drafted)
    assert planned_ids(workdir / "out") == ALL
    assert listed(workdir / "out") == []
    assert (status(capsys)["failed_requests"], status(capsys)["unlabelled"]) == ({}, 0)


def test_same_command_repeats_unavailable_labels(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    failing = make_failing("unavailable")
    with failing.fake as fake:
        recipe(workdir, fake.url)
        assert cli(capsys, *ARGS, "--strict").code == 1
        assert "the same command repeats the request" in listed(workdir / "out")[0]["message"]
        failing.ill.clear()
        assert cli(capsys, *ARGS, "--strict").code == 0
    assert planned_ids(workdir / "out") == ALL


def test_failure_that_stays_keeps_plan_and_records(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    with make_failing("malformed").fake as fake:
        recipe(workdir, fake.url)
        assert cli(capsys, *ARGS).code == 0
        paths = [workdir / "out/run/plan/0.parquet", *(workdir / "out/run/records").glob("*")]
        before = [(path.stat().st_ino, path.read_bytes()) for path in paths]
        cli(capsys, "retry", "out")
    assert [(path.stat().st_ino, path.read_bytes()) for path in paths] == before
    assert status(capsys)["failed_requests"] == {"malformed": 4}


def test_run_without_any_label_is_completed_by_retry(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS[1:])
    failing = make_failing("malformed")
    with failing.fake as fake:
        recipe(workdir, fake.url)
        fails(cli(capsys, *ARGS), 1, "2 labeller failed.*`safegen retry out` repeats them")
        shown = cli(capsys, "status", "out").out
        assert "4 malformed" in shown
        assert "safegen retry out" in shown
        failing.ill.clear()
        assert cli(capsys, "retry", "out").code == 0
    assert planned_ids(workdir / "out") == {"late", "also"}


def test_failed_labeller_check_is_repeated_by_retry(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    ill = [True]
    with FakeEndpoint(lambda body: "No." if ill else labels(body)) as fake:
        recipe(workdir, fake.url)
        text = (workdir / "recipe.yaml").read_text().replace("known: 0", "known: 40\n  bar: 0.5")
        (workdir / "recipe.yaml").write_text(text)
        fails(cli(capsys, *ARGS), 1, "requests failed: `safegen retry out` repeats them")
        assert set(status(capsys)["failed_requests"]) == {"malformed"}
        sent = len(fake.requests)
        ill.clear()
        cli(capsys, "retry", "out")
        assert len(fake.requests) > sent
    unread = json.loads((workdir / "out/run/labellers.json").read_text())["misread"]
    assert unread, "the known prompts have answers now"


def test_retry_without_the_prompt_file_changes_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    with make_failing("malformed").fake as fake:
        recipe(workdir, fake.url)
        assert cli(capsys, *ARGS).code == 0
        count = len(fake.requests)
        (workdir / "p.csv").rename(workdir / "moved.csv")
        fails(cli(capsys, "retry", "out"), 2, "run it in the folder that has the file")
        (workdir / "p.csv").write_text("prompt,licence\nother,MIT\n")
        fails(cli(capsys, "retry", "out"), 2, "`p.csv` has changed since the run was planned")
        assert len(fake.requests) == count
    assert status(capsys)["failed_requests"] == {"malformed": 4}
