"""Both spellings of keys and values in the files of users."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel, ValidationError

from safegen.config.goals import DialoguesFile, Goal
from safegen.config.language_pack import load_locale
from safegen.config.recipe import Recipe, load_recipe
from safegen.config.taxonomy import TaxonomyFile
from safegen.core import yaml_source
from safegen.core.errors import ConfigError
from safegen.core.plugins import make_plugin
from safegen.core.spelling import other_spelling, stored_spelling
from safegen.core.types import TURN_STYLES
from safegen.coverage.axes import Axes, load_axes
from safegen.pipeline.file_schemas import KINDS, build_schema
from safegen.policy.schema import Spec

BRITISH = re.compile(
    r"(?:is|ys)(?:e[drs]?|ing|ation)$|our(?:s|ed)?$|ogues?$|ll(?:ers?|ing|ed)$|ences?$|tres?$|dgement$|grey"
)
ONE_SPELLING = frozenset(
    "evidence persistence patience audience enterprise reviser otherwise noise revise precise advise praise raise rise exercise your four hour hours"
    " called skilled unskilled".split()
)
"""Words that match `BRITISH` and have one spelling."""


def names_of(schema: object) -> Iterator[str]:
    """Yield every key and enumerated value of a JSON schema."""
    if isinstance(schema, list):
        for item in cast("list[object]", schema):
            yield from names_of(item)
    elif isinstance(schema, dict):
        tree = cast("dict[str, Any]", schema)
        properties, values = tree.get("properties"), tree.get("enum")
        yield from cast("Mapping[str, object]", properties) if isinstance(properties, dict) else ()
        yield from cast("Sequence[str]", values) if isinstance(values, list) else ()
        for item in tree.values():
            yield from names_of(item)


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_with_two_spellings_is_known(kind: str) -> None:
    words = {word for name in names_of(build_schema(kind)) for word in re.findall("[a-z]+", name)}
    words |= {word for axis in load_axes().axes for word in [axis.id, *axis.values]}
    british = {word for word in words if BRITISH.search(word)} - ONE_SPELLING
    assert {word for word in british if other_spelling(word) is None} == set()


def test_recipe_keys_and_axis_values_are_unified() -> None:
    text = """
name: a
judges: {labelers: [offline]}
plan:
  dialogs: all
  axes: {task: [optimize, plan], tone: }
  rows: [{task: optimize}]
"""
    recipe = yaml_source.parse(text, Recipe, shown="r.yaml")
    plan = recipe.plan
    assert [ref.use for ref in recipe.judges.labellers] == ["offline"]
    assert (plan.dialogues, plan.axes) == (
        TURN_STYLES,
        {"task": ("optimise", "plan"), "tone": None},
    )
    assert plan.rows == ({"task": "optimise"},)
    assert (
        recipe.digests()
        == yaml_source.parse(
            "\n".join(stored_spelling(line) for line in text.splitlines()), Recipe, shown="r.yaml"
        ).digests()
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "name: a\njudges:\n  labellers: []\n  labelers: []\n",
            "r.yaml:4:3: `judges`: `labellers` and `labelers` are the same name; keep one",
        ),
        ("name: a\njudges:\n  labelers: 3\n", "r.yaml:3:3: `judges.labellers` is `3`: must be"),
        ("name: a\njudges:\n  labelrs: []\n", "r.yaml:3:3: .* did you mean `labellers`"),
        ("name: a\nplan: {axes: {task: [optimize, optimise]}}\n", "`optimize` and `optimise`"),
        ("name: a\nlicense: b\n", "r.yaml:2:1: `license` is not a known key"),
    ],
    ids=["both", "value", "typo", "values", "no-such-key"],
)
def test_recipe_mistakes_name_the_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        yaml_source.parse(text, Recipe, shown="r.yaml")


def test_overrides_accept_both_spellings() -> None:
    recipe = load_recipe("starter", overrides={"judges.labelers": ["offline"]})
    assert [ref.use for ref in recipe.judges.labellers] == ["offline"]


def test_axis_values_are_unified() -> None:
    axis = {"id": "task", "name": "n", "definition": "d", "source": "s", "level": "set"}
    axes = Axes.model_validate({"axes": [axis | {"values": {"optimize": "x", "plan": "y"}}]})
    assert [*axes.axes[0].values] == ["optimise", "plan"]


@pytest.mark.parametrize(
    ("model", "data", "key"),
    [
        (TaxonomyFile, {"license": "MIT"}, "licence"),
        (TaxonomyFile, {"dialogs": ["d.yaml"]}, "dialogues"),
        (Goal, {"task": "optimize"}, "task"),
        (DialoguesFile, {"dialogs": []}, "dialogs"),
        (Spec, {"style": ["judgment"]}, "style"),
    ],
    ids=["licence", "dialogues", "task", "file", "style"],
)
def test_american_spelling_of_a_field_is_valid(
    model: type[BaseModel], data: dict[str, object], key: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    assert key not in {str(error["loc"][0]) for error in caught.value.errors()}


def test_language_pack_patterns_accept_both_spellings(tmp_path: Path) -> None:
    pack = tmp_path / "mine.yaml"
    pack.write_text("inherits: en\nversion: '1'\npatterns: {judgment: [shame on you]}\n")
    assert load_locale(str(pack)).patterns["judgement"] == ("shame on you",)


def make_licensed(*, license: str) -> str:
    """Return the parameter."""
    return license


def test_plugin_parameters_accept_both_spellings() -> None:
    name = f"{__name__}:make_licensed"
    trusted = [__name__]
    assert make_plugin("validators", name, {"licence": "MIT"}, trusted=trusted) == "MIT"
    with pytest.raises(ConfigError, match="`licence` and `license` are the same name"):
        make_plugin("validators", name, {"licence": "a", "license": "b"}, trusted=trusted)


def test_schema_accepts_one_of_two_spellings() -> None:
    schema = build_schema("taxonomy")
    assert schema["properties"]["license"] == schema["properties"]["licence"]
    assert {"oneOf": [{"required": ["licence"]}, {"required": ["license"]}]} in schema["allOf"]
    assert "optimize" in str(build_schema("sets"))
    assert build_schema("dialogs") == build_schema("dialogues")
