"""Personal data, keys and tokens of a row: find, mask, or drop the row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from safegen.core.personal_data import (
    PersonalDataKind,
    find_personal_data,
    mask_name,
    mask_personal_data,
)
from safegen.core.types import Message
from safegen.scenarios.user_prompts.rows import PromptRow

Redaction = Literal["mask", "drop"]
_NAME_FIELDS = ("id", "goal", "set", "twin", "group")
_TEXT_FIELDS = ("licence", "benign_use", "misuse_risk")
"""The fields of free text that are no names; all other fields have a fixed set of values."""


def find_row_data(row: PromptRow) -> set[PersonalDataKind]:
    """Find the kinds of likely personal data in the texts and names of a row."""
    return {datum.kind for text in _iter_texts(row) for datum in find_personal_data(text)}


def redact_row(row: PromptRow, redaction: Redaction | None) -> PromptRow | None:
    """Mask likely personal data of a row; None if the row is dropped for it."""
    if redaction is None or not find_row_data(row):
        return row
    return _mask_row(row) if redaction == "mask" else None


def _iter_texts(row: PromptRow) -> Iterator[str]:
    yield from (message["content"] for message in row.messages)
    for field in (*_NAME_FIELDS, *_TEXT_FIELDS):
        if text := getattr(row, field):
            yield text


def _mask_row(row: PromptRow) -> PromptRow:
    messages = tuple(
        Message(role=m["role"], content=mask_personal_data(m["content"])) for m in row.messages
    )
    names = {field: mask_name(getattr(row, field)) for field in _NAME_FIELDS}
    texts = {field: mask_personal_data(getattr(row, field)) for field in _TEXT_FIELDS}
    return row.model_copy(update={"messages": messages, **names, **texts})
