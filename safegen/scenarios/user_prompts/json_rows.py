"""The rows of JSON: an object on each line, or a document with a list of objects.

`json` reads them on purpose: polars 2.1 keeps the first of duplicate keys and turns a lone surrogate into
NUL, and its errors have no line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import NoReturn, cast

from safegen.core.errors import ConfigError
from safegen.core.strict_json import refuse_repeated_keys
from safegen.scenarios.user_prompts.conversations import is_turn
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.input_files import InputFile
from safegen.scenarios.user_prompts.mapping import FIELDS
from safegen.scenarios.user_prompts.raw_rows import MAX_COLUMNS, RawRow
from safegen.scenarios.user_prompts.text_stream import (
    MAX_LINE,
    SNIFF_BYTES,
    TextLine,
    describe_bad_byte,
    iter_lines,
    open_text,
)

SPACE = " \t\r\n"
MAX_DIGITS = 40
"""Digits of an integer, at most; a UUID has 39 as a number."""


def list_json_keys(source: InputFile) -> list[str]:
    """List the keys of all rows of a file in order.

    Raises:
        ConfigError: the file cannot be read, or no row can be read.
    """
    keys: dict[str, None] = {}
    first: RowError | None = None
    for row in read_json(source):
        if isinstance(row, RowError):
            first = first or row
            continue
        keys.update(dict.fromkeys(row.values))
        if len(keys) > MAX_COLUMNS:
            raise ConfigError(f"{row.place}: the file has more than {MAX_COLUMNS:,} different keys")
    if first is not None and not keys:
        raise first
    return list(keys)


def read_json(source: InputFile, *, before: int = 0) -> Iterator[RawRow | RowError]:
    """Yield the rows of a file, and an error for each row that cannot be read.

    Args:
        source: the file.
        before: number of the rows in the files before.

    Raises:
        ConfigError: an error that ends the reading.
    """
    # Only a line feed ends a line; universal newlines would split at a lone CR, too.
    with open_text(source, newline="\n") as file:
        is_document = _starts_document(source, file.read(SNIFF_BYTES))
    with open_text(source, newline="\n") as file:
        if is_document:
            yield from _read_document(_Document(source, file), before)
            return
        lines = (line for line in iter_lines(source, file) if line.text.strip())
        for number, line in enumerate(lines, before + 1):
            yield _parse_line(source, line, number)


def _starts_document(source: InputFile, head: str) -> bool:
    """Decide by its head whether a file is one document and not a row on each line."""
    lines = [line for line in head.split("\n", 20) if line.strip()][:2]
    text = lines[0].strip() if lines else ""
    if not text.startswith("{"):
        return text.startswith("[")
    if len(lines) == 1:
        # One line, or the start of one: a row, or an object around a list of rows.
        return source.format_suffix == ".json"
    return text[-1] in "{[,"


def _parse_line(source: InputFile, line: TextLine, number: int) -> RawRow | RowError:
    place = f"{source.path}:{line.number}: row {number}"
    try:
        value = _DECODER.decode(line.text)
    except (ValueError, RecursionError) as e:
        # A byte that is not UTF-8 is often the reason of the syntax error.
        if problem := describe_bad_byte(line.text):
            return RowError(f"{place}: {problem}", code="not_utf8", row=number)
        reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
        message = f"{place} is not valid JSON ({reason}); fix that line"
        return RowError(message, code="invalid_json", row=number)
    if problem := describe_bad_byte(line.text):
        return RowError(f"{place}: {problem}", code="not_utf8", row=number)
    return _to_row(place, value, number)


def _to_row(place: str, value: object, number: int) -> RawRow | RowError:
    if not isinstance(value, dict):
        message = f"{place} is not a JSON object; write one object for each row"
        return RowError(message, code="not_an_object", row=number)
    return RawRow(number, place, cast("dict[str, object]", value))


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; write an id as text")
    return int(digits)


# Made once: `json.loads` makes a decoder for each call with a hook.
_DECODER = json.JSONDecoder(object_pairs_hook=refuse_repeated_keys, parse_int=_parse_integer)


class _Document:
    """A JSON document of which one value at a time is in memory."""

    def __init__(self, source: InputFile, file: io.TextIOWrapper) -> None:
        self.source, self.line = source, 1
        self._file = file
        self._text, self._position = "", 0

    def peek(self) -> str:
        """Return the next character that is not a space; empty at the end."""
        while True:
            while self._position < len(self._text) and self._text[self._position] in SPACE:
                self._move(1)
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                return ""

    def take(self, *expected: str) -> str:
        """Consume the next character, which must be one of the expected ones."""
        character = self.peek()
        if character not in expected or not character:
            names = " or ".join(f"`{c}`" for c in expected)
            shown = f"`{character}`" if character else "the end of the file"
            self.fail(f"expected {names}, not {shown}")
        self._move(1)
        return character

    def take_value(self) -> object:
        """Consume the next value, of at most `MAX_LINE` characters."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except RecursionError:
                self.fail("nested too deeply")
            except json.JSONDecodeError as e:
                # The value may go on in text that is not read yet.
                if len(self._text) - self._position > MAX_LINE:
                    self._move(e.pos - self._position)
                    self.fail(f"{e.msg}, and a value has at most {MAX_LINE} characters")
                if not self._read_more():
                    self._move(min(e.pos, len(self._text)) - self._position)
                    self.fail(e.msg)
                continue
            except ValueError as e:
                self.fail(str(e))
            # The digits of a number may go on.
            if end < len(self._text) or not self._read_more():
                self._move(end - self._position)
                return cast("object", value)

    def fail(self, problem: str) -> NoReturn:
        """Raise an error with the position."""
        raise ConfigError(f"{self.source.path}:{self.line}: not valid JSON ({problem}); fix it")

    def _move(self, count: int) -> None:
        self.line += self._text.count("\n", self._position, self._position + count)
        self._position += count

    def _read_more(self) -> bool:
        """Double the waiting text, so that retries cost no more than reading it."""
        self._text, self._position = self._text[self._position :], 0
        try:
            more = self._file.read(max(len(self._text), SNIFF_BYTES))
        except UnicodeDecodeError:
            self.fail("bytes that are not UTF-16")
        if problem := describe_bad_byte(more):
            raise ConfigError(f"{self.source.path}: {problem}")
        self._text += more
        return bool(more)


