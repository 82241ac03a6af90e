"""Losses of a run, for every command that counts them: failed requests and dropped prompts.

A failed request has an outcome (`refused`, `truncated`, …) and can be retried. A prompt is dropped by
a gate, or because an earlier turn has no answer: a retry would have the same result, so none is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeVar

from safegen.core.quotation import hide_quotation
from safegen.core.types import DropReason, Failure, FailureStage, Outcome, PlannedScenario, Scenario
from safegen.store import parquet, plan
from safegen.store.run_folder import RECORDS_REMEDY, RunFolder
from safegen.store.schema import record_schema

Code = TypeVar("Code", bound=str)
DRAFT_STAGES: tuple[FailureStage, ...] = ("expand", "draft", "revise")
"""Stages whose failures cost a draft."""
MIN_QUOTED_CHARS = 16
"""Letters and digits in a row that a message and a prompt share by quotation, hardly by chance."""


@dataclass(frozen=True, slots=True)
class LossCounts:
    """Counts of failed requests and dropped prompts of a run."""

    failed_requests: Mapping[Outcome, int]
    """Requests without a usable answer, by outcome; `retry` repeats them."""
    dropped: Mapping[DropReason, int]
    """Prompts that were never drafted, by reason."""
    messages: Mapping[Outcome, str] = field(default_factory=dict[Outcome, str])
    """The most frequent message of the failed requests, by outcome, without words of prompts."""


class DroppedScenario(NamedTuple):
    """A planned scenario that has no record."""

    planned: PlannedScenario
    failure: Failure

    @property
    def reason(self) -> DropReason | Outcome:
        """The drop reason, else the outcome of the request."""
        return self.failure.reason or self.failure.outcome

    @property
    def quotes_prompt(self) -> bool:
        """True if the message may hold words of the prompt, so that only `--reveal` shows it."""
        if self.failure.reason is not None:
            return True
        return quotes_prompt(self.public_message, self.planned.scenario)

    @property
    def public_message(self) -> str:
        """The message with `…` in place of words of the prompt."""
        return hide_in_message(self.failure, self.planned.scenario)


def hide_in_message(failure: Failure, scenario: Scenario) -> str:
    """Return the message of a failure with `…` in place of words of the prompt."""
    # The records of an older version hold the full message only.
    return hide_quotation(failure.public_message, [m["content"] for m in scenario.messages])


def quotes_prompt(message: str, scenario: Scenario) -> bool:
    """Check if a server's message holds a part of the scenario's messages."""
    letters = _normalise(message)
    return any(_share_text(letters, _normalise(m["content"])) for m in scenario.messages)


def _normalise(text: str) -> str:
    # Servers quote a prompt with its line breaks escaped.
    return "".join(c for c in text.replace("\\n", "").casefold() if c.isalnum())


def _share_text(message: str, prompt: str) -> bool:
    size = min(MIN_QUOTED_CHARS, len(prompt))
    if not size:
        return False
    return any(message[i : i + size] in prompt for i in range(len(message) - size + 1))


def read_failed_drafts(folder: RunFolder) -> dict[str, Failure]:
    """Read the failure of each failed request for a draft, by draft id."""
    return {
        failure.draft_id: failure
        for _, failure in folder.read_failures()
        if failure.draft_id and failure.reason is None and failure.stage in DRAFT_STAGES
    }


def count_losses(folder: RunFolder) -> LossCounts:
    """Count failed requests and dropped prompts of a run.

    Raises:
        StoreDamaged: a list of failures cannot be read.
    """
    failed, dropped = Counter[Outcome](), dict[str, DropReason]()
    messages: dict[Outcome, Counter[str]] = {}
    drafts = (failure for _, failure in folder.read_failures())
    for failure in chain(folder.read_label_failures(), drafts):
        if failure.reason is not None:
            dropped.setdefault(failure.scenario_id, failure.reason)
        elif failure.outcome != "ok":
            failed[failure.outcome] += 1
            messages.setdefault(failure.outcome, Counter())[failure.public_message] += 1
    return LossCounts(
        _sort_counts(failed),
        _sort_counts(Counter(dropped.values())),
        {outcome: counts.most_common(1)[0][0] for outcome, counts in messages.items()},
    )


def iter_dropped(folder: RunFolder) -> Iterator[DroppedScenario]:
    """Yield each planned scenario without a record and its failure, in the order of the plan.

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
        recorded = set(_iter_recorded(folder, shard))
        for item in plans.read(shard) if shard < plans.shards else ():
            id_ = item.scenario.scenario_id
            if id_ in failures and id_ not in recorded:
                yield DroppedScenario(item, failures[id_])


def _iter_recorded(folder: RunFolder, shard: int) -> Iterator[str]:
    """Yield the scenario id of each draft of a shard."""
    for table in parquet.read_tables(
        folder.records(shard), ["scenario_id"], record_schema(), remedy=RECORDS_REMEDY
    ):
        yield from map(str, table.column("scenario_id").to_pylist())


def _sort_counts(counts: Mapping[Code, int]) -> dict[Code, int]:
    return dict(sorted(counts.items()))
