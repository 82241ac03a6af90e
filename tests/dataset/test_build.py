from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError, DatasetInvalid, StoreDamaged
from safegen.core.types import Failure, PlannedScenario, Record
from safegen.dataset import layout
from safegen.dataset.build import BuildReport, build_dataset
from safegen.dataset.curate import curate
from safegen.dataset.verify import verify_dataset
from safegen.store import parquet, plan
from safegen.store.run_folder import DATASET_PARTS, RunFolder
from safegen.store.schema import record_schema
from safegen.testing import (
    make_draft,
    make_expectation,
    make_knowledge,
    make_messages,
    make_pair,
    make_record,
    make_scenario,
    policy,
)

RECIPE = Recipe(name="kitchen")


def make_run(folder: Path, *shards: Sequence[Record]) -> RunFolder:
    run = RunFolder(folder)
    for number, records in enumerate(shards):
        run.write_shard(run.records(number), list(records), [])
    return run


def pairs(start: int, stop: int) -> list[Record]:
    return [record for n in range(start, stop) for record in make_pair(n)]


def built(run: RunFolder, recipe: Recipe = RECIPE, **values: Any) -> BuildReport:
    arguments: dict[str, Any] = {"policies": [policy()], "fingerprints": {"policy": {"base": "0"}}}
    return build_dataset(curate(run), recipe, taxonomy_version="1.0.0", **arguments | values)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "run" not in p.relative_to(folder).parts[:1]
    }


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_finished_run_becomes_a_verified_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 40), pairs(40, 80))
    report = built(run)
    assert report.changed
    assert report.planned == report.prompts == sum(report.rows["sft"].values()) == 80
    assert (report.drafts, report.drafts_accepted) == (160, 80)
    assert report.by_domain_mode == {"cyber": {"safe_completion": 80}}
    assert verify_dataset(tmp_path) == []
    assert (tmp_path / "run" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert (tmp_path / ".gitattributes").read_text(encoding="utf-8") == layout.GITATTRIBUTES
    assert not (tmp_path / layout.STAGING).exists()


def test_policies_and_parents_are_copied(tmp_path: Path) -> None:
    built(make_run(tmp_path, pairs(0, 4)), policies=[policy(), policy("health")])
    copies = {p.name: p.read_bytes() for p in (tmp_path / "policies").iterdir()}
    source = policy().path.parent
    assert copies == {n: (source / n).read_bytes() for n in ("security.yaml", "base.yaml")}


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        built(make_run(tmp_path / name, pairs(0, 40), pairs(40, 60)))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_rows_follow_plan_order(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(40, 60), pairs(0, 20))
    built(run, RECIPE.model_copy(update={"split": RECIPE.split.model_copy(update={"test": 0.0})}))
    rows = parquet.read_rows(tmp_path / "data/sft/train/0.1.0-00000.parquet")
    assert [r["scenario_id"] for r in rows] == [f"s{n:04d}" for n in (*range(40, 60), *range(20))]


def test_files_hold_at_most_2000_rows(tmp_path: Path) -> None:
    records = [make_pair(n)[0] for n in range(2_003)]
    none_in_test = RECIPE.split.model_copy(update={"test": 0.0})
    built(make_run(tmp_path, records), RECIPE.model_copy(update={"split": none_in_test}))
    files = sorted((tmp_path / "data/sft/train").iterdir())
    assert [p.name for p in files] == [f"0.1.0-0000{n}.parquet" for n in range(2)]
    assert [parquet.read_size(p).rows for p in files] == [2_000, 3]


def test_rebuild_changes_no_file(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 20))
    assert built(run).changed
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert not built(run).changed
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p != tmp_path}
    assert after == {p: t for p, t in before.items() if p != tmp_path}


def test_new_accounting_alone_is_no_change(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 20))
    run.accounting.write_text('{"requests": 1}', encoding="utf-8")
    built(run)
    assert manifest_of(tmp_path)["observed"] == {"requests": 1}
    run.accounting.write_text('{"requests": 2}', encoding="utf-8")
    assert not built(run).changed


