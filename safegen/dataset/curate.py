"""Every scenario of a run that stays in a dataset, in canonical order; the others are counted by reason.

Records are read one shard at a time; for the corpus only counters, 64-bit digests and the ids of
prompts that were asked again are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from safegen.core.errors import DatasetInvalid
from safegen.core.types import Record
from safegen.dataset.coverage_report import briefed, draft_rows, planned_rows
from safegen.dataset.curation import corpus_checks
from safegen.dataset.curation.corpus_checks import Prompt, prompt_text
from safegen.dataset.curation.exact_duplicates import Duplicates, Expectations, decided, exact
from safegen.dataset.curation.select import best, why_none
from safegen.dataset.figures import Figures, Yardsticks
from safegen.dataset.manifest import Facts
from safegen.dataset.view import ScenarioGroup
from safegen.store import plan
from safegen.store.run_folder import RunFolder

PLANNED = (
    "domain",
    "mode",
    "first",
    "brief",
    "harm",
    "intent",
    "profile",
    "language",
    "task",
    "evidence",
    "requested_detail",
    "attributes",
)
PROMPT = ("scenario_id", "set_id", "goal_id", "source", "intent", "mode", "messages")
USABLE = ("accepted", "outcome", "withheld")


def curated(run: RunFolder, facts: Facts, figures: Figures) -> Iterator[ScenarioGroup]:
    """The scenarios that stay, with their drafts; `facts` and `figures` are filled on the way.

    Raises:
        DatasetInvalid: equal messages with different expectations.
    """
    plans = plan.Plans(run.plans)
    planned = _count_plan(plans, facts, figures)
    shards = run.finished()
    if any(row["source"] != "written" for row in draft_rows(run, ["source"], shards)):
        figures.left = corpus_checks.gate(lambda: _prompts(run))
    figures.sample.total = planned
    expectations, again, keep = Expectations(), _Again(run, plans), _Keep(facts, figures)
    seen = 0
    for shard in shards:
        groups = _grouped(run.read_records(shard))
        for failed in _failed(run, shard, groups, again.shards):
            facts.excluded[failed] += 1
            seen += 1
        for scenario, own in groups.items():
            if shard in again.shards.get(scenario, ()):
                continue
            seen += 1
            head = own[0]
            left = figures.left.scenarios
            if not _copied(head, left) and expectations.contradicts(
                head.scenario.messages, head.expectation
            ):
                _fail_if_contradicted(run, head, left)
            group = keep.choose([*own, *again.records(scenario)])
            if group is not None:
                yield group
    facts.planned = max(seen, planned)
    if planned > seen:
        facts.excluded["unfinished"] += planned - seen


class Staying(NamedTuple):
    """Which scenarios a dataset would hold, and why it holds no more of the accepted ones."""

    scenarios: frozenset[str]
    left_out: Mapping[str, str]
    """Why an accepted scenario is left out, by id."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many are left out, by reason."""
        return dict(sorted(Counter(self.left_out.values()).items()))


def staying(run: RunFolder) -> Staying:
    """Curate what a run has so far, for its count alone.

    Raises:
        DatasetInvalid: equal messages with different expectations.
    """
    facts = Facts()
    groups = curated(run, facts, Figures(Yardsticks()))
    ids = frozenset(g.selected.scenario.scenario_id for g in groups if g.selected is not None)
    return Staying(ids, facts.left_out)


class _Again:
    """Where later rounds asked for further candidates of earlier scenarios."""

    def __init__(self, run: RunFolder, plans: plan.Plans) -> None:
        self._run, self._plans = run, plans
        self.shards: dict[str, list[int]] = {}
        """By scenario. Rounds ask in the order of the first plan, so that each shard is read once."""
        self._read: dict[int, tuple[int, dict[str, list[Record]]]] = {}
        for shard in run.finished():
            if shard < plans.shards and plans.round_of(shard):
                for item in plans.read(shard):
                    if item.first:
                        self.shards.setdefault(item.scenario.scenario_id, []).append(shard)

    def records(self, scenario: str) -> list[Record]:
        """The drafts of later rounds."""
        shards = self.shards.get(scenario, ())
        return [r for shard in shards for r in self._groups(shard).get(scenario, ())]

    def _groups(self, shard: int) -> dict[str, list[Record]]:
        round_ = self._plans.round_of(shard)
        if self._read.get(round_, (-1, {}))[0] != shard:
            self._read[round_] = (shard, _grouped(self._run.read_records(shard)))
        return self._read[round_][1]


