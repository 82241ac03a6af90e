"""JSON Schemas of the files that users write, for editors that complete and check YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from safegen.core import resources
from safegen.core.spelling import match_spelling, other_spelling

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Any: a JSON Schema is a tree of arbitrary JSON.
JsonSchema = dict[str, Any]


DESCRIPTIONS: Mapping[str, str] = {
    "recipe": "a run: prompts, teachers, validators and output folder",
    "taxonomy": "a tree of harms: leaves with tier and severity, and its sets files",
    "sets": "written goals of a taxonomy, with their prompts and knowledge",
    "dialogues": "written conversations about the goals of a taxonomy",
    "scripts": "plans of the conversations that an author writes",
    "policy": "what a response about some leaves may contain, and the spec's own cases",
    "locale": "a language: operator turns, phrases and the validators' patterns",
    "overlay": "a language pack that inherits another one, for example with your own operator turns",
    "contacts": "the telephone numbers and links of a region that answers may quote",
    "axes": "the axes over which sets vary, and the combinations that are excluded",
}
"""One line on each kind of file."""
KINDS = tuple(DESCRIPTIONS)


def load_models() -> dict[str, type[BaseModel]]:
    """Import the model that validates each kind of file."""
    # Here, because the models import pydantic and `safegen --help` lists the kinds without it.
    from safegen.config.contacts import ContactRegistry
    from safegen.config.goals import DialoguesFile, GoalsFile, ScriptsFile
    from safegen.config.language_pack import Locale, Overlay
    from safegen.config.recipe import Recipe
    from safegen.config.taxonomy import TaxonomyFile
    from safegen.coverage.axes import Axes
    from safegen.policy.schema import Spec

    return {
        "recipe": Recipe,
        "taxonomy": TaxonomyFile,
        "sets": GoalsFile,
        "dialogues": DialoguesFile,
        "scripts": ScriptsFile,
        "policy": Spec,
        "locale": Locale,
        "overlay": Overlay,
        "contacts": ContactRegistry,
        "axes": Axes,
    }


def find_kind(kind: str) -> str:
    """Return the kind of file that a name means, in American or British spelling.

    Raises:
        AssetNotFound: there is no such kind.
    """
    return resources.require_known(match_spelling(kind, KINDS), KINDS, kind="schema for")


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
    schema = load_models()[kind].model_json_schema(mode="validation")
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
        # JSON Schema cannot give a key two names, so both are properties, and a rule forbids the
        # second.
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
