"""No banned word in help texts, in the output of commands, or in the card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from safegen.cli.main import app
from tests.cli.harness import RECIPE, call
from tests.sampling import sampled
from tests.words import banned_words

COMMANDS = (
    "check -o out",
    "check recipe.yaml",
    "check missing.yaml",
    "check recipe.yaml --prompts rows.csv",
    "generate recipe.yaml -o out",
    "generate recipe.yaml -o planned --until expand",
    "generate edited.yaml -o out",
    "generate edited.yaml -o out --replan",
    "status out",
    "status planned",
    "status missing",
    "show out",
    "show out --why --limit 3",
    "show out --rejected",
    "coverage out",
    "coverage out --by domain,mode,tier --heat domain,intent",
    "coverage out --certificate",
    "build out",
    "build planned",
    "retry out",
    "retry planned",
    "verify out",
    "verify planned",
    "list",
    "list validators",
    "preview recipe.yaml --sets 1",
    "doctor",
    "init mine.yaml",
    "schema recipe",
    "policy check",
    "policy explain cyber.intrusion,profile=public,detail=3 --run out",
    "policy show security",
    "policy diff security security --run out",
    "taxonomy check core",
    "taxonomy show core",
)
ROWS = "prompt,harm,task,intent,evidence,detail\nHow do locks work?,property.theft,explain,benign,none,1\n,,,,,\n"


def help_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each command and group. Any: Typer returns the classes of its own copy of click."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from help_paths(child, (*path, name))


@pytest.mark.parametrize("path", list(help_paths(typer.main.get_command(app))), ids=" ".join)
def test_help_has_no_banned_word(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, *path, "--help")
    assert result.code == 0
    assert banned_words(result.out + result.err) == []


@pytest.mark.parametrize("command", sampled(zip(COMMANDS), every=3))
def test_output_has_no_banned_word(
    command: str, kitchen: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(kitchen, workdir, dirs_exist_ok=True)
    (workdir / "edited.yaml").write_text(RECIPE.replace("candidates: 2", "candidates: 3"))
    (workdir / "rows.csv").write_text(ROWS, encoding="utf-8")
    if "planned" in command and not command.startswith("generate"):
        call(capsys, "generate", "recipe.yaml", "-o", "planned", "--until", "expand")
    result = call(capsys, *command.split())
    assert result.out + result.err
    assert banned_words(result.out + result.err) == []


def test_card_has_no_banned_word(kitchen: Path) -> None:
    assert banned_words((kitchen / "out/README.md").read_text(encoding="utf-8")) == []
