"""Arguments of the library with a wrong type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import load_recipe
from safegen.core.errors import ConfigError, UserError
from safegen.pipeline.api import generate, rebuild
from safegen.store.run_folder import RunFolder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "drafts"}, "`until` is `'drafts'`; use one of `expand`, `draft`, `validate`"),
        ({"until": ["draft"]}, "`until` is of type `list`; use one of"),
        ({"plugins": "mine"}, "`plugins` is `'mine'`; use a list of texts"),
        ({"plugins": [5]}, "`plugins: item` is `5`; use a text"),
        ({"teachers": print}, "`teachers` is of type `builtin_function_or_method`; use a mapping"),
        ({"teachers": {5: print}}, "`teachers: key` is `5`; use a text"),
        ({"watch": 1}, "`watch` is `1`; use a function or None"),
        ({"output": 7}, "`output` is `7`; use a path or a text or None"),
        ({"output": ""}, "`output` is `''`; use a text that is not blank"),
        ({"replan": "no"}, "`replan` is `'no'`; use True or False"),
        ({"prompts": 3}, "`prompts` is `3`; use a path or a list of paths"),
        ({"prompts": ["a.csv", 3]}, "`prompts: item` is `3`; use a path"),
        ({"columns": "prompt"}, "`columns` is `'prompt'`; use a mapping: {'prompt': 'text'}"),
        ({"prompts": "a.csv", "columns": {"prompt": 4}}, "`columns: column` is `4`; use a text"),
        ({"prompts": "a.csv", "licence": 4}, "`licence` is `4`; use a text"),
        ({"drop_answer": 1}, "`drop_answer` is `1`; use True or False"),
        ({"recipe": 8}, "`recipe` is `8`; use a `Recipe`, a path or the name of a built-in"),
    ],
    ids=str,
)
def test_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        generate(**({"recipe": "starter"} | options))  # pyright: ignore[reportArgumentType] (wrong on purpose)
    assert message in str(caught.value)


# Any: the arguments are wrong on purpose.
CALLS: dict[str, tuple[Callable[[Any], object], str]] = {
    "load_recipe": (lambda f: f(safegen.load_recipe)(5), "`name` is `5`; use a path or a text"),
    "overrides": (
        lambda f: f(safegen.load_recipe)("starter", overrides=[1]),
        "`overrides` is of type `list`; use a mapping",
    ),
    "open_run": (lambda f: f(safegen.open_run)(None), "`output` is `None`; use a path or a text"),
    "rebuild": (
        lambda f: f(rebuild)("out", plugins="x"),
        "`plugins` is `'x'`; use a list of texts",
    ),
    "rebuild recipe": (lambda f: f(rebuild)("out", recipe=5), "`recipe` is `5`; use a `Recipe`"),
    "view": (lambda f: f(a_run()).view(5), "`name` is `5`; use a text"),
    "split": (lambda f: f(a_run()).view("sft", split=1), "`split` is `1`; use a text"),
    "no view": (lambda f: f(a_run()).view("soup"), "no view in `out` called `soup`"),
}


def a_run() -> safegen.Run:
    return safegen.Run(RunFolder(Path("out")), load_recipe("starter"))


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_wrong_argument_of_function_is_named(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        call(lambda function: function)
    assert message in str(caught.value)


def test_recipe_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: r\npolicies: [security]\nplan: {harms: [cyber.intrusion]}\n")
    assert generate(path, output=tmp_path / "out", until="expand").recipe.name == "r"


def test_override_below_a_value_is_named() -> None:
    with pytest.raises(ConfigError, match="`sets_per_harm` has no keys of its own"):
        load_recipe("starter", overrides={"plan.sets_per_harm.x": 1})
