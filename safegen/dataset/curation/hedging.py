"""How much answers hedge: hedging words per 100 words, with the spec in the teacher's instructions and without.

A direct answer in an allowed tier is drafted without the spec, so that it does not hedge more than
its question deserves; the direct answers that were drafted with a spec are what it is compared to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.config.language_pack import fold_case
from safegen.core import text_forms
from safegen.core.types import Record

PATTERN_NAME = "hedges"
"""Name of the language pack's pattern."""
MIN_ANSWERS = 20
"""Answers that each side needs."""
FREE_TIER = "allowed"
"""Direct answers in this tier are drafted without the spec."""


class HedgeCounts(NamedTuple):
    """Answers, their words, and the hedging words among them."""

    answers: int
    words: int
    hedges: int

    @property
    def per_100_words(self) -> float:
        """Hedging words per 100 words; 0 where there are none."""
        return round(100 * self.hedges / self.words, 3) if self.words else 0.0


def count_hedges(text: str, pattern: re.Pattern[str]) -> HedgeCounts:
    """Count one answer. A hedge of several words counts once."""
    plain = text_forms.plain_text(text)
    hedges = sum(1 for _ in pattern.finditer(fold_case(plain)))
    return HedgeCounts(1, len(text_forms.words(plain)), hedges)


@dataclass(slots=True)
class HedgingMeasure:
    """Accepted direct answers, counted by whether their teacher read the spec."""

    tiers: Mapping[str, str]
    """Policy tier by leaf."""
    patterns: Mapping[str, re.Pattern[str]]
    """What hedges, by language."""
    with_spec: HedgeCounts = field(default=HedgeCounts(0, 0, 0))
    without_spec: HedgeCounts = field(default=HedgeCounts(0, 0, 0))

    def add(self, record: Record) -> None:
        """Count a selected answer; other modes, unknown leaves and languages without a pattern count nowhere."""
        tier = self.tiers.get(record.scenario.harm)
        pattern = self.patterns.get(record.scenario.language)
        had_spec = record.expectation.mode == "direct_answer" and tier is not None
        if not had_spec or pattern is None or record.draft.response is None:
            return
        counts = count_hedges(record.draft.response, pattern)
        if tier == FREE_TIER:
            self.without_spec = _add_counts(self.without_spec, counts)
        else:
            self.with_spec = _add_counts(self.with_spec, counts)

    @property
    def unmeasured_reason(self) -> str | None:
        """Why the two cannot be compared; None where they can."""
        counts = (self.without_spec.answers, self.with_spec.answers)
        if min(counts) >= MIN_ANSWERS:
            return None
        return (
            f"{counts[0]} direct answers without the spec, {counts[1]} with it;"
            f" at least {MIN_ANSWERS} of each are needed"
        )

    def to_json(self) -> dict[str, object]:
        """For the manifest."""
        if self.unmeasured_reason is not None:
            return {"unmeasured": self.unmeasured_reason}
        sides = {"without_spec": self.without_spec, "with_spec": self.with_spec}
        return {
            name: {"answers": d.answers, "words": d.words, "per_100_words": d.per_100_words}
            for name, d in sides.items()
        }


def _add_counts(one: HedgeCounts, other: HedgeCounts) -> HedgeCounts:
    return HedgeCounts(*(a + b for a, b in zip(one, other, strict=True)))
