"""Rows of a user's file that are not planned are reported before any request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.testing import FakeEndpoint
from tests.e2e.runs import cli, fails, shell
from tests.e2e.test_user_prompts import (
    MAP,
    OPEN,
    PLAN,
    ROWS,
    labels,
    listed,
    recipe,
    records,
    view,
    write_csv,
)

KEPT_OUT: dict[str, tuple[tuple[str, ...], str]] = {
    "red_line": (ROWS[8], "1 red line, listed in `.*`; a red line is never drafted"),
    "contradictory": (
        ("odd", "A box?", "cyber.intrusion", "benign", "stated", "1", "MIT", "", ""),
        "1 contradictory, listed in `.*`; fix labels that contradict",
    ),
    "harms": (ROWS[9], "planned: 1 excluded by `harms`; widen `plan`"),
    "missing_label": (ROWS[2], "1 not labelled, listed in .*; fill in the labels or name `judges"),
}


@pytest.mark.parametrize("cause", KEPT_OUT)
def test_unplannable_row_is_reported_with_its_cause(
    workdir: Path, capsys: pytest.CaptureFixture[str], cause: str
) -> None:
    row, says = KEPT_OUT[cause]
    write_csv(workdir / "p.csv", [row])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    result = cli(capsys, "generate", *args, "-o", "out")
    fails(result, 2, says)
    assert ("fill in the labels" in result.err) is (cause == "missing_label")
    checked = cli(capsys, "check", *args, "--json")
    fails(checked, 2, says.replace(", listed in `.*`", "").replace(", listed in .*", ""))
    payload = json.loads(checked.out.splitlines()[0])
    assert payload["labelled"] == (cause != "missing_label")
    assert payload["planned"] == 0
    assert [u["cause"] for u in payload["unlabelled"]] == ([cause] if cause != "harms" else [])


GROWN = ("grown", "I'm 34, how is a box opened?", *ROWS[0][2:6], "MIT", "", "")
FOR_PUPILS = ("pupils", "My wife wants a box. Which?", *ROWS[0][2:6], "MIT", "", "minors")


def test_adult_prompts_are_skipped_under_minors(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP, "--column", "profile=note"]
    write_csv(workdir / "p.csv", [(*ROWS[0][:8], ""), GROWN, FOR_PUPILS])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0, plan=PLAN | {"profiles": ["public", "minors"]})
        payload = json.loads(cli(capsys, "check", *args, "--json").out)
        screen = cli(capsys, "check", *args)
        result = cli(capsys, "generate", *args, "-o", "out")
    assert result.code == 0, result.err
    (row,) = listed(workdir / "out")
    assert (row["id"], row["fields"], row["cause"]) == ("pupils", ["profile"], "profile_mismatch")
    assert (
        "an adult asks, which `minors` excludes: the service is for people under" in row["message"]
    )
    planned = {(r["goal_id"], r["profile"]) for r in records(workdir / "out")}
    assert planned == {
        ("imported/g", "public"),
        ("imported/g", "minors"),
        ("imported/grown", "public"),
    }
    assert payload["not_under"] == {"minors": 1}
    assert payload["unlabelled"] == [row | {"fields": ["profile"]}]
    for text in (screen.out, result.err):
        assert "1 row under minors: the prompt contradicts the profile" in text


def test_row_without_profile_reaches_no_labeller(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [("grown", "I'm 34, and this box?", *OPEN)])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, plan=PLAN | {"profiles": ["minors"]})
        args = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
        fails(
            cli(capsys, *args),
            2,
            "1 profile mismatch, listed in `.*`; give rows with a profile mismatch",
        )
        assert not fake.requests


LONG = "Which lock keeps a small wooden box shut when it stands in the damp all winter long"


def user_row(id_: str, text: str, group: str = "") -> tuple[str, ...]:
    return (id_, text, *ROWS[0][2:6], "MIT", group, "n")


TWINS = [
    user_row("a", f"{LONG}?"),
    user_row("b", f"{LONG}, please?"),
    user_row("c", f"  {LONG.upper()}?"),
    user_row("d", "What is a box?", "g"),
    user_row("e", "What is a  box?", "g"),
    user_row("f", f"{LONG} and spring?", "h"),
    user_row("g", f"{LONG} and autumn?", "h"),
]


@pytest.mark.slow
def test_near_duplicate_rows_are_reported_before_drafting(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", TWINS)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0)
        payload = json.loads(cli(capsys, "check", *args, "--json").out)
        screen = cli(capsys, "check", *args).out
        result = shell("generate", *args, "-o", "out", "--until", "expand", cwd=workdir)
        assert not fake.requests
        assert cli(capsys, "generate", *args, "-o", "out").code == 0
    pairs = [(r["row"]["id"], r["of"]["id"], r["similarity"] == 1) for r in payload["repeats"]]
    assert pairs == [
        ("b", "a", False),
        ("c", "a", True),
        ("e", "d", True),
        ("f", "a", False),
        ("g", "a", False),
    ]
    assert "5 rows repeat an earlier one" in " ".join(screen.split())
    first = "row 2 (`b`) repeats row 1 (`a`) (94%); row 3 (`c`) repeats row 1 (`a`) (100%)"
    assert f"p.csv: 5 rows repeat an earlier one: {first}" in result.err
    assert "row 5 (`e`) repeats row 4 (`d`) (100%) and 2 more" in result.err
    kept = {r["goal_id"] for r in view(workdir / "out")}
    assert kept == {"imported/a", "imported/g"}, "curation excludes exactly the reported rows"
    assert len(view(workdir / "out")) == len(TWINS) - len(pairs)


def test_copy_replaces_a_row_without_accepted_answer(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copies are reported and drafted, because the kept one depends on the answers."""
    write_csv(workdir / "p.csv", TWINS[:2])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0)
        fake.fault = lambda body, nth: (
            None if "please" in json.dumps(body["messages"]) else "content_filter"
        )
        args = ["recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
        assert cli(capsys, "generate", *args).code == 0
    assert [r["goal_id"] for r in view(workdir / "out")] == ["imported/b"]


def test_excluded_rows_are_no_near_duplicates(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    barred = ("z", f"{LONG}?", "minors.sexual", *ROWS[0][3:6], "MIT", "", "n")
    write_csv(workdir / "p.csv", [barred, TWINS[0], TWINS[3]])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    assert json.loads(cli(capsys, "check", *args, "--json").out)["repeats"] == []
    assert "repeat" not in cli(capsys, "check", *args).out


def test_unlabelled_texts_are_compared_before_labelling(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [(r[0], r[1], *OPEN) for r in TWINS[:2]])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url)
        args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
        (pair,) = json.loads(cli(capsys, "check", *args, "--json").out)["repeats"]
        assert not fake.requests
    assert (pair["row"]["id"], pair["of"]["id"]) == ("b", "a")


LOST = "I'll force his door and then end my life ({n}). How is the lock opened?"


def self_row(id_: str, intent: str, text: str = LOST) -> tuple[str, ...]:
    return (id_, text.format(n=id_), "property.theft", intent, "self", "2", "MIT", "", "")


def test_check_lists_rows_that_are_recorded_otherwise(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = self_row("both", "malicious")
    outside = ("outside", LOST, "hate.harassment", *both[3:])
    rows = [self_row("alone", "dual_use"), both, ROWS[1], self_row("", "malicious"), outside]
    # A labeller decides the intent of the last row, so `check` cannot know it.
    write_csv(workdir / "p.csv", [*rows, self_row("open", "")])
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    with FakeEndpoint(labels) as fake:
        profiles = {"profiles": ["public", "enterprise"]}
        recipe(workdir, fake.url, plan=PLAN | profiles)
        payload = json.loads(cli(capsys, "check", *args, "--json").out)
        screen = " ".join(cli(capsys, "check", *args).out.split())
        assert cli(capsys, "generate", *args, "-o", "out").code == 0
    change = {"intent": "malicious", "evidence": "self", "recorded": "stated", "danger": True}
    assert payload["recorded_otherwise"] == [
        {"row": 2, "id": "both"} | change,
        {"row": 4, "id": None} | change,
    ]
    text = "intent `malicious` with evidence `self` is recorded as `stated` with `danger: self`"
    assert "recorded 2 rows otherwise than written" in screen
    assert f"- row 2 (`both`): {text}" in screen
    assert f"- row 4: {text}" in screen
    evidence = {r["goal_id"]: r["evidence"] for r in records(workdir / "out")}
    assert (evidence["imported/both"], evidence["imported/alone"]) == ("stated", "self")


def test_check_bounds_listed_rows_recorded_otherwise(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [self_row(f"n{n}", "malicious") for n in range(13)])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    screen = cli(capsys, "check", *args).out
    assert screen.count("- row ") == 10
    assert "and 3 more; list all with --json" in screen
    assert len(json.loads(cli(capsys, "check", *args, "--json").out)["recorded_otherwise"]) == 13


def test_check_without_changed_rows_prints_none(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [ROWS[0], ROWS[1], self_row("alone", "benign")])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    assert "otherwise than written" not in cli(capsys, "check", *args).out
    assert json.loads(cli(capsys, "check", *args, "--json").out)["recorded_otherwise"] == []


@pytest.mark.parametrize(("test", "warned"), [(0.001, "`test`"), (0.99, "`train`"), (0, "")])
def test_check_warns_of_a_split_without_rows(
    test: float, warned: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [ROWS[0]])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0, split={"test": test})
    args = ["check", "recipe.yaml", "--prompts", "p.csv", *MAP]
    screen = " ".join(cli(capsys, *args).out.split())
    warnings = json.loads(cli(capsys, *args, "--json").out)["warnings"]
    message = f"no rows in {warned}: no goal fell into it"
    assert (message in screen, len(warnings)) == (bool(warned), int(bool(warned)))
