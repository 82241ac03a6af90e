from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from safegen.cli.coverage import print_report
from safegen.cli.render.console import print_out
from safegen.cli.render.heat_map import draw_heat_map
from safegen.coverage.ledger import Ledger, StageCounts
from safegen.dataset.target import TargetReport
from safegen.pipeline.coverage import CoverageReport
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from tests.cli.harness import call, write_recipe

CELLS = {
    ("cyber.intrusion", "benign", "direct_answer", "en"): StageCounts(4, 4, 4, 4),
    ("cyber.intrusion", "dual_use", "safe_completion", "en"): StageCounts(8, 7, 6, 5),
    ("fraud.scams", "benign", "direct_answer", "en"): StageCounts(4, 4, 1, 1),
    ("fraud.scams", "malicious", "refuse_redirect", "en"): StageCounts(3, 0, 0),
}
LEDGER = Ledger(("harm", "intent", "mode", "language"), CELLS)
TARGET = TargetReport(
    5,
    ("harm", "intent"),
    4,
    {
        ("cyber.intrusion", "benign"): 1,
        ("fraud.scams", "benign"): 4,
        ("fraud.scams", "malicious"): 5,
    },
    "stalled",
    "stalled: the last round gained nothing",
)


def drawn(capsys: pytest.CaptureFixture[str], *, width: int, **changes: object) -> str:
    report = CoverageReport(LEDGER, ("harm", "intent"), None, TARGET, None)._replace(**changes)
    print_report(Console(width=width, highlight=False, markup=False), report)
    return capsys.readouterr().out


def test_ledger_has_a_row_per_leaf_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in drawn(capsys, width=100).splitlines()]
    assert ["harm", "benign", "dual_use", "malicious", "all", "missing"] in lines
    assert ["cyber.intrusion", "4/4", "5/8", "–", "9/12", "1"] in lines
    assert ["fraud.scams", "1/4", "–", "0/3", "1/7", "9"] in lines
    assert ["all", "5/8", "5/8", "0/3", "10/19", "10"] in lines


def test_missing_cells_are_listed_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {("fraud.scams", "benign"): {"refused": 1, "style": 2}}
    text = drawn(capsys, width=100, reasons=reasons)
    worst = text.index("fraud.scams · malicious: 5 missing")
    assert worst < text.index("fraud.scams · benign: 4 missing")
    assert "fraud.scams · benign: 3 of 4: 2 style, 1 refused" in text
    assert text.index("not in the dataset") < text.index("fraud.scams · malicious: 3 of 3")
    assert "met in 1 of 4 cells" in text
    assert "10 missing in 3 cells: stalled" in text


@pytest.mark.parametrize("width", [24, 40, 60, 80])
@pytest.mark.parametrize("by", [("harm", "intent"), ("harm",), ("harm", "intent", "mode")])
def test_ledger_keeps_figures_at_any_width(
    capsys: pytest.CaptureFixture[str], width: int, by: tuple[str, ...]
) -> None:
    text = drawn(capsys, width=width, by=by, target=None)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    figures = text.replace("\n", " ").split()
    assert "10/19" in figures or {"19", "10"} <= set(figures)


WIDE = {
    ("deception.disinformation", "dual_use", "safe_completion", "en"): StageCounts(
        1234, 1234, 1210, 1200
    ),
    ("systems.infrastructure", "malicious", "refuse_redirect", "en"): StageCounts(3, 3, 3, 3),
}


@pytest.mark.parametrize("width", [48, 60, 80, 100])
def test_ledger_keeps_names_whole_at_any_width(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    ledger = Ledger(("harm", "intent", "mode", "language"), WIDE)
    text = drawn(capsys, width=width, ledger=ledger, by=ledger.axes, target=None)
    words = text.split()
    for cell in WIDE:
        assert all(words.count(value) for value in cell)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_narrow_table_names_constant_axes_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ledger = Ledger(("harm", "intent", "mode", "language"), WIDE)
    narrow = drawn(capsys, width=80, ledger=ledger, by=ledger.axes, target=None)
    assert "every row: language en" in narrow
    wide = drawn(capsys, width=120, ledger=ledger, by=ledger.axes, target=None)
    assert "every row" not in wide
    assert [
        "harm",
        "intent",
        "mode",
        "language",
        "planned",
        "answered",
        "accepted",
        "kept",
        "missing",
    ] in [line.split() for line in wide.splitlines()]


def test_heat_map_of_equal_axes_replaces_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = drawn(capsys, width=80, heat=("intent", "harm"), target=None)
    assert "4/4" in text
    assert "5/8" in text
    assert text.partition("not in the dataset")[0].count("dual_use") == 1
    assert "heat map" in text
    assert "kept/planned per cell" not in text


def test_wide_heat_map_continues_below(capsys: pytest.CaptureFixture[str]) -> None:
    cells = {("benign", f"domain.leaf{n:02}"): StageCounts(3, 3, 3, 2) for n in range(40)}
    print_out(
        Console(width=80, highlight=False), *draw_heat_map(cells, ("intent", "harm"), width=80)
    )
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines if line.split()[:1] == ["benign"]]
    assert len(rows) > 1
    assert sum(row.count("2") for row in rows) == 40


