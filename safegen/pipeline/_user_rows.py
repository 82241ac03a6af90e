"""The import of a user's file: rows become scenarios, and a report counts and lists the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from safegen.core.types import Evidence, Intent, PlannedScenario, Profile, Scenario
from safegen.dataset.curation.exact_duplicates import ExpectationIndex, digest_64, message_key
from safegen.judges.user_prompt_labels import BlindLabels, LabelRequest
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
        context, columns = inputs.make_planning_context(), check_columns(source)
        prompts = PromptImport(inputs, source, context, columns, RowSpool())
        try:
            for original in iter_rows(source, columns, list(inputs.tree.harms)):
                prompts.spool.append(prompts._read(original))
        # Also a cancelled task must delete the temporary file.
        except BaseException:
            prompts.close()
            raise
        return prompts

    def close(self) -> None:
        """Delete the temporary file."""
        self.spool.close()

    def _read(self, original: PromptRow | UnreadableRow) -> PromptRow | Unlabelled | ExcludedRow:
        """Return a row as it is used, or the reason why it is not; note open labels."""
        if isinstance(original, UnreadableRow):
            return Unlabelled(original.number, original.id, (), original.why, "unreadable")
        self.profile.add(original)
        row = redact_row(original, self.inputs.recipe.redact)
        if row is None:
            return ExcludedRow("redact")
        labels = None in (row.intent, row.evidence, row.detail)
        harm = row.harm is None
        if (labels or harm) and check_row(row, self.context) is None:
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


class _ContradictionsFound(Exception):
    """Messages with two expectations were planned."""

    def __init__(self, digests: AbstractSet[int]) -> None:
        super().__init__(digests)
        self.digests = digests


def import_sets(
    folder: RunFolder | None,
    prompts: PromptImport,
    consume: Callable[[Iterator[list[PlannedScenario]]], T],
) -> tuple[ImportReport, T]:
    """Pass the sets of all planned rows to `consume`, and return the report and its result.

    `consume` starts over if rows contradict each other, because a later row can exclude an earlier one.
    """
    contradicted: AbstractSet[int] = frozenset()
    while True:
        report = ImportReport(folder, prompts, contradicted)
        try:
            return report, consume(report.iter_sets())
        except _ContradictionsFound as e:
            contradicted = e.digests


def _list_changes(row: PromptRow, scenario: Scenario) -> list[ChangedRow]:
    if row.evidence is None or row.evidence == scenario.evidence:
        return []
    danger = IN_DANGER in scenario.attributes
    return [
        ChangedRow(
            row.number, row.id, scenario.intent, row.evidence, scenario.evidence, danger=danger
        )
    ]


class ImportReport:
    """Counts and lists of an import, filled while `iter_sets` yields the plan."""

    def __init__(
        self, folder: RunFolder | None, prompts: PromptImport, contradicted: AbstractSet[int]
    ) -> None:
        self.folder, self.prompts, self.contradicted = folder, prompts, contradicted
        self.unlabelled: list[Unlabelled] = []
        self.recorded_otherwise: list[ChangedRow] = []
        self.left_out: Counter[str] = Counter()
        self.not_under: Counter[str] = Counter()
        """Planned rows by a profile that their prompt contradicts."""
        self.rows = self.taken = self.labelled = self.read = 0
        self.kept: set[int] = set()
        """Numbers of the planned rows."""
        self._texts: set[tuple[str, ...]] = set()
        self._sets: dict[str, set[str]] = {}
        self._expectations = ExpectationIndex()
        self._contradictions: set[int] = set()
        """Digests of messages with two different expectations."""

    @property
    def planned(self) -> int:
        """Number of planned rows."""
        return len(self.kept)

    def iter_sets(self) -> Iterator[list[PlannedScenario]]:
        """Yield the scenarios of each planned row, then write the report, before the plan is complete.

        Raises:
            _ContradictionsFound: at the end, if rows contradict each other that `contradicted` lacks.
        """
        for row, resolved in self.prompts.iter_results():
            self.rows += 1
            result = resolved if row is None else self._decide(row, resolved)
            if isinstance(result, Unlabelled):
                self.unlabelled.append(result)
            elif isinstance(result, ExcludedRow):
                self.left_out[result.reason] += 1
            elif row is not None:
                self.kept.add(row.number)
                self.recorded_otherwise += _list_changes(row, result[0].scenario)
                attributes = result[0].scenario.attributes
                self.read += any(a.source == "confirmed" for a in attributes)
                self.not_under.update(self._excluded_profiles(row, result))
                yield result
        if self._contradictions - self.contradicted:
            raise _ContradictionsFound(self._contradictions)
        if self.folder is not None:
            self._write_report(self.folder)

    def count_causes(self) -> dict[UnlabelledCause, int]:
        """Count listed rows by cause."""
        counts: Counter[UnlabelledCause] = Counter(u.cause for u in self.unlabelled)
        return dict(sorted(counts.items()))

    def _excluded_profiles(self, row: PromptRow, planned: list[PlannedScenario]) -> list[Profile]:
        profiles = {item.scenario.profile for item in planned}
        allowed = allowed_profiles(row, planned[0].scenario.harm, self.prompts.context)
        return [profile for profile in allowed if profile not in profiles]

    def _decide(self, row: PromptRow, resolved: RowResult) -> RowResult:
        in_file = [label is not None for label in (row.harm, row.intent, row.evidence, row.detail)]
        self.taken, self.labelled = self.taken + any(in_file), self.labelled + all(in_file)
        return self._check_other_rows(row, resolved) if isinstance(resolved, list) else resolved

    def _check_other_rows(self, row: PromptRow, planned: list[PlannedScenario]) -> RowResult:
        """Reject a row that contradicts or repeats another one, or exceeds `sets_per_harm`."""
        digests: set[int] = set()
        for item in planned:
            digest = digest_64(message_key(item.scenario.messages))
            digests.add(digest)
            if self._expectations.contradicts(digest, item.expectation):
                self._contradictions.add(digest)
        if digests & self.contradicted:
            reason = (
                "a row with equal messages has another expectation; write the difference into the"
                " messages"
            )
            return Unlabelled(row.number, row.id, LABELS, reason, "contradictory")
        if row.id is None:
            if row.key in self._texts:
                return ExcludedRow("duplicate")
            self._texts.add(row.key)
        scenario = planned[0].scenario
        sets = self._sets.setdefault(scenario.harm, set())
        most = self.prompts.context.plan.sets_per_harm
        if most is not None and len(sets | {scenario.set_id}) > most:
            return ExcludedRow("sets_per_harm")
        sets.add(scenario.set_id)
        return planned

    def _write_report(self, folder: RunFolder) -> None:
        source = self.prompts.source
        lines = [json.dumps(u._asdict(), ensure_ascii=False) + "\n" for u in self.unlabelled]
        parquet.write_text(folder.unlabelled_rows, "".join(lines))
        write_json(
            folder.import_report,
            source.to_json()
            | {
                "rows": self.rows,
                "labelled": self.labelled,
                "planned": self.planned,
                "labelled_by_judges": self.read,
                "labellers": self.prompts.models,
                "unlabelled": len(self.unlabelled),
                "unlabelled_by": self.count_causes(),
                "left_out": dict(sorted(self.left_out.items())),
                "not_under": dict(sorted(self.not_under.items())),
                "personal_data": self.prompts.profile.personal_rows,
                "fields": dict(self.prompts.columns.columns),
                "columns_not_read": list(self.prompts.columns.unread),
            },
        )
