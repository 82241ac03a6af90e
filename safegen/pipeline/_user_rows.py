"""The rows of a user's file on their way into a plan, and what is counted and listed beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from safegen.core.types import PlannedScenario, Profile
from safegen.dataset.curation.exact_duplicates import ExpectationIndex, digest_64, message_key
from safegen.judges.blind_panel import BlindLabels, LabelRequest
from safegen.pipeline.resolve import ResolvedRecipe
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.user_prompts.plan_rows import RowLabels, allowed_profiles, plan_row
from safegen.scenarios.user_prompts.reader import UserPrompts
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
    check_columns,
    iter_checked_rows,
    iter_rows,
)
from safegen.store import parquet
from safegen.store.run_folder import RunFolder, write_json

RowResult = list[PlannedScenario] | Unlabelled | ExcludedRow
"""Scenarios to plan, a row to list, or one to leave out."""


@dataclass
class PromptImport:
    """A file on its way into a plan; it is read anew for each step, so that no text is held."""

    inputs: ResolvedRecipe
    source: UserPrompts
    world: PlanningContext
    unread_columns: list[str]
    """Columns that no field is read from."""
    open_rows: dict[str, tuple[bool, bool]] = field(default_factory=dict[str, tuple[bool, bool]])
    """By what a row says: whether its labels and its harm are to be read."""
    blind_labels: Mapping[str, BlindLabels] = field(default_factory=dict[str, BlindLabels])
    models: list[str] = field(default_factory=list[str])

    @staticmethod
    def open(inputs: ResolvedRecipe, source: UserPrompts) -> PromptImport:
        """Check the whole file and find what is open.

        Raises:
            UserError: a mistake in the file or the recipe.
        """
        world = inputs.make_planning_context()
        desk = PromptImport(inputs, source, world, check_columns(source))
        for row in iter_checked_rows(source, list(inputs.tree.harms)):
            labels = None in (row.intent, row.evidence, row.detail)
            harm = row.harm is None
            if (labels or harm) and check_row(row, world) is None:
                before = desk.open_rows.get(row.text_key, (False, False))
                desk.open_rows[row.text_key] = (before[0] or labels, before[1] or harm)
        return desk

    def iter_rows(self) -> Iterator[PromptRow]:
        """Every row of the file."""
        return iter_rows(self.source, list(self.inputs.tree.harms))

    def iter_label_requests(self) -> Iterator[tuple[str, LabelRequest]]:
        """What is to be read, each text once."""
        left = dict(self.open_rows)
        for row in self.iter_rows():
            if (keys := left.pop(row.text_key, None)) is not None:
                yield row.text_key, LabelRequest(row.messages, *keys)

    def iter_results(self) -> Iterator[tuple[PromptRow, RowResult]]:
        """Every row with what becomes of it."""
        nothing = BlindLabels()
        for row in self.iter_rows():
            labels = resolve_labels(row, self.blind_labels.get(row.text_key, nothing), self.world)
            is_planned = isinstance(labels, RowLabels)
            yield row, plan_row(row, labels, self.world) if is_planned else labels


def find_contradictions(desk: PromptImport) -> set[int]:
    """Digests of messages that two rows expect to be answered in two ways."""
    seen, digests = ExpectationIndex(), set[int]()
    for _, made in desk.iter_results():
        for item in made if isinstance(made, list) else ():
            if seen.contradicts(item.scenario.messages, item.expectation):
                digests.add(digest_64(message_key(item.scenario.messages)))
    return digests


class ImportReport:
    """The plan being written, and what is counted and listed beside it."""

    def __init__(
        self, folder: RunFolder | None, desk: PromptImport, contradicted: set[int]
    ) -> None:
        self.folder, self.desk, self.contradicted = folder, desk, contradicted
        self.unlabelled: list[Unlabelled] = []
        self.left_out: Counter[str] = Counter()
        self.not_under: Counter[str] = Counter()
        """Planned rows by a profile that their words rule out."""
        self.rows = self.taken = self.labelled = self.read = 0
        self.kept: set[int] = set()
        """Numbers of the planned rows."""
        self._texts: set[tuple[str, ...]] = set()
        self._sets: dict[str, set[str]] = {}

    @property
    def planned(self) -> int:
        """How many rows are planned."""
        return len(self.kept)

    def iter_sets(self) -> Iterator[list[PlannedScenario]]:
        """The scenarios of each row that is planned; the counts are on disk before the plan is."""
        for row, made in self.desk.iter_results():
            self.rows += 1
            own = [label is not None for label in (row.harm, row.intent, row.evidence, row.detail)]
            self.taken, self.labelled = self.taken + any(own), self.labelled + all(own)
            settled = self._final_result(row, made) if isinstance(made, list) else made
            if isinstance(settled, Unlabelled):
                self.unlabelled.append(settled)
            elif isinstance(settled, ExcludedRow):
                self.left_out[settled.reason] += 1
            else:
                self.kept.add(row.number)
                axes = settled[0].scenario.attributes
                self.read += any(a.source == "confirmed" for a in axes)
                self.not_under.update(self._excluded_profiles(row, settled))
                yield settled
        if self.folder is not None:
            self._write_report(self.folder)

    def count_causes(self) -> dict[UnlabelledCause, int]:
        """Listed rows by cause."""
        counts: Counter[UnlabelledCause] = Counter(u.cause for u in self.unlabelled)
        return dict(sorted(counts.items()))

    def _excluded_profiles(self, row: PromptRow, made: list[PlannedScenario]) -> list[Profile]:
        profiles = {item.scenario.profile for item in made}
        every = allowed_profiles(row, made[0].scenario.harm, self.desk.world)
        return [profile for profile in every if profile not in profiles]

    def _final_result(self, row: PromptRow, made: list[PlannedScenario]) -> RowResult:
        """What only the rows together decide."""
        if any(
            digest_64(message_key(item.scenario.messages)) in self.contradicted for item in made
        ):
            reason = "a row with equal messages is to be answered otherwise; put what tells them apart into the messages"
            return Unlabelled(row.number, row.id, LABELS, reason, "contradictory")
        if row.id is None:
            if row.key in self._texts:
                return ExcludedRow("duplicate")
            self._texts.add(row.key)
        sets = self._sets.setdefault(made[0].scenario.harm, set())
        most = self.desk.world.plan.sets_per_harm
        if most is not None and len(sets | {made[0].scenario.set_id}) > most:
            return ExcludedRow("sets_per_harm")
        sets.add(made[0].scenario.set_id)
        return made

    def _write_report(self, folder: RunFolder) -> None:
        source = self.desk.source
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
                "labellers": self.desk.models,
                "unlabelled": len(self.unlabelled),
                "unlabelled_by": self.count_causes(),
                "left_out": dict(sorted(self.left_out.items())),
                "not_under": dict(sorted(self.not_under.items())),
                "columns_not_read": self.desk.unread_columns,
            },
        )
