"""What the README shows as files is read as such."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from safegen import yamlfile
from safegen.goals import GoalsFile
from safegen.policy.model import Spec
from safegen.recipe import Recipe

README = Path(__file__).parents[1] / "README.md"
BLOCKS: list[str] = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
MODELS = {"name:": Recipe, "policy:": Spec, "goals:": GoalsFile}


@pytest.mark.parametrize("text", BLOCKS, ids=[block.split("\n")[0] for block in BLOCKS])
def test_a_file_in_the_readme_loads_as_it_is_printed(text: str) -> None:
    first = next(line for line in text.splitlines() if not line.startswith("#"))
    part = first.split()[0] not in MODELS
    model = Recipe if part else MODELS[first.split()[0]]
    yamlfile.parse(f"name: part\n{text}" if part else text, model, shown="README.md")


def test_no_sentence_of_the_goal_in_the_readme_falls_apart_at_a_comma() -> None:
    (goal,) = next(
        yamlfile.parse(text, GoalsFile, shown="README.md").goals
        for text in BLOCKS
        if text.startswith("goals:")
    )
    know = goal.knowledge
    told = [*know.answer, *know.concepts, *know.redirections, *know.better_ways]
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in told)