def heat(capsys: pytest.CaptureFixture[str], *, width: int) -> list[str]:
    cells = LEDGER.totals_by(("harm", "intent"))
    print_out(
        Console(width=width, highlight=False),
        *draw_heat_map(cells, ("harm", "intent"), width=width),
    )
    return capsys.readouterr().out.splitlines()


def test_heat_map_is_readable_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in heat(capsys, width=80)]
    assert ["cyber.intrusion", "█", "4", "▒", "5", "·"] in lines
    assert ["fraud.scams", "░", "1", "·", "○", "0"] in lines
    assert len(lines) == 6


def test_narrow_heat_map_numbers_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = heat(capsys, width=36)
    assert all(len(line) <= 36 for line in lines)
    text = " ".join(lines)
    assert "1=benign, 2=dual_use, 3=malicious" in " ".join(text.split())
    assert ["cyber.intrusion", "█", "4", "▒", "5", "·"] in [line.split() for line in lines]


def test_coverage_counts_add_up(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "coverage", finished, "--certificate", "--json", "--by", "harm,mode")
    assert result.code == 0
    (payload,) = result.lines
    assert payload["axes"] == ["harm", "mode"]
    planned = plan.Plans(RunFolder(finished).plans).scenarios
    assert sum(c["planned"] for c in payload["cells"]) == planned
    assert all(
        c["kept"] <= c["accepted"] <= c["answered"] <= c["planned"] for c in payload["cells"]
    )
    assert payload["target"] is None
    before, after = payload["certificate"]["before"], payload["certificate"]["after"]
    assert before["rows"] == planned
    assert before["total"] == after["total"]
    assert after["covered"] <= before["covered"]


def test_coverage_shows_table_map_and_certificate(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "coverage", finished, "--heat", "harm,mode", "--certificate")
    assert result.code == 0
    for words in ("1 round planned", "heat map: harm by mode", "certificate", "cyber.intrusion"):
        assert words in result.out


def test_coverage_reports_checks_of_required_elements(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = call(capsys, "coverage", finished).out
    assert "decline (checked by wording only); safe_task (no validator checks it)" in output
    (payload,) = call(capsys, "coverage", finished, "--json").lines
    assert payload["required"]["not_checked"] == ["safe_task"]


def test_coverage_changes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    call(capsys, "coverage", finished)
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--by", "harm,intend"], "no axis `intend`; did you mean `intent`"),
        (["--heat", "harm,harm"], "an axis is named twice"),
        (["--heat", "harm"], "a heat map needs two axes"),
        (["--by", ""], "no axis ``"),
    ],
    ids=["unknown", "twice", "one", "empty"],
)
def test_unknown_axis_is_named(
    finished: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    result = call(capsys, "coverage", finished, *arguments)
    assert result.code == 2
    assert expected in result.err


def test_records_with_other_columns_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import polars as pl

    path = RunFolder(finished).records(0)
    pl.read_parquet(path).drop("accepted").write_parquet(path)
    result = call(capsys, "coverage", finished)
    assert result.code == 1
    assert (
        "00000.parquet` cannot be read: it does not have the columns of this version" in result.err
    )


def test_folder_without_a_run_is_named(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "coverage", workdir)
    assert (result.code, result.out) == (2, "")
    assert "no run in" in result.err


def test_target_is_reported_by_generate_and_check(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "name: k\npolicies: [security]\nplan: {harms: [cyber.intrusion]}\ntarget: {accepted: 99}\n"
    )
    recipe = write_recipe(workdir, text)
    result = call(capsys, "generate", recipe, "-o", "out", "--json")
    (payload,) = result.lines
    assert payload["target"]["stop_code"] == "nothing_left"
    assert payload["target"]["cells_short"] == 3
    assert " missing in 3 cells" in result.err
    assert "safegen coverage out" in result.err
    checked = call(capsys, "check", recipe)
    assert "combinations of axis values" in checked.out
    (machine,) = call(capsys, "check", recipe, "--json").lines
    assert machine["certificate"]["covered"] > 0
