from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import AssetNotFound, SafegenError
from safegen.core.hashing import file_sha256
from safegen.dataset.layout import FileEntry, content_sha256
from safegen.pipeline.records import iter_records
from safegen.pipeline.status import read_status
from safegen.pipeline.verification import Verification, verify
from safegen.store import parquet
from safegen.store.journal import Journal
from safegen.store.run_folder import RunFolder
from safegen.store.schema import ArrowRow

RECIPE = {
    "name": "small",
    "plan": {"harms": ["property.theft"], "sets_per_harm": 1},
    "split": {"test": 0},
    "views": ["sft", "preference"],
}
NAME = "data/sft/train/0.1.0-00000.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "out"
    safegen.generate(Recipe.model_validate(RECIPE), output=folder)
    return folder


@pytest.fixture
def dataset(made: Path, workdir: Path) -> Path:
    return Path(shutil.copytree(made, workdir / "out"))


def rewrite(folder: Path, edit: Callable[[list[ArrowRow]], object]) -> None:
    """Edit the rows of a file, and the manifest so that it matches them."""
    path = folder / NAME
    schema, rows = parquet.read_schema(path), parquet.read_rows(path)
    edit(rows)
    parquet.write_rows(path, rows, schema)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entry = FileEntry(file_sha256(path), path.stat().st_size, len(rows), content_sha256(rows))
    manifest["files"][NAME] = entry.to_json()
    manifest["counts"]["rows"]["sft"]["train"] = len(rows)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def edit_answer(rows: list[ArrowRow]) -> None:
    rows[0]["messages"][-1]["content"] += " Keep the receipt."


def edit_question(rows: list[ArrowRow]) -> None:
    rows[1]["messages"][-2]["content"] = "Where do I buy a lock?"


def edit_number(rows: list[ArrowRow]) -> None:
    rows[0]["requested_detail"] += 1


def add_row(rows: list[ArrowRow]) -> None:
    messages = [*rows[0]["messages"][:-1], {"role": "assistant", "content": "Lock it."}]
    rows.append(rows[0] | {"scenario_id": "f" * 16, "messages": messages})


FORGED = {
    "an answer": (edit_answer, "do not give the row of scenario"),
    "a question": (edit_question, "do not give the row of scenario"),
    "a number": (edit_number, "do not give the row of scenario"),
    "a further row": (add_row, f"do not give the row of scenario `{'f' * 16}`"),
    "a missing row": (list.pop, "view `sft`, split `train`: 1 row that"),
}


@pytest.mark.parametrize(("edit", "problem"), FORGED.values(), ids=FORGED)
def test_rows_edited_with_their_manifest_are_found(
    edit: Callable[[list[ArrowRow]], object], problem: str, dataset: Path
) -> None:
    rewrite(dataset, edit)
    result = verify(dataset)
    assert [problem in found for found in result.problems] == [True]
    shutil.rmtree(dataset / "run")
    assert verify(dataset) == Verification([], f"no run in `{dataset / 'run'}`")


def test_rows_written_again_are_equal(dataset: Path) -> None:
    rewrite(dataset, lambda rows: None)
    assert verify(dataset) == Verification([], "")


def test_run_with_fewer_records_cannot_give_rows(dataset: Path) -> None:
    path = dataset / "run" / "records" / "00000.parquet"
    rows = parquet.read_rows(path)
    first = rows[0]["scenario_id"]
    parquet.write_rows(
        path, [row for row in rows if row["scenario_id"] != first], parquet.read_schema(path)
    )
    assert all(first in problem for problem in verify(dataset).problems[:1])
    assert verify(dataset).problems


@pytest.mark.parametrize("name", ["records/00000.parquet", "recipe.json", "plan/0.parquet"])
def test_damaged_run_is_a_problem(name: str, dataset: Path) -> None:
    (dataset / "run" / name).write_bytes(b"damaged")
    (problem,) = verify(dataset).problems
    assert Path(name).name in problem


VIEW = """
import pyarrow as pa
from safegen.dataset.view import View

def ids():
    columns = pa.schema([pa.field("scenario_id", pa.string(), nullable=False)])
    return View("ids", lambda: columns, lambda group: [{"scenario_id": group.selected.scenario.scenario_id}])
"""


def test_view_of_a_user_needs_its_module(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "own_views_of_ids.py").write_text(VIEW)
    monkeypatch.syspath_prepend(str(workdir))
    recipe = Recipe.model_validate(RECIPE | {"views": ["sft", "own_views_of_ids:ids"]})
    safegen.generate(recipe, output="out", plugins=["own_views_of_ids"])
    plain, allowed = verify("out"), verify("out", plugins=["own_views_of_ids"])
    assert allowed == Verification([], "")
    assert plain.problems == []
    assert plain.note.endswith("needs `--plugin own_views_of_ids`")
    rewrite(Path("out"), edit_answer)
    assert len(verify("out").problems) == 1


POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("has_run", [True, False])
def test_pointer_is_remedied_by_a_fetch(has_run: bool, dataset: Path) -> None:
    next((dataset / "data").rglob("*.parquet")).write_text(POINTER)
    if not has_run:
        shutil.rmtree(dataset / "run")
    result = verify(dataset)
    assert any("is a git-lfs pointer" in problem for problem in result.problems)
    assert result.remedy == "fetch the files with `git lfs pull`"
    with pytest.raises(SafegenError, match=r"git lfs pull`$"):
        safegen.open_run(dataset).view("sft")


READ: dict[str, Callable[[RunFolder], object]] = {
    "recipe.json": lambda folder: read_status(safegen.open_run(folder.output)),
    "plan/0.parquet": lambda folder: read_status(safegen.open_run(folder.output)),
    "records/00000.parquet": lambda folder: list(iter_records(folder)),
    "journal.sqlite": lambda folder: Journal(folder.journal),
}


@pytest.mark.parametrize("name", READ)
def test_pointer_of_a_run_names_the_fetch(name: str, dataset: Path) -> None:
    (dataset / "run" / name).write_text(POINTER)
    with pytest.raises(SafegenError, match=r"git lfs pull`$"):
        READ[name](RunFolder(dataset))


def test_dataset_without_run_has_no_rebuild(dataset: Path) -> None:
    shutil.rmtree(dataset / "run")
    (dataset / "README.md").write_text("edited")
    assert "copy or check out the dataset again" in verify(dataset).remedy
    with pytest.raises(AssetNotFound, match="holds a dataset only"):
        safegen.open_run(dataset)
