"""The rows of a user's file on their way into a plan, and what is counted and listed beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from safegen.core.types import Planned, Profile
from safegen.dataset.curation.exact_duplicates import Expectations, exact, key
from safegen.judges.blind_panel import Found, Wanted
from safegen.pipeline.resolve import Inputs
from safegen.scenarios.context import World
from safegen.scenarios.user_prompts.reader import OwnPrompts
from safegen.scenarios.user_prompts.resolve_labels import (
    LABELS,
    Cause,
    LeftOut,
    Unlabelled,
    labels_of,
    ruled,
)
from safegen.scenarios.user_prompts.rows import (
    Labels,
    Row,
    checked_columns,
    checked_rows,
    profiles_of,
    read_rows,
    scenarios,
)
from safegen.store import parquet
from safegen.store.run_folder import RunFolder, write_json

Settled = list[Planned] | Unlabelled | LeftOut
"""Scenarios to plan, a row to list, or one to leave out."""


@dataclass
class Desk:
    """A file on its way into a plan; it is read anew for each step, so that no text is held."""

    inputs: Inputs
    source: OwnPrompts
    world: World
    not_read: list[str]
    """Columns that no field is read from."""
    open: dict[str, tuple[bool, bool]] = field(default_factory=dict[str, tuple[bool, bool]])
    """By what a row says: whether its labels and its harm are to be read."""
    found: Mapping[str, Found] = field(default_factory=dict[str, Found])
    models: list[str] = field(default_factory=list[str])

    @staticmethod
    def opened(inputs: Inputs, source: OwnPrompts) -> Desk:
        """Check the whole file and find what is open.

        Raises:
            UserError: a mistake in the file or the recipe.
        """
        world = inputs.world()
        desk = Desk(inputs, source, world, checked_columns(source))
        for row in checked_rows(source, list(inputs.tree.harms)):
            labels = None in (row.intent, row.evidence, row.detail)
            harm = row.harm is None
            if (labels or harm) and ruled(row, world) is None:
                before = desk.open.get(row.text_key, (False, False))
                desk.open[row.text_key] = (before[0] or labels, before[1] or harm)
        return desk

    def rows(self) -> Iterator[Row]:
        """Every row of the file."""
        return read_rows(self.source, list(self.inputs.tree.harms))

    def wanted(self) -> Iterator[tuple[str, Wanted]]:
        """What is to be read, each text once."""
        left = dict(self.open)
        for row in self.rows():
            if (asked := left.pop(row.text_key, None)) is not None:
                yield row.text_key, Wanted(row.messages, *asked)

    def settled(self) -> Iterator[tuple[Row, Settled]]:
        """Every row with what becomes of it."""
        nothing = Found()
        for row in self.rows():
            labels = labels_of(row, self.found.get(row.text_key, nothing), self.world)
            is_planned = isinstance(labels, Labels)
            yield row, scenarios(row, labels, self.world) if is_planned else labels


def contradicted(desk: Desk) -> set[int]:
    """Digests of messages that two rows expect to be answered in two ways."""
    seen, found = Expectations(), set[int]()
    for _, made in desk.settled():
        for item in made if isinstance(made, list) else ():
            if seen.contradicts(item.scenario.messages, item.expectation):
                found.add(key(exact(item.scenario.messages)))
    return found


class Sheet:
    """The plan being written, and what is counted and listed beside it."""

    def __init__(self, folder: RunFolder | None, desk: Desk, contradicted: set[int]) -> None:
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

    def sets(self) -> Iterator[list[Planned]]:
        """The scenarios of each row that is planned; the counts are on disk before the plan is."""
        for row, made in self.desk.settled():
            self.rows += 1
            own = [label is not None for label in (row.harm, row.intent, row.evidence, row.detail)]
            self.taken, self.labelled = self.taken + any(own), self.labelled + all(own)
            settled = self._last_word(row, made) if isinstance(made, list) else made
            if isinstance(settled, Unlabelled):
                self.unlabelled.append(settled)
            elif isinstance(settled, LeftOut):
                self.left_out[settled.by] += 1
            else:
                self.kept.add(row.number)
                axes = settled[0].scenario.attributes
                self.read += any(a.source == "confirmed" for a in axes)
                self.not_under.update(self._ruled_out(row, settled))
                yield settled
        if self.folder is not None:
            self._tell(self.folder)

    def causes(self) -> dict[Cause, int]:
        """Listed rows by cause."""
        counts: Counter[Cause] = Counter(u.cause for u in self.unlabelled)
        return dict(sorted(counts.items()))

    def _ruled_out(self, row: Row, made: list[Planned]) -> list[Profile]:
        asked = {item.scenario.profile for item in made}
        every = profiles_of(row, made[0].scenario.harm, self.desk.world)
        return [profile for profile in every if profile not in asked]

    def _last_word(self, row: Row, made: list[Planned]) -> Settled:
        """What only the rows together decide."""
        if any(key(exact(item.scenario.messages)) in self.contradicted for item in made):
            told = "a row with equal messages is to be answered otherwise; put what tells them apart into the messages"
            return Unlabelled(row.number, row.id, LABELS, told, "contradictory")
        if row.id is None:
            if row.key in self._texts:
                return LeftOut("duplicate")
            self._texts.add(row.key)
        sets = self._sets.setdefault(made[0].scenario.harm, set())
        most = self.desk.world.plan.sets_per_harm
        if most is not None and len(sets | {made[0].scenario.set_id}) > most:
            return LeftOut("sets_per_harm")
        sets.add(made[0].scenario.set_id)
        return made

    def _tell(self, folder: RunFolder) -> None:
        source = self.desk.source
        lines = [json.dumps(u._asdict(), ensure_ascii=False) + "\n" for u in self.unlabelled]
        parquet.write_text(folder.unlabelled, "".join(lines))
        write_json(
            folder.imported,
            source.frozen()
            | {
                "rows": self.rows,
                "labelled": self.labelled,
                "planned": self.planned,
                "labelled_by_judges": self.read,
                "labellers": self.desk.models,
                "unlabelled": len(self.unlabelled),
                "unlabelled_by": self.causes(),
                "left_out": dict(sorted(self.left_out.items())),
                "not_under": dict(sorted(self.not_under.items())),
                "columns_not_read": self.desk.not_read,
            },
        )
