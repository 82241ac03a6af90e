"""Plan top-up rounds, which refill cells of the target that rejection and curation emptied.

A round is planned only from complete rounds, so the order of replies changes nothing. A scenario
counts if the dataset would contain it; an accepted one that curation excludes (a duplicate or
near-duplicate) is missing. Scenarios without an accepted draft get further candidates first, then
unused written goals are planned, then sets that the author writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from math import ceil
from typing import Literal

from safegen.config.recipe import Recipe, Target
from safegen.core.errors import RERUN_HINT, UserError
from safegen.core.types import PlannedScenario, Record
from safegen.coverage.ledger import Cell, Ledger, scenario_axes
from safegen.dataset.coverage_report import iter_planned_rows
from safegen.dataset.curate import CurationResult
from safegen.dataset.run_stats import RunStats
from safegen.dataset.target import StopCode, TargetReport, to_cell_target
from safegen.pipeline.resolve import ResolvedRecipe, RunContext
from safegen.scenarios.authoring.plan_sets import plan_authored_sets
from safegen.scenarios.dialogues import is_dialogue_turn, split_conversations
from safegen.scenarios.written import group_shards, iter_goals, plan_single_turns
from safegen.store import plan
from safegen.store.json_files import Count, StoredModel, read_model, write_json_if_changed
from safegen.store.run_folder import RunFolder

# With a rate of 0, no number of scenarios would fill a cell.
MIN_ACCEPTANCE_RATE = 0.1
"""Lower bound, so that a round plans at most ten times what a cell lacks."""
VARY_DRAFTS_HINT = "give the drafter other models or `plan.styles`"
NOTHING_LEFT_REASON = "no prompt is left to draft"
UNKNOWN_REASON = "cannot plan another round: the taxonomy file is missing"
REPLAN_HINT = "re-plan with `--replan`; cached replies are reused"


@dataclass(frozen=True, slots=True)
class RoundDecision:
    """The decision about another round, with its reason."""

    code: StopCode
    reason: str
    """The code in words, for people."""
    hint: str = ""
    """A remedy for the cells that are short."""
    shortfall: Mapping[Cell, int] = field(default_factory=dict[Cell, int])
    stalled: frozenset[Cell] = frozenset()
    """Short cells that get no further round."""
    rates: Mapping[Cell, float] = field(default_factory=dict[Cell, float])
    """The share of planned scenarios that is accepted, by cell; empty if no round can be due."""
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])
    """Accepted scenarios that do not count, by reason."""

    @property
    def is_due(self) -> bool:
        """True if another round is due; its plan may still be empty."""
        return self.code == "due"

    @property
    def open_cells(self) -> dict[Cell, int]:
        """Missing scenarios of the short cells that are not stalled."""
        return {cell: n for cell, n in self.shortfall.items() if cell not in self.stalled}


def decide_round(folder: RunFolder, recipe: Recipe, curated: CurationResult) -> RoundDecision:
    """Decide from the complete rounds if another one is due."""
    target = recipe.target
    if target is None:
        return RoundDecision("no_target", "no target")
    decision = _decide(folder, target, plan.Plans(folder.plans), curated.stats)
    return replace(decision, excluded=curated.excluded_by_reason)


def _decide(folder: RunFolder, target: Target, plans: plan.Plans, stats: RunStats) -> RoundDecision:
    ledger = stats.make_ledger(target.per)
    short = ledger.shortfall(to_cell_target(target))
    if not short:
        return RoundDecision("met", "met")
    if len(folder.finished_shards()) < plans.shards:
        return RoundDecision("unfinished", "unfinished", RERUN_HINT, short)
    if any(f.outcome == "unavailable" for _, f in folder.read_failures()):
        return RoundDecision("unavailable", "an endpoint was unavailable", RERUN_HINT, short)
    stopped = _find_stalled(stats, plans, target) & short.keys()
    if stopped == short.keys():
        last = "last round" if target.patience == 1 else f"last {target.patience} rounds"
        reason = f"stalled: the {last} added no accepted scenario to these cells"
        hint = f"raise `target.patience`, or {VARY_DRAFTS_HINT} and {REPLAN_HINT}"
        return RoundDecision("stalled", reason, hint, short, stopped)
    # Round 0 is the first plan and no top-up round.
    if plans.rounds > target.rounds:
        reason = f"the round limit ({target.rounds}) is reached"
        hint = "raise `target.rounds`"
        return RoundDecision("round_limit", reason, hint, short, stopped, _acceptance_rates(ledger))
    reason = "another round is due"
    return RoundDecision("due", reason, RERUN_HINT, short, stopped, _acceptance_rates(ledger))


def _find_stalled(stats: RunStats, plans: plan.Plans, target: Target) -> frozenset[Cell]:
    """Find the cells without a gain in their last `patience` further rounds."""
    if plans.rounds == 1:
        return frozenset()
    idle = stats.find_idle_rounds(target.per)
    return frozenset(cell for cell, rounds in idle.items() if rounds >= target.patience)


def _cell_of(row: Mapping[str, object], target: Target) -> Cell:
    return tuple(str(row[name]) for name in target.per)


def report_target(
    folder: RunFolder, inputs: RunContext, curated: CurationResult
) -> TargetReport | None:
    """Report how far the target is met and why the run stopped there; None without a target."""
    target = inputs.recipe.target
    if target is None:
        return None
    decision = decide_round(folder, inputs.recipe, curated)
    if decision.rates and (code := _find_stop_code(folder, inputs, decision, curated.stats)):
        sets = "more sets" if inputs.recipe.plan.authored else "sets"
        hint = f"let an author write {sets} (`plan.authored`), or {VARY_DRAFTS_HINT}, and {REPLAN_HINT}"
        reason = NOTHING_LEFT_REASON if code == "nothing_left" else UNKNOWN_REASON
        decision = replace(decision, code=code, reason=reason, hint=hint)
    cells = curated.stats.make_ledger(target.per).cells
    return TargetReport(
        accepted=target.accepted,
        per=target.per,
        cells=sum(1 for counts in cells.values() if counts.planned),
        shortfall=decision.shortfall,
        stalled=decision.stalled,
        # Further rounds ask the last turn of a dialogue again, and no other.
        turns=curated.stats.find_unaccepted_turns(target.per, decision.shortfall),
        stop_code=decision.code,
        stop_reason=decision.reason,
        hint=decision.hint,
        excluded=decision.excluded,
    )


def _find_stop_code(
    folder: RunFolder, inputs: RunContext, decision: RoundDecision, stats: RunStats
) -> Literal["nothing_left", "unknown"] | None:
    """Return the reason why no further round is due; None if one is due."""
    plans = plan.Plans(folder.plans)
    try:
        # The first set answers the question; the plan itself may have millions.
        has_sets = any(_RoundPlanner(inputs, folder, decision, stats).iter_sets(plans.rounds))
    except UserError:
        # The taxonomy's files may be missing here; they were present when the dataset was built.
        if not folder.stop_state.exists():
            return "unknown"
        state = read_model(folder.stop_state, StopState, remedy="delete it")
        if state.at.model_dump() != _stop_state_key(plans, decision.shortfall):
            return "unknown"
        has_sets = state.stop_code != "nothing_left"
    return None if has_sets else "nothing_left"


class StopPoint(StoredModel):
    """The state of a run in which a stop reason holds."""

    rounds: Count
    short: list[list[str | int]]


class StopState(StoredModel):
    """The content of `target.json`."""

    at: StopPoint
    stop_code: StopCode
    stop_reason: str
    hint: str


def save_stop_state(folder: RunFolder, report: TargetReport) -> None:
    """Store the reason why no further round was planned, if it is known."""
    if report.shortfall and report.stop_code != "unknown":
        state = {
            "at": _stop_state_key(plan.Plans(folder.plans), report.shortfall),
            "stop_code": report.stop_code,
            "stop_reason": report.stop_reason,
            "hint": report.hint,
        }
        write_json_if_changed(folder.stop_state, state)


def _stop_state_key(plans: plan.Plans, short: Mapping[Cell, int]) -> dict[str, object]:
    """Identify the state of a run in which the stop reason holds."""
    return {"rounds": plans.rounds, "short": [[*cell, n] for cell, n in sorted(short.items())]}


def is_round_due(folder: RunFolder, inputs: RunContext, curated: CurationResult) -> bool:
    """Return True if `generate` would plan another round with at least one set."""
    decision = decide_round(folder, inputs.recipe, curated)
    return decision.is_due and _find_stop_code(folder, inputs, decision, curated.stats) is None


def plan_next_round(folder: RunFolder, inputs: ResolvedRecipe, curated: CurationResult) -> bool:
    """Plan another round if one is due; return False if it would be empty."""
    decision = decide_round(folder, inputs.recipe, curated)
    return decision.is_due and _plan_round(folder, inputs, decision, curated.stats)


def _plan_round(
    folder: RunFolder, inputs: ResolvedRecipe, decision: RoundDecision, stats: RunStats
) -> bool:
    plans = plan.Plans(folder.plans)
    number = plans.rounds
    sets = _RoundPlanner(inputs, folder, decision, stats).iter_sets(number)
    path = folder.plan(number)
    plan.write_plan(path, group_shards(sets, candidates=inputs.recipe.plan.candidates))
    if plan.read_plan_size(path).scenarios:
        return True
    # An empty plan would count as a round.
    path.unlink()
    return False


class _RoundPlanner:
    """The plan of one round; `missing` holds the scenarios that each cell is still expected to lack."""

    def __init__(
        self, inputs: RunContext, folder: RunFolder, decision: RoundDecision, stats: RunStats
    ) -> None:
        assert inputs.recipe.target is not None
        plans = plan.Plans(folder.plans)
        self.folder = folder
        self._turns: dict[int, dict[str, Record]] = {}
        self.inputs, self.target, self.plans = inputs, inputs.recipe.target, plans
        self.stats = stats
        self.missing: dict[Cell, float] = dict(decision.open_cells)
        self.rates = decision.rates

    def iter_sets(self, number: int) -> Iterator[list[PlannedScenario]]:
        """Plan the sets of the round, in canonical order."""
        # The cheapest first: known prompts, then written goals, then sets for the author.
        for set_ in self._iter_retries():
            yield [_with_round(p, number) for p in set_]
        new = chain(self._iter_unused_goals(), self._iter_authored_sets())
        for set_ in self.inputs.make_surface().apply(new):
            yield [_with_round(p, number) for p in set_]

    def _iter_retries(self) -> Iterator[list[PlannedScenario]]:
        """Plan further candidates for prompts without an accepted draft, in plan order.

        Of a dialogue only the last turn is asked again: later turns reply to the earlier ones.
        """
        last = self.stats.last_candidates()
        candidates = self.inputs.recipe.plan.candidates
        for shard in range(self.plans.shards):
            planned = self.plans.read(shard)
            last_turns = _find_last_turns(planned)
            for item in planned:
                id_ = item.scenario.scenario_id
                is_single = item.brief is None and not is_dialogue_turn(item.scenario)
                if item.first or id_ not in last or not (is_single or id_ in last_turns):
                    continue
                cell = self._cell_of_scenario(item)
                if self.missing.get(cell, 0) <= 0:
                    continue
                # A turn of a dialogue follows the answers in its record.
                retried = item if is_single else self._fill_turn(item, shard)
                if retried is not None:
                    # By the expected gain, so that a cell that rarely accepts gets more scenarios.
                    self.missing[cell] -= self.rates.get(cell, 1.0)
                    yield [replace(retried, first=last[id_] + candidates)]

    def _fill_turn(self, item: PlannedScenario, shard: int) -> PlannedScenario | None:
        """Return the last turn of a dialogue with the conversation before it; None if it was never drafted."""
        if shard not in self._turns:
            # One shard at a time, because records hold whole conversations.
            self._turns = {shard: {}}
            for record in self.folder.read_records(shard):
                if is_dialogue_turn(record.scenario):
                    self._turns[shard].setdefault(record.scenario.scenario_id, record)
        record = self._turns[shard].get(item.scenario.scenario_id)
        if record is None:
            return None
        return replace(item, scenario=record.scenario, expectation=record.expectation, brief=None)

    def _iter_unused_goals(self) -> Iterator[list[PlannedScenario]]:
        """Plan written goals that no earlier round used; none if a user's prompts replace them."""
        if self.inputs.user_prompts is not None:
            return
        context = self.inputs.make_full_planning_context()
        used = {row["set_id"] for row in iter_planned_rows(self.plans, ("set_id",))}
        for goal in iter_goals(context):
            set_ = plan_single_turns(goal, context)
            cells = [self._cell_of_scenario(p) for p in set_]
            if set_ and set_[0].scenario.set_id not in used and self._is_short(cells):
                for cell in cells:
                    self.missing[cell] = self.missing.get(cell, 0) - self.rates.get(cell, 1.0)
                yield set_

    def _iter_authored_sets(self) -> Iterator[list[PlannedScenario]]:
        """Plan sets for the author, as many per leaf as its emptiest cell may need."""
        recipe = self.inputs.recipe
        # Sets are planned by leaf, so a target without leaves does not say which ones.
        if not recipe.plan.authored or "harm" not in self.target.per:
            return
        context = self.inputs.make_planning_context()
        start = _count_authored(self.plans)
        at = self.target.per.index("harm")
        for harm in context.harms:
            short = [n for cell, n in self.missing.items() if cell[at] == harm and n > 0]
            rates = [rate for cell, rate in self.rates.items() if cell[at] == harm]
            # By the rate of the worst cell, because one set fills the cells of all intents.
            count = ceil(max(short, default=0) / max(MIN_ACCEPTANCE_RATE, min(rates, default=1.0)))
            counts = {harm: count} if count else {}
            yield from plan_authored_sets(context, start=start, counts=counts, seed=recipe.seed)

    def _is_short(self, cells: Iterable[Cell]) -> bool:
        return any(self.missing.get(cell, 0) > 0 for cell in cells)

    def _cell_of_scenario(self, item: PlannedScenario) -> Cell:
        return _cell_of(scenario_axes(item), self.target)


