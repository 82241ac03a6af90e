"""`check` rejects an output folder that `generate` rejects, with the same message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.harness import call, write_recipe

ROW = "prompt,harm,intent,evidence,detail,licence\nHow is a jar closed?,cyber.intrusion,benign,none,1,MIT\n"
OWN = """\
name: k
output: {output}
plan: {{harms: [cyber.intrusion]}}
teachers: {{drafter: {{openai_chat: {{base_url: http://127.0.0.1:9/v1, model: m}}}}}}
"""


def put_file(folder: Path) -> str:
    (folder / "jars.csv").write_text("a,b\n")
    return "jars.csv"


def put_foreign_data(folder: Path) -> str:
    (folder / "own/data").mkdir(parents=True)
    (folder / "own/README.md").write_text("mine")
    return "own"


def put_link_out(folder: Path) -> str:
    (folder / "h").mkdir()
    (folder / "h/link").symlink_to(folder.parent, target_is_directory=True)
    return "h/link/x"


def put_link_in_run(folder: Path) -> str:
    (folder / "out").mkdir()
    (folder / "out/run").symlink_to(folder, target_is_directory=True)
    return "out"


@pytest.mark.parametrize("put", [put_file, put_foreign_data, put_link_out, put_link_in_run])
@pytest.mark.parametrize("more", [[], ["--prompts", "p.csv"]], ids=["sets", "prompts"])
def test_folder_that_generate_rejects_is_rejected(
    workdir: Path, capsys: pytest.CaptureFixture[str], put: Callable[[Path], str], more: list[str]
) -> None:
    output = put(workdir)
    (workdir / "p.csv").write_text(ROW)
    recipe = write_recipe(workdir, OWN.format(output=output))
    before = sorted(workdir.rglob("*"))
    checked = call(capsys, "check", recipe, *more)
    generated = call(capsys, "generate", recipe, *more)
    assert (checked.code, generated.code) == (2, 2)
    assert checked.err == generated.err
    assert sorted(workdir.rglob("*")) == before


def test_check_of_prompts_reads_the_named_folder(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "p.csv").write_text(ROW)
    recipe = write_recipe(workdir, OWN.format(output="out"))
    args = [recipe, "--prompts", "p.csv", "--output", "mine"]
    assert call(capsys, "generate", *args, "--until", "expand").code == 0
    (same,) = call(capsys, "check", *args, "--json").lines
    assert same["folder"]["state"] == "resumes"
    (workdir / "p.csv").write_text(ROW.replace("jar", "tin"))
    assert "valid, but its folder holds another run" in call(capsys, "check", *args).out
