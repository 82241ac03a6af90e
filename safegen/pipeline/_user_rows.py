"""The import of a user's file: rows become scenarios, and a report counts and lists the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from safegen.core.errors import ConfigError
from safegen.core.personal_data import mask_personal_data
from safegen.core.types import Evidence, Failure, Intent, PlannedScenario, Profile, Scenario
from safegen.dataset.curation.exact_duplicates import ExpectationIndex, digest_64, message_key
from safegen.judges.user_prompt_labels import BlindLabels, LabelRequest, make_label_failure
from safegen.pipeline._row_spool import RowSpool
from safegen.pipeline.resolve import ResolvedRecipe
from safegen.scenarios.context import IN_DANGER, PlanningContext
from safegen.scenarios.user_prompts.file_profile import FileProfile
from safegen.scenarios.user_prompts.mapping import ColumnMap
from safegen.scenarios.user_prompts.plan_rows import RowLabels, allowed_profiles, plan_row
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.scenarios.user_prompts.redaction import redact_row
from safegen.scenarios.user_prompts.resolve_labels import (
    LABELS,
    ExcludedRow,
    Unlabelled,
    UnlabelledCause,
    check_row,
    resolve_labels,
)
from safegen.scenarios.user_prompts.rows import (
    PromptRow,
    UnreadableRow,
    check_columns,
    iter_rows,
)
from safegen.store import parquet
from safegen.store.json_files import write_json
from safegen.store.run_folder import RunFolder

T = TypeVar("T")
TwinKey = tuple[str | None, str | None, str]
"""Names that twins share: goal, set and twin."""
RowResult = list[PlannedScenario] | Unlabelled | ExcludedRow
"""The scenarios of a planned row, or the reason why it is listed or excluded."""


class ChangedRow(NamedTuple):
    """A planned row whose evidence is recorded otherwise than the file states it."""

    row: int
    id: str | None
    intent: Intent
    evidence: Evidence
    recorded: Evidence
    danger: bool
    """True if the record has the attribute `danger: self` as well."""


@dataclass
class PromptImport:
    """A file and its blind labels. Rows are read once and kept in a temporary file, not in memory."""

    inputs: ResolvedRecipe
    source: UserPrompts
    context: PlanningContext
    columns: ColumnMap
    spool: RowSpool
    profile: FileProfile = field(default_factory=FileProfile)
    twin_rows: Counter[TwinKey] = field(default_factory=Counter[TwinKey])
    """Number of used rows of each twin."""
    open_rows: dict[str, tuple[bool, bool]] = field(default_factory=dict[str, tuple[bool, bool]])
    """Flags by `text_key`: labels are missing, harm is missing."""
    blind_labels: Mapping[str, BlindLabels] = field(default_factory=dict[str, BlindLabels])
    models: list[str] = field(default_factory=list[str])

    @staticmethod
    def open(inputs: ResolvedRecipe, source: UserPrompts) -> PromptImport:
        """Check the whole file and find the rows that need labellers; the caller closes the import.

        Raises:
            UserError: the file or the recipe is wrong.
        """
        context, columns = inputs.make_planning_context(), _check_columns(inputs, source)
        prompts = PromptImport(inputs, source, context, columns, RowSpool())
        try:
            redacts = inputs.recipe.redact is not None
            for original in iter_rows(source, columns, list(inputs.tree.harms), redacts=redacts):
                prompts.spool.append(prompts._read(original))
        # Also a cancelled task must delete the temporary file.
        except BaseException:
            prompts.close()
            raise
        return prompts

    @property
    def fields(self) -> dict[str, str]:
        """Column by field, as they are shown."""
        return {field: self._show(column) for field, column in self.columns.columns.items()}

    @property
    def unread(self) -> tuple[str, ...]:
        """The columns that no field uses, as they are shown."""
        return tuple(self._show(column) for column in self.columns.unread)

    def _show(self, column: str) -> str:
        # In a table without a head, the first row gives the names.
        return column if self.inputs.recipe.redact is None else mask_personal_data(column)

    def close(self) -> None:
        """Delete the temporary file."""
        self.spool.close()

    def _read(self, original: PromptRow | UnreadableRow) -> PromptRow | Unlabelled | ExcludedRow:
        """Return a row as it is used, or the reason why it is not; note open labels."""
        if isinstance(original, UnreadableRow):
            return Unlabelled(original.number, original.id, (), original.message, "unreadable")
        row = redact_row(original, self.inputs.recipe.redact)
        self.profile.add(original, shown=row)
        if row is None:
            return ExcludedRow("redact")
        if (key := _twin_key(row)) is not None:
            self.twin_rows[key] += 1
        labels = None in (row.intent, row.evidence, row.detail)
        harm = row.harm is None
        if (labels or harm) and check_row(row, self.context) is None:
            # Rows with one text share the requests, so their open labels are joined.
            before = self.open_rows.get(row.text_key, (False, False))
            self.open_rows[row.text_key] = (before[0] or labels, before[1] or harm)
        return row

    def iter_rows(self) -> Iterator[PromptRow]:
        """Yield every row that is used, with personal data masked if the recipe asks for it."""
        return (row for row in self.spool if isinstance(row, PromptRow))

    def iter_label_requests(self) -> Iterator[tuple[str, LabelRequest]]:
        """Yield the label requests, one per distinct text."""
        left = dict(self.open_rows)
        for row in self.iter_rows():
            if (keys := left.pop(row.text_key, None)) is not None:
                yield row.text_key, LabelRequest(row.messages, *keys)

    def iter_results(self) -> Iterator[tuple[PromptRow | None, RowResult]]:
        """Yield every row with its scenarios or the reason why it has none; None for a row that is not used."""
        unread = BlindLabels()
        for row in self.spool:
            if not isinstance(row, PromptRow):
                yield None, row
                continue
            labels = resolve_labels(row, self.blind_labels.get(row.text_key, unread), self.context)
            is_planned = isinstance(labels, RowLabels)
            yield row, plan_row(row, labels, self.context) if is_planned else labels


def _check_columns(inputs: ResolvedRecipe, source: UserPrompts) -> ColumnMap:
    try:
        return check_columns(source)
    except ConfigError as e:
        if inputs.recipe.redact is None:
            raise
        raise ConfigError(mask_personal_data(e.message), key=e.key) from None


class _ContradictionsFound(Exception):
    """Messages with two expectations were planned."""

    def __init__(self, digests: AbstractSet[int]) -> None:
        super().__init__(digests)
        self.digests = digests


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Counts and lists of an import."""

    rows: int
    taken: int
    """Rows with at least one label in the file."""
    labelled: int
    """Rows whose labels are all in the file."""
    labelled_by_judges: int
    """Planned rows that labellers read."""
    kept: AbstractSet[int]
    """Numbers of the planned rows."""
    unlabelled: Sequence[Unlabelled]
    recorded_otherwise: Sequence[ChangedRow]
    excluded: Mapping[str, int]
    """Rows that the recipe excludes or that repeat an earlier one, by reason."""
    not_under: Mapping[str, int]
    """Planned rows by a profile that their prompt contradicts."""
    failed_texts: Mapping[str, AbstractSet[str]]
    """Labels that failed requests left open, by key of the text."""

    @property
    def planned(self) -> int:
        """Number of planned rows."""
        return len(self.kept)

    def count_causes(self) -> dict[UnlabelledCause, int]:
        """Count listed rows by cause."""
        counts: Counter[UnlabelledCause] = Counter(u.cause for u in self.unlabelled)
        return dict(sorted(counts.items()))


