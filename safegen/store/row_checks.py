"""Checks of the values in rows that were read: a user or a broken disk may have changed the file.

The checks run on columns, so that a million rows cost less than a second.
"""

# pyarrow's stubs leave the compute functions partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

from safegen.core.types import (
    DETAIL_LEVELS,
    EVIDENCE,
    INTENTS,
    MODES,
    PROFILES,
    SEVERITIES,
    Assistance,
    FindingCode,
    Grade,
    JurorField,
    Outcome,
    Role,
    Source,
    Task,
)
from safegen.store.schema import FINDING_STRINGS, VERDICT_FLAGS, VERDICT_STRINGS

if TYPE_CHECKING:
    import pyarrow as pa

CHOICES = {
    "task": get_args(Task),
    "intent": INTENTS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "source": get_args(Source),
    "mode": MODES,
    "outcome": get_args(Outcome),
    "severity": SEVERITIES,
    "delivered": get_args(Assistance),
    "grade": get_args(Grade),
    "messages.role": get_args(Role),
    "attributes.source": ("written", "confirmed"),
    "verdicts.severity": SEVERITIES,
    "verdicts.delivered": get_args(Assistance),
    "findings.field": get_args(JurorField),
    "findings.code": get_args(FindingCode),
}
"""Allowed values of a column, or of a field of the structs in a list column."""
# Many JSON readers hold numbers as doubles, which are exact below this.
MAX_COUNT = 2**53
COUNTS = range(MAX_COUNT)
BOUNDS = {
    "ceiling": DETAIL_LEVELS,
    "floor": DETAIL_LEVELS,
    "requested_detail": DETAIL_LEVELS,
    "round": COUNTS,
    "paraphrase": range(-MAX_COUNT, MAX_COUNT),
    "turn": COUNTS,
    "first": COUNTS,
    "candidate": COUNTS,
    "revision": COUNTS,
    "prompt_tokens": COUNTS,
    "completion_tokens": COUNTS,
}
"""Allowed numbers of a column."""
REQUIRED_FIELDS = frozenset(
    [
        *(f"verdicts.{name}" for name in VERDICT_STRINGS),
        *(f"verdicts.{name}" for name in VERDICT_FLAGS if name != "passed"),
        *(f"findings.{name}" for name in FINDING_STRINGS),
        *(f"attributes.{name}" for name in ("axis", "value", "source")),
        "messages.role",
        "messages.content",
    ]
)
"""Fields of the structs in list columns that are never null. The schema calls all of them nullable."""


class _Column(NamedTuple):
    name: str
    values: pa.Array[Any] | pa.ChunkedArray[Any]
    is_required: bool


def find_invalid_column(table: pa.Table) -> str | None:
    """Name the first column with a value that safegen never writes; None if there is none.

    Args:
        table: rows that have the types and the nullability of their schema.
    """
    columns = (column for name in table.column_names for column in _iter_columns(table, name))
    return next((column.name for column in columns if not _is_valid(column)), None)


def _iter_columns(table: pa.Table, name: str) -> Iterator[_Column]:
    import pyarrow as pa

    column = table.column(name)
    yield _Column(name, column, is_required=False)
    if not pa.types.is_list(column.type):
        return
    items = cast("pa.ListArray[Any]", column.combine_chunks()).flatten()
    yield _Column(name, items, is_required=True)
    if pa.types.is_struct(items.type):
        for index in range(items.type.num_fields):
            field = f"{name}.{items.type.field(index).name}"
            yield _Column(
                field,
                cast("pa.StructArray", items).field(index),
                is_required=field in REQUIRED_FIELDS,
            )


def _is_valid(column: _Column) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.is_required and column.values.null_count:
        return False
    present = column.values.drop_null()
    if column.name in CHOICES:
        is_known = pc.is_in(present, value_set=_make_choices(column.name))
        return bool(pc.all(is_known, min_count=0).as_py())
    if bounds := BOUNDS.get(column.name):
        low, high = pc.min(present).as_py(), pc.max(present).as_py()
        return low is None or (low in bounds and high in bounds)
    if pa.types.is_floating(present.type):
        return bool(pc.all(pc.is_finite(present), min_count=0).as_py())
    return True


# `pa.array` looks for pandas each time, which takes longer than the check of a column.
@cache
def _make_choices(name: str) -> pa.Array[Any]:
    import pyarrow as pa

    return pa.array(CHOICES[name])
