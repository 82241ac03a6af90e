"""What of a plan never became a record, and why: one account for every screen that tells of losses.

An item is lost to an outcome (`refused`, `truncated`, …) and may be asked anew. A prompt is dropped by
a gate, or since an earlier turn has no answer: asking again would be told the same, so it stays out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from safegen.store import plan
from safegen.store.folder import RunFolder
from safegen.types import Failure, Planned


@dataclass(frozen=True, slots=True)
class Losses:
    """Counts of what a run lost."""

    items: Mapping[str, int]
    """Requests without a usable answer, by outcome; `retry` asks them anew."""
    dropped: Mapping[str, int]
    """Prompts that were never drafted, by the gate or reason that took them."""


class Lost(NamedTuple):
    """A planned scenario that has no record."""

    planned: Planned
    failure: Failure

    @property
    def reason(self) -> str:
        """The gate or reason that dropped it, else the outcome of its request."""
        return self.failure.reason or self.failure.outcome


def losses(folder: RunFolder) -> Losses:
    """Count what a run lost."""
    items, dropped = Counter[str](), dict[str, str]()
    for _, failure in folder.read_failures():
        if failure.reason is not None:
            dropped.setdefault(failure.scenario_id, failure.reason)
        elif failure.outcome != "ok":
            items[failure.outcome] += 1
    return Losses(_sorted(items), _sorted(Counter(dropped.values())))


def lost_prompts(folder: RunFolder) -> Iterator[Lost]:
    """Every planned scenario that has no record, with why, in the order of the plan.

    Raises:
        StoreDamaged: plan, records or failures cannot be read.
    """
    plans = plan.Plans(folder.plans)
    for shard in folder.finished():
        why: dict[str, Failure] = {}
        for failure in folder.shard_failures(shard):
            why.setdefault(failure.scenario_id, failure)
        if not why:
            continue
        made = {record.scenario.scenario_id for record in folder.read_records(shard)}
        for item in plans.read(shard) if shard < plans.shards else ():
            id_ = item.scenario.scenario_id
            if id_ in why and id_ not in made:
                yield Lost(item, why[id_])


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
