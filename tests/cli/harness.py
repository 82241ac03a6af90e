"""A small recipe, a run of it, and the command line in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from safegen.cli import main
from safegen.config.recipe import Recipe
from safegen.core.types import Record
from safegen.coverage.axes import load_axes
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.snapshot import make_snapshot
from safegen.store.run_folder import RunFolder

RECIPE = """
name: kitchen
policies: [security]
plan:
  harms: [cyber.intrusion]
  candidates: 2
"""


class CommandResult(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> CommandResult:
    capsys.readouterr()
    code = main.run_command([str(a) for a in arguments])
    captured = capsys.readouterr()
    return CommandResult(code, captured.out, captured.err)


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def hand_made(output: Path, records: list[Record]) -> RunFolder:
    """A run folder with these records and no plan."""
    run = RunFolder(output)
    run.write_shard(run.records(0), records, [])
    inputs = resolve_recipe(Recipe.model_validate(yaml.safe_load(RECIPE)))
    run.write_snapshot(
        {
            "recipe": inputs.recipe.model_dump(mode="json"),
            "digests": {},
            "fingerprints": {},
            **make_snapshot(inputs, load_axes()),
        }
    )
    return run
