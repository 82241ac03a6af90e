"""The screen and the JSON of `safegen calibrate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.harness import call
from tests.cli.test_json_keys import keys
from tests.docs.test_json_page import SECTIONS, list_words

LABELS = "id,leaf,human_a,human_b,judge,score\n" + "".join(
    f"{n},pantry,{a},{a},{b},{s}\n"
    for n, (a, b, s) in enumerate([("safe", "safe", 0.1), ("unsafe", "unsafe", 0.9)] * 3)
)


def test_calibrate_prints_a_row_for_each_panel(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "labels.csv").write_text(LABELS, encoding="utf-8")
    done = call(capsys, "calibrate", "labels.csv", "--positive", "unsafe", "--resamples", "20")
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[:3] == [
        "labels.csv",
        "6 items, 6 with a human label",
        "scale nominal: safe, unsafe",
    ]
    starts = [line.split()[:3] for line in lines if line.startswith("  ")]
    assert ["people", "6", "100%"] in starts
    assert ["judge", "6", "100%"] in starts
    assert ["leaf", "pantry", "6"] in starts
    assert "not run; it needs 3 people" in done.out
    assert "0.9   1.00       1.00    1.00  1.00      best F1" in done.out


def test_calibrate_json_has_the_documented_keys(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "labels.csv").write_text(LABELS, encoding="utf-8")
    options = ("--positive", "unsafe", "--resamples", "20", "--json")
    (payload,) = call(capsys, "calibrate", "labels.csv", *options).lines
    assert keys(payload) - list_words(SECTIONS["calibrate"]) == set()
    assert payload["judges"][0]["kappa"]["none"]["value"] == 1.0
    assert payload["scores"][0]["best"]["threshold"] == 0.9


def test_calibrate_refuses_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "calibrate", "absent.csv")
    assert (done.code, done.out) == (2, "")
    assert "absent.csv: no such file" in done.err
