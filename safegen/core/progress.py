"""Counters of a run while it works; whoever shows them reads, the journey writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["drafting", "labelling"]


@dataclass(slots=True)
class Progress:
    """Drafts, not requests: the meter of a teacher counts those."""

    planned: int = 0
    done: int = 0
    failed: int = 0
    accepted: int = 0
    shards_done: int = 0
    shards_planned: int = 0
    round: int = 0
    """Number of the round that is worked on; 0 is the first."""
    stage: Stage = "drafting"
    """What is planned and done: drafts, or prompts that labellers read."""
    resumed: bool = False
    """Whether replies of an earlier session are there; requests that are still the same cost nothing."""
