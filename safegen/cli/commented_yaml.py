"""A pydantic model as commented YAML: each key with its docstring and its default."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Literal, Union, cast, get_args, get_origin

from safegen.config.fields import describe_fields
from safegen.config.recipe import PluginRef

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

WIDTH = 100
PLAIN_SCALAR = re.compile(r"[A-Za-z0-9](?:[\w./@-]|[:](?=\S))*")
"""Scalars that need no quotes in YAML."""
YAML_WORDS = frozenset("null yes no on off true false".split())
"""Scalars that YAML 1.1 parsers do not read as text."""
MISSING_VALUE = "…"


def format_flow(value: object) -> str:
    """Write a value on one line of YAML; plug-ins take their short form."""
    if isinstance(value, PluginRef):
        params = cast(Mapping[str, object], value.params)
        return format_flow({value.use: params}) if params else format_flow(value.use)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, object], value).items()
        return "{" + ", ".join(f"{format_flow(k)}: {format_flow(v)}" for k, v in pairs) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(format_flow(v) for v in cast(Sequence[object], value))}]"
    return _format_scalar(str(value))


def _format_scalar(text: str) -> str:
    import json

    plain = PLAIN_SCALAR.fullmatch(text) and text.lower() not in YAML_WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def comment_lines(
    model: type[BaseModel], values: Mapping[str, object], *, indent: int = 0, width: int = WIDTH
) -> Iterator[str]:
    """Yield the lines of a commented YAML file.

    Args:
        model: its fields are the keys, their docstrings the comments.
        values: values that replace a default, by key; a mapping for a nested model.
        indent: blanks before each line.
        width: longest line in characters, if its words can be split.
    """
    descriptions = describe_fields(model)
    for name, field in model.model_fields.items():
        value = values.get(name, _field_default(field))
        yield from _docstring_lines(descriptions.get(name, ""), field, indent, width)
        nested = next(_nested_models(field.annotation), None)
        parts = None if nested is None else _nested_parts(value)
        if nested is not None and parts is not None:
            yield f"{' ' * indent}{name}:"
            yield from comment_lines(nested, parts, indent=indent + 2, width=width)
            continue
        # An absent part stays in comments, so that its lines are valid without their marks.
        if nested is not None and value is None:
            yield from _unused_lines(nested, indent, name, width)
        else:
            yield from _entry_lines(name, value, indent, width)


def _entry_lines(name: str, value: object, indent: int, width: int) -> Iterator[str]:
    # A plug-in with parameters takes one line per parameter.
    blank = " " * indent
    if isinstance(value, PluginRef) and value.params:
        yield f"{blank}{name}:"
        yield f"{blank}  {format_flow(value.use)}:"
        for key, parameter in cast(Mapping[str, object], value.params).items():
            yield from _entry_lines(key, parameter, indent + 4, width)
        return
    line = f"{blank}{name}: {format_flow(value)}"
    if len(line) > width and isinstance(value, Sequence) and not isinstance(value, str):
        yield f"{blank}{name}:"
        yield from (f"{blank}  - {format_flow(item)}" for item in cast(Sequence[object], value))
        return
    yield line


def _unused_lines(model: type[BaseModel], indent: int, name: str, width: int) -> Iterator[str]:
    # Show the keys of an absent part as comments.
    mark = f"{' ' * indent}# "
    lines = [f"{name}:", *comment_lines(model, {}, indent=2, width=width - len(mark))]
    yield from (f"{mark}{line}" for line in lines)


def _docstring_lines(docstring: str, field: FieldInfo, indent: int, width: int) -> Iterator[str]:
    description = " ".join(docstring.split())
    choices = list(dict.fromkeys(_allowed_words(field.annotation)))
    if choices:
        description += f" One of: {', '.join(choices)}." if choices[1:] else f" Or `{choices[0]}`."
    lead = f"{' ' * indent}# "
    yield from textwrap.wrap(
        description.strip(),
        width,
        initial_indent=lead,
        subsequent_indent=lead,
        break_long_words=False,
    )


def _field_default(field: FieldInfo) -> object:
    return MISSING_VALUE if field.is_required() else field.get_default(call_default_factory=True)


def _nested_parts(value: object) -> Mapping[str, object] | None:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return dict(value)
    return cast(Mapping[str, object], value) if isinstance(value, Mapping) else None


def _allowed_words(annotation: object) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        for part in get_args(annotation):
            yield from _allowed_words(part)


def _nested_models(annotation: object) -> Iterator[type[BaseModel]]:
    # Plug-ins are no nested models here: they are written on one line.
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation is not PluginRef:
            yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from _nested_models(part)
