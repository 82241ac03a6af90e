"""The code of the plug-in pages works as printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.testing import check_validator
from tests.conftest import ROOT

HOWTO = ROOT / "docs" / "howto"


def code_with(page: str, words: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (HOWTO / page).read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if words in block)


def run_block(text: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(text, names)
    return names


@pytest.fixture
def page_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (("my_checks", "def no_shouting"), ("my_views", "def last_turn")):
        (tmp_path / f"{name}.py").write_text(code_with("write-a-plugin.md", words), "utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("page_modules")
def test_page_validator_passes_its_page_tests() -> None:
    tests = run_block(code_with("test-a-plugin.md", "check_validator(no_shouting)"))
    for name in ("test_no_shouting_keeps_its_contract", "test_many_marks_fail"):
        test = tests[name]
        assert callable(test)
        test()
    assert tests["check_validator"] is check_validator


@pytest.mark.usefixtures("page_modules")
def test_page_view_writes_rows(tmp_path: Path) -> None:
    plan = {"harms": ["property.theft"], "sets_per_harm": 1}
    recipe = Recipe.model_validate({"name": "page", "plan": plan, "views": ["my_views:last_turn"]})
    run = safegen.generate(recipe, output=tmp_path / "out", plugins=["my_views"])
    rows = run.view("last_turn")
    assert rows.columns == ["question", "answer"]
    assert len(rows) > 0
