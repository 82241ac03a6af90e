"""A user's files of prompts: their identity, and their rows as the files have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pydantic import Field, ValidationError

from safegen.core.arguments import (
    check_mapping,
    check_text,
    describe_argument,
    raise_user_errors,
)
from safegen.core.errors import ConfigError, StoreDamaged
from safegen.core.hashing import digest, file_sha256
from safegen.core.spelling import choose_spelling
from safegen.scenarios.user_prompts.arrow_rows import list_arrow_columns, read_arrow
from safegen.scenarios.user_prompts.cell_checks import find_name_problem
from safegen.scenarios.user_prompts.csv_rows import list_csv_columns, read_csv
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.input_files import (
    InputFile,
    find_files,
    list_names,
    translate_os_errors,
)
from safegen.scenarios.user_prompts.json_rows import list_json_keys, read_json
from safegen.scenarios.user_prompts.mapping import FieldColumn, parse_columns
from safegen.scenarios.user_prompts.raw_rows import RawRow, require_column_names
from safegen.store.json_files import StoredModel, describe_first

PromptPaths = str | Path | Sequence[str | Path]
"""A file, a folder of shards, a glob, or several of them."""


class StoredPrompts(StoredModel):
    """The key `prompts` of `recipe.json`."""

    file: str
    sha256: str
    columns: dict[str, str]
    licence: str | None
    drop_answer: bool = False
    skip_unreadable: bool = False
    paths: list[str] = Field(default_factory=list[str])
    """As the user named them; empty in runs of older versions."""


@dataclass(frozen=True, slots=True)
class UserPrompts:
    """Files of prompts that replace the taxonomy's sets."""

    name: str
    """Name of the file, folder or pattern without its folder."""
    sha256: str
    """SHA-256 of the file, or a digest of those of several files."""
    columns: tuple[FieldColumn, ...] = ()
    """The columns that the user names."""
    licence: str | None = None
    """Licence of the rows that name none."""
    files: tuple[InputFile, ...] = ()
    """Empty if a planned run continues without them."""
    drop_answer: bool = False
    """True if an answer at the end of `messages` is dropped."""
    skip_unreadable: bool = False
    """True if rows that cannot be read are listed, and the others are used."""
    paths: tuple[str, ...] = ()
    """The paths as the user named them, for a retry."""

    @property
    def shown(self) -> str:
        """The paths, for messages."""
        return list_names(self.files) or self.name

    @property
    def digest(self) -> str:
        """Digest that a resume compares."""
        parts: list[object] = [self.sha256, [list(pair) for pair in self.columns], self.licence]
        # Only options that are set count, so that a run of an older version resumes.
        return digest([*parts, *sorted(self._options())])

    def _options(self) -> dict[str, bool]:
        options = {"drop_answer": self.drop_answer, "skip_unreadable": self.skip_unreadable}
        return {name: True for name, is_set in options.items() if is_set}

    def with_options_of(self, stored: UserPrompts | None) -> UserPrompts:
        """Take the options that are not set from a run that was planned from the same files."""
        if stored is None or stored.sha256 != self.sha256:
            return self
        return replace(
            self,
            columns=self.columns or stored.columns,
            licence=stored.licence if self.licence is None else self.licence,
            drop_answer=self.drop_answer or stored.drop_answer,
            skip_unreadable=self.skip_unreadable or stored.skip_unreadable,
        )

    def to_snapshot(self) -> dict[str, object]:
        """Convert to the form that the snapshot stores."""
        return self.to_json() | ({"paths": list(self.paths)} if self.paths else {})

    def to_json(self) -> dict[str, object]:
        """Convert to the form that import report and manifest have, without paths."""
        return {
            "file": self.name,
            "sha256": self.sha256,
            "columns": dict(self.columns),
            "licence": self.licence,
            **self._options(),
        }

    @staticmethod
    def from_json(payload: object) -> UserPrompts | None:
        """Read the output of `to_snapshot`; None if the run was planned from the taxonomy.

        Raises:
            StoreDamaged: the payload has another form.
        """
        if payload is None:
            return None
        try:
            stored = StoredPrompts.model_validate(payload)
        except ValidationError as e:
            raise StoreDamaged(
                f"the run's `recipe.json`: `prompts` cannot be read: {describe_first(e, StoredPrompts)};"
                " restore it, or re-plan with `--replan`: cached replies are reused"
            ) from e
        return UserPrompts(
            stored.file,
            stored.sha256,
            tuple(FieldColumn(*pair) for pair in sorted(stored.columns.items())),
            stored.licence,
            drop_answer=stored.drop_answer,
            skip_unreadable=stored.skip_unreadable,
            paths=tuple(stored.paths),
        )

    def reopen(self) -> UserPrompts:
        """Find the files of a stored run again.

        Raises:
            ConfigError: a file is missing or changed, or the run is older and stores no paths.
        """
        if self.files:
            return self
        if not self.paths:
            raise ConfigError(f"`{self.name}`: the run does not store where the file is")
        found = open_prompts(self.paths)
        if found.sha256 != self.sha256:
            raise ConfigError(f"`{self.name}` has changed since the run was planned")
        return replace(self, files=found.files)


