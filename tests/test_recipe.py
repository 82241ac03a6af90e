from __future__ import annotations

from pathlib import Path

import pytest

from safegen import plugins, recipe, taxonomy
from safegen.errors import ConfigError, UserError


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_the_starter_recipe_loads_and_names_every_leaf_that_is_not_a_red_line() -> None:
    starter = recipe.load("starter")
    tree = taxonomy.load(starter.taxonomy)
    goals = list(tree.goals())
    open_leaves = {h.id for h in tree.harms.values() if not h.red_line}
    assert {g.harm for g in goals} == open_leaves
    assert len(goals) >= 80
    assert len(tree.file.domains) >= 12
    assert len(open_leaves) >= 25


def test_two_spellings_of_a_plugin_are_one(tmp_path: Path) -> None:
    long = "name: a\nvalidators:\n  - {use: length_bounds, params: {min_chars: 9}}\n"
    short = "name: a\nvalidators:\n  - length_bounds: {min_chars: 9}\n"
    assert recipe.load(write(tmp_path, long)) == recipe.load(write(tmp_path, short))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: A b\n", "lower-case"),
        ("name: a\noutput: /etc\n", "below the working folder"),
        ("name: a\noutput: ../x\n", "below the working folder"),
        ("name: a\nplan: {candidates: 0}\n", "greater than or equal to 1"),
        ("name: a\nplan: {candidates: many}\n", "valid integer"),
        ("name: a\nteachers: {drafer: offline}\n", "did you mean `drafter`"),
        ("name: a\nvalidators: [style]\nrequire: [stlye]\n", "did you mean `style`"),
        ("name: a\nversion: one\n", "three numbers"),
        ("name: a\nsplit: {test: 1.5}\n", "less than 1"),
        ("nmae: a\n", "did you mean `name`"),
    ],
    ids=["name", "absolute", "climb", "zero", "word", "role", "require", "version", "split", "key"],
)
def test_mistakes_in_a_recipe_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        recipe.load(write(tmp_path, text))


def test_code_of_a_recipe_is_imported_only_from_trusted_modules() -> None:
    with pytest.raises(ConfigError, match="--plugin os"):
        plugins.factory("teachers", "os:system")


def test_an_unknown_recipe_is_a_user_error() -> None:
    with pytest.raises(UserError, match="did you mean `starter`"):
        recipe.load("startr")
