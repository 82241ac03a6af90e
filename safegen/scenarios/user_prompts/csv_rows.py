"""The rows of a table in text: commas, semicolons, tabs or bars.

`csv` reads them on purpose: polars 2.1 pads short rows and renames duplicate columns, and its errors have
no line.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from safegen.core.errors import ConfigError
from safegen.core.plural import format_plural
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.input_files import InputFile
from safegen.scenarios.user_prompts.mapping import FIELDS
from safegen.scenarios.user_prompts.raw_rows import RawRow, require_column_names
from safegen.scenarios.user_prompts.text_stream import describe_bad_byte, iter_lines, open_text

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


class _Head(NamedTuple):
    columns: list[str]
    delimiter: str


class _LineReader:
    """The lines of a file for `csv.reader`; `is_at_end` distinguishes a cut row from a wrong one."""

    def __init__(self, source: InputFile, file: io.TextIOWrapper) -> None:
        self._lines = iter_lines(source, file)
        self._waiting: list[str] = []
        self.is_at_end = False
        self.number = 0
        self.row: list[str] = []
        """The lines of the current row; the caller clears them before a row."""

    def __iter__(self) -> _LineReader:
        return self

    def __next__(self) -> str:
        if self._waiting:
            self.row.append(self._waiting.pop())
            return self.row[-1]
        try:
            line = next(self._lines)
        except StopIteration:
            self.is_at_end = True
            raise
        self.number = line.number
        self.row.append(line.text)
        return line.text

    def put_back(self, text: str) -> None:
        self._waiting.append(text)


def list_csv_columns(source: InputFile) -> list[str]:
    """List the columns of a table in order; a file without a line has none.

    Raises:
        ConfigError: the file cannot be read, or two columns have one name.
    """
    with open_text(source, newline="") as file:
        return _read_head(source, _LineReader(source, file)).columns


def read_csv(source: InputFile, *, before: int = 0) -> Iterator[RawRow | RowError]:
    """Yield the rows of a table, and an error for each row that cannot be read.

    Args:
        source: the file.
        before: number of the rows in the files before.

    Raises:
        ConfigError: an error that ends the reading.
    """
    with open_text(source, newline="") as file:
        lines = _LineReader(source, file)
        head = _read_head(source, lines)
        # Strict: otherwise a stray quote would silently join rows.
        reader = csv.reader(lines, strict=True, delimiter=head.delimiter)
        number = before
        while True:
            lines.row.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                number += 1
                place = f"{source.path}:{lines.number}: row {number}"
                problem = _describe_csv_error(e)
                # After an open quote or in an endless cell, the ends of rows are unknown.
                if (opened := _find_open_quote(lines.row, head.delimiter)) is not None:
                    raise _make_open_quote_error(source, lines, opened) from e
                if lines.is_at_end or is_too_large(e):
                    raise ConfigError(f"{source.path}:{lines.number}: {problem}") from e
                yield RowError(f"{place} is {problem}", code="invalid_csv", row=number)
                continue
            if cells:  # else a blank line
                number += 1
                place = f"{source.path}:{lines.number}: row {number}"
                if _has_joined_rows(lines.row, cells, head):
                    opened = _find_open_quote(lines.row, head.delimiter) or 0
                    raise _make_open_quote_error(source, lines, opened)
                yield _to_row(RawRow(number, place, {}), cells, head)


def _find_open_quote(row: Sequence[str], delimiter: str) -> int | None:
    """Return the index of the line with the last quote that is open at the end of its line."""
    open_at: int | None = None
    opened = 0
    is_open = False
    for number, line in enumerate(row):
        before = delimiter
        for char in line:
            if char == '"' and is_open:
                is_open = False
            elif char == '"' and before in (delimiter, '"'):
                is_open = True
                # A doubled quote goes on with the same cell.
                opened = opened if before == '"' else number
            elif char == '"':
                # A stray quote opens no cell.
                char = ""
            before = char
        if is_open:
            open_at = opened
    return open_at


def _has_joined_rows(row: Sequence[str], cells: Sequence[str], head: _Head) -> bool:
    """Check for a row with a wrong number of cells of which a line within a cell is a row itself."""
    size = len(head.columns)
    if len(cells) == size or size == 1:
        return False
    return any(line.count(head.delimiter) == size - 1 for line in row[1:-1])


def _make_open_quote_error(source: InputFile, lines: _LineReader, opened: int) -> ConfigError:
    line = lines.number - len(lines.row) + 1 + opened
    return ConfigError(
        f"{source.path}:{line}: not valid CSV: a quote opens here and its row has no clear end (read to"
        f" line {lines.number}); close it, and write a quote within a quoted cell twice"
    )


def _to_row(row: RawRow, cells: Sequence[str], head: _Head) -> RawRow | RowError:
    if len(cells) != len(head.columns):
        message = f"{row.place} has {format_plural(len(cells), 'cell')} and the head has {len(head.columns)}"
        message += (
            f"; quote cells that contain a {DELIMITER_NAMES.get(head.delimiter, 'delimiter')}"
        )
        return RowError(f"{message} or line ends", code="wrong_cell_count", row=row.number)
    for cell in cells:
        if problem := describe_bad_byte(cell):
            return RowError(f"{row.place}: {problem}", code="not_utf8", row=row.number)
    return row._replace(values=dict(zip(head.columns, cells, strict=True)))


def _read_head(source: InputFile, lines: _LineReader) -> _Head:
    first = next(lines, "")
    named = first.strip().strip('"')
    # Excel names the delimiter in a line before the head.
    if named[:4].lower() == "sep=" and len(named) <= 5:
        delimiter = named[4:] or "\t"
        first = next(lines, "")
    else:
        delimiter = _find_delimiter(first)
    lines.put_back(first)
    try:
        columns = next(csv.reader(lines, strict=True, delimiter=delimiter), list[str]())
    except csv.Error as e:
        raise ConfigError(f"{source.path}:{lines.number}: {_describe_csv_error(e)}") from e
    for column in columns:
        if problem := describe_bad_byte(column):
            raise ConfigError(f"{source.path}:1: {problem}")
    return _Head(require_column_names(f"{source.path}:{lines.number}", columns), delimiter)


def _find_delimiter(line: str) -> str:
    """Find the delimiter that gives the most known fields, then the most cells; default a comma."""
    cells: Counter[str] = Counter()
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader([line], delimiter=delimiter), list[str]())
        except csv.Error:
            continue
        fields = sum(name.strip().lower() in FIELDS for name in names)
        # A known name counts more than any number of columns.
        cells[delimiter] = 10_000 * fields + len(names)
    # `max` keeps the first of equal ones.
    return max(DELIMITERS, key=lambda d: cells[d])


def _describe_csv_error(e: csv.Error) -> str:
    if is_too_large(e):
        return f"a cell has more than {csv.field_size_limit()} characters; is a quote left open?"
    return f"not valid CSV ({e}); write a quote within a quoted cell twice"


def is_too_large(e: csv.Error) -> bool:
    """Check for a cell above `csv.field_size_limit()`; the module has no code for it, only text."""
    return "field larger" in str(e)
