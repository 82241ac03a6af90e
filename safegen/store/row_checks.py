"""Checks of the values in rows that were read: a user or a broken disk may have changed the file.

The checks run on columns, so that a million rows cost less than a second.
"""

# pyarrow's stubs leave the compute functions partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, get_args

from safegen.core.hashing import text_sha256
from safegen.core.strict_json import parse_json
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

    Mask: TypeAlias = pa.Array[Any] | pa.ChunkedArray[Any]
    """True for each invalid value; null means valid."""

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
    "policy_effect.delivered": get_args(Assistance),
    "policy_effect.delivered_without": get_args(Assistance),
    "policy_effect.outcome": get_args(Outcome),
    "policy_effect.findings.field": get_args(JurorField),
    "policy_effect.findings.code": get_args(FindingCode),
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
    "paraphrase": COUNTS,
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
        *(f"policy_effect.findings.{name}" for name in FINDING_STRINGS),
        *(f"attributes.{name}" for name in ("axis", "value", "source")),
        "messages.role",
        "messages.content",
    ]
)
"""Fields of the structs in list columns that are never null. The schema calls all of them nullable."""


IDS = ("scenario_id", "set_id", "goal_id", "draft_id", "policy_id", "harm", "domain", "validator")
"""Columns that are never empty."""
SCORES = (
    *("safety", "help_direct", "help_indirect", "helpfulness", "correctness", "reward"),
    *("policy_effect.safety", "policy_effect.safety_without"),
)
"""Columns of numbers from 0 to 1."""
LANGUAGE_TAG = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$"
TAGS = frozenset({"language"})
MAX_SHOWN = 60
"""Characters of a value that a message has."""


class InvalidRow(NamedTuple):
    """The first row with a value that safegen never writes."""

    row: int
    """From 0."""
    problem: str


class _Column(NamedTuple):
    name: str
    values: pa.Array[Any] | pa.ChunkedArray[Any]
    is_required: bool
    parents: pa.Array[Any] | None = None
    """Row of each value, for the items of a list."""


class _Rule(NamedTuple):
    """A relation between the values of a row."""

    columns: tuple[str, ...]
    find: Callable[[pa.Table], Mask]
    problem: str


# Any: the stubs of the compute functions reject numbers and texts as arguments.
def _load_compute() -> Any:  # noqa: ANN401 (the reason is above)
    import pyarrow.compute

    return pyarrow.compute


def find_invalid_row(table: pa.Table) -> InvalidRow | None:
    """Find the first value that safegen never writes; None if there is none.

    Args:
        table: rows that have the types and the nullability of their schema.
    """
    columns = (column for name in table.column_names for column in _iter_columns(table, name))
    checks = (_check_column(column) for column in columns)
    if (invalid := next((check for check in checks if check is not None), None)) is not None:
        return invalid
    names = frozenset(table.column_names)
    rules = (rule for rule in RULES if names.issuperset(rule.columns))
    for rule in rules:
        if (row := _find_first(rule.find(table))) is not None:
            return InvalidRow(row, rule.problem)
    return None


def _iter_columns(table: pa.Table, name: str) -> Iterator[_Column]:
    import pyarrow as pa

    column = table.column(name)
    is_nested = pa.types.is_list(column.type) or pa.types.is_struct(column.type)
    values = column.combine_chunks() if is_nested else column
    yield from _iter_parts(_Column(name, values, is_required=False))


def _iter_parts(column: _Column) -> Iterator[_Column]:
    """Yield a column, then the items of its lists and the fields of its structs."""
    import pyarrow as pa

    pc = _load_compute()
    yield column
    name, values, parents = column.name, column.values, column.parents
    if pa.types.is_list(values.type):
        lists = cast("pa.ListArray[Any]", values)
        rows = pc.list_parent_indices(lists)
        rows = rows if parents is None else parents.take(rows)
        yield from _iter_parts(_Column(name, lists.flatten(), is_required=True, parents=rows))
    elif pa.types.is_struct(values.type):
        for index in range(values.type.num_fields):
            field = f"{name}.{values.type.field(index).name}"
            # Unlike `StructArray.field`, it is null for a null struct.
            part = pc.struct_field(values, index)
            yield from _iter_parts(_Column(field, part, field in REQUIRED_FIELDS, parents))


def _check_column(column: _Column) -> InvalidRow | None:
    for mask, problem in _iter_masks(column):
        if (index := _find_first(mask)) is not None:
            row = index if column.parents is None else int(column.parents[index].as_py())
            value = column.values[index].as_py()
            shown = "" if value is None else f" (`{str(value)[:MAX_SHOWN]}`)"
            return InvalidRow(row, f"`{column.name}` {problem}{shown}")
    return None


def _iter_masks(column: _Column) -> Iterator[tuple[Mask, str]]:
    """Yield the invalid values of a column by each check, and the problem of such a value."""
    import pyarrow as pa

    pc = _load_compute()
    name, values = column.name, column.values
    if column.is_required and values.null_count:
        yield pc.is_null(values), "lacks a value"
    if name in CHOICES:
        # `is_in` calls a null value unknown.
        unknown = pc.invert(pc.is_in(values, value_set=_make_choices(name)))
        yield pc.and_(unknown, pc.is_valid(values)), f"is none of {', '.join(CHOICES[name])}"
    elif bounds := BOUNDS.get(name):
        outside = pc.or_(pc.less(values, bounds.start), pc.greater_equal(values, bounds.stop))
        yield outside, f"is not from {bounds.start} to {bounds.stop - 1}"
    elif name in SCORES:
        yield (
            pc.invert(pc.and_(pc.greater_equal(values, 0.0), pc.less_equal(values, 1.0))),
            ("is not from 0 to 1"),
        )
    elif name in TAGS:
        yield pc.invert(pc.match_substring_regex(values, LANGUAGE_TAG)), "is not a language tag"
    elif name.rpartition(".")[2] in IDS:
        yield pc.equal(values, ""), "is empty"
    elif pa.types.is_floating(values.type):
        yield pc.invert(pc.is_finite(values)), "is not a number"


