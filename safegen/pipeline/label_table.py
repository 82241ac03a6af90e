"""A file of labels: one row per item, with columns of people, of judges, of scores and of groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, cast

from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names
from safegen.judges.agreement import Label
from safegen.scenarios.user_prompts.cell_checks import describe_type, is_missing
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.input_files import find_files
from safegen.scenarios.user_prompts.raw_rows import RawRow
from safegen.scenarios.user_prompts.reader import list_columns, read_rows

ITEM_COLUMNS = ("item", "id", "item_id", "scenario_id", "draft_id")
GROUP_COLUMNS = ("leaf", "harm", "language")
MAX_NUMBER = 1e100
"""Largest number of a label or score; squares of larger ones, and of 1 / it, leave the range of floats."""
MAX_LABELS = 50
"""Distinct labels of a file at most, so that a column of free text is not read as labels."""


class LabelColumns(NamedTuple):
    """Columns by role; an empty role is filled by the names of the file's columns."""

    item: str | None = None
    human: tuple[str, ...] = ()
    """Default: `human`, and columns that start with `human_`."""
    judge: tuple[str, ...] = ()
    """Default: `judge`, and columns that start with `judge_`."""
    score: tuple[str, ...] = ()
    """Default: `score`, and columns that start with `score_`."""
    by: tuple[str, ...] = ()
    """Columns of groups; default those of `leaf`, `harm` and `language` that exist."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The labels of N items by column; None is a missing label."""

    places: tuple[str, ...]
    """File, line and row of each item, for messages."""
    human: Mapping[str, list[Label | None]]
    judge: Mapping[str, list[Label | None]]
    score: Mapping[str, list[float | None]]
    by: Mapping[str, list[str]]

    @property
    def labels(self) -> set[Label]:
        """The distinct labels of people and judges."""
        columns = [*self.human.values(), *self.judge.values()]
        return {label for column in columns for label in column if label is not None}


def read_label_table(
    path: Path,
    columns: LabelColumns,
    *,
    missing: Sequence[str] = (),
    allow_mixed: bool = False,
) -> LabelTable:
    """Read a CSV, JSON, Parquet or Arrow file of labels.

    Labels are numbers if all of them are numbers, and text if none is or `allow_mixed` is set.

    Args:
        path: the file.
        columns: the columns by role.
        missing: labels that count as missing in any case of letters, such as `abstain`.
        allow_mixed: accept labels of which some are numbers.

    Raises:
        ConfigError: with file, line and remedy, if the file cannot be read, a column is missing, an id
            is missing or repeated, or a cell is not a label.
    """
    files = find_files([path])
    known = list_columns(files)
    if not known:
        raise ConfigError(f"{path}: has no rows; it needs an item id and labels in each row")
    chosen = _choose_columns(path, columns, known)
    names = [str(chosen.item), *chosen.human, *chosen.judge, *chosen.score, *chosen.by]
    rows = list(_iter_rows(read_rows(files, names)))
    if not rows:
        raise ConfigError(f"{path}: has no rows; it needs an item id and labels in each row")
    _check_ids(rows, str(chosen.item))
    ignored = frozenset(label.casefold() for label in missing)
    labels = {
        name: [_read_label(row, name, ignored) for row in rows]
        for name in (*chosen.human, *chosen.judge)
    }
    if not allow_mixed:
        _refuse_mixed_labels(rows, labels)
    labels = _unify_labels(path, labels)
    return LabelTable(
        tuple(row.place for row in rows),
        human={name: labels[name] for name in chosen.human},
        judge={name: labels[name] for name in chosen.judge},
        score={name: [_read_score(row, name, ignored) for row in rows] for name in chosen.score},
        by={name: [_read_group(row, name) for row in rows] for name in chosen.by},
    )


def _choose_columns(path: Path, columns: LabelColumns, known: Sequence[str]) -> LabelColumns:
    for option, names in columns._asdict().items():
        for name in (names,) if isinstance(names, str) else cast("Iterable[str]", names or ()):
            if name not in known:
                hint = suggest_names(name, known)
                raise ConfigError(f"{path}: `--{option} {name}`: there is no such column{hint}")
    item = columns.item or next((name for name in ITEM_COLUMNS if name in known), None)
    if item is None:
        raise ConfigError(
            f"{path}: no column holds the item id; name one with `--item COLUMN`;"
            f" columns: {_list_columns(known)}"
        )
    free = [name for name in known if name != item]
    chosen = LabelColumns(
        item,
        columns.human or _named_like("human", free),
        columns.judge or _named_like("judge", free),
        columns.score or _named_like("score", free),
        columns.by or tuple(name for name in GROUP_COLUMNS if name in free),
    )
    _check_roles(path, chosen, known)
    return chosen