def _read_document(document: _Document, number: int) -> Iterator[RawRow | RowError]:
    """Yield the rows of a list, or of each object: itself, or those of a list in it."""
    while character := document.peek():
        rows = _iter_list(document) if character == "[" else _iter_object(document)
        for line, value in rows:
            number += 1
            yield _to_row(f"{document.source.path}:{line}: row {number}", value, number)


def _iter_list(document: _Document) -> Iterator[tuple[int, object]]:
    document.take("[")
    if document.peek() == "]":
        document.take("]")
        return
    while True:
        document.peek()
        line = document.line
        yield line, document.take_value()
        if document.take(",", "]") == "]":
            return


def _is_row(value: object) -> bool:
    return isinstance(value, dict) and not is_turn(cast("object", value))


def _iter_object(document: _Document) -> Iterator[tuple[int, object]]:
    document.take("{")
    line, values, name_of_rows = document.line, dict[str, object](), ""
    is_empty = document.peek() == "}"
    if is_empty:
        document.take("}")
    while not is_empty:
        name = document.take_value()
        if not isinstance(name, str):
            document.fail("a key is not text")
        document.take(":")
        if name in values or name == name_of_rows:
            document.fail(f"key `{name[:60]}` appears twice")
        # A list under the name of a field, such as `messages`, is a cell and no list of rows.
        if document.peek() == "[" and str(name) not in FIELDS:
            rows = _iter_list(document)
            first = next(rows, None)
            if first is not None and _is_row(first[1]):
                if name_of_rows:
                    document.fail(f"`{name_of_rows}` and `{name}` are both lists of rows; keep one")
                name_of_rows = str(name)
                yield first
                yield from rows
            else:
                values[str(name)] = [v for _, v in ([first] if first else [])] + [
                    v for _, v in rows
                ]
        else:
            values[str(name)] = document.take_value()
        is_empty = document.take(",", "}") == "}"
    if not name_of_rows and values:
        yield line, values