@pytest.mark.parametrize("part", ["manifest.json", "data/sft/train/0.1.0-00000.parquet"])
def test_missing_part_is_rebuilt(tmp_path: Path, part: str) -> None:
    run = make_run(tmp_path, pairs(0, 20))
    built(run)
    before = bytes_of(tmp_path)
    (tmp_path / part).unlink()
    assert verify_dataset(tmp_path)
    assert built(run).changed
    assert bytes_of(tmp_path) == before


@pytest.fixture(scope="module")
def two_builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and the one of the same run with more rows; not to be changed."""
    folder = tmp_path_factory.mktemp("builds")
    built(make_run(folder / "there", pairs(0, 20)))
    built(make_run(folder / "new", pairs(0, 24)))
    return folder


@pytest.mark.parametrize("moves", range(len(DATASET_PARTS)))
@pytest.mark.parametrize("halfway", [False, True], ids=["between parts", "within a part"])
def test_next_build_repairs_a_killed_build(
    two_builds: Path, tmp_path: Path, moves: int, halfway: bool
) -> None:
    shutil.copytree(two_builds, tmp_path, dirs_exist_ok=True)
    run, new = RunFolder(tmp_path / "there"), tmp_path / "new"
    wanted = bytes_of(new)
    run.write_shard(run.records(0), pairs(0, 24), [])
    old = run.output / layout.STAGING / "old"
    old.mkdir(parents=True)
    (run.output / "manifest.json").unlink()
    for part in DATASET_PARTS[:moves]:
        (run.output / part).rename(old / part)
        (new / part).rename(run.output / part)
    if halfway and DATASET_PARTS[moves] != "manifest.json":
        (run.output / DATASET_PARTS[moves]).rename(old / DATASET_PARTS[moves])
    assert verify_dataset(run.output)
    assert built(run).changed
    assert bytes_of(run.output) == wanted
    assert verify_dataset(run.output) == []


def test_files_of_an_older_version_are_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 20))
    built(run)
    built(run, RECIPE.model_copy(update={"version": "0.2.0"}))
    assert {p.name for p in (tmp_path / "data/sft/train").iterdir()} == {"0.2.0-00000.parquet"}
    assert verify_dataset(tmp_path) == []


def test_failed_build_keeps_the_old_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 20))
    built(run)
    before = bytes_of(tmp_path)
    with pytest.raises(DatasetInvalid, match="restore that spec"):
        built(run, policies=[policy("health")])
    assert bytes_of(tmp_path) == before


def test_contradicting_expectations_fail_and_name_both_scenarios(tmp_path: Path) -> None:
    messages = make_messages("Where is the box?")
    one, two = (make_scenario(scenario_id=name, messages=messages) for name in ("one", "two"))
    strict = make_record(scenario=two, expectation=make_expectation(ceiling=1), accepted=False)
    with pytest.raises(DatasetInvalid, match="`one` and `two` have equal messages"):
        built(make_run(tmp_path, [make_record(scenario=one)], [strict]))
    assert not (tmp_path / "data").exists()


def test_planned_scenarios_are_kept_or_have_reasons(tmp_path: Path) -> None:
    first = make_record(scenario=make_scenario(scenario_id="a"))
    same_prompt = make_scenario(scenario_id="b", messages=first.scenario.messages)
    same_answer = make_scenario(scenario_id="c")
    records = [
        first,
        make_record(scenario=same_prompt),
        make_record(scenario=same_answer, draft=replace(first.draft, draft_id="c-0-0")),
        make_record(scenario=make_scenario(scenario_id="d"), accepted=False),
    ]
    run = RunFolder(tmp_path)
    failures = [
        Failure("e", "e-0-0", "draft", "filtered", "ContentFiltered", ""),
        Failure("a", "a-1-0", "draft", "filtered", "ContentFiltered", ""),
    ]
    run.write_shard(run.records(0), records, failures)
    planned = [
        PlannedScenario(make_scenario(scenario_id=n), make_expectation(), make_knowledge())
        for n in "abcdef"
    ]
    plan.write_plan(run.plan(0), [planned])
    report = built(run)
    assert report.excluded == {
        "duplicate_prompt": 1,
        "duplicate_response": 1,
        "filtered": 1,
        "style": 1,
        "unfinished": 1,
    }
    assert (report.planned, report.answered, report.accepted, report.prompts) == (6, 4, 3, 1)
    assert report.planned == report.prompts + sum(report.excluded.values())


def test_empty_view_is_omitted_and_reported(tmp_path: Path) -> None:
    report = built(make_run(tmp_path, [make_pair(n)[0] for n in range(8)]))
    assert report.rows["preference"] == {}
    assert not (tmp_path / "data" / "preference").exists()
    assert "preference is empty" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert verify_dataset(tmp_path) == []


def test_run_without_accepted_drafts_builds_a_valid_folder(tmp_path: Path) -> None:
    report = built(make_run(tmp_path, [make_record(accepted=False)]))
    assert report.prompts == 0
    assert verify_dataset(tmp_path) == []


def test_run_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="no finished shard"):
        built(RunFolder(tmp_path))


def test_repeated_view_is_refused(tmp_path: Path) -> None:
    twice = RECIPE.model_copy(update={"views": RECIPE.views[:1] * 2})
    with pytest.raises(ConfigError, match="is listed twice"):
        built(make_run(tmp_path, pairs(0, 4)), twice)


def test_withheld_text_in_a_record_is_damage(tmp_path: Path) -> None:
    words = "words that were withheld"
    records = pairs(0, 8)
    hidden = make_draft(scenario_id="s0000", candidate=2, response=words, withheld=True)
    records.insert(2, replace(records[1], draft=hidden))
    run = RunFolder(tmp_path)
    run.write_shard(run.records(0), records, [])
    with pytest.raises(StoreDamaged, match="row 3: `response` is present and `withheld`"):
        built(run)
    assert not (tmp_path / "data").exists()


def test_polars_reads_the_reported_rows(tmp_path: Path) -> None:
    import polars as pl

    report = built(make_run(tmp_path, pairs(0, 80)))
    rows = pl.read_parquet(tmp_path / "data/sft/train/*.parquet")
    assert rows.height == report.rows["sft"]["train"]
    assert rows["messages"].list.len().unique().to_list() == [2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_library_loads_every_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    report = built(make_run(tmp_path / "out", pairs(0, 80)))
    for view, columns in {"sft": ["messages"], "preference": ["prompt", "chosen"]}.items():
        loaded = datasets.load_dataset(
            str(tmp_path / "out"), view, cache_dir=str(tmp_path / "cache")
        )
        assert {split: len(rows) for split, rows in loaded.items()} == report.rows[view]
        for column in columns:
            assert set(loaded["train"][0][column][0]) == {"role", "content"}
    default = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    # TRL takes loss on the answer alone if it loads the default configuration.
    assert {"prompt", "completion"} <= set(default["train"].column_names)


def test_parquet_types_have_32_bit_offsets(tmp_path: Path) -> None:
    built(make_run(tmp_path, pairs(0, 8)))
    for path in (tmp_path / "data").rglob("*.parquet"):
        assert not any("large_" in str(f.type) for f in parquet.read_schema(path))
    assert "large_" not in str(record_schema())


def test_empty_dataset_does_not_replace_existing_rows(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 8))
    built(run)
    before = bytes_of(tmp_path)
    run.write_shard(run.records(0), [r for r in pairs(0, 8) if not r.accepted], [])
    with pytest.raises(DatasetInvalid, match="is unchanged"):
        built(run)
    assert bytes_of(tmp_path) == before


def test_dataset_info_names_folders_of_the_dataset(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 40))
    recipe = Recipe.model_validate({"name": "kitchen", "views": ["sft", "llamafactory_preference"]})
    built(run, recipe)
    described = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert "sft_train" in described
    for entry in described.values():
        assert list((tmp_path / entry["file_name"]).glob("*.parquet"))
    assert verify_dataset(tmp_path) == []


def test_dataset_info_goes_with_its_views(tmp_path: Path) -> None:
    run = make_run(tmp_path, pairs(0, 4))
    built(run)
    assert (tmp_path / "dataset_info.json").is_file()
    built(run, Recipe.model_validate({"name": "kitchen", "views": ["prompt_completion"]}))
    assert not (tmp_path / "dataset_info.json").exists()
