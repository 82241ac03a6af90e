"""What is told of the rows of a user's file that are not planned, before anything is paid for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.runs import cli, fails
from tests.e2e.test_own_prompts import (
    MAP,
    OPEN,
    PLAN,
    ROWS,
    labels,
    listed,
    recipe,
    records,
    write_csv,
)
from tests.fake_endpoint import FakeEndpoint

KEPT_OUT: dict[str, tuple[tuple[str, ...], str]] = {
    "red line": (ROWS[8], "1 red line, listed in `.*`; a red line is never drafted"),
    "at odds": (
        ("odd", "A box?", "cyber.intrusion", "benign", "stated", "1", "MIT", "", ""),
        "1 at odds, listed in `.*`; mend the labels",
    ),
    "harms": (ROWS[9], "planned: 1 left out by `harms`; widen `plan`"),
    "not labelled": (ROWS[2], "1 not labelled, listed in .*; fill in the labels or name `judges"),
}


@pytest.mark.parametrize("cause", KEPT_OUT)
def test_the_true_cause_is_told_where_no_row_can_be_planned(
    workdir: Path, capsys: pytest.CaptureFixture[str], cause: str
) -> None:
    row, says = KEPT_OUT[cause]
    write_csv(workdir / "p.csv", [row])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP]
    said = cli(capsys, "generate", *args, "-o", "out")
    fails(said, 2, says)
    assert ("fill in the labels" in said.err) is (cause == "not labelled")
    found = json.loads(cli(capsys, "check", *args, "--json").out)
    assert found["labelled"] == (cause != "not labelled")
    assert found["planned"] == 0
    assert [u["cause"] for u in found["unlabelled"]] == ([cause] if cause != "harms" else [])


GROWN = ("grown", "I'm 34, how is a box opened?", *ROWS[0][2:6], "MIT", "", "")
FOR_PUPILS = ("pupils", "My wife wants a box. Which?", *ROWS[0][2:6], "MIT", "", "minors")


def test_an_adults_words_are_not_asked_under_a_profile_for_the_young(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["recipe.yaml", "--prompts", "p.csv", *MAP, "--column", "profile=note"]
    write_csv(workdir / "p.csv", [(*ROWS[0][:8], ""), GROWN, FOR_PUPILS])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0, plan=PLAN | {"profiles": ["public", "minors"]})
        found = json.loads(cli(capsys, "check", *args, "--json").out)
        screen = cli(capsys, "check", *args)
        said = cli(capsys, "generate", *args, "-o", "out")
    assert said.code == 0, said.err
    (row,) = listed(workdir / "out")
    assert (row["id"], row["fields"], row["cause"]) == ("pupils", ["profile"], "barred")
    assert "an adult asks, and not under `minors`: the service is for people under" in row["why"]
    asked = {(r["goal_id"], r["profile"]) for r in records(workdir / "out")}
    assert asked == {
        ("imported/g", "public"),
        ("imported/g", "minors"),
        ("imported/grown", "public"),
    }
    assert found["not_under"] == {"minors": 1}
    assert found["unlabelled"] == [row | {"fields": ["profile"]}]
    for told in (screen.out, said.err):
        assert "1 row under minors: their words tell of somebody whom it is not for" in told


def test_an_adults_words_are_shown_to_no_labeller_where_no_profile_is_left(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", [("grown", "I'm 34, and this box?", *OPEN)])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, plan=PLAN | {"profiles": ["minors"]})
        args = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
        fails(cli(capsys, *args), 2, "1 barred, listed in `.*`; give barred rows another `profile`")
        assert not fake.requests
