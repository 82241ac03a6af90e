from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from safegen.cli.render.summary import print_summary
from safegen.config.recipe import Recipe
from safegen.core.types import Outcome, Usage
from safegen.coverage.ledger import StageCounts
from safegen.dataset.build import BuildReport
from safegen.dataset.dropped import LossCounts
from safegen.dataset.jury_stats import JuryStats
from safegen.dataset.target import TargetReport
from safegen.dataset.view import make_views
from safegen.dataset.views._pairs import explain_empty
from safegen.pipeline.api import Run
from safegen.store.run_folder import RunFolder


def make_run(**overrides: object) -> Run:
    values: dict[str, object] = {
        "output": Path("outputs/kitchen"),
        "rows": {"sft": {"train": 1_080, "test": 111}, "preference": {}},
        "planned": 1_234,
        "answered": 1_230,
        "accepted": 1_200,
        "prompts": 1_191,
        "drafts": 3_702,
        "drafts_accepted": 1_800,
        "excluded": {"duplicate_prompt": 9, "filtered": 4, "response_form": 30},
        "by_domain_mode": {},
        "by_domain": {
            "spices": StageCounts(1_000, 996, 970, 961),
            "soups": StageCounts(234, 234, 230, 230),
        },
        "by_mode": {"safe_completion": StageCounts(1_234, 1_230, 1_200, 1_191)},
        "rejected": {"response_form": 1_890, "filtered": 12},
        "by_grade": {"generated": 1_191},
        "accepted_by": {"rules": 1_191},
        "target": None,
        "artifact_warning": None,
        "changed": True,
        "views": make_views(Recipe(name="kitchen")),
        "empty": {"preference": explain_empty(Recipe(name="kitchen"))},
    }
    report = BuildReport(**values | overrides)  # pyright: ignore[reportArgumentType]
    folder = RunFolder(report.output)
    usage = Usage(3_810, cached=40, retries=108, prompt_tokens=1_200_000, completion_tokens=800_400)
    return Run(folder, Recipe(name="kitchen"), report, usage, shards_done=15, seconds=754.2)


