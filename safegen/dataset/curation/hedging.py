"""How much answers hedge: hedging words per 100 words, with the spec in the teacher's instructions and without.

A direct answer in an allowed tier is drafted without the spec, so that it does not hedge more than
its question deserves; the direct answers that were drafted with a spec are what it is compared to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.config.language_pack import folded
from safegen.core import text_forms
from safegen.core.types import Record

PATTERN = "hedges"
"""Name of the language pack's pattern."""
FEWEST = 20
"""Answers that each side needs."""
FREE_TIER = "allowed"
"""Direct answers in this tier are drafted without the spec."""


class Density(NamedTuple):
    """Answers, their words, and the hedging words among them."""

    answers: int
    words: int
    hedges: int

    @property
    def per_100_words(self) -> float:
        """Hedging words per 100 words; 0 where there are none."""
        return round(100 * self.hedges / self.words, 3) if self.words else 0.0


def density(text: str, pattern: re.Pattern[str]) -> Density:
    """Count one answer. A hedge of several words counts once."""
    plain = text_forms.plain(text)
    found = sum(1 for _ in pattern.finditer(folded(plain)))
    return Density(1, len(text_forms.words(plain)), found)


@dataclass(slots=True)
class Hedging:
    """Accepted direct answers, counted by whether their teacher read the spec."""

    tiers: Mapping[str, str]
    """Policy tier by leaf."""
    patterns: Mapping[str, re.Pattern[str]]
    """What hedges, by language."""
    with_spec: Density = field(default=Density(0, 0, 0))
    without_spec: Density = field(default=Density(0, 0, 0))

    def add(self, record: Record) -> None:
        """Count a selected answer; other modes, unknown leaves and languages without a pattern count nowhere."""
        tier = self.tiers.get(record.scenario.harm)
        pattern = self.patterns.get(record.scenario.language)
        told = record.expectation.mode == "direct_answer" and tier is not None
        if not told or pattern is None or record.draft.response is None:
            return
        found = density(record.draft.response, pattern)
        if tier == FREE_TIER:
            self.without_spec = _sum(self.without_spec, found)
        else:
            self.with_spec = _sum(self.with_spec, found)

    @property
    def unmeasured(self) -> str | None:
        """Why the two cannot be compared; None where they can."""
        counts = (self.without_spec.answers, self.with_spec.answers)
        if min(counts) >= FEWEST:
            return None
        return (
            f"{counts[0]} direct answers without the spec, {counts[1]} with it;"
            f" at least {FEWEST} of each are needed"
        )

    def as_json(self) -> dict[str, object]:
        """For the manifest."""
        if self.unmeasured is not None:
            return {"unmeasured": self.unmeasured}
        sides = {"without_spec": self.without_spec, "with_spec": self.with_spec}
        return {
            name: {"answers": d.answers, "words": d.words, "per_100_words": d.per_100_words}
            for name, d in sides.items()
        }


def _sum(one: Density, other: Density) -> Density:
    return Density(*(a + b for a, b in zip(one, other, strict=True)))
