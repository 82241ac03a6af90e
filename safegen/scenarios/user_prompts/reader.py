"""The rows of a user's file (CSV, JSONL, Parquet), with cells exactly as the file has them.

CSV and JSONL are read by `csv` and `json` on purpose: polars 2.1 pads short rows, renames duplicate
columns, keeps the first of duplicate keys, turns a lone surrogate into NUL, and its errors have no
line.
"""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

from safegen.core.errors import ConfigError, StoreDamaged
from safegen.core.hashing import digest, file_sha256
from safegen.core.spelling import SpellingConflict, choose_spelling, other_spelling, unify_names
from safegen.core.suggestions import suggest_names
from safegen.scenarios.user_prompts.faults import FaultCollector, RowError
from safegen.store import parquet

FIELDS = (
    "prompt messages id harm intent evidence detail profile task language licence set goal "
    "benign_use misuse_risk"
).split()
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
# Bounds against a wrong file (a disk image, a database dump), far above any list of prompts.
MAX_BYTES = 4 * 2**30
MAX_LINE = 8 * 2**20
"""Characters of a line, at most."""
MAX_COLUMNS = 2_000
MAX_NAME = 200
"""Characters of an id, a licence, a set or a goal, at most."""
SNIFF_BYTES = 1 << 16
NAME_PROBLEM = f"is not one line of 1 to {MAX_NAME} printable characters; write a short name"


@dataclass(frozen=True, slots=True)
class UserPrompts:
    """A file of prompts that replaces the taxonomy's sets. A run stores all of it but the path."""

    name: str
    """Name of the file without its folder."""
    sha256: str
    columns: tuple[tuple[str, str], ...] = ()
    """Pairs of field and column with different names."""
    licence: str | None = None
    """Licence of the rows that name none."""
    path: Path | None = None
    """None if a planned run continues without the file."""

    @property
    def digest(self) -> str:
        """Digest that a resume compares."""
        return digest([self.sha256, [list(pair) for pair in self.columns], self.licence])

    @property
    def mapping(self) -> dict[str, str]:
        """Column by field."""
        return {name: name for name in FIELDS} | dict(self.columns)

    @property
    def spelled_columns(self) -> dict[str, str]:
        """Field by column with the field's other spelling, for fields without a column in `columns`."""
        renamed = dict(self.columns)
        names = [name for name in FIELDS if name not in renamed]
        others = {other: name for name in names if (other := other_spelling(name))}
        return {column: name for column, name in others.items() if column not in renamed.values()}

    def to_json(self) -> dict[str, object]:
        """Convert to the form that the snapshot stores."""
        return {
            "file": self.name,
            "sha256": self.sha256,
            "columns": dict(self.columns),
            "licence": self.licence,
        }

    @staticmethod
    def from_json(payload: object) -> UserPrompts | None:
        """Read the output of `to_json`; None if the run was planned from the taxonomy.

        Raises:
            StoreDamaged: the payload has another form.
        """
        if payload is None:
            return None
        try:
            fields = cast("dict[str, object]", payload)
            columns = cast("dict[str, str]", fields["columns"])
            licence = cast("str | None", fields["licence"])
            pairs = tuple(sorted(columns.items()))
            return UserPrompts(str(fields["file"]), str(fields["sha256"]), pairs, licence)
        except (KeyError, TypeError, AttributeError) as e:
            raise StoreDamaged(
                "key `prompts` in the run's `recipe.json` is damaged; start over with `--replan`"
            ) from e


class RawRow(NamedTuple):
    """A row as the file has it."""

    number: int
    """Number of the row, from 1; the head and blank lines do not count."""
    place: str
    """File, line (not in Parquet) and row, for messages."""
    values: Mapping[str, object]
    """Cell by column."""


