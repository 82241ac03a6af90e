"""Package-wide checks: light imports, public names, every command in the docs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

import safegen
from safegen.cli.main import app
from safegen.config.goals import GoalsFile
from safegen.core import yaml_source
from tests.conftest import ROOT

HEAVY = frozenset(
    "openai polars pyarrow numpy yaml jinja2 tenacity ray py3langid json_repair aiohttp re2 regex".split()
)
HELP = "import sys; sys.argv = ['safegen', *{words}]\nfrom safegen.cli.main import main\ntry: main()\nexcept SystemExit: pass"


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that are loaded after some code."""
    report = "\nimport sys; sys.stderr.write(' '.join({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import safegen",
        "import safegen.teachers",
        HELP.format(words=["--help"]),
        HELP.format(words=["check", "--help"]),
        HELP.format(words=["generate", "--help"]),
        HELP.format(words=["--version"]),
    ],
    ids=["import", "teachers", "--help", "check --help", "generate --help", "--version"],
)
def test_import_and_help_load_no_heavy_module(code: str) -> None:
    loaded = loaded_after(code)
    assert "safegen" in loaded
    assert loaded & HEAVY == set()


def test_loaded_modules_include_heavy_imports() -> None:
    assert "yaml" in loaded_after("import safegen.core.yaml_source, yaml")


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "safegen", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{safegen.__version__}\n"


def test_public_names_equal_all() -> None:
    public = {name for name in dir(safegen) if not name.startswith("_")}
    assert public == set(safegen.__all__)
    assert all(getattr(safegen, name).__doc__ for name in safegen.__all__)
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = safegen.nothing  # pyright: ignore[reportAttributeAccessIssue]


def commands() -> list[str]:
    group = typer.main.get_command(app)
    return sorted(getattr(group, "commands"))  # noqa: B009 (typer's own group type is private)


def test_cli_reference_names_every_command() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert {"generate", "check", "verify"} <= set(commands())
    assert [name for name in commands() if f"safegen {name}" not in text] == []


def test_paths_are_those_of_this_checkout() -> None:
    assert Path(safegen.__file__ or "").parent == ROOT / "safegen"


def test_goal_in_the_docs_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs/howto/write-a-taxonomy.md").read_text(encoding="utf-8")
    example = text[text.index("goals:\n  - name: secret-recipe") :].split("```")[0]
    path = tmp_path / "goals.yaml"
    path.write_text(example, encoding="utf-8")
    goal = yaml_source.load(path, GoalsFile).goals[0]
    assert goal.goal_id == "property.theft/secret-recipe"
    assert len(goal.prompts.dual_use) == 2
