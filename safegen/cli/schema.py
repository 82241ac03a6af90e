"""`show_schemas`: JSON Schemas of the files that people write, for editors that complete and check YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safegen.core import resources

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMA_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Any: a JSON Schema is a tree of whatever JSON holds.
Schema = dict[str, Any]


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
"""What each kind of file is read into."""


DESCRIPTIONS = {
    "recipe": "a run: which prompts, which teachers and validators, where to",
    "taxonomy": "a tree of harms: leaves with tier and severity, and its files of sets",
    "sets": "written goals of a taxonomy, with their prompts and knowledge",
    "dialogues": "written conversations about the goals of a taxonomy",
    "scripts": "how the conversations move that an author holds",
    "policy": "what may be answered about some leaves, and the spec's own cases",
    "locale": "a language: operator turns, phrases and the validators' patterns",
    "overlay": "a language pack that inherits another one, such as for operator turns of your own",
    "axes": "along what sets vary, and which combinations make no sense",
}
"""A line on each."""


def schema_file_name(kind: str) -> str:
    """The name of a kind's schema file."""
    return f"{kind}.schema.json"


def build_schema(kind: str) -> Schema:
    """The JSON Schema of a kind of file, as an editor reads its YAML.

    Raises:
        AssetNotFound: no such kind.
    """
    resources.require_known(kind, list(MODELS), kind="schema for")
    made = MODELS[kind]().model_json_schema(mode="validation")
    definitions: Schema = made.get("$defs", {})
    if "PluginRef" in definitions:
        definitions["PluginRef"] = _add_short_forms(definitions["PluginRef"])
    return {"$schema": SCHEMA_DRAFT} | made | {"title": f"safegen {kind}"}


def schema_text(kind: str) -> str:
    """The same as text."""
    return json.dumps(build_schema(kind), ensure_ascii=False, indent=2) + "\n"


def _add_short_forms(long: Schema) -> Schema:
    """`length_bounds`, `{length_bounds: {min_chars: 80}}` and the long form are one."""
    description = long["description"]
    name = cast(Schema, long["properties"])["use"]
    short = {
        "type": "object",
        "description": "A name with its parameters.",
        "minProperties": 1,
        "maxProperties": 1,
        "not": {"required": ["use"]},
        "additionalProperties": {"type": ["object", "null"]},
    }
    return {"title": "PluginRef", "description": description, "anyOf": [name, short, long]}


def show_schemas(kind: str | None, *, output: Path | None) -> None:
    """Print one schema, or list the kinds; with a folder, write that one or all of them."""
    if kind is not None:
        resources.require_known(kind, list(MODELS), kind="schema for")
    if output is None:
        if kind is None:
            _print_kinds()
        else:
            sys.stdout.write(schema_text(kind))
        return
    from safegen.cli.render.console import sanitise
    from safegen.cli.render.tables import write_file

    for name in [kind] if kind else MODELS:
        path = output / schema_file_name(name)
        write_file(path, schema_text(name), force=True)
        sys.stderr.write(f"{sanitise(path)}\n")


def _print_kinds() -> None:
    from safegen.cli.render.console import make_console, print_out
    from safegen.cli.render.tables import print_table

    out = make_console(sys.stdout)
    print_table(out, ("kind", "what such a file holds"), DESCRIPTIONS.items())
    print_out(out, "", "`safegen schema KIND` prints one, `safegen schema -o DIR` writes all")
