"""What of a plan never became a record, and why: one account for every screen that tells of losses.

An item is lost to an outcome (`refused`, `truncated`, …) and may be asked anew. A prompt is dropped by
a gate, or since an earlier turn has no answer: asking again would be told the same, so it stays out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from safegen.core.types import DropReason, Failure, Outcome, PlannedScenario
from safegen.store import parquet, plan
from safegen.store.run_folder import RunFolder

Code = TypeVar("Code", bound=str)


@dataclass(frozen=True, slots=True)
class LossCounts:
    """Counts of what a run lost."""

    failed_requests: Mapping[Outcome, int]
    """Requests without a usable answer, by outcome; `retry` asks them anew."""
    dropped: Mapping[DropReason, int]
    """Prompts that were never drafted, by the gate or reason that took them."""


class DroppedScenario(NamedTuple):
    """A planned scenario that has no record."""

    planned: PlannedScenario
    failure: Failure

    @property
    def reason(self) -> DropReason | Outcome:
        """The gate or reason that dropped it, else the outcome of its request."""
        return self.failure.reason or self.failure.outcome


def count_losses(folder: RunFolder) -> LossCounts:
    """Count what a run lost."""
    failed, dropped = Counter[Outcome](), dict[str, DropReason]()
    for _, failure in folder.read_failures():
        if failure.reason is not None:
            dropped.setdefault(failure.scenario_id, failure.reason)
        elif failure.outcome != "ok":
            failed[failure.outcome] += 1
    return LossCounts(_sort_counts(failed), _sort_counts(Counter(dropped.values())))


def iter_dropped(folder: RunFolder) -> Iterator[DroppedScenario]:
    """Every planned scenario that has no record, with why, in the order of the plan.

    Raises:
        StoreDamaged: plan, records or failures cannot be read.
    """
    plans = plan.Plans(folder.plans)
    for shard in folder.finished_shards():
        failures: dict[str, Failure] = {}
        for failure in folder.shard_failures(shard):
            failures.setdefault(failure.scenario_id, failure)
        if not failures:
            continue
        made = {row["scenario_id"] for row in _read_rows(folder, shard)}
        for item in plans.read(shard) if shard < plans.shards else ():
            id_ = item.scenario.scenario_id
            if id_ in failures and id_ not in made:
                yield DroppedScenario(item, failures[id_])


# Any: as of the rows of Parquet.
def _read_rows(folder: RunFolder, shard: int) -> Iterator[dict[str, Any]]:
    """Which scenarios have records in a shard, and whether each draft is accepted."""
    for batch in parquet.read_batches(folder.records(shard), ["scenario_id", "accepted"]):
        yield from batch


def _sort_counts(counts: Mapping[Code, int]) -> dict[Code, int]:
    return dict(sorted(counts.items()))
