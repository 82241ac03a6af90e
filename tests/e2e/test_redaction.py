"""Personal data of a user's file is masked or dropped before the plan and the first request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.testing import FakeEndpoint
from tests.e2e.runs import cli, fails
from tests.e2e.test_user_prompts import MAP, OPEN, labels, listed, recipe, records, write_csv

MAIL = "ann.baker@example.org"
ROWS = [
    ("plain", "How is a box opened?", "cyber.intrusion", "dual_use", "none", "3", "MIT", "g", ""),
    ("mail", f"A box for {MAIL}?", "cyber.intrusion", "benign", "none", "1", "MIT", "g", ""),
    (MAIL, "What keeps a box shut?", *OPEN),
]
ARGS = ["recipe.yaml", "--prompts", "p.csv", *MAP]


def check(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    return json.loads(cli(capsys, "check", *ARGS, *more, "--json").out)


def bytes_with_mail(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if MAIL.encode() in path.read_bytes()]


def test_masked_data_reaches_no_request_and_file(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, redact="mask")
        assert cli(capsys, "generate", *ARGS, "-o", "out").code == 0
        requests = json.dumps(list(fake.requests))
    assert MAIL not in requests
    assert "A box for [email]?" in requests
    assert bytes_with_mail(workdir / "out") == []
    assert len(records(workdir / "out")) == len(ROWS)


def test_dropped_rows_are_counted_as_excluded(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, redact="drop")
        done = cli(capsys, "generate", *ARGS, "-o", "out")
        requests = json.dumps(list(fake.requests))
    assert "2 excluded by redact" in done.err
    assert "What keeps" not in requests
    assert bytes_with_mail(workdir / "out") == []


def test_check_counts_personal_data_without_redaction(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS)
    recipe(workdir, "http://127.0.0.1:9/v1")
    payload = check(capsys)
    assert (payload["personal_rows"], payload["personal_kinds"]) == (2, {"email": 2})
    text = cli(capsys, "check", *ARGS).out
    assert "2 rows have likely personal data, keys or tokens; set `redact: mask`" in text


def test_redaction_is_part_of_the_run(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(workdir / "p.csv", ROWS[:2])
    recipe(workdir, "http://127.0.0.1:9/v1", redact="mask")
    args = ["generate", *ARGS, "-o", "out", "--until", "expand"]
    assert cli(capsys, *args).code == 0
    recipe(workdir, "http://127.0.0.1:9/v1")
    fails(cli(capsys, *args), 2, "begun with another `redact`")


def test_file_of_personal_data_alone_is_explained(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS[1:2])
    recipe(workdir, "http://127.0.0.1:9/v1", redact="drop")
    fails(
        cli(capsys, "generate", *ARGS, "-o", "out"), 2, "1 excluded by `redact`; set `redact: mask`"
    )


def test_check_lists_columns_and_warns_of_split(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"How is jar {i} closed?,{'train' if i % 4 else 'test'},q{i}" for i in range(8)]
    (workdir / "p.csv").write_text("\n".join(["goal,set,id", *lines]) + "\n")
    recipe(workdir, "http://127.0.0.1:9/v1")
    args = ["check", "recipe.yaml", "--prompts", "p.csv", "--licence", "MIT", "--column"]
    payload = json.loads(cli(capsys, *args, "prompt=goal", "--json").out)
    assert payload["fields"] == {"prompt": "goal", "id": "id", "set": "set"}
    [warning] = payload["warnings"]
    assert "column `set`, read as `set`, looks like a split (rows: `train` 6, `test` 2)" in warning
    unread = json.loads(cli(capsys, *args, "prompt=goal", "--column", "set=", "--json").out)
    assert (unread["warnings"], unread["not_read"]) == ([], ["set"])
    as_goal = json.loads(cli(capsys, *args, "prompt=id", "--column", "goal=goal", "--json").out)
    assert "column `goal`, read as `goal`, looks like a prompt" in as_goal["warnings"][1]


def test_unreadable_rows_are_listed_with_unlabelled(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [ROWS[0], ("empty", "", *OPEN)])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["generate", *ARGS, "-o", "out", "--until", "expand"]
    fails(cli(capsys, *args), 2, "row 2: has no `prompt`; .*`--skip-unreadable`")
    assert cli(capsys, *args, "--skip-unreadable").code == 0
    [row] = listed(workdir / "out")
    assert (row["row"], row["id"], row["cause"]) == (2, "empty", "unreadable")
    assert "has no `prompt`" in row["message"]


def test_files_expanded_by_a_shell_are_read(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "a"):
        (workdir / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "licence": "MIT"}))
    recipe(workdir, "http://127.0.0.1:9/v1")
    result = cli(capsys, "check", "recipe.yaml", "--prompts", "a.jsonl", "b.jsonl", "--json")
    assert (json.loads(result.out)["file"], json.loads(result.out)["rows"]) == (
        "a.jsonl and 1 more",
        2,
    )
    fails(cli(capsys, "check", "recipe.yaml", "b.jsonl"), 2, "files of prompts need `--prompts`")


MARKS = ("ann.baker", "jo.reed", "kim.lane")
HIDDEN = [
    ("lid", "How is a lid closed?", *ROWS[0][2:6], f"MIT by {MAIL}", "g", ""),
    ("jo.reed@example.org", "How is a jar closed?", "", "kind to kim.lane@example.org", *OPEN[2:]),
    ("kim.lane@example.org", "  ", *OPEN),
    (
        "long",
        "How is a tin closed?",
        "cyber.in.the.long.and.cosy.house.of.our.friend.kim.lane@example.org",
        *OPEN[1:],
    ),
    ("kim.lane@example.org", "How is a can closed?", *OPEN),
    ("kim.lane@example.org", "How is a bag closed?", *OPEN),
]


@pytest.mark.parametrize("redaction", ["mask", "drop"])
def test_unreadable_rows_and_licences_show_no_personal_data(
    workdir: Path, capsys: pytest.CaptureFixture[str], redaction: str
) -> None:
    write_csv(workdir / "p.csv", [ROWS[0], *HIDDEN])
    head = (workdir / "p.csv").read_text().replace("note", "kim.lane@example.org", 1)
    (workdir / "p.csv").write_text(head)
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, redact=redaction)
        unskipped = cli(capsys, "check", *ARGS)
        results = [
            cli(capsys, "check", *ARGS, "--skip-unreadable"),
            cli(capsys, "check", *ARGS, "--skip-unreadable", "--json"),
            cli(capsys, "generate", *ARGS, "--skip-unreadable", "-o", "out"),
        ]
    assert unskipped.code == 2
    assert [result.code for result in results] == [0, 0, 0]
    shown = "".join(result.out + result.err for result in [unskipped, *results])
    assert [mark for mark in MARKS if mark in shown] == []
    files = [path for path in (workdir / "out").rglob("*") if path.is_file()]
    assert [
        (path.name, mark) for path in files for mark in MARKS if mark.encode() in path.read_bytes()
    ] == []
    assert [row["row"] for row in listed(workdir / "out")] == [3, 4, 5, 7]


def test_licence_with_personal_data_is_counted(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", HIDDEN[:1])
    recipe(workdir, "http://127.0.0.1:9/v1")
    assert check(capsys)["personal_rows"] == 1


def test_skipped_row_gives_no_hint_to_skip(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [ROWS[0], ("empty", "", *OPEN)])
    recipe(workdir, "http://127.0.0.1:9/v1")
    assert "--skip-unreadable" in cli(capsys, "check", *ARGS).err
    payload = check(capsys, "--skip-unreadable")
    assert "--skip-unreadable" not in json.dumps(payload["unlabelled"])
