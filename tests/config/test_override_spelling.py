"""Overrides that write one key in both spellings."""

from __future__ import annotations

import pytest

from safegen.config.recipe import load_recipe
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
