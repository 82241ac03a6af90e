"""YAML files printed in README and docs load unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest
import yaml

import safegen
from safegen.config.goals import GoalsFile
from safegen.config.language_pack import Overlay
from safegen.config.taxonomy import TaxonomyFile
from safegen.core import yaml_source
from safegen.policy.schema import Spec
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRAINER_KEYS = ("stage:", "datasets:")
"""First keys of files that a trainer reads, not safegen."""
BLOCKS = [
    (f"{page.relative_to(ROOT)}:{number}", text)
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    if not text.startswith(TRAINER_KEYS)
]
MODELS = {"policy": Spec, "domains": TaxonomyFile, "goals": GoalsFile, "inherits": Overlay}
"""Model by a key that only its files have; other blocks are recipes or parts of one."""


def keys(text: str) -> list[str]:
    return list(cast("dict[str, object]", yaml.safe_load(text)))


@pytest.mark.parametrize("text", [t for _, t in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_yaml_block_loads_as_printed(text: str, tmp_path: Path) -> None:
    names = keys(text)
    model = next((model for key, model in MODELS.items() if key in names), None)
    if model is not None:
        yaml_source.parse(text, model, shown="block")
        return
    path = tmp_path / "recipe.yaml"
    path.write_text(text if "name" in names else f"name: part\n{text}", encoding="utf-8")
    assert safegen.load_recipe(path).name


def test_readme_contains_a_full_recipe() -> None:
    assert [keys(text)[0] for name, text in BLOCKS if name.startswith("README")] == ["name"]


def test_goal_sentences_are_whole() -> None:
    """An unquoted comma in a flow list would split a sentence."""
    (goal,) = next(
        yaml_source.parse(text, GoalsFile, shown="block").goals
        for _, text in BLOCKS
        if text.startswith("goals:")
    )
    know = goal.knowledge
    sentences = [*know.answer, *know.concepts, *know.redirections, *know.better_ways]
    assert all(text[0].isupper() and text.endswith(".") for text in sentences)
