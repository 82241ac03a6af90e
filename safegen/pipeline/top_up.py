"""Rounds after the first: what filtering took from a cell is asked again.

A round is planned from the complete rounds before it alone, so that the order in which answers
arrive changes nothing. What counts is what the dataset would hold: an accepted prompt that curation
leaves out (a near copy, a duplicate) is missing like one without an answer. Scenarios without an
accepted draft get further candidates first; then come written goals that the plan left out, then
sets that the author writes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Literal

from safegen.config.recipe import Recipe, Target
from safegen.core.errors import UserError
from safegen.core.types import Planned
from safegen.coverage.ledger import Cell, Ledger, facts
from safegen.dataset.coverage_report import counted, draft_rows, planned_rows
from safegen.dataset.curate import Staying, staying
from safegen.dataset.target import StopCode, TargetReport, wanted
from safegen.pipeline.resolve import Basis, Inputs
from safegen.scenarios.authoring.plan_sets import authored_sets
from safegen.scenarios.dialogues import in_dialogue
from safegen.scenarios.written import goals, shards, single_turns
from safegen.store import plan
from safegen.store.run_folder import RunFolder, keep_json, read_json

LOWEST_RATE = 0.1
"""A cell is asked for at most ten times what it lacks in one round."""


OTHERS = "give the drafter other models or `plan.styles`"
NOTHING_LEFT = "nothing is left to ask"
UNTOLD = "whether anything is left to ask cannot be told: the taxonomy's goals are not at hand"
SAME_COMMAND = "run the same command again"
REPLAN = "plan anew with `--replan`; paid replies are kept"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a run goes on with another round, and why not."""

    code: StopCode
    reason: str
    """The code in words, for people."""
    hint: str = ""
    """What leads on where it stopped short."""
    short: Mapping[Cell, int] = field(default_factory=dict[Cell, int])
    stalled: frozenset[Cell] = frozenset()
    """Short cells that are asked no more."""
    rates: Mapping[Cell, float] = field(default_factory=dict[Cell, float])
    """The share of asked scenarios that counts, by cell; empty where no round could be due."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Accepted scenarios that do not count, by reason."""

    @property
    def goes_on(self) -> bool:
        """Whether another round is due; its plan says whether anything is left to ask in it."""
        return self.code == "due"

    @property
    def open(self) -> dict[Cell, int]:
        """What is missing in the cells that are still asked."""
        return {cell: n for cell, n in self.short.items() if cell not in self.stalled}


def decide(folder: RunFolder, recipe: Recipe, kept: Staying | None = None) -> Decision:
    """Decide from the complete rounds: met, stalled, at the cap, or another round.

    Args:
        folder: the run.
        recipe: holds the target.
        kept: what curation keeps, where that is known already.
    """
    target = recipe.target
    if target is None:
        return Decision("no_target", "no target")
    plans, kept = plan.Plans(folder.plans), kept or staying(folder)
    ledger = counted(folder, plans, per=target.per, kept=kept.scenarios)
    found = _decided(folder, target, plans, ledger, kept.scenarios)
    return replace(found, left_out=kept.reasons)


def _decided(
    folder: RunFolder, target: Target, plans: plan.Plans, ledger: Ledger, kept: Container[str]
) -> Decision:
    short = ledger.shortfall(wanted(target))
    if not short:
        return Decision("met", "met")
    if len(folder.finished()) < plans.shards:
        return Decision("unfinished", "unfinished", SAME_COMMAND, short)
    if any(f.outcome == "unavailable" for _, f in folder.read_failures()):
        return Decision("unavailable", "items are unavailable", SAME_COMMAND, short)
    stopped = frozenset(cell for cell in _stalled(folder, plans, target, kept) if cell in short)
    if stopped == frozenset(short):
        last = "last round" if target.patience == 1 else f"last {target.patience} rounds"
        reason = f"stalled: its {last} gained these cells nothing"
        hint = f"raise `target.patience`, or {OTHERS} and {REPLAN}"
        return Decision("stalled", reason, hint, short, stopped)
    if plans.rounds > target.rounds:
        reason = f"the cap on further rounds ({target.rounds}) is reached"
        hint = "raise `target.rounds`"
        return Decision("round_limit", reason, hint, short, stopped, _rates(ledger))
    reason = "another round is due"
    return Decision("due", reason, SAME_COMMAND, short, stopped, _rates(ledger))


