"""The answers that `score` reads: files, rows in memory, and dataset folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, cast, runtime_checkable

from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Knowledge
from safegen.pipeline.answer_checks import AnswerChecker, AnsweredPrompt
from safegen.pipeline.validator_rewards import NO_KNOWLEDGE
from safegen.scenarios.user_prompts.answer_rows import (
    AnswerLabels,
    choose_answer_columns,
    read_answer,
)
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.input_files import find_files, list_names
from safegen.scenarios.user_prompts.raw_rows import RawRow
from safegen.scenarios.user_prompts.reader import list_columns, read_rows
from safegen.store import plan
from safegen.store.run_folder import RunFolder


@runtime_checkable
class RowFrame(Protocol):
    """A data frame of polars."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        ...

    def iter_rows(self, *, named: Literal[True]) -> Iterator[Mapping[str, object]]:
        """Iterate over the rows as mappings."""
        ...


AnswerPath = str | Path
AnswerRows = RowFrame | Iterable[Mapping[str, object]]
"""Rows in memory: a polars frame, or mappings of column to value."""


class AnswerBatch(NamedTuple):
    """Answers that are checked together."""

    answers: tuple[AnsweredPrompt, ...]
    is_set: bool = False
    """True for all drafts of a set, which validators of sets can compare."""


class AnswerSource(Protocol):
    """A source of answers."""

    @property
    def columns(self) -> list[str] | None:
        """The columns that groups may name; None if every row may have others."""
        ...

    def iter_batches(self, checker: AnswerChecker) -> Iterator[AnswerBatch | RowError]:
        """Yield the answers in order, and an error for each row that cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows of files or of memory."""

    rows: Iterable[RawRow | RowError]
    fields: Mapping[str, str]
    """Column by field."""
    columns: list[str] | None
    common: AnswerLabels

    def iter_batches(self, checker: AnswerChecker) -> Iterator[AnswerBatch | RowError]:
        """Yield one answer per batch."""
        for raw in self.rows:
            if isinstance(raw, RowError):
                yield raw
                continue
            try:
                row = read_answer(raw, self.fields)
                _refuse_two_modes(raw, row.labels, self.common)
            except RowError as e:
                yield e
                continue
            yield AnswerBatch((checker.make_answer(row, common=self.common),))


def _refuse_two_modes(raw: RawRow, labels: AnswerLabels, common: AnswerLabels) -> None:
    if labels.mode is not None and common.mode is not None:
        raise RowError(
            f"{raw.place}: has a `mode`, and `--mode` sets one; leave the column unread with"
            " `--column mode=`",
            code="two_spellings",
            row=raw.number,
        )


@dataclass(frozen=True, slots=True)
class RecordSource:
    """The drafts of a run, with the knowledge of their plan."""

    folder: RunFolder

    @property
    def columns(self) -> list[str] | None:
        """Any column of a record; unknown ones are empty."""
        return None

    def iter_batches(self, checker: AnswerChecker) -> Iterator[AnswerBatch | RowError]:
        """Yield the drafts of one set per batch."""
        number = 0
        plans = plan.Plans(self.folder.plans) if self.folder.plan(0).exists() else None
        for shard in self.folder.finished_shards():
            knowledge: dict[str, Knowledge] = {}
            if plans is not None and shard < plans.shards:
                knowledge = {p.scenario.scenario_id: p.knowledge for p in plans.read(shard)}
            path = self.folder.records(shard)
            records = self.folder.read_records(shard)
            for _, set_ in groupby(records, key=lambda r: r.scenario.set_id):
                answers = [
                    checker.make_record_answer(
                        record,
                        number=number + i,
                        place=f"{path}: row {number + i}",
                        knowledge=knowledge.get(record.scenario.scenario_id, NO_KNOWLEDGE),
                    )
                    for i, record in enumerate(set_, start=1)
                ]
                number += len(answers)
                yield AnswerBatch(tuple(answers), is_set=True)


def open_path(
    path: AnswerPath, *, fields: Mapping[str, str | None], common: AnswerLabels
) -> AnswerSource:
    """Open a file, a folder of shards, a glob, or a dataset folder.

    Raises:
        ConfigError: there is no such file, or it has no answers.
    """
    folder = RunFolder(Path(path))
    if folder.snapshot_path.exists():
        if fields or common != AnswerLabels():
            raise ConfigError(
                f"`{path}` is a run of safegen, whose records have all labels; leave out `--column`,"
                " `--mode` and `--language`"
            )
        return RecordSource(folder)
    if (Path(path) / "manifest.json").is_file():
        return _open_dataset(Path(path), fields=fields, common=common)
    return _open_files([path], str(path), fields=fields, common=common)


def _open_dataset(
    path: Path, *, fields: Mapping[str, str | None], common: AnswerLabels
) -> AnswerSource:
    """Open the first view of a dataset whose rows have an answer."""
    problems: list[str] = []
    for view in sorted((path / "data").glob("*/")):
        files = sorted(view.glob("*/*.parquet"))
        try:
            return _open_files(files, str(view), fields=fields, common=common)
        except ConfigError as e:
            problems.append(str(e))
    raise ConfigError(
        "\n".join(problems) or f"{path}: has no view with answers under `data/`; build it again"
    )


def _open_files(
    names: Sequence[AnswerPath],
    shown: str,
    *,
    fields: Mapping[str, str | None],
    common: AnswerLabels,
) -> AnswerSource:
    files = find_files(names)
    known = list_columns(files)
    shown = list_names(files) or shown
    if not known:
        raise ConfigError(f"{shown}: has no rows; it needs `messages`, or `prompt` and `response`")
    chosen = choose_answer_columns(fields, known, shown=shown)
    if common.mode is not None and "mode" in chosen:
        raise ConfigError(
            f"{shown}: has a column `mode`, and `--mode` sets one; leave the column unread with"
            " `--column mode=`"
        )
    return RowSource(read_rows(files, known), chosen, known, common)


def open_rows(
    rows: object, *, fields: Mapping[str, str | None], common: AnswerLabels
) -> AnswerSource:
    """Open rows in memory.

    Raises:
        UserError: they are neither a polars frame nor mappings.
    """
    if isinstance(rows, RowFrame):
        known = list(rows.columns)
        chosen = choose_answer_columns(fields, known, shown="the frame")
        return RowSource(_number(rows.iter_rows(named=True)), chosen, known, common)
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise UserError(
            f"the rows are of type `{type(cast('object', rows)).__name__}`; give a polars frame, an iterable of"
            " mappings, or a path"
        )
    chosen = choose_answer_columns(fields, None, shown="the rows")
    return RowSource(_number(cast("Iterable[object]", rows)), chosen, None, common)


def _number(rows: Iterable[object]) -> Iterator[RawRow | RowError]:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Mapping):
            yield RawRow(number, f"row {number}", cast("Mapping[str, object]", row))
        else:
            message = f"row {number}: is not a mapping but `{type(row).__name__}`"
            yield RowError(message, code="not_an_object", row=number)