def _check_roles(path: Path, chosen: LabelColumns, known: Sequence[str]) -> None:
    if not chosen.human:
        raise ConfigError(
            f"{path}: no column holds human labels; name it `human` or `human_NAME`, or use"
            f" `--human COLUMN`; columns: {_list_columns(known)}"
        )
    if not (chosen.judge or chosen.score):
        raise ConfigError(
            f"{path}: no column holds a judge's labels; name it `judge` or `judge_NAME`, or use"
            f" `--judge COLUMN`, or `--score COLUMN` for numbers; columns: {_list_columns(known)}"
        )
    roles = [str(chosen.item), *chosen.human, *chosen.judge, *chosen.score, *chosen.by]
    repeated = next((name for n, name in enumerate(roles) if name in roles[:n]), None)
    if repeated is not None:
        raise ConfigError(f"{path}: column `{repeated}` has two roles; give it one")


def _named_like(role: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name == role or name.startswith(f"{role}_"))


def _list_columns(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name[:60]}`" for name in names[:most]) + more


def _iter_rows(rows: Iterator[RawRow | RowError]) -> Iterator[RawRow]:
    for row in rows:
        if isinstance(row, RowError):
            raise row
        yield row


def _check_ids(rows: Sequence[RawRow], item: str) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        value = row.values.get(item)
        if is_missing(value):
            raise ConfigError(f"{row.place}: `{item}` is empty; each item needs an id")
        if not isinstance(value, str | int | float | Decimal):
            raise ConfigError(f"{row.place}: `{item}` is not an id but {describe_type(value)}")
        name = str(value).strip()
        if earlier := seen.get(name):
            raise ConfigError(
                f"{row.place}: item `{name[:60]}` is also in {earlier}; write one row for each item,"
                " with one column for each rater"
            )
        seen[name] = row.place


def _read_label(row: RawRow, name: str, missing: frozenset[str]) -> str | None:
    value = row.values.get(name)
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float | Decimal):
        raise ConfigError(
            f"{row.place}: `{name}` is not a label but {describe_type(value)}; write text or a number"
        )
    text = str(value).strip()
    return None if not text or text.casefold() in missing else text


def _read_score(row: RawRow, name: str, missing: frozenset[str]) -> float | None:
    text = _read_label(row, name, missing)
    if text is None:
        return None
    number = _to_number(text)
    if number is None:
        raise ConfigError(
            f"{row.place}: `{name}` is not a number of at most 1e100 (`{text[:60]}`); a score is a number, and"
            " `--missing VALUE` names a value that counts as missing"
        )
    return float(number)


def _read_group(row: RawRow, name: str) -> str:
    return _read_label(row, name, frozenset()) or ""


def _refuse_mixed_labels(
    rows: Sequence[RawRow], columns: Mapping[str, Sequence[str | None]]
) -> None:
    cells = [
        (row.place, name, text)
        for name, column in columns.items()
        for row, text in zip(rows, column, strict=True)
        if text is not None
    ]
    numeric = [cell for cell in cells if _to_number(cell[2]) is not None]
    text = [cell for cell in cells if _to_number(cell[2]) is None]
    if numeric and text:
        # The rarer kind is more likely the mistake.
        place, name, label = min(numeric, text, key=len)[0]
        other = max(text, numeric, key=len)[0][2]
        raise ConfigError(
            f"{place}: `{name}` is `{label[:60]}`, and other labels are of another kind"
            f" (`{other[:60]}`); labels are all numbers or all text; fix it, or use"
            f" `--missing {label[:60]}` or `--scale nominal`"
        )


def _unify_labels(
    path: Path, columns: Mapping[str, list[str | None]]
) -> dict[str, list[Label | None]]:
    """Convert labels to numbers if all of them are numbers."""
    texts = {label for column in columns.values() for label in column if label is not None}
    numbers = {text: _to_number(text) for text in texts}
    if texts and all(number is not None for number in numbers.values()):
        return {
            name: [None if text is None else numbers[text] for text in column]
            for name, column in columns.items()
        }
    if len(texts) > MAX_LABELS:
        example = min(texts)
        raise ConfigError(
            f"{path}: the label columns have {len(texts):,} distinct values, such as"
            f" `{example[:60]}`; at most {MAX_LABELS}; name the right columns with `--human` and"
            " `--judge`"
        )
    folded: dict[str, str] = {}
    for text in sorted(texts):
        if other := folded.get(text.casefold()):
            raise ConfigError(
                f"{path}: labels `{other}` and `{text}` differ only in case; write one spelling"
            )
        folded[text.casefold()] = text
    return {name: [*column] for name, column in columns.items()}


def _to_number(text: str) -> int | float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not abs(number) <= MAX_NUMBER:
        return None
    if abs(number) < 1 / MAX_NUMBER:
        return 0
    return int(number) if number.is_integer() else number