def _stalled(
    folder: RunFolder, plans: plan.Plans, target: Target, kept: Container[str]
) -> Iterator[Cell]:
    """Cells that were asked in so many further rounds since they last gained a scenario that counts."""
    if plans.rounds == 1:
        return
    asked: dict[Cell, set[int]] = {}
    for row in planned_rows(plans, (*target.per, "round")):
        asked.setdefault(_cell_of(row, target), set()).add(row["round"])
    gained: dict[Cell, int] = {}
    seen: set[str] = set()
    columns = ("scenario_id", "round", "accepted", *target.per)
    for row in draft_rows(folder, columns, folder.finished()):
        id_ = row["scenario_id"]
        if row["accepted"] and id_ in kept and id_ not in seen:
            seen.add(id_)
            cell = _cell_of(row, target)
            gained[cell] = max(row["round"], gained.get(cell, 0))
    for cell, rounds in asked.items():
        if sum(number > gained.get(cell, 0) for number in rounds) >= target.patience:
            yield cell


def _cell_of(row: Mapping[str, object], target: Target) -> Cell:
    return tuple(str(row[name]) for name in target.per)


def settled(folder: RunFolder, inputs: Basis, kept: Staying | None = None) -> TargetReport | None:
    """How far the target is met and why the run stopped there; None without a target. `kept` as `decide` takes it."""
    target = inputs.recipe.target
    if target is None:
        return None
    found, plans = decide(folder, inputs.recipe, kept), plan.Plans(folder.plans)
    if found.rates and (code := _why_none_is_due(folder, inputs, found)):
        more = "more sets" if inputs.recipe.plan.authored else "sets"
        hint = f"have an author write {more} (`plan.authored`), or {OTHERS}, and {REPLAN}"
        reason = NOTHING_LEFT if code == "nothing_left" else UNTOLD
        found = replace(found, code=code, reason=reason, hint=hint)
    cells = {_cell_of(row, target) for row in planned_rows(plans, target.per)}
    return TargetReport(
        accepted=target.accepted,
        per=target.per,
        cells=len(cells),
        short=found.short,
        stalled=found.stalled,
        turns=len(_lacking_turns(folder, plans, target, found.short)),
        stop_code=found.code,
        stop_reason=found.reason,
        hint=found.hint,
        left_out=found.left_out,
    )


def _lacking_turns(
    folder: RunFolder, plans: plan.Plans, target: Target, short: Mapping[Cell, int]
) -> set[str]:
    """Turns of conversations in short cells that have no accepted draft: further rounds do not ask them again."""
    lacking: set[str] = set()
    for row in planned_rows(plans, ("scenario_id", "attributes", *target.per)) if short else ():
        if _cell_of(row, target) in short and any(
            a["axis"] == "turn_style" for a in row["attributes"]
        ):
            lacking.add(row["scenario_id"])
    for row in (
        draft_rows(folder, ("scenario_id", "accepted"), folder.finished()) if lacking else ()
    ):
        if row["accepted"]:
            lacking.discard(row["scenario_id"])
    return lacking


def _why_none_is_due(
    folder: RunFolder, inputs: Basis, decided: Decision
) -> Literal["nothing_left", "unknown"] | None:
    """Why no further round is due; None where one is. Goals that are not at hand were, when the dataset was cut."""
    plans = plan.Plans(folder.plans)
    try:
        left = any(_TopUp(folder, inputs, plans, decided).sets(plans.rounds))
    except UserError:
        there = folder.stopped.exists()
        kept = read_json(folder.stopped, remedy="delete it") if there else {}
        if "stop_code" not in kept or kept.get("at") != _at(plans, decided.short):
            return "unknown"
        left = kept["stop_code"] != "nothing_left"
    return None if left else "nothing_left"


def remember(folder: RunFolder, report: TargetReport) -> None:
    """Keep why no further round was planned, if that could be decided."""
    if report.short and report.stop_code != "unknown":
        state = {
            "at": _at(plan.Plans(folder.plans), report.short),
            "stop_code": report.stop_code,
            "stop_reason": report.stop_reason,
            "hint": report.hint,
        }
        keep_json(folder.stopped, state)


def _at(plans: plan.Plans, short: Mapping[Cell, int]) -> dict[str, object]:
    """The state of a run that the answer hangs on."""
    return {"rounds": plans.rounds, "short": [[*cell, n] for cell, n in sorted(short.items())]}


def is_due(folder: RunFolder, inputs: Basis) -> bool:
    """Whether `generate` would plan another round, with something left to ask in it."""
    decided = decide(folder, inputs.recipe)
    return decided.goes_on and _why_none_is_due(folder, inputs, decided) is None


def next_round(folder: RunFolder, inputs: Inputs) -> bool:
    """Plan one more round, if the target asks for one; False where nothing is left to ask."""
    decided = decide(folder, inputs.recipe)
    return decided.goes_on and _plan(folder, inputs, decided)


