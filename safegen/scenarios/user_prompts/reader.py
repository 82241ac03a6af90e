"""A user's file of prompts (CSV, JSONL, Parquet) → its rows as they stand there.

Nothing is stripped or normalised: what a cell holds is what a row holds. What a row means is read
in `read_rows`.
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
from safegen.core.yaml_source import suggest_names
from safegen.scenarios.user_prompts._faults import FaultCollector, RowError, RowFault
from safegen.store import parquet

FIELDS = (
    "prompt messages id harm intent evidence detail profile task language licence set goal "
    "benign_use misuse_risk"
).split()
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
MAX_BYTES = 4 * 2**30
MAX_LINE = 8 * 2**20
"""Characters of one line."""
MAX_COLUMNS = 2_000
MAX_NAME = 200
"""Characters of an id, a licence, a set or a goal."""
SNIFF_BYTES = 1 << 16
NAME_PROBLEM = f"is not one line of 1 to {MAX_NAME} printable characters; write a short name"
"""What is wrong with a name, and what mends it."""


@dataclass(frozen=True, slots=True)
class UserPrompts:
    """A file of prompts in place of a taxonomy's sets. A run keeps all of it but the path."""

    name: str
    """Of the file, without its folder."""
    sha256: str
    columns: tuple[tuple[str, str], ...] = ()
    """Field and column, where they have different names."""
    licence: str | None = None
    """Of every row that names none."""
    path: Path | None = None
    """None where a run that is planned already goes on without the file."""

    @property
    def digest(self) -> str:
        """What a run compares when it resumes."""
        return digest([self.sha256, [list(pair) for pair in self.columns], self.licence])

    @property
    def mapping(self) -> dict[str, str]:
        """Column by field."""
        return {name: name for name in FIELDS} | dict(self.columns)

    def to_json(self) -> dict[str, object]:
        """What a run keeps of it."""
        return {
            "file": self.name,
            "sha256": self.sha256,
            "columns": dict(self.columns),
            "licence": self.licence,
        }

    @staticmethod
    def from_json(payload: object) -> UserPrompts | None:
        """What `frozen` gave, read back; None where a run was planned from the taxonomy.

        Raises:
            StoreDamaged: it is something else.
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
                "`recipe.json` of the run says of its `prompts` what no safegen writes; start over"
                " with `--replan`"
            ) from e


class RawRow(NamedTuple):
    """A row as the file has it."""

    number: int
    """From 1, the head and blank lines not counted."""
    place: str
    """File, line where there are lines, and row: for messages."""
    values: Mapping[str, object]
    """By column."""


def open_prompts(
    path: str | Path, *, columns: Mapping[str, str] | None = None, licence: str | None = None
) -> UserPrompts:
    """Take a file that a user names; it is read once, for its digest.

    Args:
        path: ends in `.csv`, `.jsonl`, `.ndjson` or `.parquet`.
        columns: column by field, for columns that are not named like their fields.
        licence: of every row that names none.

    Raises:
        ConfigError: no such file, another format, too large, a git-lfs pointer, no such field, a
            licence that is no name.
    """
    file = Path(path)
    if licence is not None and not is_printable_name(licence):
        raise ConfigError(f"`--licence` {NAME_PROBLEM}, such as `CC-BY-4.0`")
    for name in columns or {}:
        if name not in FIELDS:
            raise ConfigError(f"`{name[:60]}` is not a field{suggest_names(name, FIELDS)}")
    _check_file(file)
    renamed = tuple(sorted((f, c) for f, c in (columns or {}).items() if f != c))
    try:
        return UserPrompts(file.name, file_sha256(file), renamed, licence, file)
    except OSError as e:
        raise ConfigError(f"{file}: cannot be read ({(e.strerror or str(e)).lower()})") from e


def is_printable_name(text: str) -> bool:
    """Whether a text is one line of printable characters, and neither blank nor long."""
    return bool(text.strip()) and text.isprintable() and len(text) <= MAX_NAME


def _check_file(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: prompts are read from files that end in {', '.join(f'`{s}`' for s in SUFFIXES)}"
        )
    try:
        stats = path.stat()
        if not stat.S_ISREG(stats.st_mode):
            raise ConfigError(f"{path}: is not a regular file; name one")
        with path.open("rb") as file:
            head = file.read(SNIFF_BYTES)
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise ConfigError(f"{path}: cannot be read ({reason.lower()})") from e
    if stats.st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 2**30} GiB; split it")
    if parquet.is_lfs_pointer(path):
        raise ConfigError(f"{path}: is a git-lfs pointer, not data; run `git lfs pull`")
    if not head:
        raise ConfigError(f"{path}: is empty; it needs rows with a `prompt`")
    _check_head(path, head)


def _check_head(path: Path, head: bytes) -> None:
    """Tell a file apart that is not what its name says."""
    is_parquet = head[:4] == b"PAR1"
    if path.suffix.lower() == ".parquet":
        if not is_parquet:
            raise ConfigError(f"{path}: is not Parquet; name it by what it is")
    elif is_parquet:
        raise ConfigError(f"{path}: is Parquet; name it `.parquet`")
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: is UTF-16; save the file as UTF-8")
    elif b"\0" in head:
        raise ConfigError(f"{path}: holds NUL bytes and is no text; save it as UTF-8 text")


def list_columns(path: Path) -> list[str]:
    """Every column of a file, in its order; for JSONL the keys of all its rows.

    Raises:
        ConfigError: the file cannot be read, or a column stands twice.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        with _translate_errors(path):
            names = list(parquet.read_schema(path).names)
        return _require_distinct(path, names)
    if kind == ".csv":
        with _open_text(path, newline="") as file:
            return _read_header(path, csv.reader(_iter_lines(path, file), strict=True))
    seen_names: dict[str, None] = {}
    faults = FaultCollector()  # told when the rows are read, unless none can be
    for raw in _read_jsonl(path, faults):
        seen_names.update(dict.fromkeys(raw.values))
        if len(seen_names) > MAX_COLUMNS:
            raise ConfigError(f"{raw.place}: there are more than {MAX_COLUMNS} different keys")
    if not seen_names:
        faults.raise_any()
    return list(seen_names)