class ImportedSets(NamedTuple, Generic[T]):
    """The report of an import, and what was made of its sets."""

    report: ImportReport
    result: T


def import_sets(
    prompts: PromptImport,
    consume: Callable[[Iterator[list[PlannedScenario]]], T],
    *,
    on_report: Callable[[ImportReport], None] | None = None,
) -> ImportedSets[T]:
    """Pass the sets of all planned rows to `consume`, and return the report and its result.

    `consume` starts over if rows contradict each other, because a later row can exclude an earlier one.

    Args:
        prompts: the rows.
        consume: reads all sets, one at a time.
        on_report: receives the report after the last set, before `consume` returns.
    """
    contradicted: AbstractSet[int] = frozenset()
    while True:
        selection = _RowSelection(prompts, contradicted)
        try:
            result = consume(selection.iter_sets(on_report))
        except _ContradictionsFound as e:
            contradicted = e.digests
        else:
            return ImportedSets(selection.report(), result)


def write_import_report(folder: RunFolder, prompts: PromptImport, report: ImportReport) -> None:
    """Write the report, the list of the unlabelled rows and the failed requests to a run folder."""
    folder.write_label_failures(list(_iter_label_failures(prompts, report)))
    lines = [json.dumps(u._asdict(), ensure_ascii=False) + "\n" for u in report.unlabelled]
    parquet.write_text(folder.unlabelled_rows, "".join(lines))
    counts = {
        "rows": report.rows,
        "labelled": report.labelled,
        "planned": report.planned,
        "labelled_by_judges": report.labelled_by_judges,
        "labellers": prompts.models,
        "unlabelled": len(report.unlabelled),
        "unlabelled_by": report.count_causes(),
        "excluded": report.excluded,
        "not_under": report.not_under,
        "personal_data": prompts.profile.personal_rows,
        "fields": prompts.fields,
        "columns_not_read": list(prompts.unread),
    }
    write_json(folder.import_report, prompts.source.to_json() | counts)