def open_prompts(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    licence: str | None = None,
    license: str | None = None,
) -> UserPrompts:
    """Check a user's file and compute its digest.

    Args:
        path: a file that ends in `.csv`, `.jsonl`, `.ndjson` or `.parquet`.
        columns: column by field, for columns that are not named like their fields.
        licence: licence of the rows that name none.
        license: other spelling of `licence`.

    Raises:
        ConfigError: the file is missing, in another format, too large or a git-lfs pointer; a field
            is unknown; the licence is not a name.
        UserError: both `licence` and `license` are given.
    """
    file = Path(path)
    licence = choose_spelling("licence", licence, license)
    if licence is not None and not is_printable_name(licence):
        raise ConfigError(f"`--licence` {NAME_PROBLEM}, such as `CC-BY-4.0`")
    try:
        fields = unify_names(columns or {}, FIELDS)
    except SpellingConflict as e:
        raise ConfigError(f"`--column`: {e}") from e
    for name in fields.values():
        if name not in FIELDS:
            raise ConfigError(f"`{name[:60]}` is not a field{suggest_names(name, FIELDS)}")
    _check_file(file)
    renamed = tuple(sorted((fields[f], c) for f, c in (columns or {}).items() if fields[f] != c))
    with _translate_os_errors(file):
        return UserPrompts(file.name, file_sha256(file), renamed, licence, file)


def is_printable_name(text: str) -> bool:
    """Check that a text is one line of printable characters, not blank and not too long."""
    return bool(text.strip()) and text.isprintable() and len(text) <= MAX_NAME


def _check_file(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: unknown format; prompt files end in {', '.join(f'`{s}`' for s in SUFFIXES)}"
        )
    if "\0" in str(path):  # `stat` raises a ValueError for it
        raise ConfigError(f"{path}: cannot be read (the path contains a NUL byte)")
    with _translate_os_errors(path):
        stats = path.stat()
        # Opening a pipe would block, and a device may be endless.
        if not stat.S_ISREG(stats.st_mode):
            raise ConfigError(f"{path}: is not a regular file; name one")
        with path.open("rb") as file:
            head = file.read(SNIFF_BYTES)
    if stats.st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 2**30} GiB; split it")
    if parquet.is_lfs_pointer(path):
        raise ConfigError(f"{path}: is a git-lfs pointer, not data; run `git lfs pull`")
    if not head:
        raise ConfigError(f"{path}: is empty; it needs rows with a `prompt`")
    _check_head(path, head)


def _check_head(path: Path, head: bytes) -> None:
    """Reject a file whose content does not match its suffix."""
    is_parquet = head[:4] == b"PAR1"
    if path.suffix.lower() == ".parquet":
        if not is_parquet:
            raise ConfigError(f"{path}: is not Parquet; give it the suffix of its format")
    elif is_parquet:
        raise ConfigError(f"{path}: is Parquet; name it `.parquet`")
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: is UTF-16; save the file as UTF-8")
    elif b"\0" in head:
        raise ConfigError(f"{path}: contains NUL bytes and is not text; save it as UTF-8 text")


def list_columns(path: Path) -> list[str]:
    """List the columns of a file in order; for JSONL the keys of all rows.

    Raises:
        ConfigError: the file cannot be read, or two columns have one name.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        with _translate_parquet_errors(path):
            names = list(parquet.read_schema(path).names)
        return _require_distinct(path, names)
    if kind == ".csv":
        with _open_text(path, newline="") as file:
            return _read_header(path, csv.reader(_iter_lines(path, file), strict=True))
    keys: dict[str, None] = {}
    faults = FaultCollector()  # `read_rows` reports them again, unless no row can be read
    for raw in _read_jsonl(path, faults):
        keys.update(dict.fromkeys(raw.values))
        if len(keys) > MAX_COLUMNS:
            raise ConfigError(f"{raw.place}: the file has more than {MAX_COLUMNS} different keys")
    if not keys:
        faults.raise_any()
    return list(keys)


def read_rows(path: Path, columns: Collection[str], *, faults: FaultCollector) -> Iterator[RawRow]:
    """Yield the rows of a file in order, with one batch in memory.

    Args:
        path: the file.
        columns: the columns to read; those that the file lacks are ignored.
        faults: collects the errors of single rows, which are skipped.

    Raises:
        ConfigError: an error that ends the reading, with file and line.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _read_parquet(path, columns)
        return
    for raw in _read_csv(path, faults) if kind == ".csv" else _read_jsonl(path, faults):
        yield raw._replace(values={k: v for k, v in raw.values.items() if k in columns})


