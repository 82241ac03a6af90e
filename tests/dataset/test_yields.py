"""Yields by axis, low yields, and the bound of `--min-yield`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safegen.cli.main import run_command
from safegen.core.types import Mode, Record
from safegen.dataset.curate import curate
from safegen.dataset.yields import MinYield, ValueYield, YieldReport, measure_yields
from safegen.store.run_folder import RunFolder
from safegen.testing import make_draft, make_expectation, make_record, make_scenario
from tests.cli.harness import hand_made


def records(mode: Mode, harm: str, *, accepted: int, rejected: int) -> list[Record]:
    made: list[Record] = []
    for number in range(accepted + rejected):
        name = f"{mode}-{harm}-{number}"
        scenario = make_scenario(
            scenario_id=name, set_id=name, goal_id=f"{harm}/{name}", harm=harm, intent="benign"
        )
        made.append(
            make_record(
                scenario=scenario,
                expectation=make_expectation(mode=mode),
                draft=make_draft(scenario_id=name),
                accepted=number < accepted,
            )
        )
    return made


BIASED = [
    *records("direct_answer", "cyber.intrusion", accepted=9, rejected=1),
    *records("safe_completion", "cyber.malware", accepted=0, rejected=4),
    *records("refuse_redirect", "cyber.evasion", accepted=2, rejected=8),
]


def measured(folder: Path, made: list[Record]) -> YieldReport:
    run = RunFolder(folder)
    run.write_shard(run.records(0), made, [])
    return measure_yields(curate(run).stats)


def test_yields_count_planned_and_accepted(tmp_path: Path) -> None:
    report = measured(tmp_path, BIASED)
    modes = {v.name: (v.planned, v.accepted, v.kept, v.reason) for v in report.by_axis["mode"]}
    assert modes == {
        "direct_answer": (10, 9, 9, "style"),
        "refuse_redirect": (10, 2, 2, "style"),
        "safe_completion": (4, 0, 0, "style"),
    }
    assert [(v.name, v.planned, v.accepted) for v in report.by_axis["teacher"]] == [
        ("offline", 24, 11)
    ]
    assert [v.share for v in report.by_axis["language"]] == [11 / 24]


def test_low_yields_are_zero_or_below_a_third_of_the_median(tmp_path: Path) -> None:
    low = [(v.axis, v.name) for v in measured(tmp_path, BIASED).low]
    assert low == [("mode", "safe_completion"), ("harm", "cyber.malware")]


@pytest.mark.parametrize(
    ("shares", "low"),
    [
        ((0.9, 0.9, 0.29), [2]),
        ((0.9, 0.9, 0.31), []),
        ((0.3, 0.3, 0.3), []),
        ((0.0, 0.0, 0.0), [0, 1, 2]),
        ((1.0,), []),
    ],
)
def test_bound_is_a_third_of_the_median(shares: tuple[float, ...], low: list[int]) -> None:
    values = tuple(
        ValueYield("harm", str(n), 100, round(s * 100), round(s * 100))
        for n, s in enumerate(shares)
    )
    assert [int(v.name) for v in YieldReport({"harm": values}).low] == low


@pytest.mark.parametrize(
    ("least", "names"),
    [
        ("rows", ["safe_completion"]),
        (0, []),
        (0.1, ["safe_completion", "cyber.malware"]),
        (0.3, ["refuse_redirect", "safe_completion", "cyber.evasion", "cyber.malware"]),
    ],
)
def test_min_yield_names_what_is_below(tmp_path: Path, least: MinYield, names: list[str]) -> None:
    assert [v.name for v in measured(tmp_path, BIASED).find_below(least)] == names


def built(
    capsys: pytest.CaptureFixture[str], folder: Path, *options: str
) -> tuple[int, str, dict[str, Any]]:
    capsys.readouterr()
    code = run_command(["build", str(folder), "--json", *options])
    captured = capsys.readouterr()
    return code, captured.err, json.loads(captured.out)


def test_build_exits_with_1_and_lists_modes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_made(tmp_path, BIASED)
    code, err, payload = built(capsys, tmp_path)
    assert code == 1
    assert "mode safe_completion: 0 of 4 planned accepted; most frequent reason style" in err
    assert [low["name"] for low in payload["below_min_yield"]] == ["safe_completion"]
    assert [low["name"] for low in payload["low_yields"]] == ["safe_completion", "cyber.malware"]
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "mode safe_completion: 0 of 4 planned prompts; most frequent reason: style" in card
    assert built(capsys, tmp_path, "--min-yield", "0")[0] == 0
    assert built(capsys, tmp_path, "--min-yield", "0.9")[0] == 1


def test_balanced_run_has_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hand_made(tmp_path, records("direct_answer", "cyber.intrusion", accepted=5, rejected=5))
    code, err, payload = built(capsys, tmp_path)
    assert (code, payload["low_yields"], payload["below_min_yield"]) == (0, [], [])
    assert "low yield" not in err
    assert built(capsys, tmp_path, "--min-yield", "0.5")[0] == 0
    assert built(capsys, tmp_path, "--min-yield", "0.51")[0] == 1


@pytest.mark.parametrize("value", ["row", "1.5", "-0.1", "nan", ""])
def test_wrong_min_yield_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    hand_made(tmp_path, BIASED)
    assert run_command(["build", str(tmp_path), "--min-yield", value]) == 2
    assert "use `rows` or a share from 0 to 1" in capsys.readouterr().err


def refused(harm: str, number: int, **draft: Any) -> Record:
    name = f"{harm}-{number}"
    scenario = make_scenario(scenario_id=name, set_id=name, goal_id=f"{harm}/{name}", harm=harm)
    outcome = draft.get("outcome", "refused")
    return make_record(
        scenario=scenario,
        draft=make_draft(scenario_id=name, response=None, outcome=outcome, teacher="a_model"),
        verdicts=(),
        accepted=False,
        reason=outcome,
    )


def test_rejections_and_refusals_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [refused("cyber.malware", n) for n in range(3)]
    more.append(refused("cyber.evasion", 0, outcome="filtered"))
    hand_made(tmp_path, [*BIASED, *more])
    _, _, payload = built(capsys, tmp_path)
    assert payload["rejected_by"]["harm"] == {
        "filtered": {"cyber.evasion": 1},
        "refused": {"cyber.malware": 3},
        "style": {"cyber.evasion": 8, "cyber.intrusion": 1, "cyber.malware": 4},
    }
    assert payload["rejected_by"]["teacher"]["style"] == {"offline": 13}
    assert payload["rejected_by"]["mode"]["refused"] == {"safe_completion": 3}
    assert payload["rejected_by"]["language"]["style"] == {"en": 13}
    assert payload["refusals"] == [
        {"teacher": "a_model", "outcome": "filtered", "harm": "cyber.evasion", "drafts": 1},
        {"teacher": "a_model", "outcome": "refused", "harm": "cyber.malware", "drafts": 3},
    ]
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "not missing at random" in card
    assert "| a_model | refused | cyber.malware | 3 |" in card
    assert "accepted by form" in card
    run_command(["status", str(tmp_path), "--json"])
    status = json.loads(capsys.readouterr().out)
    assert status["rejected_by"] == payload["rejected_by"]
    run_command(["show", str(tmp_path), "--rejected", "--by", "teacher", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == {"reason": "style", "teacher": "offline", "drafts": 13}
    assert run_command(["show", str(tmp_path), "--by", "teacher"]) == 2
    assert run_command(["show", str(tmp_path), "--rejected", "--by", "moon"]) == 2
