"""The best accepted draft of a scenario."""

from __future__ import annotations

from collections.abc import Sequence

from safegen.core.types import Record

NO_REWARD = -1.0
"""Rank of a draft without a reward, below every reward."""


def sum_scores(record: Record) -> float:
    """Sum the scores of a draft's verdicts; a verdict without a score adds nothing."""
    return sum(v.score for v in record.verdicts if v.score is not None)


def rank_reward(record: Record) -> float:
    """Return the reward of a draft for comparisons; a draft without one ranks below all others."""
    return NO_REWARD if record.reward is None else record.reward


def select_best(records: Sequence[Record]) -> Record | None:
    """Pick the accepted draft with the highest reward, then score, then `draft_id`; None without one.

    A draft that is not `ok`, has no text or was withheld is never picked.
    """
    fitting = [r for r in records if r.accepted and is_usable(r)]
    # The id breaks ties, because shards end in any order.
    return min(
        fitting, key=lambda r: (-rank_reward(r), -sum_scores(r), r.draft.draft_id), default=None
    )


def is_usable(record: Record) -> bool:
    """Return True if a draft has a text that may be shown."""
    draft = record.draft
    return draft.outcome == "ok" and draft.response is not None and not draft.withheld