def _read_csv(path: Path, faults: FaultCollector) -> Iterator[RawRow]:
    with _open_text(path, newline="") as file:
        reader = csv.reader(_iter_lines(path, file), strict=True)
        head = _read_header(path, reader)
        number = 0
        try:
            for cells in reader:
                if not cells:  # a blank line
                    continue
                number += 1
                place = f"{path}:{reader.line_num}: row {number}"
                if len(cells) == len(head):
                    yield RawRow(number, place, dict(zip(head, cells, strict=True)))
                    continue
                message = f"{place} has {len(cells)} cells and the head has {len(head)}"
                message += "; quote cells that contain commas or line ends"
                faults.add(RowError(message, code="wrong_cell_count"))
        except csv.Error as e:
            raise ConfigError(f"{path}:{reader.line_num}: {_describe_csv_error(e)}") from e


def _read_header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        return _require_distinct(path, next(reader, list[str]()))
    except csv.Error as e:
        raise ConfigError(f"{path}:1: {_describe_csv_error(e)}") from e


def _describe_csv_error(e: csv.Error) -> str:
    if is_too_large(e):
        return f"a cell has more than {csv.field_size_limit()} characters; is a quote left open?"
    return f"not valid CSV ({e}); write a quote within a quoted cell twice"


def is_too_large(e: csv.Error) -> bool:
    """Check for a cell above `csv.field_size_limit()`; the module has no code for it, only text."""
    return "field larger" in str(e)


def _read_jsonl(path: Path, faults: FaultCollector) -> Iterator[RawRow]:
    number = 0
    # Only a line feed ends a line; universal newlines would split at a lone CR, too.
    with _open_text(path, newline="\n") as file:
        for line_number, line in enumerate(_iter_lines(path, file), 1):
            if not line.strip():
                continue
            number += 1
            place = f"{path}:{line_number}: row {number}"
            try:
                value = json.loads(line, object_pairs_hook=_to_object)
            except (ValueError, RecursionError) as e:
                reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
                message = f"{place} is not valid JSON ({reason}); fix that line"
                faults.add(RowError(message, code="invalid_json"))
                continue
            if not isinstance(value, dict):
                message = f"{place} is not a JSON object; write one object on each line"
                faults.add(RowError(message, code="not_an_object"))
                continue
            yield RawRow(number, place, cast("dict[str, object]", value))


def _to_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"key `{duplicate[:60]}` appears twice")
    return value


def _read_parquet(path: Path, columns: Collection[str]) -> Iterator[RawRow]:
    names = [name for name in list_columns(path) if name in columns]
    number = 0
    with _translate_parquet_errors(path):
        for batch in parquet.read_batches(path, names):
            for row in batch:
                number += 1
                yield RawRow(number, f"{path}: row {number}", row)


def _require_distinct(path: Path, names: list[str]) -> list[str]:
    for name in names:
        if name and names.count(name) > 1:
            raise ConfigError(f"{path}: column `{name[:60]}` appears twice; rename one")
    return names


@contextmanager
def _translate_parquet_errors(path: Path) -> Generator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (StoreDamaged, ValueError) as e:  # ValueError: bytes that are not UTF-8
        reason = str(e.__cause__ or e).splitlines()[0][:160]
        raise ConfigError(f"{path}: is not readable Parquet ({reason}); write it again") from e


@contextmanager
def _translate_os_errors(path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({(e.strerror or str(e)).lower()})") from e


@contextmanager
def _open_text(path: Path, *, newline: str) -> Generator[IO[str]]:
    with _translate_os_errors(path), path.open(encoding="utf-8-sig", newline=newline) as file:
        yield file


def _iter_lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Yield lines of bounded length, so that a binary file cannot fill the memory."""
    line_number = 0
    while True:
        line_number += 1
        try:
            line = file.readline(MAX_LINE)
        except UnicodeDecodeError as e:
            byte = e.object[e.start]
            raise ConfigError(
                f"{path}: byte 0x{byte:02x} near line {line_number} is not UTF-8; save the file as"
                " UTF-8"
            ) from e
        if not line:
            return
        if len(line) == MAX_LINE:
            raise ConfigError(f"{path}:{line_number}: line is longer than {MAX_LINE} characters")
        yield line