def screen(run: Run, lost: dict[Outcome, int], width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_summary(
        run,
        LossCounts(lost, {}),
        out=Console(file=stream, width=width, markup=False, highlight=False),
    )
    return stream.getvalue().splitlines()


def row(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if line.split()[:1] == [name])


def test_target_has_short_lines_with_the_stop_reason() -> None:
    short = {("cyber.intrusion", "benign"): 2, ("fraud.scams", "benign"): 1}
    lines = screen(
        make_run(target=TargetReport(5, ("harm", "intent"), 9, short, "stalled", "stalled")), {}
    )
    result = " ".join(" ".join(lines).split())
    assert (
        "target 5 accepted in each harm × intent: met in 7 of 9 cells 3 missing in 2 cells: stalled"
        in result
    )
    met = screen(make_run(target=TargetReport(5, ("harm",), 9, {}, "met", "met")), {})
    assert any("met in all 9 cells" in line for line in met)


def test_each_count_is_in_its_row() -> None:
    lines = screen(make_run(), {"filtered": 12})
    assert lines[1].startswith("kitchen 0.1.0: 1,191 prompts of 1,234 in the dataset")
    assert row(lines, "spices") == "spices 1,000 996 970 961 39".split()
    assert row(lines, "all") == "all 1,234 1,230 1,200 1,191 43".split()
    assert row(lines, "safe_completion") == "safe_completion 1,234 1,230 1,200 1,191 43".split()
    assert row(lines, "response_form")[:5] == "response_form rejected 1,890 51% 30".split()
    assert row(lines, "filtered")[:5] == "filtered failed 12 <1% 4".split()
    assert row(lines, "duplicate_prompt")[:5] == "duplicate_prompt excluded 0 – 9".split()
    result = "\n".join(lines)
    assert "1,191 rows: train 1,080, test 111" in result
    assert "empty, not written" in result
    assert "3,810 requests, 108 retries included, 40 cached replies" in result
    assert "1.2M tokens in, 800k out" in " ".join(result.split())
    assert "12:34" in result
    assert "safegen retry outputs/kitchen" in result
    assert "demo" not in result


def test_tables_fit_eighty_columns() -> None:
    lines = screen(make_run(), {"filtered": 12})
    assert max(len(line) for line in lines) <= 80
    wide = screen(make_run(), {"filtered": 12}, width=200)
    tables = [line for line in wide if line[:3].strip() and "  " in line.strip()]
    assert [line for line in tables if len(line) <= 80 and line not in lines] == []


def test_each_reason_names_a_whole_command() -> None:
    rejected = dict.fromkeys(("refusal_form", "filtered", "truncated", "unscored", "withheld"), 3)
    run = make_run(output=Path("my data"), rejected=rejected, excluded={"near_duplicate": 2})
    lines = [" ".join(line.split()) for line in screen(run, {}, width=120)]
    assert lines[lines.index("What to do") + 1 :][:6] == [
        "filtered safegen retry 'my data'",
        "refusal_form safegen show 'my data' --reason refusal_form",
        "truncated raise `max_tokens`, then: safegen generate RECIPE -o 'my data' --replan",
        "unscored safegen show 'my data' --reason unscored",
        "withheld nothing to do: unsafe text is not kept",
        "near_duplicate nothing to do: a similar prompt is kept",
    ]


@pytest.mark.parametrize(("revise", "unit"), [(0, "drafts"), (1, "drafts and revisions")])
def test_accepted_share_names_its_unit(revise: int, unit: str) -> None:
    recipe = Recipe.model_validate({"name": "kitchen", "revise": revise})
    lines = screen(replace(make_run(), recipe=recipe), {})
    text = f"drafts 3,702 {unit} requested, 1,800 accepted (49% of them)"
    assert text in [" ".join(line.split()) for line in lines]


def test_demo_rows_are_marked() -> None:
    result = " ".join(" ".join(screen(make_run(by_grade={"demo": 1_191}), {})).split())
    assert "all rows are a demo: written by the embedded teacher" in result
    result = " ".join(
        " ".join(screen(make_run(by_grade={"demo": 7, "generated": 1_184}), {})).split()
    )
    assert "7 rows are a demo" in result


def test_empty_dataset_offers_no_loading() -> None:
    empty = {"sft": {}, "preference": {}}
    result = "\n".join(screen(make_run(rows=empty, prompts=0, by_grade={}), {}))
    assert "0 prompts of 1,234 in the dataset" in result
    assert "load_dataset" not in result


@pytest.mark.parametrize("folder", ["my data", "a;b"])
def test_commands_quote_paths_for_the_shell(folder: str) -> None:
    result = "\n".join(screen(make_run(output=Path(folder)), {}))
    assert f"safegen verify '{folder}'" in result


def test_artifact_warning_is_shown() -> None:
    result = screen(make_run(artifact_warning="`kindly` mark the author's prompts"), {})
    assert row(result, "artifacts")[:3] == ["artifacts", "`kindly`", "mark"]


def test_unreviewed_rows_are_marked() -> None:
    run = make_run()
    result = " ".join(" ".join(screen(run, {})).split())
    assert (
        "1,191 rows accepted by form: rule-based checks only; not reviewed by a model or a person"
        in result
    )
    unchecked = make_run(accepted_by={"nothing": 1_191})
    result = " ".join(" ".join(screen(unchecked, {})).split())
    assert "review 1,191 rows not checked at all: the recipe requires no validator" in result


def test_split_without_rows_is_reported() -> None:
    rows = {"sft": {"train": 4}, "preference": {"train": 2}}
    result = " ".join(" ".join(screen(make_run(rows=rows), {})).split())
    assert "no rows in `test`: no goal fell into it" in result
    untested = Recipe.model_validate({"name": "kitchen", "split": {"test": 0}})
    run = replace(make_run(rows=rows), recipe=untested)
    assert "no rows in" not in " ".join(screen(run, {}))
    assert "no rows in" not in " ".join(screen(make_run(), {}))


def test_weaker_drafts_are_named_only_for_the_embedded_teacher() -> None:
    words = "the embedded teacher writes one full draft"
    recipe = Recipe.model_validate({"name": "kitchen", "plan": {"candidates": 3}})
    for grades, is_named in (({"demo": 9}, True), ({"generated": 9}, False)):
        run = replace(make_run(by_grade=grades), recipe=recipe)
        assert (words in " ".join(" ".join(screen(run, {})).split())) is is_named


def test_panel_is_counted_by_judge() -> None:
    harm = "property.theft"
    answers = {
        ("one", harm, "acceptable"): 60,
        ("one", harm, "unsafe"): 4,
        ("two", harm, "refused"): 3,
        ("two", harm, "abstained"): 1,
        ("two", harm, "tone"): 60,
    }
    jury = JuryStats(64, answers, {"two": 2}, compared=60, split=15)
    panel = {"panel": ["scripted", "scripted"]}
    recipe = Recipe.model_validate({"name": "kitchen", "judges": panel})
    run = make_run(jury=jury, accepted_by={"judge": 1_191})
    result = screen(replace(run, recipe=recipe), {}, width=120)
    text = " ".join(" ".join(result).split())
    assert "judges one: 64 answered" in text
    assert "two: 60 answered, 1 abstained, 3 failed, 2 invented quotations" in text
    assert "they disagree about 25% of 60 drafts" in text
    assert "1,191 rows accepted by judges (models); not reviewed by a person" in text