def _iter_label_failures(prompts: PromptImport, report: ImportReport) -> Iterator[Failure]:
    """Yield the failed requests that left rows without labels, each once."""
    for key, names in report.failed_texts.items():
        by_label = prompts.blind_labels[key].errors
        errors = {id(e): e for name in LABELS if name in names for e in by_label.get(name, ())}
        yield from (make_label_failure(key, error) for error in errors.values())


def _list_changes(row: PromptRow, scenario: Scenario) -> list[ChangedRow]:
    if row.evidence is None or row.evidence == scenario.evidence:
        return []
    danger = IN_DANGER in scenario.attributes
    return [
        ChangedRow(
            row.number, row.id, scenario.intent, row.evidence, scenario.evidence, danger=danger
        )
    ]


class _HeldTwins:
    """Scenarios of rows that wait for their twins, because a set is checked as a whole."""

    def __init__(self, rows: Mapping[TwinKey, int]) -> None:
        self._left = Counter(rows)
        self._planned: dict[object, list[PlannedScenario]] = {}

    def add(self, row: PromptRow, planned: list[PlannedScenario]) -> None:
        self._planned.setdefault(_twin_key(row), []).extend(planned)

    def take(self, row: PromptRow) -> list[PlannedScenario]:
        """Return what is complete after a row: the row itself, or all twins with the last of them."""
        key = _twin_key(row)
        if key is not None:
            self._left[key] -= 1
            if self._left[key] > 0:
                return []
        return self._planned.pop(key, [])


def _twin_key(row: PromptRow) -> TwinKey | None:
    return (row.goal, row.set, row.twin) if row.twin else None