def _check_paths(paths: object) -> None:
    if not isinstance(paths, str | Path | list | tuple):
        raise TypeError(describe_argument("prompts", paths, "a path or a list of paths"))
    for path in () if isinstance(paths, str | Path) else cast("Sequence[object]", paths):
        if not isinstance(path, str | Path):
            raise TypeError(describe_argument("prompts: item", path, "a path"))


def _check_texts(name: str, *values: object) -> None:
    for value in values:
        # An empty text has a meaning or a message of its own.
        if not isinstance(value, str):
            check_text(name, value, optional=True)


def open_prompts(
    paths: PromptPaths,
    *,
    columns: Mapping[str, str | None] | None = None,
    licence: str | None = None,
    license: str | None = None,
    drop_answer: bool = False,
    skip_unreadable: bool = False,
) -> UserPrompts:
    """Check a user's files and compute their digest.

    Args:
        paths: a file, a folder of shards, a glob, or several of them. Formats are CSV, JSON lines, a
            JSON list, Parquet and Arrow; text can be compressed as gz or zst.
        columns: column by field, for columns that are not named like their fields; None leaves a
            field unread.
        licence: licence of the rows that name none.
        license: other spelling of `licence`.
        drop_answer: drop an answer at the end of `messages`.
        skip_unreadable: list rows that cannot be read, and use the others.

    Raises:
        ConfigError: a file is missing, in another format, too large or a git-lfs pointer; a field
            is unknown; the licence is not a name.
        UserError: both `licence` and `license` are given.
    """
    with raise_user_errors():
        _check_paths(paths)
        check_mapping("columns", columns, "a mapping: {'prompt': 'text'}")
        _check_texts("columns: column", *(columns or {}).values())
        _check_texts("licence", licence)
        _check_texts("license", license)
    licence = choose_spelling("licence", licence, license)
    names = [paths] if isinstance(paths, str | Path) else list(paths)
    if licence is not None and (problem := find_name_problem(licence)):
        raise ConfigError(f"`--licence` {problem}; write a short name, such as `CC-BY-4.0`")
    chosen = parse_columns(columns or {})
    files = find_files(names)
    if not files:
        raise ConfigError("`--prompts` names no file")
    if all(file.path.stat().st_size == 0 for file in files):
        raise ConfigError(f"{list_names(files)}: is empty; it needs rows with a `prompt`")
    digests: list[str] = []
    for file in files:
        with translate_os_errors(file.path):
            digests.append(file_sha256(file.path))
    sha256 = digests[0] if len(files) == 1 else digest(digests)
    shown = Path(names[0]).name if len(names) == 1 else _name_files(files)
    return UserPrompts(
        shown or str(names[0]),
        sha256,
        chosen,
        licence,
        files,
        drop_answer,
        skip_unreadable,
        tuple(str(name) for name in names),
    )


def _name_files(files: Sequence[InputFile]) -> str:
    more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
    return files[0].path.name + more


def list_columns(files: Iterable[InputFile]) -> list[str]:
    """List the columns of files in order; for JSON the keys of all rows.

    Raises:
        ConfigError: a file cannot be read, or two columns have one name.
    """
    columns: dict[str, None] = {}
    for file in files:
        columns |= dict.fromkeys(_list_file_columns(file))
        require_column_names(file.path, list(columns))
    return list(columns)


def _list_file_columns(file: InputFile) -> list[str]:
    # A shard without a byte has no rows.
    if file.path.stat().st_size == 0:
        return []
    if file.format == "csv":
        return list_csv_columns(file)
    return list_json_keys(file) if file.format == "json" else list_arrow_columns(file)


def read_rows(files: Iterable[InputFile], columns: Collection[str]) -> Iterator[RawRow | RowError]:
    """Yield the rows of files in order, and an error for each row that cannot be read.

    The numbers of the rows go on from file to file. One batch is in memory.

    Args:
        files: the files.
        columns: the columns to read; those that a file lacks are ignored.

    Raises:
        ConfigError: an error that ends the reading, with file and line.
    """
    wanted = frozenset(columns)
    before = 0
    for file in files:
        for row in _read_file(file, wanted, before):
            before = row.row if isinstance(row, RowError) else row.number
            yield row


def _read_file(
    file: InputFile, columns: frozenset[str], before: int
) -> Iterator[RawRow | RowError]:
    if file.path.stat().st_size == 0:
        return
    if file.format in ("parquet", "arrow"):
        yield from read_arrow(file, columns, before=before)
        return
    for row in (read_csv if file.format == "csv" else read_json)(file, before=before):
        if isinstance(row, RawRow):
            row = row._replace(values={k: v for k, v in row.values.items() if k in columns})
        yield row
