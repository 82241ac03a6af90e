"""Round 0 from a user's file in place of the taxonomy's sets: check, label what is open, plan.

What cannot be labelled is listed in `run/unlabelled.jsonl` and not planned; nothing is guessed.
The plan is written last, so that a run which was killed on the way goes on with the journal's
answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from safegen.crew import at_work
from safegen.curation.dedup import Expectations, exact, key
from safegen.errors import ConfigError, UserError
from safegen.inputs import Inputs, make_teacher
from safegen.plan_keys import AUTHORED
from safegen.progress import Progress
from safegen.recipe import PluginRef, Recipe
from safegen.scenarios.blind import Found, Labellers, Wanted
from safegen.scenarios.imported import (
    Labels,
    Row,
    checked_columns,
    checked_rows,
    read_rows,
    scenarios,
)
from safegen.scenarios.prompt_files import OwnPrompts
from safegen.scenarios.sets import shards
from safegen.scenarios.settling import LABELS, LeftOut, Unlabelled, labels_of, ruled
from safegen.scenarios.world import World
from safegen.store import parquet, plan
from safegen.store.folder import RunFolder, write_json
from safegen.teachers._layers import Meter
from safegen.types import Planned, Teacher, Usage

OFFLINE = (
    "the offline teacher composes answers from a goal's written knowledge, and your own prompts have"
    " none; name a model under `teachers`, such as `drafter: {openai_chat: {base_url: …, model: …}}`"
)
Watch = Callable[[Progress, Meter], None]
Settled = list[Planned] | Unlabelled | LeftOut
"""Scenarios to plan, a row to list, or one to leave out."""


def check(inputs: Inputs, *, given: Mapping[str, Teacher]) -> None:
    """Refuse what cannot work with a user's prompts, before anything is planned.

    Raises:
        UserError: the offline teacher is to draft, keys of the plan that speak of written sets, a
            labeller that cannot be made.
    """
    for role, ref in _teachers(inputs.recipe):
        if ref.use == "offline" and role not in given:
            with inputs.named.at("teachers", role):
                raise ConfigError(OFFLINE)
    for name in ("contrast", "dialogues", *AUTHORED):
        if getattr(inputs.recipe.plan, name):
            with inputs.named.at("plan", name):
                raise ConfigError(
                    "plans sets of the taxonomy, and `--prompts` takes their place; remove it"
                )
    if "labeller" not in given:
        for ref in inputs.recipe.judges.labellers:
            with inputs.named.at("judges", "labellers"):
                make_teacher(inputs, ref)


def _teachers(recipe: Recipe) -> Iterator[tuple[str, PluginRef]]:
    for role, named in recipe.teachers:
        refs = cast("tuple[object, ...]", named if isinstance(named, tuple) else (named,))
        yield from ((role, ref) for ref in refs if isinstance(ref, PluginRef))


async def write_plan(
    folder: RunFolder,
    inputs: Inputs,
    source: OwnPrompts,
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> tuple[Usage, float]:
    """Plan round 0 from the file, unless it is planned; what labelling cost, and its seconds.

    Raises:
        UserError: a mistake in the file, or nothing in it can be planned.
        RunError: the run cannot go on; what labellers answered is kept.
    """
    if folder.plan(0).exists():
        return Usage(), 0.0
    if source.path is None:
        raise UserError(
            f"`{folder.root}` is not planned yet and needs its file; run `safegen generate` with"
            f" `--prompts` and the file `{source.name}`"
        )
    desk = await asyncio.to_thread(_Desk.opened, inputs, source)
    usage, seconds = Usage(), 0.0
    if desk.open and (inputs.recipe.judges.labellers or "labeller" in teachers):
        began = time.monotonic()
        usage = await _label(folder, desk, given=teachers, watch=watch)
        seconds = time.monotonic() - began
    await asyncio.to_thread(_write, folder, desk)
    return usage, seconds


async def _label(
    folder: RunFolder, desk: _Desk, *, given: Mapping[str, Teacher], watch: Watch | None
) -> Usage:
    """Let blind labellers read what is open; every answer is in the journal before it counts."""
    async with at_work(folder, desk.inputs, given) as staff:
        await _read(desk, staff.labellers(), watch=watch, meter=staff.meter)
    return staff.meter.usage()


async def _read(
    desk: _Desk, judges: tuple[Teacher, ...], *, watch: Watch | None, meter: Meter
) -> None:
    progress = Progress(planned=len(desk.open), what="prompts read")
    if watch:
        watch(progress, meter)

    def read_one() -> None:
        progress.done += 1

    desk.models = [str(getattr(judge, "model", "unknown")) for judge in judges]
    labellers = Labellers(judges, desk.inputs.tree.harms)
    desk.found = await labellers.read_all(desk.wanted(), read_one=read_one)


@dataclass
class _Desk:
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
    def opened(inputs: Inputs, source: OwnPrompts) -> _Desk:
        """Check the whole file and find what is open.

        Raises:
            UserError: a mistake in the file or the recipe.
        """
        world = inputs.world()
        desk = _Desk(inputs, source, world, checked_columns(source))
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


def _write(folder: RunFolder, desk: _Desk) -> None:
    """Write what is told of the file, then the plan.

    Raises:
        UserError: nothing in the file can be planned.
    """
    sheet = _Sheet(folder, desk, _contradicted(desk))
    first = folder.plan(0)
    plan.write(first, shards(sheet.sets(), candidates=desk.inputs.recipe.plan.candidates))
    if plan.size(first)[1]:
        return
    first.unlink()
    left_out = [f"{n} left out by `{by}`" for by, n in sorted(sheet.left_out.items())]
    listed = len(sheet.unlabelled)
    told = [f"{listed} not labelled, listed in `{folder.unlabelled}`"] if listed else []
    raise UserError(
        f"no row of `{desk.source.name}` can be planned: {', '.join([*told, *left_out])};"
        " fill in the labels, name `judges.labellers` in the recipe, or widen `plan`"
    )


def _contradicted(desk: _Desk) -> set[int]:
    """Digests of messages that two rows expect to be answered in two ways."""
    seen, found = Expectations(), set[int]()
    for _, made in desk.settled():
        for item in made if isinstance(made, list) else ():
            if seen.contradicts(item.scenario.messages, item.expectation):
                found.add(key(exact(item.scenario.messages)))
    return found


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a user's file comes to before anybody is asked."""

    rows: int
    planned: int
    """Rows whose labels are in the file, or follow from it."""
    to_read: int
    """Texts that labellers are to read; their rows are planned as far as the labels can be told."""
    label_calls: int
    """Questions: each labeller is asked one or two about each text, and once more where its answer cannot be read."""
    unlabelled: tuple[Unlabelled, ...]
    """Rows that cannot be planned as they are."""
    left_out: Mapping[str, int]
    not_read: tuple[str, ...]
    by_domain_mode: Mapping[tuple[str, str], int]
    """Prompts of the planned rows."""


