"""Field types of input files: ids, texts, details. Taxonomies, specs and recipes share them."""

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


class FrozenModel(BaseModel):
    """A frozen model that rejects unknown keys."""

    # The docstrings become the descriptions of `safegen schema` and the comments of `safegen init`.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


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
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"names `{name}` twice; keep one")
    return names
