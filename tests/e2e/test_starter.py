"""The starter dataset, built once by the embedded teacher, matches its card."""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safegen.cli.main import app
from safegen.config import taxonomy
from safegen.config.recipe import load_recipe as load_recipe
from safegen.dataset.verify import verify_dataset
from safegen.dataset.views._pairs import list_teachable_validators
from safegen.pipeline import api
from safegen.store import parquet

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{'0' * 64}\n"
    "size 12345\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def made(starter: Path) -> Path:
    return starter


@pytest.fixture(scope="module")
def sft(made: Path) -> list[dict[str, Any]]:
    return [row for path in files(made, "sft") for row in parquet.read_rows(path)]


@pytest.fixture(scope="module")
def preference(made: Path) -> list[dict[str, Any]]:
    return [row for path in files(made, "preference") for row in parquet.read_rows(path)]


@pytest.fixture(scope="module")
def records(made: Path) -> list[dict[str, Any]]:
    paths = sorted((made / "run" / "records").glob("*.parquet"))
    return [row for path in paths for row in parquet.read_rows(path)]


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


def files(folder: Path, view: str) -> list[Path]:
    return sorted((folder / "data" / view).glob("*/*.parquet"))


def prompt_of(row: dict[str, Any]) -> str:
    return json.dumps(row["messages"][:-1])


def answer_of(row: dict[str, Any]) -> str:
    return row["messages"][-1]["content"]


def bytes_under(folder: Path, *tops: str) -> dict[str, bytes]:
    paths = [p for top in tops for p in sorted((folder / top).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = text.casefold().split()
    return frozenset(tuple(words[i : i + 5]) for i in range(len(words) - 4))


def similar_answers(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    # Twins are one paraphrase, and their answers are equal.
    keys = ("set_id", "intent", "paraphrase", "turn_style", "dialogue_intent", "turn", "profile")
    distinct = {tuple(row[key] for key in keys): row for row in rows}.values()
    texts = [(row["set_id"], shingles(answer_of(row)), row["scenario_id"]) for row in distinct]
    for (set_a, a, id_a), (set_b, b, id_b) in combinations(texts, 2):
        if len(a & b) > (0.8 if set_a == set_b else 0.5) * len(a | b):
            yield id_a, id_b


def test_starter_has_300_distinct_prompts(sft: list[dict[str, Any]]) -> None:
    assert len(sft) >= 300
    assert len({prompt_of(row) for row in sft}) == len(sft)


def test_each_leaf_has_rows_of_every_intent(sft: list[dict[str, Any]]) -> None:
    cells = {(row["harm"], row["intent"]) for row in sft}
    leaves = [h for h, harm in taxonomy.load_taxonomy("core").harms.items() if not harm.red_line]
    intents = ("benign", "dual_use", "malicious")
    assert cells == {(leaf, intent) for leaf in leaves for intent in intents}


def test_every_mode_occurs_for_several_intents(sft: list[dict[str, Any]]) -> None:
    modes = Counter((row["intent"], row["mode"]) for row in sft)
    assert {mode for _, mode in modes} == {"direct_answer", "safe_completion", "refuse_redirect"}
    assert modes["dual_use", "direct_answer"] >= 30
    assert modes["dual_use", "safe_completion"] >= 90
    assert modes["malicious", "safe_completion"] >= 5


def test_every_detail_evidence_and_task_occurs(
    sft: list[dict[str, Any]],
) -> None:
    assert {row["requested_detail"] for row in sft} == {0, 1, 2, 3, 4}
    assert {row["evidence"] for row in sft} == {
        "none",
        "contextual",
        "stated",
        "self",
        "protective",
    }
    tasks = {"explain", "recommend", "plan", "troubleshoot", "optimise", "transform"}
    assert {row["task"] for row in sft} == tasks


@pytest.mark.slow
def test_answers_are_dissimilar(sft: list[dict[str, Any]]) -> None:
    assert list(similar_answers(sft)) == []


def test_openings_vary(sft: list[dict[str, Any]]) -> None:
    openings = Counter(" ".join(answer_of(row).split()[:5]) for row in sft)
    assert len(openings) >= 200
    assert max(openings.values()) <= len(sft) // 20


def test_sides_of_each_pair_differ(preference: list[dict[str, Any]]) -> None:
    assert len(preference) >= 300
    assert all(row["chosen"] != row["rejected"] for row in preference)


def test_each_rejected_side_names_its_validators(
    preference: list[dict[str, Any]],
) -> None:
    named = Counter(row["rejected_by"] for row in preference)
    assert "" not in named
    validators = {name for names in named for name in names.split(",")}
    assert (
        {"required_elements", "response_form", "style"}
        <= validators
        <= {*list_teachable_validators(load_recipe("starter"))}
    )


def test_validators_reject_every_weaker_style(
    records: list[dict[str, Any]],
) -> None:
    assert {row["candidate"] for row in records} == {0, 1, 2}
    for row in records:
        assert row["accepted"] == (row["candidate"] == 0), row["draft_id"]
        assert (row["style"] == "good") == (row["candidate"] == 0)
        assert bool(rejecting(row)) == (row["candidate"] > 0)
    preaching = [row for row in records if row["style"] == "preaching"]
    assert preaching
    assert all("style" in rejecting(row) for row in preaching)


def rejecting(row: dict[str, Any]) -> set[str]:
    return {v["validator"] for v in row["verdicts"] if v["passed"] is False}


def test_card_marks_the_rows_as_demo(made: Path, sft: list[dict[str, Any]]) -> None:
    assert {row["grade"] for row in sft} == {"demo"}
    assert "demo" in (made / "README.md").read_text(encoding="utf-8")


def test_polars_and_datasets_read_equal_rows(
    made: Path, sft: list[dict[str, Any]], tmp_path: Path
) -> None:
    pl = pytest.importorskip("polars")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
        loaded = datasets.load_dataset(str(made), "sft", cache_dir=str(tmp_path / "cache"))
    by_polars = [row for path in files(made, "sft") for row in pl.read_parquet(path).to_dicts()]
    by_datasets = [row for split in loaded.values() for row in split]
    assert key(by_polars) == key(by_datasets) == key(sft)


def key(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


# `test_golden_starter` compares a run with stored hashes in each test run.
@pytest.mark.slow
def test_fresh_run_gives_equal_bytes(made: Path, tmp_path: Path) -> None:
    again = api.generate("starter", output=tmp_path / "again").output
    assert bytes_under(again, "data", "policies") == bytes_under(made, "data", "policies")


def test_second_run_requests_and_changes_nothing(copy: Path) -> None:
    before = bytes_under(copy, "data", "policies", "run/records")
    run = api.generate("starter", output=copy)
    assert run.shards_done == 0
    assert bytes_under(copy, "data", "policies", "run/records") == before
    assert verify_dataset(copy) == []


def test_verify_accepts_the_starter(made: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(made)])
    assert result.exit_code == 0, result.output


def test_verify_finds_one_flipped_byte(copy: Path) -> None:
    path = files(copy, "sft")[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    result = CliRunner().invoke(app, ["verify", str(copy)])
    assert result.exit_code == 1
    assert path.name in result.output


@pytest.mark.slow
def test_verify_names_git_lfs_pointers(copy: Path) -> None:
    path = files(copy, "preference")[0]
    path.write_text(POINTER, encoding="utf-8")
    result = CliRunner().invoke(app, ["verify", str(copy)])
    assert result.exit_code == 1
    assert "git-lfs" in result.output
