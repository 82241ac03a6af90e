"""The column that each field is read from. A column feeds the field that names it, and no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.core.errors import ConfigError
from safegen.core.spelling import SpellingConflict, other_spelling, unify_names
from safegen.core.suggestions import suggest, suggest_names
from safegen.scenarios.user_prompts.cell_checks import is_missing

FIELDS = (
    "prompt messages id harm intent evidence detail profile task language licence set goal "
    "benign_use misuse_risk twin"
).split()
"""Fields that a column of the same name feeds."""
# Files use these names for many things, so they are read only on request.
MAPPED_FIELDS = ("context", "group")
"""Fields that are read only from a column that the user names."""
UNREAD = ""
"""The column of a field that is not read."""


class FieldColumn(NamedTuple):
    """A field and the column that the user names for it; `UNREAD` for none."""

    field: str
    column: str


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The fields of a file and the columns that they are read from."""

    columns: Mapping[str, str]
    """Column by field, for the fields that the file has."""
    unread: tuple[str, ...]
    """Columns that feed no field, in the order of the file."""
    other_spellings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Second column by field, for JSON whose rows spell the field in two ways."""

    @property
    def names(self) -> set[str]:
        """The columns to read."""
        return {*self.columns.values(), *self.other_spellings.values()}

    def read(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the cells of a row by field; a row that lacks a column has None."""
        cells = {name: values.get(column) for name, column in self.columns.items()}
        for name, column in self.other_spellings.items():
            if is_missing(cells[name]):
                cells[name] = values.get(column)
        return cells

    def find_conflict(self, values: Mapping[str, object]) -> str | None:
        """Name the two columns of a row that spell one field in two ways and both have a value."""
        for name, other in self.other_spellings.items():
            pair = (self.columns[name], other)
            if not any(is_missing(values.get(column)) for column in pair):
                return f"has both `{pair[0]}` and `{pair[1]}`; keep one"
        return None


def parse_columns(columns: Mapping[str, str | None]) -> tuple[FieldColumn, ...]:
    """Check the columns that a user names by field; None or an empty name leaves a field unread.

    Raises:
        ConfigError: a field is unknown, or named in both spellings.
    """
    known = (*FIELDS, *MAPPED_FIELDS)
    try:
        fields = unify_names(columns, known)
    except SpellingConflict as e:
        raise ConfigError(f"`--column`: {e}") from e
    for name in fields.values():
        if name not in known:
            raise ConfigError(f"`{name[:60]}` is not a field{suggest_names(name, known)}")
    pairs = (FieldColumn(fields[name], column or UNREAD) for name, column in columns.items())
    # The name of the field is the default, but a prompt of two kinds and a context need a choice.
    is_choice = ("prompt", "messages", *MAPPED_FIELDS)
    return tuple(sorted(p for p in pairs if p.field != p.column or p.field in is_choice))


def map_columns(
    chosen: Sequence[FieldColumn],
    known: Sequence[str],
    *,
    shown: str,
    has_licence: bool,
    is_table: bool = True,
) -> ColumnMap:
    """Find the column of each field.

    Args:
        chosen: the columns that the user names.
        known: the columns of the file.
        shown: the file, for messages.
        has_licence: True if rows without a licence get one.
        is_table: True if each row has every column, so that a field has one spelling.

    Raises:
        ConfigError: a named column is missing, or there is no prompt or no licence.
    """
    columns = _find_chosen(chosen, known, shown=shown)
    named = {pair.field for pair in chosen}
    taken = frozenset(columns.values())
    free = frozenset(known) - taken
    others: dict[str, str] = {}
    for name in FIELDS:
        spelled = [c for c in (name, other_spelling(name)) if c in free and name not in named]
        if len(spelled) > 1 and is_table:
            raise ConfigError(f"{shown}: has columns `{spelled[0]}` and `{spelled[1]}`; keep one")
        columns |= dict.fromkeys([name], spelled[0]) if spelled else {}
        others |= dict.fromkeys([name], spelled[1]) if len(spelled) > 1 else {}
    # A choice of one kind of prompt leaves the other kind unread.
    for kind, other in (("prompt", "messages"), ("messages", "prompt")):
        if kind in named and kind in columns and other not in named:
            columns.pop(other, None)
    if not {"prompt", "messages"} & columns.keys():
        raise ConfigError(_describe_missing_prompt(known, shown=shown))
    if "licence" not in columns and not has_licence:
        raise ConfigError(
            f"{shown}: no column `licence`; name one with `--column licence=COLUMN`, or the"
            " licence of all rows with `--licence NAME`"
        )
    used = {*columns.values(), *others.values()}
    in_order = {f: columns[f] for f in (*FIELDS, *MAPPED_FIELDS) if f in columns}
    return ColumnMap(in_order, tuple(c for c in known if c not in used), others)


def _find_chosen(
    chosen: Sequence[FieldColumn], known: Sequence[str], *, shown: str
) -> dict[str, str]:
    columns: dict[str, str] = {}
    for name, column in chosen:
        if column == UNREAD:
            continue
        if column not in known:
            hint = suggest_names(column, known)
            raise ConfigError(f"{shown}: no column `{column[:60]}` for `{name}`{hint}")
        columns[name] = column
    return columns


def _describe_missing_prompt(known: Sequence[str], *, shown: str) -> str:
    if not known:
        return f"{shown}: has no rows; it needs rows with a `prompt`"
    is_near = suggest("prompt", known) is not None
    listed = f" among {', '.join(f'`{c[:40]}`' for c in known[:20])}"
    hint = suggest_names("prompt", known) if is_near else listed
    return (
        f"{shown}: no column `prompt` or `messages`{hint}; name one with `--column prompt=COLUMN`,"
        " or a conversation (a list of {role, content}) with `--column messages=COLUMN`"
    )