def _find_first(mask: Mask) -> int | None:
    pc = _load_compute()
    index = pc.index(mask, value=True).as_py()
    return None if index < 0 else int(index)


# `pa.array` looks for pandas each time, which takes longer than the check of a column.
@cache
def _make_choices(name: str) -> pa.Array[Any]:
    import pyarrow as pa

    return pa.array(CHOICES[name])


def _find_bad_conversations(table: pa.Table) -> Mask:
    """Find messages that are empty, do not end with a user turn, or have a later system turn."""
    import pyarrow as pa

    pc = _load_compute()
    messages = cast("pa.ListArray[Any]", table.column("messages").combine_chunks())
    sizes = pc.list_value_length(messages)
    roles = cast("pa.StructArray", messages.flatten()).field(0)
    ends = pc.cumulative_sum(sizes)
    is_empty = pc.equal(sizes, 0)
    # A row without messages has no last turn.
    last = pc.take(roles, pc.if_else(is_empty, None, pc.subtract(ends, 1)))
    systems = pc.filter(pc.list_parent_indices(messages), pc.equal(roles, "system"))
    first = pc.take(roles, pc.if_else(is_empty, None, pc.subtract(ends, sizes)))
    # More system turns than the first one, which is the only allowed place.
    counts = pc.value_counts(systems)
    by_row = dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))
    found = pa.array([by_row.get(row, 0) for row in range(len(messages))]) if by_row else 0
    allowed = pc.if_else(pc.equal(first, "system"), 1, 0)
    wrong = pc.or_(pc.not_equal(last, "user"), pc.greater(found, allowed))
    return pc.or_kleene(is_empty, wrong)


def _find_wrong_digests(table: pa.Table) -> Mask:
    import pyarrow as pa

    responses, digests = table.column("response"), table.column("response_sha256")
    pairs = zip(responses.to_pylist(), digests.to_pylist(), strict=True)
    return pa.array(
        [text is not None and text_sha256(text) != sha for text, sha in pairs], pa.bool_()
    )


def _find_wrong_domains(table: pa.Table) -> Mask:
    pc = _load_compute()
    domains = pc.replace_substring_regex(table.column("harm"), pattern=r"\..*", replacement="")
    return pc.not_equal(domains, table.column("domain"))


def _find_wrong_floors(table: pa.Table) -> Mask:
    pc = _load_compute()
    return pc.greater(table.column("floor"), table.column("ceiling"))


def _find_shown_unsafe(table: pa.Table) -> Mask:
    pc = _load_compute()
    return pc.and_(table.column("withheld"), pc.is_valid(table.column("response")))


def _find_accepted_failures(table: pa.Table) -> Mask:
    pc = _load_compute()
    return pc.and_(table.column("accepted"), pc.not_equal(table.column("outcome"), "ok"))


def _find_orphans(table: pa.Table) -> Mask:
    pc = _load_compute()
    is_revision = pc.greater(table.column("revision"), 0)
    return pc.not_equal(is_revision, pc.is_valid(table.column("parent_id")))


def _find_repeated_drafts(table: pa.Table) -> Mask:
    import pyarrow as pa

    ids = table.column("draft_id").to_pylist()
    seen = set[str | None]()
    # `add` returns None, so that the first of equal ids is no repetition.
    return pa.array([id_ in seen or seen.add(id_) is not None for id_ in ids], pa.bool_())


def _find_bad_briefs(table: pa.Table) -> Mask:
    import pyarrow as pa

    return pa.array([not _is_brief(text) for text in table.column("brief").to_pylist()], pa.bool_())


# The scenarios of a set follow each other and have equal briefs.
@lru_cache(maxsize=8)
def _is_brief(text: str | None) -> bool:
    if text is None:
        return True
    try:
        payload = parse_json(text)
    except ValueError:
        return False
    parts = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    if "brief" not in parts:
        return isinstance(parts.get("turn"), dict)
    brief = parts["brief"]
    row = cast("dict[str, object]", brief).get("row") if isinstance(brief, dict) else None
    return isinstance(row, list) and all(map(_is_axis_value, cast("list[object]", row)))


def _is_axis_value(value: object) -> bool:
    if not isinstance(value, list):
        return False
    texts = cast("list[object]", value)[:2]
    return len(texts) == 2 and all(isinstance(text, str) for text in texts)


RULES = (
    _Rule(
        # A plan has no messages yet if an author writes them.
        ("messages", "draft_id"),
        _find_bad_conversations,
        "`messages` do not end with a user turn, or have a system turn that is not the first",
    ),
    _Rule(("harm", "domain"), _find_wrong_domains, "`harm` does not begin with `domain`"),
    _Rule(("ceiling", "floor"), _find_wrong_floors, "`floor` is above `ceiling`"),
    _Rule(("brief",), _find_bad_briefs, "`brief` is not the JSON of a brief"),
    _Rule(
        ("response", "response_sha256"),
        _find_wrong_digests,
        "`response_sha256` is not the digest of `response`",
    ),
    _Rule(("response", "withheld"), _find_shown_unsafe, "`response` is present and `withheld`"),
    _Rule(("accepted", "outcome"), _find_accepted_failures, "`accepted` is true without an answer"),
    _Rule(("revision", "parent_id"), _find_orphans, "`parent_id` does not fit `revision`"),
    _Rule(("draft_id",), _find_repeated_drafts, "`draft_id` appears twice"),
)
