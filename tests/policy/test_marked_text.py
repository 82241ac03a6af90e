"""Spec text reaches the teacher but never the student: every text is marked and searched for."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import polars as pl
import pytest

import safegen
from safegen.config import taxonomy
from safegen.config.recipe import Recipe
from safegen.core import plugins, yaml_source
from safegen.policy import compile as compiled, loader
from safegen.policy.decide import compute_expectation_at
from safegen.policy.schema import ALL_SITUATIONS, FIXED_ELEMENTS

MARK = re.compile(r"qz\d+qz")
PROSE = {"title", "facilitation", "says", "situation", "answer"}


def marked(value: object, numbers: count[int], key: str = "") -> object:
    """Return the data with a unique token in every text that a teacher or judge reads."""
    if isinstance(value, dict):
        inside = "prose" if key in ("elements",) else ""
        return {
            # A spec with another text of these elements does not load.
            k: v if inside and k in FIXED_ELEMENTS else marked(v, numbers, inside or k)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [marked(v, numbers, "prose" if key == "principles" else "") for v in value]
    if isinstance(value, str) and key in (*PROSE, "prose"):
        return f"{value.rstrip('.')} qz{next(numbers)}qz"
    return value


def texts(folder: Path) -> dict[str, str]:
    """Return every file and cell below a folder as text, except copies of specs."""
    by_path: dict[str, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".parquet":
            by_path[str(path)] = "\n".join(str(row) for row in pl.read_parquet(path).rows())
        elif "policies" not in path.parts:
            by_path[str(path)] = path.read_bytes().decode("utf-8", "replace")
    return by_path


@pytest.fixture
def tokens(workdir: Path) -> set[str]:
    """Marked specs in the working folder, which override the shipped ones."""
    numbers = count(1000)
    folder = workdir / "prompts" / "policies"
    folder.mkdir(parents=True)
    for name in ("base", "security"):
        tree = yaml_source.compose(loader.read_policy(name).path.read_text(), shown=name)
        assert isinstance(tree.data, dict)
        data = marked(tree.data, numbers)
        assert isinstance(data, dict)
        (folder / f"{name}.yaml").write_text(yaml_source.dump(data))
    return {f"qz{n}qz" for n in range(1000, next(numbers))}


def test_spec_text_reaches_no_output(workdir: Path, tokens: set[str]) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "marked",
            "policies": ["security"],
            "plan": {"harms": ["cyber.*"], "candidates": 2, "dialogues": "all"},
            "views": plugins.list_names("views"),
            "output": "out",
        }
    )
    safegen.generate(recipe)
    outputs = texts(workdir / "out")
    for view in plugins.list_names("views"):
        assert any(name.endswith(".parquet") and f"/data/{view}/" in name for name in outputs), view
    assert "How" in "".join(outputs.values())
    names = [name for name, text in outputs.items() if MARK.search(text)]
    # The run folder contains its specs and is never versioned.
    assert [name.endswith("/run/recipe.json") for name in names] == [True]
    assert len(tokens) > 60


def test_spec_text_reaches_its_compiled_forms(tokens: set[str]) -> None:
    policy, tree = loader.load_policy("security"), taxonomy.load_taxonomy("core")
    drafting, judging = compiled.load_instructions_prompt(), compiled.load_rubric_prompt()
    seen: set[str] = set()
    for harm in (h.id for h in tree.harms.values() if policy.covers(h.id)):
        for at in ALL_SITUATIONS:
            expected = compute_expectation_at(policy, at)
            instructions = compiled.compile_instructions(policy, expected, harm=harm)
            questions = compiled.compile_rubric(policy, expected, harm=harm)
            seen |= set(
                MARK.findall(
                    drafting.render("system", instructions=instructions, operator="", style="")
                )
            )
            rubric = set(MARK.findall(judging.render("user", instructions=questions)))
            assert rubric <= seen
            seen |= rubric
    classifier = compiled.compile_classifier(policy, harms=tree.harms.values())
    text = compiled.load_classifier_prompt().render("system", instructions=classifier)
    assert set(MARK.findall(text)) <= seen
    base = loader.load_policy("base").spec
    unseen = tokens - seen
    assert unseen == set(MARK.findall(f"{base.title} {base.facilitation}"))