def read_rows(
    path: Path, wanted: Collection[str], *, faults: FaultCollector | None = None
) -> Iterator[RawRow]:
    """The rows of a file in order, one batch in memory.

    Args:
        path: the file.
        wanted: columns that are read; those that the file lacks are left out.
        faults: takes the mistakes of single rows, which are left out; the first is raised without it.

    Raises:
        ConfigError: with file and row; with `faults`, what ends the reading.
    """
    kind = path.suffix.lower()
    every = _read_parquet(path, wanted) if kind == ".parquet" else None
    every = every or (_read_csv(path, faults) if kind == ".csv" else _read_jsonl(path, faults))
    for raw in every:
        yield raw._replace(values={k: v for k, v in raw.values.items() if k in wanted})


def _report_fault(faults: FaultCollector | None, code: RowFault, message: str) -> None:
    error = RowError(message, code=code)
    if faults is None:
        raise error
    faults.add(error)


def _read_csv(path: Path, faults: FaultCollector | None) -> Iterator[RawRow]:
    with _open_text(path, newline="") as file:
        reader = csv.reader(_iter_lines(path, file), strict=True)
        try:
            head = _read_header(path, reader)
            number = 0
            for cells in reader:
                if not cells:
                    continue
                number += 1
                place = f"{path}:{reader.line_num}: row {number}"
                if len(cells) != len(head):
                    message = f"{place} has {len(cells)} cells and the head has {len(head)};"
                    problem = f"{message} quote cells that hold commas or line ends"
                    _report_fault(faults, "wrong_cell_count", problem)
                    continue
                yield RawRow(number, place, dict(zip(head, cells, strict=True)))
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
    return f"not valid CSV ({e}); a quote within a quoted cell is written twice"


def is_too_large(e: csv.Error) -> bool:
    """Tell whether a cell is larger than `csv` reads; the module has no code for it, so its text is matched."""
    return "field larger" in str(e)


def _read_jsonl(path: Path, faults: FaultCollector | None = None) -> Iterator[RawRow]:
    number = 0
    # A line ends at a line feed alone: JSON has no other within a value.
    with _open_text(path, newline="\n") as file:
        for at, line in enumerate(_iter_lines(path, file), 1):
            if not line.strip():
                continue
            number += 1
            place = f"{path}:{at}: row {number}"
            try:
                value = json.loads(line, object_pairs_hook=_to_object)
            except (ValueError, RecursionError) as e:
                message = "nested too deeply" if isinstance(e, RecursionError) else str(e)
                problem = f"{place} is not valid JSON ({message}); mend that line"
                _report_fault(faults, "invalid_json", problem)
                continue
            if not isinstance(value, dict):
                message = f"{place} is not a JSON object; write one object on each line"
                _report_fault(faults, "not_an_object", message)
                continue
            yield RawRow(number, place, cast("dict[str, object]", value))


def _to_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"key `{twice[:60]}` stands twice")
    return made


def _read_parquet(path: Path, wanted: Collection[str]) -> Iterator[RawRow]:
    names = [name for name in list_columns(path) if name in wanted]
    number = 0
    with _translate_errors(path):
        for batch in parquet.read_batches(path, names):
            for row in batch:
                number += 1
                yield RawRow(number, f"{path}: row {number}", row)


def _require_distinct(path: Path, names: list[str]) -> list[str]:
    for name in names:
        if name and names.count(name) > 1:
            raise ConfigError(f"{path}: column `{name[:60]}` stands twice; rename one")
    return names


@contextmanager
def _translate_errors(path: Path) -> Generator[None]:
    """Say what is wrong with a user's Parquet in a user's words."""
    try:
        yield
    except ConfigError:
        raise
    except (StoreDamaged, ValueError) as e:  # ValueError: bytes that are not UTF-8
        message = str(e.__cause__ or e).splitlines()[0][:160]
        raise ConfigError(f"{path}: is not readable Parquet ({message}); write it anew") from e


@contextmanager
def _open_text(path: Path, *, newline: str) -> Generator[IO[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({(e.strerror or str(e)).lower()})") from e


def _iter_lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Lines of bounded length."""
    at = 0
    while True:
        at += 1
        try:
            line = file.readline(MAX_LINE)
        except UnicodeDecodeError as e:
            byte = e.object[e.start]
            raise ConfigError(
                f"{path}: byte 0x{byte:02x} near line {at} is not UTF-8; save the file as UTF-8"
            ) from e
        if not line:
            return
        if len(line) == MAX_LINE:
            raise ConfigError(f"{path}:{at}: the line is longer than {MAX_LINE} characters")
        yield line
