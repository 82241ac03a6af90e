"""Field types of input files: ids, texts, details. Taxonomies, specs and recipes share them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from safegen.core import spelling
from safegen.core.suggestions import find_repeated
from safegen.core.yaml_errors import KeyProblem

MAX_TEXT = 4_000


def _check_slug(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", value):
        raise ValueError("must be lower-case letters, digits, `-` and `_`, starting with a letter")
    return value


def _check_harm_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*", value):
        raise ValueError("must be `domain.leaf` in lower case")
    return value


def _clean_text(value: str) -> str:
    clean = " ".join(value.split())
    if not clean:
        raise ValueError("must not be empty")
    if any(not c.isprintable() for c in clean):
        raise ValueError("holds control characters; remove them")
    return clean


def _clean_prose(value: str) -> str:
    # Keep line breaks, with at most one empty line in a row.
    lines = [" ".join(line.split()) for line in value.strip().splitlines()]
    clean = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    _clean_text(clean)
    return clean


Slug = Annotated[str, AfterValidator(_check_slug), Field(max_length=80)]
HarmId = Annotated[str, AfterValidator(_check_harm_id), Field(max_length=80)]
Text = Annotated[str, AfterValidator(_clean_text), Field(max_length=MAX_TEXT)]
Prose = Annotated[str, AfterValidator(_clean_prose), Field(max_length=MAX_TEXT)]
"""Text with line breaks."""
Detail = Annotated[int, Field(ge=0, le=4)]
UnifySpelling = BeforeValidator(lambda value: spelling.unify_spelling(value))
"""Unifies the spelling of a name, of names in a list, and of the keys and values of a mapping."""
UnifyKeys = BeforeValidator(lambda value: spelling.unify_keys(value))
"""Unifies the spelling of the keys of a mapping."""


class FrozenModel(BaseModel):
    """A frozen model that rejects unknown keys and accepts two spellings of keys and enumerated values."""

    # The docstrings become the descriptions of `safegen schema` and the comments of `safegen init`.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