def _find_last_turns(planned: Sequence[PlannedScenario]) -> frozenset[str]:
    """Find the turns of dialogues that no other turn follows, by scenario id."""
    sets = groupby(planned, key=lambda item: item.scenario.set_id)
    conversations = [turns for _, set_ in sets for turns in split_conversations(list(set_))]
    return frozenset(
        turns[-1].scenario.scenario_id
        for turns in conversations
        if is_dialogue_turn(turns[-1].scenario)
    )


def _acceptance_rates(ledger: Ledger) -> dict[Cell, float]:
    return {
        cell: max(MIN_ACCEPTANCE_RATE, n.accepted / n.planned)
        for cell, n in ledger.cells.items()
        if n.planned
    }


def _count_authored(plans: plan.Plans) -> dict[str, int]:
    set_ids: dict[str, set[str]] = {}
    for shard in range(plans.shards):
        for item in plans.read(shard):
            single = item.scenario.contrast is None and not is_dialogue_turn(item.scenario)
            if item.brief is not None and single:
                set_ids.setdefault(item.scenario.harm, set()).add(item.scenario.set_id)
    return {harm: len(sets) for harm, sets in set_ids.items()}


def _with_round(item: PlannedScenario, number: int) -> PlannedScenario:
    return replace(item, scenario=replace(item.scenario, round=number))
