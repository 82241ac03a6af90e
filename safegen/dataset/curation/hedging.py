"""Hedging words per 100 words of answers that were drafted with and without the policy spec.

Direct answers in an allowed tier are drafted without the spec, so that they do not hedge needlessly.
They are compared with direct answers that were drafted with a spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.config.language_pack import fold_case
from safegen.core import text_forms
from safegen.core.plural import format_plural
from safegen.core.timed_pattern import SearchPattern
from safegen.core.types import Record, Tier
from safegen.policy.decide import is_drafted_without_spec

PATTERN_NAME = "hedges"
"""Name of the language pack's pattern."""
MIN_ANSWERS = 20
"""Least number of answers on each side."""


class HedgeCounts(NamedTuple):
    """Answers, their words, and the hedging words among them."""

    answers: int
    words: int
    hedges: int

    @property
    def per_100_words(self) -> float:
        """Hedging words per 100 words; 0 without words."""
        return round(100 * self.hedges / self.words, 3) if self.words else 0.0


def count_hedges(text: str, pattern: SearchPattern) -> HedgeCounts:
    """Count one answer. A hedge of several words counts once."""
    plain = text_forms.plain_text(text)
    hedges = sum(1 for _ in pattern.finditer(fold_case(plain)))
    return HedgeCounts(1, len(text_forms.words(plain)), hedges)


@dataclass(slots=True)
class HedgingMeasure:
    """Accepted direct answers, counted by whether their teacher read the spec."""

    tiers: Mapping[str, Tier]
    """Policy tier by leaf."""
    patterns: Mapping[str, SearchPattern]
    """Pattern of hedging words by language."""
    with_spec: HedgeCounts = field(default=HedgeCounts(0, 0, 0))
    without_spec: HedgeCounts = field(default=HedgeCounts(0, 0, 0))

    def add(self, record: Record) -> None:
        """Count a selected answer; ignore other modes, unknown leaves and languages without a pattern."""
        tier = self.tiers.get(record.scenario.harm)
        pattern = self.patterns.get(record.scenario.language)
        if tier is None or record.expectation.mode != "direct_answer":
            return
        if pattern is None or record.draft.response is None:
            return
        counts = count_hedges(record.draft.response, pattern)
        if is_drafted_without_spec(record.expectation, tier):
            self.without_spec = _add_counts(self.without_spec, counts)
        else:
            self.with_spec = _add_counts(self.with_spec, counts)

    @property
    def unmeasured_reason(self) -> str | None:
        """Reason why the sides cannot be compared; None if they can."""
        counts = (self.without_spec.answers, self.with_spec.answers)
        if min(counts) >= MIN_ANSWERS:
            return None
        return (
            f"{format_plural(counts[0], 'direct answer')} without the spec, {counts[1]} with it;"
            f" at least {MIN_ANSWERS} of each are needed"
        )

    def to_json(self) -> dict[str, object]:
        """Convert the measure to JSON for the manifest."""
        if self.unmeasured_reason is not None:
            return {"unmeasured": self.unmeasured_reason}
        sides = {"without_spec": self.without_spec, "with_spec": self.with_spec}
        return {
            name: {"answers": d.answers, "words": d.words, "per_100_words": d.per_100_words}
            for name, d in sides.items()
        }


def _add_counts(one: HedgeCounts, other: HedgeCounts) -> HedgeCounts:
    return HedgeCounts(*(a + b for a, b in zip(one, other, strict=True)))
