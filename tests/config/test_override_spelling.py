"""Overrides that write one key in both spellings."""

from __future__ import annotations

import pytest

from safegen.config.recipe import Recipe, load_recipe, override_recipe
from safegen.core.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        pytest.param({"license": "MIT", "licence": "MIT"}, ("license", "licence"), id="top"),
        pytest.param(
            {"prompts.license": "MIT", "prompts.licence": "MIT"},
            ("prompts.license", "prompts.licence"),
            id="dotted",
        ),
        pytest.param(
            {"prompts": {"license": "MIT"}, "prompts.licence": "MIT"},
            ("prompts.license", "prompts.licence"),
            id="nested",
        ),
    ],
)
def test_overrides_in_both_spellings_are_refused(
    overrides: dict[str, object], names: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("starter", overrides=overrides)
    first, second = names
    assert str(caught.value) == (f"overrides: `{first}` and `{second}` are the same name; keep one")


def test_override_of_a_combination_names_its_key() -> None:
    recipe = Recipe.model_validate({"name": "panel", "judges": {"panel": ["offline"]}})
    with pytest.raises(
        ConfigError, match=r"^override `judges\.quorum`: `judges\.quorum` is 9, and"
    ):
        override_recipe(recipe, {"judges.quorum": 9})