class _RowSelection:
    """One pass over the rows, which decides each with regard to the rows before it."""

    def __init__(self, prompts: PromptImport, contradicted: AbstractSet[int]) -> None:
        self._prompts, self._contradicted = prompts, contradicted
        self._unlabelled: list[Unlabelled] = []
        self._changed: list[ChangedRow] = []
        self._excluded: Counter[str] = Counter()
        self._not_under: Counter[str] = Counter()
        self._rows = self._taken = self._labelled = self._by_judges = 0
        self._kept: set[int] = set()
        self._failed_texts: dict[str, set[str]] = {}
        self._texts: set[tuple[str, ...]] = set()
        self._sets: dict[str, set[str]] = {}
        self._expectations = ExpectationIndex()
        self._contradictions: set[int] = set()
        """Digests of messages with two different expectations."""

    def report(self) -> ImportReport:
        return ImportReport(
            rows=self._rows,
            taken=self._taken,
            labelled=self._labelled,
            labelled_by_judges=self._by_judges,
            kept=self._kept,
            unlabelled=self._unlabelled,
            recorded_otherwise=self._changed,
            excluded=dict(sorted(self._excluded.items())),
            not_under=dict(sorted(self._not_under.items())),
            failed_texts=self._failed_texts,
        )

    def iter_sets(
        self, on_report: Callable[[ImportReport], None] | None
    ) -> Iterator[list[PlannedScenario]]:
        """Yield the scenarios of each planned row; twins of a set come together, after the last of them.

        Raises:
            _ContradictionsFound: at the end, if rows contradict each other that were not known to.
        """
        held = _HeldTwins(self._prompts.twin_rows)
        for row, resolved in self._prompts.iter_results():
            self._rows += 1
            result = resolved if row is None else self._decide(row, resolved)
            if isinstance(result, Unlabelled):
                self._unlabelled.append(result)
                if row is not None and result.cause == "label_request_failed":
                    self._failed_texts.setdefault(row.text_key, set()).update(result.fields)
            elif isinstance(result, ExcludedRow):
                self._excluded[result.reason] += 1
            elif row is not None:
                self._count_planned(row, result)
                held.add(row, result)
            if row is not None and (planned := held.take(row)):
                yield planned
        if self._contradictions - self._contradicted:
            raise _ContradictionsFound(self._contradictions)
        if on_report is not None:
            on_report(self.report())

    def _count_planned(self, row: PromptRow, planned: list[PlannedScenario]) -> None:
        scenario = planned[0].scenario
        self._kept.add(row.number)
        self._changed += _list_changes(row, scenario)
        self._by_judges += any(a.source == "confirmed" for a in scenario.attributes)
        self._not_under.update(self._excluded_profiles(row, planned))

    def _excluded_profiles(self, row: PromptRow, planned: list[PlannedScenario]) -> list[Profile]:
        profiles = {item.scenario.profile for item in planned}
        allowed = allowed_profiles(row, planned[0].scenario.harm, self._prompts.context)
        return [profile for profile in allowed if profile not in profiles]

    def _decide(self, row: PromptRow, resolved: RowResult) -> RowResult:
        in_file = [label is not None for label in (row.harm, row.intent, row.evidence, row.detail)]
        self._taken += any(in_file)
        self._labelled += all(in_file)
        return self._check_other_rows(row, resolved) if isinstance(resolved, list) else resolved

    def _check_other_rows(self, row: PromptRow, planned: list[PlannedScenario]) -> RowResult:
        """Reject a row that contradicts or repeats another one, or exceeds `sets_per_harm`."""
        digests: set[int] = set()
        for item in planned:
            digest = digest_64(message_key(item.scenario.messages))
            digests.add(digest)
            if self._expectations.contradicts(digest, item.expectation):
                self._contradictions.add(digest)
        # Both rows are listed, because nothing shows which of them is right.
        if digests & self._contradicted:
            reason = (
                "a row with equal messages has another expectation; write the difference into the"
                " messages"
            )
            return Unlabelled(row.number, row.id, LABELS, reason, "contradictory")
        # A row with an id is wanted as it is, even if another one has its text.
        if row.id is None:
            if row.key in self._texts:
                return ExcludedRow("duplicate")
            self._texts.add(row.key)
        scenario = planned[0].scenario
        sets = self._sets.setdefault(scenario.harm, set())
        most = self._prompts.context.plan.sets_per_harm
        if most is not None and len(sets | {scenario.set_id}) > most:
            return ExcludedRow("sets_per_harm")
        sets.add(scenario.set_id)
        return planned
