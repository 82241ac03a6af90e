"""No link inside an output folder is followed, and a recipe writes only below the working folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import safegen
from safegen.dataset.layout import list_files
from safegen.pipeline.verification import verify
from tests.e2e.runs import cli, fails, hashes

RECIPE = "name: links\nplan: {harms: [property.theft]}\noutput: made\n"


@pytest.fixture
def outside(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the working folder, which has a recipe."""
    (workdir / "r.yaml").write_text(RECIPE, encoding="utf-8")
    folder = tmp_path_factory.mktemp("outside")
    (folder / "mine").write_text("mine", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the recipe; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = folder / "r.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    safegen.generate(recipe, output=folder / "made")
    return folder / "made"


def test_recipe_output_through_a_link_is_rejected(
    workdir: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "made").symlink_to(outside)
    before = hashes(outside)
    fails(cli(capsys, "generate", "r.yaml"), 2, "output: `made` leads out", "--output")
    assert hashes(outside) == before
    assert cli(capsys, "generate", "r.yaml", "-o", "made").code == 0
    assert (outside / "manifest.json").is_file()


@pytest.mark.parametrize(
    "name", ["run", "run/records", "run/plan", "run/.gitignore", "data", "manifest.json"]
)
def test_link_inside_an_output_is_refused(
    name: str, workdir: Path, outside: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, workdir / "made")
    path = workdir / "made" / name
    target = outside if path.is_dir() else outside / "mine"
    path.rename(workdir / "moved")
    path.symlink_to(target)
    before = hashes(outside)
    for words in (["generate", "r.yaml"], ["build", "made"], ["show", "made"]):
        fails(cli(capsys, *words), 2, f"`made/{name}` is a link")
    assert hashes(outside) == before


@pytest.mark.parametrize("name", ["data", "data/sft", "policies", "README.md", "run"])
@pytest.mark.parametrize("has_run", [True, False])
def test_verify_names_a_link_alone(
    name: str, has_run: bool, workdir: Path, outside: Path, finished: Path
) -> None:
    made = shutil.copytree(finished, workdir / "made")
    if not has_run:
        shutil.rmtree(made / "run")
    path = made / name
    if path.exists():
        path.rename(workdir / "moved")
    path.symlink_to(outside if name != "README.md" else outside / "mine")
    result = verify("made")
    expected = f"`made/{name}` is a link, and safegen follows none inside an output folder;"
    assert [problem[: len(expected)] for problem in result.problems] == [expected]
    assert result.remedy == "then run `safegen verify made` again"


def test_listed_files_end_at_a_link(finished: Path, outside: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "made")
    shutil.rmtree(copy / "data")
    (copy / "data").symlink_to(outside)
    listed = list_files(copy)
    assert "data" in listed and not any(name.startswith("data/") for name in listed)
