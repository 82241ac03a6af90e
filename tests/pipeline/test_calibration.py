"""Calibration of judges on a file of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Scale
from safegen.judges.agreement import Label
from safegen.pipeline.calibration import (
    CalibrationOptions,
    CalibrationReport,
    calibrate,
)
from safegen.pipeline.label_table import LabelColumns

QUICK = CalibrationOptions(resamples=20)
ROWS = [
    {"id": "r1", "leaf": "pantry", "human": "safe", "judge": "safe"},
    {"id": "r2", "leaf": "pantry", "human": "unsafe", "judge": "unsafe"},
    {"id": "r3", "leaf": "stove", "human": "unsafe", "judge": "safe"},
    {"id": "r4", "leaf": "stove", "human": None, "judge": "unsafe"},
]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "labels.jsonl") -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return path


def measure(
    folder: Path,
    rows: list[dict[str, Any]],
    options: CalibrationOptions = QUICK,
    columns: LabelColumns | None = None,
) -> CalibrationReport:
    return calibrate(write(folder, rows), columns or LabelColumns(), options)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_report_is_equal_for_each_format(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, ROWS, f"labels.{suffix}")
    report = calibrate(path, LabelColumns(), QUICK)
    (judge,) = report.judges
    assert (report.items, report.human_labelled, report.scale) == (4, 3, "nominal")
    assert report.categories == ("safe", "unsafe")
    assert judge.agreement.percent == pytest.approx(2 / 3)
    assert judge.agreement.kappa["none"].value == pytest.approx(0.4)
    assert [scores.recall for scores in judge.classes] == [1.0, 0.5]
    assert judge.macro_f1 == pytest.approx(2 / 3)
    assert [(g.value, g.agreement.items) for g in judge.groups] == [("pantry", 2), ("stove", 1)]


def test_one_unlabelled_item_changes_no_rate(tmp_path: Path) -> None:
    (judge,) = measure(tmp_path, ROWS).judges
    unsafe = judge.rates[1]
    assert unsafe.label == "unsafe"
    assert unsafe.estimate.raw == 0.5
    assert unsafe.estimate.mean == pytest.approx(2 / 3)
    assert unsafe.estimate[3:] == (3, 1, 0)


def test_corrected_rate_uses_unlabelled_items(tmp_path: Path) -> None:
    labelled = [("safe", "safe"), ("safe", "safe"), ("unsafe", "unsafe"), ("unsafe", "safe")] * 10
    pairs: list[tuple[str | None, str]] = [*labelled, *[(None, "unsafe")] * 60]
    rows = [{"id": n, "human": h, "judge": j} for n, (h, j) in enumerate(pairs)]
    estimate = measure(tmp_path, rows).judges[0].rates[1].estimate
    # People call half of their items unsafe, and the judge finds more among the others.
    assert 0.5 < estimate.mean < 1
    assert 0 < estimate.weight < 1
    assert estimate[4:5] == (60,)


@pytest.mark.parametrize("label", ["abstain", "NaN", "null", "Pass"])
def test_abstention_is_missing_and_counted(tmp_path: Path, label: str) -> None:
    rows = [*ROWS, {"id": "r5", "human": "safe", "judge": label}]
    report = measure(tmp_path, rows, QUICK._replace(missing=("pass",)))
    (judge,) = report.judges
    assert (judge.unanswered, judge.agreement.items) == (1, 3)
    assert report.categories == ("safe", "unsafe")


@pytest.mark.parametrize(
    ("labels", "options", "scale", "categories"),
    [
        (["low", "none"], QUICK, "ordinal", ("none", "negligible", "low", "moderate", "high")),
        (["A3", "A1"], QUICK, "ordinal", ("A0", "A1", "A2", "A3", "A4")),
        (["low", "none"], QUICK._replace(scale="nominal"), "nominal", ("low", "none")),
        ([1, "x"], QUICK._replace(scale="nominal"), "nominal", ("1", "x")),
        (["raw", "done"], QUICK._replace(order=("raw", "done")), "ordinal", ("raw", "done")),
        ([3, 1], QUICK, "ordinal", (1, 3)),
        ([0.25, 1], QUICK, "interval", (0.25, 1)),
        ([True, False], QUICK, "nominal", ("false", "true")),
    ],
    ids=["severity", "assistance", "forced", "mixed", "order", "whole", "fraction", "truth"],
)
def test_scale_follows_from_the_labels(
    tmp_path: Path,
    labels: list[Label],
    options: CalibrationOptions,
    scale: Scale,
    categories: tuple[Label, ...],
) -> None:
    rows = [{"id": n, "human": label, "judge": label} for n, label in enumerate(labels * 2)]
    report = measure(tmp_path, rows, options)
    assert (report.scale, report.categories) == (scale, categories)
    assert report.judges[0].agreement.alpha.value == pytest.approx(1)


@pytest.mark.parametrize(
    ("people", "gold", "ties"),
    [
        (["a", "a", "b"], "a", 0),
        (["a", "b", None], None, 1),
        ([1, 2, 5], 2, 0),
        ([1, 2, None], None, 1),
        ([1, 1.5, None], 1.25, 0),
    ],
    ids=["most frequent", "tie", "median", "two middles", "mean of middles"],
)
def test_labels_of_people_become_one(
    tmp_path: Path, people: list[Label | None], gold: Label | None, ties: int
) -> None:
    spread = people[0] if isinstance(people[0], str) else 5
    rows = [
        {"id": "x", **{f"human_{n}": label for n, label in enumerate(people)}, "judge": people[0]},
        {"id": "y", "human_0": spread, "human_1": spread, "human_2": spread, "judge": spread},
    ]
    report = measure(tmp_path, rows)
    assert report.ties == ties
    expected = 1 if gold is None else 2
    assert report.judges[0].agreement.items == expected
    if report.judges[0].mean is not None:
        assert report.judges[0].mean.mean == pytest.approx((1.25 + 5) / 2)


def test_interval_labels_have_no_classes(tmp_path: Path) -> None:
    rows = [{"id": n, "human": n / 8, "judge": n / 8 + 0.1} for n in range(20)]
    (judge,) = measure(tmp_path, rows).judges
    assert (judge.classes, judge.rates, judge.agreement.kappa) == ((), (), {})
    assert judge.agreement.percent is None
    assert judge.mean is not None
    assert judge.mean.raw - judge.mean.mean == pytest.approx(0.1)


def test_tiny_numbers_are_zero(tmp_path: Path) -> None:
    rows = [{"id": n, "human": n * 1e-320, "judge": n / 8} for n in range(20)]
    (judge,) = measure(tmp_path, rows).judges
    assert judge.mean is not None
    assert (judge.mean.mean, judge.agreement.items) == (0, 20)


def test_many_numbers_are_no_categories(tmp_path: Path) -> None:
    rows = [{"id": n, "human": n, "judge": n + n % 2} for n in range(60)]
    with pytest.raises(ConfigError, match="not 61; use `--scale interval`"):
        measure(tmp_path, rows, QUICK._replace(scale="ordinal"))
    report = measure(tmp_path, rows)
    assert report.scale == "interval"
    assert report.judges[0].agreement.alpha.value == pytest.approx(0.999, abs=0.001)


def test_three_people_allow_the_alternative_test(tmp_path: Path) -> None:
    names = ("none", "low", "high")
    rows = [
        {"id": n, "judge_good": names[n % 3], "judge_bad": names[(n + 1) % 3]}
        | {f"human_{who}": names[(n + (n % 7 == who)) % 3] for who in range(3)}
        for n in range(60)
    ]
    report = measure(tmp_path, rows)
    good, bad = (judge.alternative for judge in report.judges)
    assert good is not None
    assert bad is not None
    assert (good.passes, bad.passes) == (True, False)
    assert report.people is not None
    assert report.jury is not None
    assert report.people.items == report.jury.items == 60


def test_two_people_allow_no_alternative_test(tmp_path: Path) -> None:
    rows = [{"id": n, "human_a": "x", "human_b": "x", "judge": "x"} for n in range(40)]
    assert measure(tmp_path, rows).judges[0].alternative is None


def test_score_finds_its_threshold(tmp_path: Path) -> None:
    rows = [{"id": n, "human": "unsafe" if n >= 30 else "safe", "score": n / 40} for n in range(40)]
    report = measure(tmp_path, rows, QUICK._replace(positive="unsafe"))
    (score,) = report.scores
    assert report.judges == ()
    assert len(score.thresholds) == 20
    assert score.best.threshold == pytest.approx(30 / 40, abs=0.05)
    assert score.best.f1 is not None
    assert score.best.f1 > 0.9


def test_chosen_columns_replace_the_names(tmp_path: Path) -> None:
    rows = [{"no": row["id"], "anna": row["human"], "small": row["judge"]} for row in ROWS]
    columns = LabelColumns("no", human=("anna",), judge=("small",), by=("small",))
    with pytest.raises(ConfigError, match="column `small` has two roles"):
        measure(tmp_path, rows, columns=columns)
    report = measure(tmp_path, rows, columns=columns._replace(by=()))
    assert [judge.judge for judge in report.judges] == ["small"]
    assert report.judges[0].groups == ()


BAD_FILES: dict[str, tuple[str, str]] = {
    "no rows": ("id,human,judge\n", "has no rows"),
    "empty": ("", "has no rows"),
    "no id": ("name,human,judge\na,x,x\n", "no column holds the item id; name one with `--item"),
    "no human": ("id,judge\na,x\n", "no column holds human labels"),
    "no judge": ("id,human\na,x\n", "no column holds a judge's labels"),
    "empty id": ("id,human,judge\na,x,x\n,x,x\n", r"labels.csv:3: row 2: `id` is empty"),
    "two rows": (
        "id,human,judge\na,x,x\na,y,y\n",
        r"labels.csv:3: row 2: item `a` is also in .*labels.csv:2: row 1",
    ),
    "no labels": ("id,human,judge\na,,x\n", "no item has a human label; fill in `human`"),
    "case": ("id,human,judge\na,Safe,safe\n", "`Safe` and `safe` differ only in case"),
    "no shared item": (
        "id,human,judge\na,x,\nb,,y\n",
        "has a label of `judge` and a human label that is no tie",
    ),
    "text among numbers": (
        "id,human,judge\na,1,2\nb,2,high\n",
        r"labels.csv:3: row 2: `judge` is `high`, .* `--missing high` or `--scale nominal`",
    ),
    "number among text": (
        "id,human,judge\na,x,y\nb,x,1e400\nc,y,3\n",
        "csv:4: row 3: `judge` is `3`",
    ),
    "only ties": ("id,human_a,human_b,judge\na,x,y,x\n", "a human label that is no tie"),
    "cells": ("id,human,judge\na,x\n", "labels.csv:2: row 1 has 2 cells and the head has 3"),
    "score": ("id,human,score\na,x,big\n", r"labels.csv:2: row 1: `score` is not a number"),
    "huge score": ("id,human,score\na,x,1e308\n", "of at most 1e100"),
    "huge label": ("id,human,judge\na,0.5,0.5\nb,1e308,-1e308\n", "another kind .`1e308`"),
    "free text": (
        "id,human,judge\n" + "".join(f"{n},text {n},x\n" for n in range(60)),
        "61 distinct values",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_wrong_file_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    text, message = BAD_FILES[name]
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        calibrate(path, LabelColumns(), QUICK)


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        (QUICK._replace(epsilon=2), None, "use a number from 0 to 1"),
        (QUICK._replace(resamples=0), None, "use 1 or more"),
        (QUICK._replace(order=("safe",), scale="interval"), None, "leave out `--scale interval`"),
        (QUICK._replace(order=("safe", "safe")), None, "names a label twice"),
        (QUICK._replace(order=("safe",)), None, r"jsonl:2: row 2: `human` is `unsafe`"),
        (QUICK._replace(scale="interval"), None, "needs numbers, not `safe`"),
        (QUICK._replace(scale="ordinal"), None, "add `--order safe,unsafe`"),
        (QUICK, LabelColumns(score=("leaf",), judge=("judge",), by=("id",)), "has two roles"),
        (QUICK, LabelColumns(judge=("judgee",)), "no such column; did you mean `judge`"),
    ],
    ids=range(9),
)
def test_wrong_option_is_named_with_a_remedy(
    tmp_path: Path, options: CalibrationOptions, columns: LabelColumns | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        measure(tmp_path, ROWS, options, columns)


@pytest.mark.parametrize(
    ("positive", "message"),
    [(None, "name the label that they predict"), ("bad", "is no label; labels: `safe`")],
)
def test_scores_need_a_positive_label(tmp_path: Path, positive: str | None, message: str) -> None:
    rows = [{**row, "score": 1} for row in ROWS]
    with pytest.raises(UserError, match=message):
        measure(tmp_path, rows, QUICK._replace(positive=positive))
