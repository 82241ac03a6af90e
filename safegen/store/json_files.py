"""JSON files of a run: a user or a broken disk may have changed them, so models check what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safegen.core.errors import StoreDamaged
from safegen.core.regular_files import read_text
from safegen.core.strict_json import parse_json
from safegen.core.yaml_errors import describe_error, root_causes
from safegen.store import parquet

# Many JSON readers hold numbers as doubles, which are exact below this.
Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of things."""


class StoredModel(BaseModel):
    """A model of a stored JSON object: no value is converted, and keys of later versions are kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", defer_build=True)

    def to_json(self) -> dict[str, Any]:  # Any: as JSON is typed
        """Convert to the object that the file holds."""
        return self.model_dump(mode="json", exclude_unset=True)


Model = TypeVar("Model", bound=BaseModel)


def read_model(path: Path, model: type[Model], *, remedy: str) -> Model:
    """Read a JSON file of the run into a model.

    Args:
        path: the file.
        model: its keys and types.
        remedy: the fix to name in the message if the file cannot be read.

    Raises:
        StoreDamaged: the file cannot be read, or a key has an invalid value.
    """
    return check_json(path, read_json(path, remedy=remedy), model, remedy=remedy)


def check_json(path: Path, payload: object, model: type[Model], *, remedy: str) -> Model:
    """Check the JSON that a file holds against a model.

    Raises:
        StoreDamaged: a key has an invalid value; the message ends in the remedy.
    """
    try:
        # As JSON: a strict model takes a list for a tuple there only.
        return model.model_validate_json(json.dumps(payload), strict=True)
    except ValidationError as e:
        raise StoreDamaged(f"`{path}`: {describe_first(e, model)}; {remedy}") from e


def describe_first(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first mistake of a value by its key."""
    return describe_error(root_causes(error.errors(include_url=False))[0], model)


def read_json(path: Path, *, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object from a file of the run.

    Args:
        path: the file.
        remedy: the fix to name in the message if the file cannot be read.

    Raises:
        StoreDamaged: the file is unreadable or not an object.
    """
    hint = f"; {remedy}" if remedy else ""
    if parquet.is_lfs_pointer(path):
        raise parquet.make_pointer_error(path)
    try:
        value = parse_json(read_text(path))
    except (OSError, ValueError) as e:
        reason = (e.strerror or str(e)).lower() if isinstance(e, OSError) else str(e)
        raise StoreDamaged(f"`{path}` cannot be read ({reason}){hint}") from e
    if not isinstance(value, dict):
        raise StoreDamaged(f"`{path}` is not a JSON object{hint}")
    return cast(dict[str, Any], value)


def read_json_or_empty(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if it cannot be read."""
    try:
        return read_json(path)
    except StoreDamaged:
        return {}


def write_json_if_changed(path: Path, value: dict[str, Any], *, compact: bool = False) -> None:
    """Write JSON, if it differs from the content of the file; `compact` with a line for each key."""
    text = _format_lines(value) if compact else _format_json(value)
    try:
        is_equal = read_text(path) == text
    except (OSError, ValueError):  # missing, or no text
        is_equal = False
    # An unchanged file keeps its time, so backups and file watchers see no change.
    if not is_equal:
        parquet.write_text(path, text)


def write_json(path: Path, value: object) -> None:
    """Write JSON: sorted, indented, with a final newline."""
    parquet.write_text(path, _format_json(value))


def _format_lines(value: Mapping[str, object]) -> str:
    lines = [
        f"  {json.dumps(key)}: {json.dumps(part, ensure_ascii=False, sort_keys=True)}"
        for key, part in sorted(value.items())
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _format_json(value: object) -> str:
    # Sorted, so that equal values have equal bytes.
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
