"""Field types of input files: ids, texts, details. Taxonomies, specs and recipes share them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema

from safegen.core import spelling
from safegen.core.suggestions import find_repeated
from safegen.core.visible_text import find_unprintable_character
from safegen.core.yaml_errors import KeyProblem

# A page. Longer text is mostly an unclosed quote that takes in the rest of a file.
MAX_TEXT = 4_000
# A prompt may hold a document of 1,500 words.
MAX_PROSE = 12_000


def _check_slug(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", value):
        raise ValueError("must be lower-case letters, digits, `-` and `_`, starting with a letter")
    return value


def _check_harm_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*", value):
        raise ValueError("must be `domain.leaf` in lower case")
    return value


def _check_harm_pattern(value: str) -> str:
    if value.endswith(".*") and value.count(".") == 1:
        _check_slug(value.removesuffix(".*"))
        return value
    return _check_harm_id(value)


def matches_harm(patterns: Collection[str], harm: str | None) -> bool:
    """Check if a leaf, or its domain as `domain.*`, is one of the patterns."""
    return harm is not None and (harm in patterns or f"{harm.split('.')[0]}.*" in patterns)


def _clean_text(value: str) -> str:
    clean = " ".join(value.split())
    if not clean:
        raise ValueError("must not be empty")
    if character := find_unprintable_character(clean):
        raise ValueError(f"holds {character.description}; remove it")
    return clean


def _clean_prose(value: str) -> str:
    # Keep line breaks, with at most one empty line in a row.
    lines = [" ".join(line.split()) for line in value.strip().splitlines()]
    clean = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    _clean_text(clean)
    return clean


Slug = Annotated[str, AfterValidator(_check_slug), Field(max_length=80)]
HarmId = Annotated[str, AfterValidator(_check_harm_id), Field(max_length=80)]
HarmPattern = Annotated[str, AfterValidator(_check_harm_pattern), Field(max_length=80)]
"""A leaf, or all leaves of a domain as `domain.*`."""
Text = Annotated[str, AfterValidator(_clean_text), Field(max_length=MAX_TEXT)]
Prose = Annotated[str, AfterValidator(_clean_prose), Field(max_length=MAX_PROSE)]
"""Text with line breaks."""
Detail = Annotated[int, Field(ge=0, le=4)]
UnifySpelling = BeforeValidator(lambda value: spelling.unify_spelling(value))
"""Unifies the spelling of a name, of names in a list, and of the keys and values of a mapping."""
UnifyKeys = BeforeValidator(lambda value: spelling.unify_keys(value))
"""Unifies the spelling of the keys of a mapping."""


class FrozenModel(BaseModel):
    """A frozen model that rejects unknown keys and accepts two spellings of keys and enumerated values."""

    # Deferred, because a command needs few of the models and building all of them delays each one.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:  # Any: as pydantic types a JSON schema
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name, text in describe_fields(cls).items():
            key = cls.model_fields[name].alias or name
            described = schema["properties"][key] | {"description": text}
            schema["properties"][key] = dict(sorted(described.items()))
        return schema

    @model_validator(mode="before")
    @classmethod
    def _unify_spelling(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        keys = [field.alias or name for name, field in cls.model_fields.items()]
        try:
            data = cast("dict[str, object]", spelling.unify_keys(cast(object, value), keys))
        except spelling.SpellingConflict as e:
            raise KeyProblem(str(e), loc=(e.second,)) from e
        choices = _spelled_choices(cls)
        return data | {
            key: spelling.unify_spelling(data[key], choices[key]) for key in choices if key in data
        }


# pydantic can read these docstrings, too, but it does so at import, which costs each command 70 ms.
@cache
def describe_fields(model: type[BaseModel]) -> Mapping[str, str]:
    """Read the docstrings of a model's fields, for `safegen schema` and `safegen init`."""
    texts: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if issubclass(parent, BaseModel) and parent is not BaseModel:
            tree = ast.parse(textwrap.dedent(inspect.getsource(parent)))
            texts |= _find_docstrings(cast("ast.ClassDef", tree.body[0]))
    return {name: texts[name] for name in model.model_fields if name in texts}


def _find_docstrings(definition: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for statement, following in pairwise(definition.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = inspect.cleandoc(text)
            case _:
                pass
    return texts


# A model is validated for each goal of a file; its annotations never change.
@cache
def _spelled_choices(model: type[BaseModel]) -> Mapping[str, frozenset[str]]:
    # Enumerated values with two spellings, by key.
    choices = {
        field.alias or name: frozenset(filter(spelling.other_spelling, _literals(field.annotation)))
        for name, field in model.model_fields.items()
    }
    return {key: values for key, values in choices.items() if values}


def _literals(annotation: object) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    else:
        for argument in get_args(annotation):
            yield from _literals(argument)


def require_distinct_names(names: Sequence[str]) -> Sequence[str]:
    """Reject an empty list and repeated names.

    Raises:
        ValueError: the list is empty, or a name appears twice.
    """
    if not names:
        raise ValueError("is empty; name one or more, or leave the key out")
    return require_no_repeats(names)


def require_no_repeats(names: Sequence[str]) -> Sequence[str]:
    """Reject repeated names.

    Raises:
        ValueError: a name appears twice.
    """
    if (name := find_repeated(names)) is not None:
        raise ValueError(f"names `{name}` twice; keep one")
    return names