def outlook(inputs: Inputs, source: OwnPrompts) -> Outlook:
    """Say what a file comes to; nothing is asked and nothing written.

    Raises:
        UserError: a mistake in the file or the recipe.
    """
    desk = _Desk.opened(inputs, source)
    judges = len(inputs.recipe.judges.labellers)
    sheet = _Sheet(None, desk, _contradicted(desk))
    counts = Counter(
        (item.scenario.domain, item.expectation.mode) for set_ in sheet.sets() for item in set_
    )
    open_rows = {row.number for row in desk.rows() if judges and row.text_key in desk.open}
    return Outlook(
        rows=sheet.rows,
        planned=sheet.planned,
        to_read=len(desk.open) if judges else 0,
        label_calls=judges * sum(sum(asked) for asked in desk.open.values()),
        unlabelled=tuple(u for u in sheet.unlabelled if u.row not in open_rows),
        left_out=dict(sorted(sheet.left_out.items())),
        not_read=tuple(desk.not_read),
        by_domain_mode=dict(sorted(counts.items())),
    )


class _Sheet:
    """The plan being written, and what is counted and listed beside it."""

    def __init__(self, folder: RunFolder | None, desk: _Desk, contradicted: set[int]) -> None:
        self.folder, self.desk, self.contradicted = folder, desk, contradicted
        self.unlabelled: list[Unlabelled] = []
        self.left_out: Counter[str] = Counter()
        self.rows = self.planned = self.read = 0
        self._texts: set[tuple[str, ...]] = set()
        self._sets: dict[str, set[str]] = {}

    def sets(self) -> Iterator[list[Planned]]:
        """The scenarios of each row that is planned; the counts are on disk before the plan is."""
        for row, made in self.desk.settled():
            self.rows += 1
            settled = self._last_word(row, made) if isinstance(made, list) else made
            if isinstance(settled, Unlabelled):
                self.unlabelled.append(settled)
            elif isinstance(settled, LeftOut):
                self.left_out[settled.by] += 1
            else:
                self.planned += 1
                axes = settled[0].scenario.attributes
                self.read += any(a.source == "confirmed" for a in axes)
                yield settled
        if self.folder is not None:
            self._tell(self.folder)

    def _last_word(self, row: Row, made: list[Planned]) -> Settled:
        """What only the rows together decide."""
        if any(key(exact(item.scenario.messages)) in self.contradicted for item in made):
            told = "a row with equal messages is to be answered otherwise; put what tells them apart into the messages"
            return Unlabelled(row.number, row.id, LABELS, told)
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
                "planned": self.planned,
                "labelled_by_judges": self.read,
                "labellers": self.desk.models,
                "unlabelled": len(self.unlabelled),
                "left_out": dict(sorted(self.left_out.items())),
                "columns_not_read": self.desk.not_read,
            },
        )
