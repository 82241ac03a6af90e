"""Field types of what users write: ids, texts, details. Shared by taxonomies, specs and recipes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
    """Like a text, with its line breaks kept: at most one empty line in a row."""
    lines = [" ".join(line.split()) for line in value.strip().splitlines()]
    clean = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    _clean_text(clean)
    return clean


Slug = Annotated[str, AfterValidator(_check_slug), Field(max_length=80)]
HarmId = Annotated[str, AfterValidator(_check_harm_id), Field(max_length=80)]
Text = Annotated[str, AfterValidator(_clean_text), Field(max_length=MAX_TEXT)]
Prose = Annotated[str, AfterValidator(_clean_prose), Field(max_length=MAX_TEXT)]
"""What a person writes, line breaks included."""
Detail = Annotated[int, Field(ge=0, le=4)]


class FrozenModel(BaseModel):
    """Unknown keys refused, values frozen."""

    # The docstrings become the descriptions of `safegen schema` and the comments of `safegen init`.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def require_distinct_names(names: Sequence[str]) -> Sequence[str]:
    """Refuse an empty list, and a name that stands twice.

    Raises:
        ValueError: it is one.
    """
    if not names:
        raise ValueError("is empty; name one or more, or leave the key out")
    return require_no_repeats(names)


def require_no_repeats(names: Sequence[str]) -> Sequence[str]:
    """Refuse a name that stands twice.

    Raises:
        ValueError: one does.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"names `{name}` twice; keep one")
    return names