class _Keep:
    """Selects the draft of a scenario, or counts the reason why it has none."""

    def __init__(self, facts: Facts, figures: Figures) -> None:
        self._facts, self._figures = facts, figures
        self._duplicates = Duplicates()

    def choose(self, records: Sequence[Record]) -> ScenarioGroup | None:
        """The scenario with its selected draft; None where it is lost."""
        facts = self._facts
        for record in records:
            facts.draft(record)
        facts.step("seen", records[0])
        if any(r.draft.outcome == "ok" for r in records):
            facts.answered += 1
            facts.step("answered", records[0])
        chosen = best(records)
        if chosen is not None:
            facts.accepted += 1
            facts.step("accepted", chosen)
        reason = why_none(records) if chosen is None else self._lost(chosen)
        if chosen is None or reason is not None:
            facts.excluded[reason or ""] += 1
            if chosen is not None:
                facts.left_out[chosen.scenario.scenario_id] = reason or ""
            return None
        facts.keep(chosen)
        self._figures.keep(chosen)
        return ScenarioGroup(tuple(records), chosen)

    def _lost(self, chosen: Record) -> str | None:
        scenario = chosen.scenario
        left = self._figures.left.scenarios.get(scenario.scenario_id)
        return left or self._duplicates.check(scenario.messages, chosen.draft.response or "")


def _count_plan(plans: plan.Plans, facts: Facts, figures: Figures) -> int:
    """Count the plan's scenarios by domain, expected mode and axis values; all of them together."""
    count = 0
    for row in planned_rows(plans, PLANNED):
        if not row["first"]:
            count += 1
            facts.steps["planned", row["domain"], row["mode"]] += 1
            figures.before.add(row, asked=briefed(row["brief"]))
    return count


def _prompts(run: RunFolder) -> Iterator[Prompt]:
    """Every prompt with an answer that could be taken, without its answer."""
    rows = draft_rows(run, [*PROMPT, *USABLE], run.finished())
    usable = (r for r in rows if r["accepted"] and r["outcome"] == "ok" and not r["withheld"])
    for _, drafts in groupby(usable, key=lambda r: str(r["scenario_id"])):
        yield _prompt(next(drafts))


# Any: a Parquet row; `PROMPT` names the columns.
def _prompt(row: dict[str, Any]) -> Prompt:
    names = ("scenario_id", "set_id", "goal_id", "source", "intent", "mode")
    return Prompt(*(row[name] for name in names), text=prompt_text(row["messages"]))


def _grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.scenario.scenario_id, []).append(record)
    return groups


def _failed(
    run: RunFolder, shard: int, made: Container[str], again: Container[str]
) -> Iterator[str]:
    """Why a shard's scenarios that have no record at all are lost, one reason a scenario."""
    outcomes: dict[str, str] = {}
    for failure in run.shard_failures(shard):
        outcomes.setdefault(failure.scenario_id, failure.reason or failure.outcome)
    for scenario, outcome in outcomes.items():
        if scenario not in made and scenario not in again:
            yield outcome


def _copied(record: Record, left: Container[str]) -> bool:
    """Whether an author wrote a text a second time, which is left out and so contradicts nobody."""
    return record.scenario.source == "author" and record.scenario.scenario_id in left


def _fail_if_contradicted(run: RunFolder, record: Record, left: Container[str]) -> None:
    """Find the earlier scenario that a digest pointed at and name both.

    Raises:
        DatasetInvalid: there is one, so it was not two texts with one digest.
    """
    wanted = exact(record.scenario.messages)
    for shard in run.finished():
        for earlier in run.read_records(shard):
            equal = exact(earlier.scenario.messages) == wanted
            here = equal and not _copied(earlier, left)
            if here and decided(earlier.expectation) != decided(record.expectation):
                raise DatasetInvalid(
                    f"scenarios `{earlier.scenario.scenario_id}` and"
                    f" `{record.scenario.scenario_id}` have equal messages and different"
                    " expectations; put what tells them apart into the messages"
                )
