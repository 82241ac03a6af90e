"""Counters of a running job: `pipeline` writes them, a display reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["drafting", "labelling", "checking", "trapping", "scoring"]


@dataclass(slots=True)
class Progress:
    """Counts of drafts. The meter of a teacher counts requests."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    """Drafts of `done` that were never requested, because their prompt was dropped."""
    accepted: int = 0
    shards_done: int = 0
    shards_planned: int = 0
    round: int = 0
    """Number of the current round; 0 is the first."""
    stage: Stage = "drafting"
    """The unit of `planned` and `done`: drafts, prompts that labellers read, known prompts, traps, or answers."""
    resumed: bool = False
    """True if the cache has replies of an earlier session; unchanged requests cost nothing."""
