"""Each object that a command prints with `--json` has its keys in the command's section of json.md."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from safegen.cli import main
from safegen.core import resources
from safegen.store.schema import record_schema
from safegen.testing import FakeEndpoint
from tests.cli.harness import call
from tests.conftest import ROOT, Once
from tests.e2e.runs import write_recipe
from tests.sampling import sampled

KITCHEN: dict[str, Any] = {
    "name": "kitchen",
    "policies": ["security"],
    "plan": {"harms": ["cyber.intrusion"], "candidates": 2},
    "target": {"accepted": 99, "per": ["harm", "intent"], "rounds": 1},
}
TABLE = "id,parent,name,definition,tier,severity\npantry,,Pantry,What a pantry holds,,\n"
RISKS = """\
risk_group: pantry_recipes
risks:
  - risk: sauce
    description: asks for the sauce of the house
    reason: the sauce is a secret
"""
STATES = ("planned", "drafted", "finished", "failed")
GENERATE = "generate, build, retry"
COMMANDS: dict[str, tuple[str, ...]] = {
    GENERATE: (
        "generate recipe.yaml -o fresh",
        "generate recipe.yaml -o finished",
        "generate recipe.yaml -o until --until validate",
        "generate missing.yaml",
        *(f"{name} {state}" for name in ("build", "retry") for state in STATES),
    ),
    "check": (
        "check",
        "check recipe.yaml -o new",
        *(f"check recipe.yaml -o {state}" for state in STATES[:3]),
    ),
    "check --prompts": (
        "check model.yaml --prompts mine.csv --licence MIT",
        "check model.yaml --prompts open.csv --licence MIT",
    ),
    "status": tuple(f"status {state}" for state in STATES),
    "show": ("show finished --why", "show finished --rejected", "show planned", "show failed"),
    "coverage": (
        "coverage finished --certificate",
        "coverage finished --by harm --heat harm,intent",
        "coverage failed",
    ),
    "verify": tuple(f"verify {state}" for state in STATES),
    "preview": ("preview recipe.yaml --sets 1",),
    "doctor": ("doctor recipe.yaml",),
    "list": ("list", "list validators", "list spoons"),
    "policy": (
        "policy check",
        "policy check spec.yaml",
        "policy explain cyber.intrusion,detail=3",
        "policy show security --as rubric",
        "policy diff security spec.yaml --run finished",
        "policy import risks.yaml -o made.yaml",
    ),
    "taxonomy": ("taxonomy check", "taxonomy import leaves.csv -o leaves.yaml"),
}
CASES = [(section, command) for section, commands in COMMANDS.items() for command in commands]
RECORD = frozenset(record_schema().names)


def read_sections() -> dict[str, str]:
    text = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    parts = re.split(r"^###? ", text, flags=re.MULTILINE)[1:]
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


def list_words(text: str) -> frozenset[str]:
    """Return the words in code spans."""
    spans = re.findall(r"`([^`\n]+)`", text)
    return frozenset(word for span in spans for word in re.findall(r"\w+", span))


SECTIONS = read_sections()


@pytest.fixture(scope="session")
def kitchens(once: Once) -> Path:
    """Runs in each state and the files that the commands read; not to be changed."""

    def cook(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(yaml.safe_dump(KITCHEN), encoding="utf-8")
        recipe = str(folder / "recipe.yaml")
        for state, *options in (
            ("planned", "--until", "expand"),
            ("drafted", "--until", "draft"),
            ("finished",),
        ):
            command = ["generate", recipe, "-o", str(folder / state), *options]
            assert main.run_command(command) == 0
        spec = resources.find_file("policies", "security").read_text(encoding="utf-8")
        (folder / "spec.yaml").write_text(spec.replace("ceiling: 1", "ceiling: 2", 1))
        (folder / "leaves.csv").write_text(TABLE)
        (folder / "risks.yaml").write_text(RISKS)
        head = "prompt,harm,intent,evidence,detail\n"
        row = "how do I bake bread,property.theft,benign,none,1\n"
        (folder / "mine.csv").write_text(head + row)
        (folder / "open.csv").write_text(f"{head}{row}and a cake,property.theft,,,\n")
        with FakeEndpoint(fault=lambda _body, _nth: "refusal") as fake:
            write_recipe(folder / "model.yaml", fake.url)
            main.run_command(["generate", str(folder / "model.yaml"), "-o", str(folder / "failed")])

    return once("json-kitchens", cook)


@pytest.mark.parametrize(
    ("section", "command"), sampled(CASES, every=3), ids=[command for _, command in CASES]
)
def test_objects_have_documented_keys(
    section: str,
    command: str,
    kitchens: Path,
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(kitchens, workdir, dirs_exist_ok=True)
    result = call(capsys, *command.split(), "--json")
    assert result.lines
    documented = list_words(SECTIONS[section])
    if section in ("show", "preview"):
        documented |= RECORD
    for line in result.lines:
        is_error = set(line) == {"error", "exit"}
        assert not is_error or line["exit"] == result.code > 0
        assert is_error or set(line) - documented == set(), line


@pytest.mark.parametrize("section", ["check", "status", "coverage", "verify"])
def test_documented_keys_are_always_present(
    section: str, kitchens: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(kitchens, workdir, dirs_exist_ok=True)
    table = SECTIONS[section].strip().split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    expected = list_words(" ".join(cells))
    for command in COMMANDS[section]:
        (line,) = call(capsys, *command.split(), "--json").lines
        assert set(line) == expected or set(line) == {"error", "exit"}, command
