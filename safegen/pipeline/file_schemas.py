"""JSON Schemas of the files that users write, for editors that complete and check YAML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from safegen.core import resources
from safegen.core.spelling import match_spelling, other_spelling

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Any: a JSON Schema is a tree of arbitrary JSON.
JsonSchema = dict[str, Any]


def _recipe_model() -> type[BaseModel]:
    from safegen.config.recipe import Recipe

    return Recipe


def _taxonomy_model() -> type[BaseModel]:
    from safegen.config.taxonomy import TaxonomyFile

    return TaxonomyFile


def _sets_model() -> type[BaseModel]:
    from safegen.config.goals import GoalsFile

    return GoalsFile


def _dialogues_model() -> type[BaseModel]:
    from safegen.config.goals import DialoguesFile

    return DialoguesFile


def _scripts_model() -> type[BaseModel]:
    from safegen.config.goals import ScriptsFile

    return ScriptsFile


def _policy_model() -> type[BaseModel]:
    from safegen.policy.schema import Spec

    return Spec


def _locale_model() -> type[BaseModel]:
    from safegen.config.language_pack import Locale

    return Locale


def _overlay_model() -> type[BaseModel]:
    from safegen.config.language_pack import Overlay

    return Overlay


def _axes_model() -> type[BaseModel]:
    from safegen.coverage.axes import Axes

    return Axes


# Functions, because the models import pydantic and `safegen --help` must not.
MODELS: Mapping[str, Callable[[], type[BaseModel]]] = {
    "recipe": _recipe_model,
    "taxonomy": _taxonomy_model,
    "sets": _sets_model,
    "dialogues": _dialogues_model,
    "scripts": _scripts_model,
    "policy": _policy_model,
    "locale": _locale_model,
    "overlay": _overlay_model,
    "axes": _axes_model,
}
"""The model that validates each kind of file."""

DESCRIPTIONS: Mapping[str, str] = {
    "recipe": "a run: prompts, teachers, validators and output folder",
    "taxonomy": "a tree of harms: leaves with tier and severity, and its sets files",
    "sets": "written goals of a taxonomy, with their prompts and knowledge",
    "dialogues": "written conversations about the goals of a taxonomy",
    "scripts": "plans of the conversations that an author writes",
    "policy": "what a response about some leaves may contain, and the spec's own cases",
    "locale": "a language: operator turns, phrases and the validators' patterns",
    "overlay": "a language pack that inherits another one, for example with your own operator turns",
    "axes": "the axes over which sets vary, and the combinations that are excluded",
}
"""One line on each kind of file."""


def find_kind(kind: str) -> str:
    """Return the kind of file that a name means, in American or British spelling.

    Raises:
        AssetNotFound: there is no such kind.
    """
    return resources.require_known(match_spelling(kind, MODELS), list(MODELS), kind="schema for")


def schema_file_name(kind: str) -> str:
    """Name the schema file of a kind."""
    return f"{kind}.schema.json"


def build_schema(kind: str) -> JsonSchema:
    """Build the JSON Schema of a kind of file, as an editor reads its YAML.

    Raises:
        AssetNotFound: there is no such kind.

    Example:
        >>> build_schema("recipe")["title"]
        'safegen recipe'
    """
    kind = find_kind(kind)
    schema = MODELS[kind]().model_json_schema(mode="validation")
    definitions: JsonSchema = schema.get("$defs", {})
    if "PluginRef" in definitions:
        definitions["PluginRef"] = _add_short_forms(definitions["PluginRef"])
    schema = cast(JsonSchema, _add_spellings(schema))
    return {"$schema": SCHEMA_DRAFT} | schema | {"title": f"safegen {kind}"}


def schema_text(kind: str) -> str:
    """Build the schema of a kind as indented JSON."""
    return json.dumps(build_schema(kind), ensure_ascii=False, indent=2) + "\n"


def _add_spellings(schema: object) -> object:
    """Accept both spellings of keys and enumerated values, as the models do."""
    if isinstance(schema, list):
        return [_add_spellings(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    out = {key: _add_spellings(item) for key, item in cast("JsonSchema", schema).items()}
    if isinstance(out.get("enum"), list):
        values = cast("list[str]", out["enum"])
        out["enum"] = [*values, *filter(None, map(other_spelling, values))]
    return _add_keys(out) if isinstance(out.get("properties"), dict) else out


def _add_keys(schema: JsonSchema) -> JsonSchema:
    properties = cast("dict[str, JsonSchema]", schema["properties"])
    others = {key: other for key in properties if (other := other_spelling(key))}
    if not others:
        return schema
    required = cast("list[str]", schema.get("required", []))
    rules: list[JsonSchema] = []
    for key, other in others.items():
        either = [{"required": [key]}, {"required": [other]}]
        rules.append({"oneOf": either} if key in required else {"not": {"allOf": either}})
    return schema | {
        "properties": properties | {other: properties[key] for key, other in others.items()},
        "required": [key for key in required if key not in others],
        "allOf": rules,
    }


def _add_short_forms(long: JsonSchema) -> JsonSchema:
    """Accept `length_bounds` and `{length_bounds: {min_chars: 80}}` in addition to the long form."""
    description = long["description"]
    name = cast(JsonSchema, long["properties"])["use"]
    short = {
        "type": "object",
        "description": "A name with its parameters.",
        "minProperties": 1,
        "maxProperties": 1,
        "not": {"required": ["use"]},
        "additionalProperties": {"type": ["object", "null"]},
    }
    return {"title": "PluginRef", "description": description, "anyOf": [name, short, long]}
