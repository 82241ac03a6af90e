"""Arguments of the library with a wrong type."""

from __future__ import annotations

from typing import Any

import pytest

from safegen.config.recipe import load_recipe
from safegen.core.errors import ConfigError, UserError
from safegen.pipeline.api import generate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "drafts"}, "use one of expand, draft, validate"),
        ({"plugins": "mine"}, "`plugins` is a text"),
        ({"teachers": print}, "`teachers` is no mapping"),
    ],
    ids=["until", "plugins", "teachers"],
)
def test_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate("starter", **options)


def test_override_below_a_value_is_named() -> None:
    with pytest.raises(ConfigError, match="`sets_per_harm` has no keys of its own"):
        load_recipe("starter", overrides={"plan.sets_per_harm.x": 1})