def _plan(folder: RunFolder, inputs: Inputs, decided: Decision) -> bool:
    plans = plan.Plans(folder.plans)
    number = plans.rounds
    sets = _TopUp(folder, inputs, plans, decided).sets(number)
    path = folder.plan(number)
    plan.write(path, shards(sets, candidates=inputs.recipe.plan.candidates))
    if plan.size(path)[1]:
        return True
    path.unlink()
    return False


class _TopUp:
    """One round being planned; `left` is what each cell is still expected to lack."""

    def __init__(
        self, folder: RunFolder, inputs: Basis, plans: plan.Plans, decided: Decision
    ) -> None:
        assert inputs.recipe.target is not None
        self.inputs, self.target, self.plans = inputs, inputs.recipe.target, plans
        self.folder = folder
        self.left: dict[Cell, float] = dict(decided.open)
        self.rates = decided.rates

    def sets(self, number: int) -> Iterator[list[Planned]]:
        """The sets of the round, in canonical order."""
        for set_ in self._again():
            yield [_of_round(p, number) for p in set_]
        for set_ in self._unused():
            yield [_of_round(p, number) for p in set_]
        for set_ in self._authored():
            yield [_of_round(p, number) for p in set_]

    def _again(self) -> Iterator[list[Planned]]:
        """Further candidates for single prompts that have no accepted draft, in the order of the plan."""
        last = self._unaccepted()
        candidates = self.inputs.recipe.plan.candidates
        for shard in range(self.plans.shards):
            for item in self.plans.read(shard):
                written = item.brief is None and not in_dialogue(item.scenario)
                if item.first or item.scenario.scenario_id not in last or not written:
                    continue
                cell = self._cell(item)
                if self.left.get(cell, 0) > 0:
                    self.left[cell] -= self.rates.get(cell, 1.0)
                    first = last[item.scenario.scenario_id] + candidates
                    yield [replace(item, first=first)]

    def _unaccepted(self) -> dict[str, int]:
        """The latest first candidate of each scenario that has no accepted draft."""
        last: dict[str, int] = {}
        for row in planned_rows(self.plans, ("scenario_id", "first")):
            last[row["scenario_id"]] = max(row["first"], last.get(row["scenario_id"], 0))
        columns = ("scenario_id", "accepted")
        for row in draft_rows(self.folder, columns, self.folder.finished()):
            if row["accepted"]:
                last.pop(row["scenario_id"], None)
        return last

    def _unused(self) -> Iterator[list[Planned]]:
        """Written goals that no earlier round planned; none where a user's prompts stand for them."""
        if self.inputs.own is not None:
            return
        world = self.inputs.whole_world()
        used = {row["set_id"] for row in planned_rows(self.plans, ("set_id",))}
        for goal in goals(world):
            set_ = single_turns(goal, world)
            cells = [self._cell(p) for p in set_]
            if set_ and set_[0].scenario.set_id not in used and self._wanted(cells):
                for cell in cells:
                    self.left[cell] = self.left.get(cell, 0) - self.rates.get(cell, 1.0)
                yield set_

    def _authored(self) -> Iterator[list[Planned]]:
        """Sets that the author writes, as many of a leaf as its emptiest cell may need."""
        recipe = self.inputs.recipe
        if not recipe.plan.authored or "harm" not in self.target.per:
            return
        world = self.inputs.world()
        start = _authored_so_far(self.plans)
        at = self.target.per.index("harm")
        for harm in world.harms:
            short = [n for cell, n in self.left.items() if cell[at] == harm and n > 0]
            rates = [rate for cell, rate in self.rates.items() if cell[at] == harm]
            count = ceil(max(short, default=0) / max(LOWEST_RATE, min(rates, default=1.0)))
            counts = {harm: count} if count else {}
            yield from authored_sets(world, start=start, counts=counts, seed=recipe.seed)

    def _wanted(self, cells: Iterable[Cell]) -> bool:
        return any(self.left.get(cell, 0) > 0 for cell in cells)

    def _cell(self, item: Planned) -> Cell:
        return _cell_of(facts(item), self.target)


def _rates(ledger: Ledger) -> dict[Cell, float]:
    return {
        cell: max(LOWEST_RATE, n.accepted / n.planned)
        for cell, n in ledger.cells.items()
        if n.planned
    }


def _authored_so_far(plans: plan.Plans) -> dict[str, int]:
    found: dict[str, set[str]] = {}
    for shard in range(plans.shards):
        for item in plans.read(shard):
            single = item.scenario.contrast is None and not in_dialogue(item.scenario)
            if item.brief is not None and single:
                found.setdefault(item.scenario.harm, set()).add(item.scenario.set_id)
    return {harm: len(sets) for harm, sets in found.items()}


def _of_round(item: Planned, number: int) -> Planned:
    return replace(item, scenario=replace(item.scenario, round=number))
