"""`schema`: JSON Schemas of the files that people write, for editors that complete and check YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safegen.core import resources

if TYPE_CHECKING:
    from pydantic import BaseModel

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Any: a JSON Schema is a tree of whatever JSON holds.
Schema = dict[str, Any]


def _recipe() -> type[BaseModel]:
    from safegen.config.recipe import Recipe

    return Recipe


def _taxonomy() -> type[BaseModel]:
    from safegen.config.taxonomy import TaxonomyFile

    return TaxonomyFile


def _sets() -> type[BaseModel]:
    from safegen.config.goals import GoalsFile

    return GoalsFile


def _dialogues() -> type[BaseModel]:
    from safegen.config.goals import DialoguesFile

    return DialoguesFile


def _scripts() -> type[BaseModel]:
    from safegen.config.goals import ScriptsFile

    return ScriptsFile


def _policy() -> type[BaseModel]:
    from safegen.policy.schema import Spec

    return Spec


def _locale() -> type[BaseModel]:
    from safegen.config.language_pack import Locale

    return Locale


def _overlay() -> type[BaseModel]:
    from safegen.config.language_pack import Overlay

    return Overlay


def _axes() -> type[BaseModel]:
    from safegen.coverage.axes import Axes

    return Axes


MODELS: Mapping[str, Callable[[], type[BaseModel]]] = {
    "recipe": _recipe,
    "taxonomy": _taxonomy,
    "sets": _sets,
    "dialogues": _dialogues,
    "scripts": _scripts,
    "policy": _policy,
    "locale": _locale,
    "overlay": _overlay,
    "axes": _axes,
}
"""What each kind of file is read into."""


ABOUT = {
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


def file_name(kind: str) -> str:
    """The name of a kind's schema file."""
    return f"{kind}.schema.json"


def schema_of(kind: str) -> Schema:
    """The JSON Schema of a kind of file, as an editor reads its YAML.

    Raises:
        AssetNotFound: no such kind.
    """
    resources.known_or_fail(kind, list(MODELS), what="schema for")
    made = MODELS[kind]().model_json_schema(mode="validation")
    definitions: Schema = made.get("$defs", {})
    if "PluginRef" in definitions:
        definitions["PluginRef"] = _with_short_forms(definitions["PluginRef"])
    return {"$schema": DRAFT} | made | {"title": f"safegen {kind}"}


def text_of(kind: str) -> str:
    """The same as text."""
    return json.dumps(schema_of(kind), ensure_ascii=False, indent=2) + "\n"


def _with_short_forms(long: Schema) -> Schema:
    """`length_bounds`, `{length_bounds: {min_chars: 80}}` and the long form are one."""
    told = long["description"]
    name = cast(Schema, long["properties"])["use"]
    short = {
        "type": "object",
        "description": "A name with its parameters.",
        "minProperties": 1,
        "maxProperties": 1,
        "not": {"required": ["use"]},
        "additionalProperties": {"type": ["object", "null"]},
    }
    return {"title": "PluginRef", "description": told, "anyOf": [name, short, long]}


def schema(kind: str | None, *, output: Path | None) -> None:
    """Print one schema, or list the kinds; with a folder, write that one or all of them."""
    if kind is not None:
        resources.known_or_fail(kind, list(MODELS), what="schema for")
    if output is None:
        if kind is None:
            _kinds()
        else:
            sys.stdout.write(text_of(kind))
        return
    from safegen.cli.render.console import clean
    from safegen.cli.render.tables import write

    for name in [kind] if kind else MODELS:
        path = output / file_name(name)
        write(path, text_of(name), force=True)
        sys.stderr.write(f"{clean(path)}\n")


def _kinds() -> None:
    from safegen.cli.render.console import console, put
    from safegen.cli.render.tables import table

    out = console(sys.stdout)
    table(out, ("kind", "what such a file holds"), ABOUT.items())
    put(out, "", "`safegen schema KIND` prints one, `safegen schema -o DIR` writes all")
