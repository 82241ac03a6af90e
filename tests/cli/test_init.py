from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from safegen.cli.commented_yaml import comment_lines, format_flow
from safegen.config import recipe as recipes
from safegen.config.fields import FrozenModel, describe_fields
from safegen.config.plan import NoiseSettings, WrapperSettings
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import load_taxonomy as load_taxonomy
from safegen.core.yaml_source import parse
from safegen.pipeline.file_schemas import build_schema
from safegen.policy import loader
from tests.cli.harness import call

HEAD = "# yaml-language-server: $schema=./schemas/recipe.schema.json\n"
NO_LFS = "git-lfs is not installed: apt-get install git-lfs"
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason=NO_LFS)


def keys(model: type[FrozenModel]) -> set[str]:
    return set(model.model_fields)


def test_init_writes_default_recipe_with_every_key(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "init").code == 0
    text = (workdir / "recipe.yaml").read_text(encoding="utf-8")
    assert recipes.load_recipe("recipe.yaml") == Recipe(name="recipe")
    assert text.startswith(HEAD)
    values = yaml.safe_load(text)
    # A part that is not set is a comment.
    absent = keys(Recipe) - set(values)
    assert set(values) <= keys(Recipe)
    assert all(f"\n# {name}:\n" in text for name in absent)
    assert set(values["plan"]) <= keys(recipes.Plan)
    absent = keys(recipes.Plan) - set(values["plan"])
    assert all(f"\n  # {name}:\n" in text for name in absent)
    assert all(len(line) <= 100 for line in text.splitlines()[1:])
    Draft202012Validator(build_schema("recipe")).validate(values)
    assert call(capsys, "check", "recipe.yaml").code == 0


def test_recipe_keys_follow_their_docstrings() -> None:
    models = (Recipe, recipes.Plan, recipes.Target, recipes.Split, recipes.Budget, recipes.Teachers)
    for model in models:
        lines = list(comment_lines(model, {}))
        for name in model.model_fields:
            assert describe_fields(model)[name], f"{model.__name__}.{name} needs a docstring"
            starts = (f"{name}:", f"# {name}:")
            at = next(i for i, line in enumerate(lines) if line.startswith(starts))
            assert lines[at - 1].startswith("# "), name
        text = "\n".join(lines)
        assert all(len(line) <= 100 for line in text.split("\n"))


def test_absent_part_is_shown_in_comments() -> None:
    lines = list(comment_lines(Recipe, {"name": "k"}))
    assert "target: null" not in lines
    assert "# target:" in lines
    assert "#   rounds: 5" in lines


def test_commented_parts_load_without_their_marks(workdir: Path) -> None:
    text = "\n".join(comment_lines(Recipe, {"name": "k"}))
    for line in ("policy_effect:", "  least: 0.0", "  quarantine:", "    days: 30"):
        inner = line.lstrip()
        indent = "  " if inner in ("quarantine:", "days: 30") else ""
        marked = f"{indent}# {line.removeprefix(indent)}"
        assert marked in text
        text = text.replace(marked, line, 1)
    text = text.replace('  #   key_env: "…"', "    key_env: SHELF_KEY")
    for key in ("noise", "wrappers"):
        part = re.search(rf"^  # {key}:\n(?:  #   .*\n)+", text, re.MULTILINE)
        assert part
        text = text.replace(part[0], part[0].replace("  # ", "  ", 1).replace("\n  # ", "\n  "))
    Path("k.yaml").write_text(text, encoding="utf-8")
    loaded = recipes.load_recipe("k.yaml")
    assert loaded.policy_effect == recipes.EffectSettings()
    assert loaded.plan.noise == NoiseSettings()
    assert loaded.plan.wrappers == WrapperSettings()
    assert loaded.judges.quarantine == recipes.QuarantineSettings(key_env="SHELF_KEY")


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "no",
        "a: b",
        "- x",
        "#1",
        "",
        "it's",
        'say "so"',
        "http://127.0.0.1:8000/v1",
        "ü",
    ],
)
def test_flow_values_round_trip_through_yaml(value: str) -> None:
    class One(FrozenModel):
        value: str

    assert parse(f"value: {format_flow(value)}\n", One, shown="x").value == value
    assert yaml.safe_load(f"value: {format_flow(value)}\n") == {"value": value}


