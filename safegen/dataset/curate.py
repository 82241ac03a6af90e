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
from safegen.dataset.coverage_report import brief_axes, iter_draft_rows, iter_planned_rows
from safegen.dataset.curation import corpus_checks
from safegen.dataset.curation.corpus_checks import CorpusPrompt, user_text
from safegen.dataset.curation.exact_duplicates import (
    DuplicateFilter,
    ExpectationIndex,
    expectation_key,
    message_key,
)
from safegen.dataset.curation.select import rejection_reason, select_best
from safegen.dataset.figures import MeasureInputs, RunMeasures
from safegen.dataset.manifest import RunCounts
from safegen.dataset.view import ScenarioGroup
from safegen.store import plan
from safegen.store.run_folder import RunFolder

PLAN_COLUMNS = (
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
PROMPT_COLUMNS = ("scenario_id", "set_id", "goal_id", "source", "intent", "mode", "messages")
USABLE_COLUMNS = ("accepted", "outcome", "withheld")


def iter_curated(run: RunFolder, facts: RunCounts, figures: RunMeasures) -> Iterator[ScenarioGroup]:
    """The scenarios that stay, with their drafts; `facts` and `figures` are filled on the way.

    Raises:
        DatasetInvalid: equal messages with different expectations.
    """
    plans = plan.Plans(run.plans)
    planned = _count_plan(plans, facts, figures)
    shards = run.finished_shards()
    if any(row["source"] != "written" for row in iter_draft_rows(run, ["source"], shards)):
        figures.left = corpus_checks.check_corpus(lambda: _iter_prompts(run))
    figures.sample.total = planned
    expectations, again, keep = (
        ExpectationIndex(),
        _LaterDrafts(run, plans),
        _DraftSelector(facts, figures),
    )
    seen = 0
    for shard in shards:
        groups = _group_by_scenario(run.read_records(shard))
        for failed in _iter_failure_reasons(run, shard, groups, again.shards):
            facts.excluded[failed] += 1
            seen += 1
        for scenario, own in groups.items():
            if shard in again.shards.get(scenario, ()):
                continue
            seen += 1
            head = own[0]
            left = figures.left.scenarios
            if not _is_copy(head, left) and expectations.contradicts(
                head.scenario.messages, head.expectation
            ):
                _check_contradiction(run, head, left)
            group = keep.choose([*own, *again.records(scenario)])
            if group is not None:
                yield group
    facts.planned = max(seen, planned)
    if planned > seen:
        facts.excluded["unfinished"] += planned - seen


class CurationResult(NamedTuple):
    """Which scenarios a dataset would hold, and why it holds no more of the accepted ones."""

    scenarios: frozenset[str]
    excluded: Mapping[str, str]
    """Why an accepted scenario is left out, by id."""

    @property
    def count_by_reason(self) -> dict[str, int]:
        """How many are left out, by reason."""
        return dict(sorted(Counter(self.excluded.values()).items()))


def curate(run: RunFolder) -> CurationResult:
    """Curate what a run has so far, for its count alone.

    Raises:
        DatasetInvalid: equal messages with different expectations.
    """
    facts = RunCounts()
    groups = iter_curated(run, facts, RunMeasures(MeasureInputs()))
    ids = frozenset(g.selected.scenario.scenario_id for g in groups if g.selected is not None)
    return CurationResult(ids, facts.exclusions)


class _LaterDrafts:
    """Where later rounds asked for further candidates of earlier scenarios."""

    def __init__(self, run: RunFolder, plans: plan.Plans) -> None:
        self._run, self._plans = run, plans
        self.shards: dict[str, list[int]] = {}
        """By scenario. Rounds ask in the order of the first plan, so that each shard is read once."""
        self._read: dict[int, tuple[int, dict[str, list[Record]]]] = {}
        for shard in run.finished_shards():
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
            self._read[round_] = (shard, _group_by_scenario(self._run.read_records(shard)))
        return self._read[round_][1]


class _DraftSelector:
    """Selects the draft of a scenario, or counts the reason why it has none."""

    def __init__(self, facts: RunCounts, figures: RunMeasures) -> None:
        self._facts, self._figures = facts, figures
        self._duplicates = DuplicateFilter()

    def choose(self, records: Sequence[Record]) -> ScenarioGroup | None:
        """The scenario with its selected draft; None where it is lost."""
        facts = self._facts
        for record in records:
            facts.add_draft(record)
        facts.add_step("seen", records[0])
        if any(r.draft.outcome == "ok" for r in records):
            facts.answered += 1
            facts.add_step("answered", records[0])
        chosen = select_best(records)
        if chosen is not None:
            facts.accepted += 1
            facts.add_step("accepted", chosen)
        reason = rejection_reason(records) if chosen is None else self._exclusion_reason(chosen)
        if chosen is None or reason is not None:
            facts.excluded[reason or ""] += 1
            if chosen is not None:
                facts.exclusions[chosen.scenario.scenario_id] = reason or ""
            return None
        facts.add_kept(chosen)
        self._figures.add_kept(chosen)
        return ScenarioGroup(tuple(records), chosen)

    def _exclusion_reason(self, chosen: Record) -> str | None:
        scenario = chosen.scenario
        left = self._figures.left.scenarios.get(scenario.scenario_id)
        return left or self._duplicates.check(scenario.messages, chosen.draft.response or "")


def _count_plan(plans: plan.Plans, facts: RunCounts, figures: RunMeasures) -> int:
    """Count the plan's scenarios by domain, expected mode and axis values; all of them together."""
    count = 0
    for row in iter_planned_rows(plans, PLAN_COLUMNS):
        if not row["first"]:
            count += 1
            facts.steps["planned", row["domain"], row["mode"]] += 1
            figures.before.add(row, brief_values=brief_axes(row["brief"]))
    return count


def _iter_prompts(run: RunFolder) -> Iterator[CorpusPrompt]:
    """Every prompt with an answer that could be taken, without its answer."""
    rows = iter_draft_rows(run, [*PROMPT_COLUMNS, *USABLE_COLUMNS], run.finished_shards())
    usable = (r for r in rows if r["accepted"] and r["outcome"] == "ok" and not r["withheld"])
    for _, drafts in groupby(usable, key=lambda r: str(r["scenario_id"])):
        yield _to_prompt(next(drafts))


# Any: a Parquet row; `PROMPT_COLUMNS` names the columns.
def _to_prompt(row: dict[str, Any]) -> CorpusPrompt:
    names = ("scenario_id", "set_id", "goal_id", "source", "intent", "mode")
    return CorpusPrompt(*(row[name] for name in names), text=user_text(row["messages"]))


def _group_by_scenario(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.scenario.scenario_id, []).append(record)
    return groups


def _iter_failure_reasons(
    run: RunFolder, shard: int, made: Container[str], again: Container[str]
) -> Iterator[str]:
    """Why a shard's scenarios that have no record at all are lost, one reason a scenario."""
    outcomes: dict[str, str] = {}
    for failure in run.shard_failures(shard):
        outcomes.setdefault(failure.scenario_id, failure.reason or failure.outcome)
    for scenario, outcome in outcomes.items():
        if scenario not in made and scenario not in again:
            yield outcome


def _is_copy(record: Record, left: Container[str]) -> bool:
    """Whether an author wrote a text a second time, which is left out and so contradicts nobody."""
    return record.scenario.source == "author" and record.scenario.scenario_id in left


def _check_contradiction(run: RunFolder, record: Record, left: Container[str]) -> None:
    """Find the earlier scenario that a digest pointed at and name both.

    Raises:
        DatasetInvalid: there is one, so it was not two texts with one digest.
    """
    wanted = message_key(record.scenario.messages)
    for shard in run.finished_shards():
        for earlier in run.read_records(shard):
            equal = message_key(earlier.scenario.messages) == wanted
            is_pointed_at = equal and not _is_copy(earlier, left)
            if is_pointed_at and expectation_key(earlier.expectation) != expectation_key(
                record.expectation
            ):
                raise DatasetInvalid(
                    f"scenarios `{earlier.scenario.scenario_id}` and"
                    f" `{record.scenario.scenario_id}` have equal messages and different"
                    " expectations; put what tells them apart into the messages"
                )
