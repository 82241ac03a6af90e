from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safegen.config.recipe import Recipe
from safegen.core.hashing import file_sha256
from safegen.dataset.build import build_dataset
from safegen.dataset.curate import curate
from safegen.dataset.layout import FileEntry, content_sha256
from safegen.dataset.verify import verify_dataset
from safegen.dataset.views.preference import preference
from safegen.dataset.views.sft import sft
from safegen.store import parquet
from safegen.store.run_folder import RunFolder
from safegen.store.schema import ArrowRow
from safegen.testing import make_pair, policy

VIEWS = {"sft": sft(), "preference": preference()}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    run = RunFolder(tmp_path / "out")
    run.write_shard(run.records(0), [r for n in range(80) for r in make_pair(n)], [])
    build_dataset(
        curate(run),
        Recipe.model_validate({"name": "k", "views": list(VIEWS)}),
        taxonomy_version="1.0.0",
        policies=[policy()],
        fingerprints={},
    )
    return run.output


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edit(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def name_of(view: str, split: str) -> str:
    return f"data/{view}/{split}/0.1.0-00000.parquet"


def replant(folder: Path, view: str, split: str, edit: Callable[[list[ArrowRow]], None]) -> None:
    """Rewrite rows of a file and update its manifest entry, so that only invariants are violated."""
    name = name_of(view, split)
    rows = parquet.read_rows(folder / name)
    edit(rows)
    parquet.write_rows(folder / name, rows, VIEWS[view].schema)
    entry = FileEntry(
        file_sha256(folder / name),
        (folder / name).stat().st_size,
        len(rows),
        content_sha256(rows),
    )

    def update_entry(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = entry.to_json()
        manifest["counts"]["rows"][view][split] = len(rows)

    edit_manifest(folder, update_entry)


def only(folder: Path) -> str:
    problems = verify_dataset(folder)
    assert len(problems) == 1, problems
    return problems[0]


def test_fresh_dataset_has_no_problems(dataset: Path) -> None:
    assert verify_dataset(dataset) == []


def test_missing_or_broken_manifest_is_named(dataset: Path) -> None:
    (dataset / "manifest.json").write_text("[]", encoding="utf-8")
    assert "not a JSON object" in only(dataset)
    (dataset / "manifest.json").unlink()
    assert "manifest.json" in only(dataset)
    (dataset / "manifest.json").write_text('{"files": []}', encoding="utf-8")
    assert "lists no files" in only(dataset)


def test_changed_file_is_named(dataset: Path) -> None:
    with (dataset / "README.md").open("a", encoding="utf-8") as file:
        file.write("more")
    assert "`README.md` is not what the manifest says" in only(dataset)


def test_missing_file_is_named(dataset: Path) -> None:
    (dataset / "policies" / "base.yaml").unlink()
    assert "`policies/base.yaml` is missing" in only(dataset)


def test_unlisted_file_is_named_except_git_and_run(dataset: Path) -> None:
    (dataset / "run" / "notes.txt").write_text("x", encoding="utf-8")
    (dataset / ".git").mkdir()
    (dataset / ".git" / "config").write_text("x", encoding="utf-8")
    assert verify_dataset(dataset) == []
    (dataset / "data" / "sft" / "train" / "old.parquet").write_bytes(b"x")
    assert "old.parquet` is not listed" in only(dataset)


def test_git_lfs_pointer_is_named_as_such(dataset: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (dataset / name_of("sft", "train")).write_text(pointer, encoding="utf-8")
    problems = verify_dataset(dataset)
    assert "is a git-lfs pointer; run `git lfs pull`" in problems[0]
    assert "SHA-256" not in str(problems)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "data/../../x", "a\\..\\b"])
def test_manifest_path_outside_the_folder_is_refused(dataset: Path, name: str) -> None:
    edit_manifest(dataset, lambda m: m["files"].update({name: {"sha256": "0"}}))
    assert "leaves the folder" in only(dataset)


def test_link_outside_the_folder_is_not_followed(dataset: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.yaml"
    target.write_text("x", encoding="utf-8")
    (dataset / "policies" / "base.yaml").unlink()
    (dataset / "policies" / "base.yaml").symlink_to(target)
    assert "through a link" in only(dataset)


def test_other_columns_are_named(dataset: Path) -> None:
    name = name_of("sft", "test")
    rows = parquet.read_rows(dataset / name)
    schema = sft().schema.remove(sft().schema.get_field_index("grade"))
    parquet.write_rows(dataset / name, [{k: r[k] for k in schema.names} for r in rows], schema)
    edit_manifest(dataset, lambda m: m["files"][name].update(sha256=file_sha256(dataset / name)))
    assert "other columns than view `sft` (grade)" in verify_dataset(dataset)[0]


def test_wrong_row_counts_and_contents_are_named(dataset: Path) -> None:
    name = name_of("sft", "test")
    edit_manifest(dataset, lambda m: m["files"][name].update(rows=1, content_sha256="0"))
    problems = "\n".join(verify_dataset(dataset))
    assert "the manifest says 1" in problems
    assert "content hash differs" in problems


def test_wrong_total_is_named(dataset: Path) -> None:
    edit_manifest(dataset, lambda m: m["counts"]["rows"]["sft"].update(train=1))
    assert "the manifest counts 1" in only(dataset)


def test_goal_in_two_splits_is_found(dataset: Path) -> None:
    goal = parquet.read_rows(dataset / name_of("sft", "train"))[0]["goal_id"]
    replant(dataset, "preference", "test", lambda rows: rows[0].update(goal_id=goal))
    assert f"goal `{goal}` is in two splits" in "\n".join(verify_dataset(dataset))


def test_equal_messages_with_other_mode_are_found(dataset: Path) -> None:
    replant(dataset, "preference", "train", lambda rows: rows[0].update(mode="direct_answer"))
    assert "another mode" in only(dataset)


def test_equal_messages_with_other_ceiling_are_found(dataset: Path) -> None:
    def plant(rows: list[ArrowRow]) -> None:
        rows[1]["messages"] = rows[0]["messages"]
        rows[1]["ceiling"] = 4

    replant(dataset, "sft", "train", plant)
    assert "another ceiling or floor" in only(dataset)


def test_repeated_scenario_in_sft_is_found(dataset: Path) -> None:
    replant(dataset, "sft", "train", lambda rows: rows.append(rows[0]))
    assert "occurs twice" in only(dataset)


def test_file_outside_a_view_is_found(dataset: Path) -> None:
    name = "data/sft/extra/0.parquet"
    (dataset / name).parent.mkdir()
    (dataset / name).write_bytes((dataset / name_of("sft", "test")).read_bytes())
    sha = file_sha256(dataset / name)
    edit_manifest(dataset, lambda m: m["files"].update({name: {"sha256": sha}}))
    assert "not under `data/<view>/<split>/`" in only(dataset)
