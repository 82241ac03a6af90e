"""An edited recipe file is named by the commands that use the recipe of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.harness import call

RECIPE = """
name: pantry
policies: [security]
plan: {harms: [cyber.intrusion], sets_per_harm: 1, candidates: 2}
views: [sft]
"""
EDITS = {
    "views": ("views: [preference]\n", "safegen build out --recipe recipe.yaml", "views"),
    "seed": (
        "views: [sft]\nseed: 7\n",
        "safegen generate recipe.yaml --output out --replan",
        "seed",
    ),
}


@pytest.mark.parametrize(("line", "fix", "key"), EDITS.values(), ids=EDITS)
def test_edited_recipe_is_named_with_its_command(
    line: str, fix: str, key: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path("recipe.yaml")
    recipe.write_text(RECIPE, encoding="utf-8")
    assert call(capsys, "generate", recipe, "-o", "out").code == 0
    for command in ("build", "retry"):
        assert "differs" not in call(capsys, command, "out").err
    recipe.write_text(RECIPE.replace("views: [sft]\n", line), encoding="utf-8")
    error = call(capsys, "build", "out").err
    assert f"`recipe.yaml` differs from the recipe of the run (`{key}`)" in error
    assert f"`{fix}`" in error
    assert "`retry` uses that of the run" in call(capsys, "retry", "out").err
    recipe.write_text("name: [", encoding="utf-8")
    result = call(capsys, "retry", "out")
    assert result.code == 0
    assert "recipe.yaml:2:1: not valid YAML" in result.err
    assert "`retry` uses the recipe of the run" in result.err
    recipe.unlink()
    assert "recipe.yaml" not in call(capsys, "retry", "out").err
