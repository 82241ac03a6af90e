"""Commands name damaged files of a run, and fields of a manifest that its run does not give."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from safegen.pipeline.status import read_manifest
from safegen.testing import FakeEndpoint
from tests.cli.harness import call, write_recipe
from tests.e2e.runs import cli, fails, long_answer, write_recipe as write_endpoint_recipe

PROMPTS = """\
prompt,harm,intent,evidence,detail,licence
How is a jar closed?,property.theft,benign,none,1,MIT
What keeps a tin shut?,,,,,MIT
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run of own prompts, one of which has no labels."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "p.csv").write_text(PROMPTS)
    with pytest.MonkeyPatch.context() as patch, FakeEndpoint(long_answer) as fake:
        patch.chdir(folder)
        write_endpoint_recipe(folder / "recipe.yaml", fake.url)
        import safegen

        safegen.generate("recipe.yaml", prompts="p.csv", output="out")
    return folder


@pytest.fixture
def run(made: Path, workdir: Path) -> Path:
    shutil.copytree(made, workdir, dirs_exist_ok=True)
    return workdir / "out"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut-shard": ("run/records/00000.parquet", cut),
    "empty-counts": ("run/prompts.json", lambda path: path.write_text("[]")),
    "no-list": ("run/unlabelled.jsonl", Path.unlink),
    "junk-list": ("run/unlabelled.jsonl", lambda path: path.write_text("{}\n")),
    "short-list": ("run/unlabelled.jsonl", lambda path: path.write_text("")),
    "junk-labels": ("run/failures/labels.jsonl", lambda path: path.write_text("[]\n")),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("command", ["status", "retry", "verify"])
def test_damaged_file_of_a_run_is_named(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[Path], object],
    command: str,
) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    damage(run / name)
    result = cli(capsys, command, "out")
    assert result.code == 1
    assert name in result.out + result.err
    assert "nothing to retry" not in result.err


FIELDS: dict[str, object] = {
    "name": "other",
    "version": "9.9.9",
    "recipe": "0" * 64,
    "taxonomy": "core@9",
    "policy_ids": [],
    "fingerprints": {},
    "models": {},
    "split": {"test": 0.5},
    "views": {},
    "imported": {},
    "judges": {"drafts": 1},
}


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | fields))


@pytest.mark.parametrize("name", FIELDS)
def test_edited_field_of_a_manifest_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    edit_manifest(run, **{name: FIELDS[name]})
    result = cli(capsys, "verify", "out")
    assert result.code == 1
    assert f"`{name}`" in result.out


def test_edited_count_of_a_manifest_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = json.loads((run / "manifest.json").read_text())["counts"]
    edit_manifest(run, counts=counts | {"accepted": counts["accepted"] + 1})
    assert "`counts.accepted` is not what the run gives" in cli(capsys, "verify", "out").out


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("version", "has version `9.9.9`"),
        ("views", "has no view"),
        ("split", "unlike the share of the test split"),
    ],
)
def test_manifest_without_a_run_is_compared_with_files(
    workdir: Path, capsys: pytest.CaptureFixture[str], field: str, says: str
) -> None:
    recipe = write_recipe(workdir)
    assert call(capsys, "generate", recipe, "-o", "out").code == 0
    shutil.rmtree(workdir / "out/run")
    assert cli(capsys, "verify", "out").code == 0
    edit_manifest(workdir / "out", **{field: FIELDS[field] if field != "split" else {"test": 0.99}})
    result = cli(capsys, "verify", "out")
    assert (result.code, says in " ".join(result.out.split())) == (1, True)


def test_remedy_of_a_recut_dataset_keeps_its_keys(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir)
    assert call(capsys, "generate", recipe, "-o", "out").code == 0
    options = ["--set", "require=style,response_form", "--set", "validators.style.threshold=0.1"]
    assert call(capsys, "build", "out", *options).code == 0
    assert cli(capsys, "verify", "out").code == 0
    built = read_manifest(workdir / "out")
    (workdir / "out/README.md").write_text("edited")
    remedy = json.loads(cli(capsys, "verify", "out", "--json").out)["remedy"]
    assert "--set" in remedy
    command = remedy.split("`")[1].split()[1:]
    assert call(capsys, *command).code == 0
    rebuilt = read_manifest(workdir / "out")
    assert rebuilt["overrides"] == built["overrides"] != {}
    assert rebuilt["files"] == built["files"]


def test_run_without_a_shard_is_not_to_be_built(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir)
    assert call(capsys, "generate", recipe, "-o", "out", "--until", "expand").code == 0
    shutil.rmtree(workdir / "out/run/plan")
    remedy = json.loads(cli(capsys, "verify", "out", "--json").out)["remedy"]
    assert "no finished shard" in remedy
    assert "safegen build" not in remedy
    fails(cli(capsys, "build", "out"), 1, "has no finished shard")
