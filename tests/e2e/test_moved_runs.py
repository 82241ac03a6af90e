"""A finished run is read from any working folder, with the files that it was made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from safegen.cli.main import run_command
from safegen.policy import loader
from tests.e2e.runs import CommandResult, cli, hashes

RECIPE = """
name: moved
taxonomy: taxonomies/mine/taxonomy.yaml
policies: [specs/own.yaml]
plan: {candidates: 2}
target: {accepted: 3, per: [harm, intent], rounds: 1}
"""
OWN_RULE = "Secret recipes stay secret"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a taxonomy, a spec and axes of its own and a run; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as at:
        at.chdir(home)
        assert run_command(["init", "--taxonomy", "mine"]) == 0
        assert run_command(["init", "--policy", "own"]) == 0
        text = Path("prompts/policies/own.yaml").read_text().replace("own.*", "mine.*")
        Path("specs").mkdir()
        Path("specs/own.yaml").write_text(text)
        shutil.rmtree("prompts")
        Path("recipe.yaml").write_text(RECIPE)
        assert run_command(["generate", "recipe.yaml", "-o", "out"]) == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is the working folder."""
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def moved(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The run alone, elsewhere, under a working folder without any file of its recipe."""
    shutil.move(home / "out", tmp_path / "elsewhere")
    shutil.rmtree(home)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    yield tmp_path / "elsewhere"


def limited(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Return the id of a scenario that the spec's own rule decides."""
    result = cli(capsys, "show", folder, "--json", "-n", 50)
    rows = [json.loads(line) for line in result.out.splitlines()]
    return next(r["scenario_id"] for r in rows if r["mode"] == "safe_completion")


def looks(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, CommandResult]:
    """Run every command that reads specs, taxonomy or axes of a finished run."""
    id_ = limited(capsys, folder)
    return {
        "coverage": cli(capsys, "coverage", folder, "--certificate"),
        "show": cli(capsys, "show", folder, id_, "--why", "-n", 1),
        "explain": cli(capsys, "policy", "explain", id_, "--run", folder),
        "diff": cli(capsys, "policy", "diff", "security", "security", "--run", folder),
        "build": cli(capsys, "build", folder),
    }


def test_moved_run_is_readable_without_its_files(
    moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(moved)
    for name, result in looks(capsys, moved).items():
        assert result.code == 0, (name, result.err)
        assert "changed since this run was made" not in result.err
    assert hashes(moved) == before


def test_moved_run_explains_with_stored_specs(
    moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(moved / "policies")
    results = looks(capsys, moved)
    assert OWN_RULE in results["show"].out
    assert OWN_RULE in results["explain"].out
    assert "the spec is missing" not in results["show"].out
    assert "in the run only; the policy file is not available" in results["show"].out
    assert "in the run only; the policy file is not available" in results["explain"].out
    again = cli(capsys, "policy", "show", moved / "policies" / "own.yaml")
    assert again.code == 0
    assert loader.load_policy(str(moved / "policies" / "own.yaml")).policy_id in again.out


def test_commands_use_the_stored_spec_after_edits(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "specs" / "own.yaml"
    before = hashes(home / "out")
    text = (
        path.read_text().replace(OWN_RULE, "Edited recipes").replace("ceiling: 1 ", "ceiling: 2 ")
    )
    path.write_text(text.replace("ceiling: 1,", "ceiling: 2,"))
    assert cli(capsys, "policy", "check", path).code == 0
    results = looks(capsys, Path("out"))
    for name in ("coverage", "show", "explain", "build"):
        notes = [
            line
            for line in results[name].err.splitlines()
            if "changed since this run was made" in line
        ]
        assert len(notes) == 1, name
        assert "policy `own`" in notes[0]
        assert "`safegen generate RECIPE` adopts the change" in notes[0]
    assert OWN_RULE in results["show"].out
    assert OWN_RULE in results["explain"].out
    assert "Edited" not in results["show"].out + results["explain"].out
    assert hashes(home / "out") == before


@pytest.mark.parametrize(
    "file",
    ["specs/own.yaml", pytest.param("taxonomies/mine/taxonomy.yaml", marks=pytest.mark.slow)],
)
def test_broken_file_counts_as_changed(
    home: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    was = looks(capsys, Path("out"))
    (home / file).write_text("title: [broken")
    now = looks(capsys, Path("out"))
    for name in ("coverage", "show", "explain", "build"):
        assert now[name].code == 0, name
        assert "changed since this run was made" in now[name].err, name
        assert without_place(now[name].out) == without_place(was[name].out), name


def without_place(text: str) -> list[str]:
    """Remove the path of a rule's file, which may be the run's copy."""
    return [line for line in text.splitlines() if not line.strip().startswith("written at")]


def test_explain_uses_the_specs_of_a_run(
    home: Path, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for situation in ("mine.recipes,detail=3", "harm=mine.recipes,detail=3"):
        result = cli(capsys, "policy", "explain", situation, "--run", moved)
        assert OWN_RULE in result.out, result.err
    result = cli(capsys, "policy", "explain", "harm=mine.recipes,harm=x", "--run", moved)
    assert result.code == 2
    assert "names a leaf twice" in result.err
    result = cli(capsys, "policy", "explain", "mine.recipes", "--run", moved)
    assert result.code == 2
    assert "lacks `detail=" in result.err


def test_named_spec_replaces_the_one_of_the_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "specs" / "own.yaml"
    path.write_text(path.read_text().replace(OWN_RULE, "Edited recipes"))
    id_ = limited(capsys, Path("out"))
    result = cli(capsys, "policy", "explain", id_, "--run", "out", "--policy", "specs/own.yaml")
    assert "Edited recipes" in result.out


def test_generate_adopts_an_edited_spec(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "specs" / "own.yaml"
    path.write_text(path.read_text().replace(OWN_RULE, "Edited recipes"))
    assert cli(capsys, "generate", "recipe.yaml", "-o", "out").code == 0
    result = looks(capsys, Path("out"))["show"]
    assert "Edited recipes" in result.out
    assert "changed since this run was made" not in result.err


def test_changed_tier_is_reported_and_ignored(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    was = looks(capsys, Path("out"))
    path = home / "taxonomies" / "mine" / "taxonomy.yaml"
    path.write_text(path.read_text().replace("tier: restricted", "tier: sensitive"))
    now = looks(capsys, Path("out"))
    for name in ("coverage", "show", "explain"):
        assert now[name].out == was[name].out
        assert "taxonomy `mine`" in now[name].err
        assert "--replan" in now[name].err


def test_changed_axes_are_reported_and_ignored(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    was = looks(capsys, Path("out"))
    axes = "axes: [{id: task, name: Task, definition: What., source: us, level: set, values: {explain: To.}}]"
    (home / "taxonomies" / "axes.yaml").write_text(axes + "\n")
    now = looks(capsys, Path("out"))
    assert now["coverage"].out == was["coverage"].out
    assert "axes changed since this run was made" in now["coverage"].err
    assert now["build"].code == 0


def test_build_accepts_other_views_not_another_plan(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("views.yaml").write_text(RECIPE + "views: [sft]\n")
    assert cli(capsys, "build", "out", "--recipe", "views.yaml").code == 0
    assert not (home / "out" / "data" / "preference").exists()
    Path("other.yaml").write_text(RECIPE.replace("candidates: 2", "candidates: 3"))
    result = cli(capsys, "build", "out", "--recipe", "other.yaml")
    assert result.code == 2
    assert "another `plan`" in result.err


def test_retry_that_cannot_start_keeps_records(
    moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(moved / "run" / "records")
    result = cli(capsys, "retry", moved)
    assert result.code == 2
    assert "run it in the folder" in result.err
    assert hashes(moved / "run" / "records") == before


@pytest.mark.parametrize("key", ["policies", "taxonomy", "axes", "locale"])
def test_damaged_snapshot_is_named_with_a_remedy(
    home: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    path = home / "out" / "run" / "recipe.json"
    payload = json.loads(path.read_text())
    path.write_text(json.dumps(payload | {key: [[{"nothing": 1}]]}))
    result = cli(capsys, "coverage", "out")
    assert result.code == 1
    assert f"`{key}` cannot be read" in result.err
    assert "--replan" in result.err


def test_edited_base_spec_is_named_once(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text("name: a\nplan: {harms: [cyber.malware, selfharm.eating]}\n")
    assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 0
    Path("prompts/policies").mkdir(parents=True)
    shipped = loader.load_policy("base")
    base = shipped.path.read_text(encoding="utf-8")
    principle = shipped.principles[0]
    edited = base.replace(f"- {principle}\n", f"- {principle} Be brief.\n", 1)
    assert edited != base
    Path("prompts/policies/base.yaml").write_text(edited, encoding="utf-8")
    result = cli(capsys, "coverage", "out")
    assert result.err.count("policy `base` changed since this run was made") == 1