def test_commented_parameters_of_an_endpoint_are_valid(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--endpoint", "http://127.0.0.1:9/v1", "--model", "m")
    assert call(capsys, "init", *where).code == 0
    text = Path("recipe.yaml").read_text(encoding="utf-8")
    hints = re.findall(r"^      # (\w+): ", text, re.MULTILINE)
    assert {"temperature", "fold_system", "headers", "query"} <= set(hints)
    Path("recipe.yaml").write_text(
        re.sub(r"^      # (?=\w+: )", "      ", text, flags=re.MULTILINE), encoding="utf-8"
    )
    (payload,) = call(capsys, "check", "recipe.yaml", "--json").lines
    assert payload["teachers"][0]["unset"] == ["GATEWAY_TOKEN"]
    (drafter,) = recipes.load_recipe("recipe.yaml").teachers.drafter
    assert set(hints) <= set(drafter.params)


def test_endpoint_options_fill_the_drafter(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--endpoint", "http://127.0.0.1:9/v1", "--model", "some/model:8b")
    assert call(capsys, "init", "mine.yaml", *where, "--key-env", "MY_API_KEY").code == 0
    made = recipes.load_recipe("mine.yaml")
    params = {
        "base_url": "http://127.0.0.1:9/v1",
        "model": "some/model:8b",
        "api_key_env": "MY_API_KEY",
    }
    assert made.teachers.drafter == (PluginRef(use="openai_chat", params=params),)
    assert made.name == "mine"
    assert made.model_copy(update={"teachers": recipes.Teachers()}) == Recipe(name="mine")


WHERE = ("--endpoint", "http://127.0.0.1:9/v1", "--model", "writer")


def test_second_model_becomes_the_panel(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = (*WHERE, "--key-env", "MY_API_KEY", "--judge-model", "reader")
    assert call(capsys, "init", "mine.yaml", *options).code == 0
    (juror,) = recipes.load_recipe("mine.yaml").judges.panel
    assert juror.params == {
        "base_url": "http://127.0.0.1:9/v1",
        "model": "reader",
        "api_key_env": "MY_API_KEY",
    }
    other = ("--judge-endpoint", "http://127.0.0.1:8/v1", "--judge-model", "writer")
    assert call(capsys, "init", "other.yaml", *WHERE, *other).code == 0
    (juror,) = recipes.load_recipe("other.yaml").judges.panel
    assert juror.params == {"base_url": "http://127.0.0.1:8/v1", "model": "writer"}
    assert call(capsys, "check", "other.yaml").code == 0


def test_commented_panel_loads_without_its_marks(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "init", "mine.yaml", *WHERE).code == 0
    path = workdir / "mine.yaml"
    text = path.read_text(encoding="utf-8")
    assert recipes.load_recipe("mine.yaml").judges.panel == ()
    start = text.index("  # panel:\n")
    end = text.index("\n", text.index("model: another-model"))
    example = text[start:end].replace("  # ", "  ")
    path.write_text(text[:start] + example + text[end:], encoding="utf-8")
    (juror,) = recipes.load_recipe("mine.yaml").judges.panel
    assert juror.params == {"base_url": "http://127.0.0.1:9/v1", "model": "another-model"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((*WHERE, "--judge-model", "writer"), "which also drafts"),
        (("--judge-model", "m"), "needs `--judge-endpoint URL`"),
        ((*WHERE, "--judge-endpoint", "http://h/v1"), "need `--judge-model NAME`"),
        ((*WHERE, "--judge-model", "m", "--judge-key-env", "sk-1"), "`--judge-key-env` must be"),
        (("--model", "m"), "need `--endpoint URL`"),
        (("--endpoint", "http://h/v1"), "needs `--model NAME`"),
        (("--endpoint", "ftp://h", "--model", "m"), "must begin with http:// or https://"),
        (("--endpoint", "http://me:pw@h/v1", "--model", "m"), "holds user info"),
        (("--endpoint", "http://h/v1", "--model", "m", "--key-env", "sk-123"), "not the key"),
        (("--taxonomy", "../up"), "`--taxonomy` is `../up`"),
        (("--policy", "Big"), "lower-case"),
    ],
)
def test_invalid_options_exit_2_and_write_nothing(
    options: tuple[str, ...], expected: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "init", *options)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err
    assert list(workdir.iterdir()) == []


def test_skeleton_files_load_and_give_a_plan(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "init", "guild.yaml", "--taxonomy", "guild", "--policy", "secrets")
    assert result.code == 0
    assert [g.goal_id for g in load_taxonomy("guild").goals()] == [
        "guild.recipes/soup-of-the-guild"
    ]
    assert loader.load_policy("secrets").spec.harms == ("guild.*",)
    assert call(capsys, "policy", "check", "secrets").code == 0
    (forecast,) = call(capsys, "check", "guild.yaml", "--json").lines
    assert forecast["prompts"] == 4
    (made,) = call(capsys, "generate", "guild.yaml", "-o", "out", "--json").lines
    assert (made["accepted"], made["prompts"]) == (4, 4)
    for path, kind in (
        ("taxonomies/guild/taxonomy.yaml", "taxonomy"),
        ("taxonomies/guild/sets/first.yaml", "sets"),
        ("prompts/policies/secrets.yaml", "policy"),
    ):
        text = (workdir / path).read_text(encoding="utf-8")
        Draft202012Validator(build_schema(kind)).validate(yaml.safe_load(text))
        named = text.split("$schema=")[1].split("\n")[0]
        assert (workdir / path).parent.joinpath(named).resolve().is_file()


def test_split_yaml_sentence_is_reported(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "init", "--taxonomy", "guild")
    assert "starts in lower case" not in call(capsys, "taxonomy", "check", "guild").out
    sets = workdir / "taxonomies/guild/sets/first.yaml"
    text = sets.read_text().replace(
        "      left_out:", "      better_ways: [If you like it, ask.]\n      left_out:"
    )
    sets.write_text(text)
    result = call(capsys, "taxonomy", "check", "guild")
    assert result.code == 0
    assert "guild.recipes/soup-of-the-guild: `ask.` starts in lower case" in result.out
    (payload,) = call(capsys, "taxonomy", "check", "guild", "--json").lines
    assert payload["split_sentences"] == [
        {"goal_id": "guild.recipes/soup-of-the-guild", "text": "ask."}
    ]


def test_init_taxonomy_alone_writes_no_recipe(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "init", "--taxonomy", "guild").code == 0
    assert not (workdir / "recipe.yaml").exists()


def test_existing_files_are_kept_without_force(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workdir / "recipe.yaml"
    path.write_text("mine", encoding="utf-8")
    result = call(capsys, "init", "recipe.yaml", "--taxonomy", "guild")
    assert result.code == 2
    assert "`recipe.yaml` exists" in result.err
    assert [p.name for p in workdir.iterdir()] == ["recipe.yaml"]
    assert path.read_text() == "mine"
    assert call(capsys, "init", "--force").code == 0
    assert path.read_text().startswith(HEAD)


def git(folder: Path, *arguments: str, **env: str) -> str:
    mine = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-c", "user.name=k", "-c", "user.email=k@k", *arguments],
        cwd=folder,
        env=mine | env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.fixture
def no_git_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Simulate a machine without any git or git-lfs configuration."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path))


@needs_lfs
@pytest.mark.usefixtures("no_git_config")
def test_dataset_survives_git_lfs_and_clones_name_pointers(
    finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "init", "--data-repo", "sets").code == 0
    data = workdir / "sets"
    shutil.copytree(finished, data / "kitchen")
    git(data, "add", "-A")
    git(data, "commit", "-q", "-m", "kitchen 0.1.0")
    kept = git(data, "ls-files").split()
    assert [name for name in kept if "/run/" in name] == []
    assert git(data, "lfs", "ls-files", "--name-only").split() == [
        name for name in kept if name.endswith(".parquet")
    ]
    assert call(capsys, "verify", "sets/kitchen").code == 0
    git(workdir, "clone", "-q", str(data), "clone", GIT_LFS_SKIP_SMUDGE="1")
    result = call(capsys, "verify", "clone/kitchen")
    assert result.code == 1
    assert result.out.count("is a git-lfs pointer; run `git lfs pull`") == len(
        [name for name in kept if name.endswith(".parquet")]
    )


@needs_lfs
@pytest.mark.usefixtures("no_git_config")
def test_git_diff_shows_rows_of_parquet(
    finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "init", "--data-repo", "sets").code == 0
    data = workdir / "sets"
    shutil.copytree(finished, data / "kitchen")
    git(data, "add", "-A")
    git(data, "commit", "-q", "-m", "first")
    path = next((data / "kitchen/data/sft/train").glob("*.parquet"))
    path.unlink()
    git(data, "add", "-A")
    diff = git(data, "diff", "--cached", "--", str(path))
    assert '\n-{"' in diff
    assert "Binary files" not in diff


@needs_lfs
@pytest.mark.usefixtures("no_git_config")
def test_existing_repository_keeps_its_files(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = workdir / "sets"
    data.mkdir()
    (data / "README.md").write_text("mine", encoding="utf-8")
    result = call(capsys, "init", "--data-repo", "sets")
    assert result.code == 2
    assert "README.md` exists" in result.err
    assert [p.name for p in data.iterdir()] == ["README.md"]


def test_missing_git_is_named(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(workdir))
    result = call(capsys, "init", "--data-repo", "sets")
    assert result.code == 2
    assert "`git` is not installed" in result.err
    assert list(workdir.iterdir()) == []
