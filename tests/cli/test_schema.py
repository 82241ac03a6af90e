from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from safegen.pipeline.file_schemas import DESCRIPTIONS, KINDS, build_schema, load_models
from tests.cli.harness import call
from tests.conftest import ROOT

SHIPPED = {
    "recipe": "safegen/recipes/*.yaml",
    "taxonomy": "taxonomies/*/taxonomy.yaml",
    "sets": "taxonomies/*/sets/*.yaml",
    "dialogues": "taxonomies/*/dialogues/*.yaml",
    "scripts": "prompts/scripts/*.yaml",
    "policy": "prompts/policies/*.yaml",
    "locale": "prompts/locales/*.yaml",
    "contacts": "prompts/locales/contacts/*.yaml",
    "axes": "taxonomies/axes.yaml",
}


def shipped() -> Iterator[Any]:
    for kind, pattern in SHIPPED.items():
        for path in sorted(ROOT.glob(pattern)):
            yield pytest.param(kind, path, id=f"{kind} {path.stem}")


def validate(kind: str, text: str) -> None:
    # Editors read YAML 1.2, in which a date is text.
    data = json.loads(json.dumps(yaml.safe_load(text), default=str))
    Draft202012Validator(build_schema(kind)).validate(data)


def test_each_shipped_kind_has_a_schema() -> None:
    assert {*SHIPPED, "overlay"} == set(KINDS)  # overlays are not shipped
    assert {p.values[0] for p in shipped()} == set(SHIPPED)


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_valid_and_described(kind: str) -> None:
    made = build_schema(kind)
    Draft202012Validator.check_schema(made)
    assert (made["title"], made["type"]) == (f"safegen {kind}", "object")
    assert made["additionalProperties"] is False
    assert made["description"]


@pytest.mark.parametrize(("kind", "path"), list(shipped()))
def test_shipped_files_fit_their_schema(kind: str, path: Path) -> None:
    validate(kind, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "validators",
    [
        "[style]",
        "[{length_bounds: {min_chars: 80}}]",
        "[{length_bounds: null}]",
        "[{use: length_bounds, params: {min_chars: 80}}]",
    ],
)
def test_plugin_forms_fit_the_schema(validators: str) -> None:
    validate("recipe", f"name: k\nvalidators: {validators}\n")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("recipe", "{}"),
        ("recipe", "{name: k, planet: core}"),
        ("recipe", "{name: k, plan: {intents: [evil]}}"),
        ("recipe", "{name: k, plan: {candidates: 0}}"),
        ("recipe", "{name: k, validators: [{use: style, colour: red}]}"),
        ("recipe", "{name: k, validators: [{style: {}, detail_ceiling: {}}]}"),
        ("sets", "{goals: []}"),
        ("policy", "{policy: p, version: 1.0.0, title: t, facilitation: f, clarify: maybe}"),
    ],
)
def test_invalid_files_do_not_fit_the_schema(kind: str, text: str) -> None:
    with pytest.raises(ValidationError):
        validate(kind, text)


def test_recipe_keys_have_descriptions_and_enums() -> None:
    made = build_schema("recipe")
    plan = made["$defs"]["Plan"]["properties"]
    for name, schema in (made["properties"] | plan).items():
        # Nested models describe such keys themselves.
        below = made["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else {}
        assert (below | schema)["description"], name
    assert plan["intents"]["items"]["enum"] == ["benign", "dual_use", "malicious"]


def test_schema_prints_lists_and_suggests_kinds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert json.loads(call(capsys, "schema", "recipe").out) == build_schema("recipe")
    listed = call(capsys, "schema").out.splitlines()
    assert [line.split()[0] for line in listed[1 : len(KINDS) + 1]] == list(KINDS)
    assert list(DESCRIPTIONS) == list(load_models())
    assert "`safegen schema KIND` prints one" in listed[-1]
    schema = call(capsys, "schema", "recip")
    assert (schema.code, schema.out) == (2, "")
    assert "did you mean `recipe`?" in schema.err


def test_schema_writes_files(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "schema", "-o", "made").code == 0
    names = {p.name for p in (workdir / "made").iterdir()}
    assert names == {f"{kind}.schema.json" for kind in KINDS}
    assert json.loads((workdir / "made/sets.schema.json").read_text()) == build_schema("sets")
