from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer.main

from safegen.cli.main import app
from safegen.core import plugins, resources
from safegen.core.types import PolicyForm
from safegen.pipeline import file_schemas
from tests.cli.harness import call

GROUP: Any = typer.main.get_command(app)
HEAVY = (
    "openai polars pyarrow yaml jinja2 tenacity py3langid json_repair datasets ray numpy".split()
)


def parameters() -> Iterator[Any]:
    for name, command in GROUP.commands.items():
        for parameter in command.params:
            yield pytest.param(parameter, id=f"{name} {parameter.name}")


@pytest.mark.parametrize("name", GROUP.commands)
def test_each_command_has_one_line_of_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = GROUP.commands[name].help.splitlines()[0]
    assert line.endswith(".")
    assert line in call(capsys).out
    assert line in call(capsys, name, "--help").out


@pytest.mark.parametrize("parameter", list(parameters()))
def test_each_option_and_argument_has_help(parameter: Any) -> None:
    assert parameter.help
    assert parameter.help.endswith(".")


def test_no_arguments_show_help(capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys)
    assert result.code == 0
    assert "Commands:" in result.out


def test_generate_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "generate", "-h")
    assert "  safegen generate recipe.yaml           your recipe" in result.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("generat",), "generate"),
        (("generate", "--untl", "draft"), "--until"),
        (("generate", "--until", "lunch"), "expand"),
        (("show",), "see `safegen show --help`"),
        (("show", "out", "--mode", "maybe"), "safe_completion"),
        (("show", "out", "-n", "0"), "--help"),
        (("generate", "strater"), "starter"),
        (("generate", "missing.yaml"), "missing.yaml"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_wrong_command_exits_2_with_a_suggestion(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, *arguments)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err
    assert result.err.startswith("safegen: error: ")
    assert "Traceback" not in result.err


CHOICES = {
    "list": ([*resources.KINDS, *plugins.KINDS], "all"),
    "schema": ([*file_schemas.KINDS], "a list of the kinds"),
    "policy show": (["rules", *get_args(PolicyForm)], ""),
}


@pytest.mark.parametrize(("command", "choices"), CHOICES.items(), ids=CHOICES)
def test_help_lists_every_choice(
    command: str, choices: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    names, default = choices
    text = " ".join(call(capsys, *command.split(), "--help").out.split())
    assert f"One of: {', '.join(names)}{default and f'; default {default}'}." in text
    for name in names:
        given = ["security", "--as"] if command == "policy show" else []
        assert call(capsys, *command.split(), *given, name).code == 0


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from safegen.cli import main; main.run_command(['--help']); main.run_command(['generate', '-h']);"
        f"print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
