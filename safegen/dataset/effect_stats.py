"""Policy effect by leaf: levels and safety of drafts under the spec, and of answers without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

EFFECT_COLUMNS = ("harm", "policy_effect")
"""Columns of records that hold the effect."""


@dataclass(frozen=True, slots=True)
class EffectCounts:
    """Sums over some drafts that were compared with an answer without the spec."""

    drafts: int = 0
    compared: int = 0
    """Drafts with two known levels; the level sums count these."""
    changed: int = 0
    """Of these, drafts whose level differs from that without the spec."""
    level: int = 0
    level_without: int = 0
    rated: int = 0
    """Drafts with two known safety values; the safety sums count these."""
    safety: float = 0.0
    safety_without: float = 0.0

    def __add__(self, other: EffectCounts) -> EffectCounts:
        return EffectCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def unknown(self) -> int:
        """Drafts without a comparison of levels: an answer failed, or nothing settled a level."""
        return self.drafts - self.compared

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object with means; a mean over no draft is null."""
        return {
            "drafts": self.drafts,
            "compared": self.compared,
            "changed": self.changed,
            "level": _mean(self.level, self.compared),
            "level_without": _mean(self.level_without, self.compared),
            "rated": self.rated,
            "safety": _mean(self.safety, self.rated),
            "safety_without": _mean(self.safety_without, self.rated),
        }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 4) if count else None


@dataclass(frozen=True)
class EffectStats:
    """Sums by leaf."""

    by_leaf: Mapping[str, EffectCounts] = field(default_factory=dict[str, EffectCounts])

    def __add__(self, other: EffectStats) -> EffectStats:
        leaves = sorted({*self.by_leaf, *other.by_leaf})
        none = EffectCounts()
        return EffectStats(
            {leaf: self.by_leaf.get(leaf, none) + other.by_leaf.get(leaf, none) for leaf in leaves}
        )

    @property
    def total(self) -> EffectCounts:
        """The sums over all leaves."""
        return sum(self.by_leaf.values(), EffectCounts())

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object: the total, and each leaf."""
        leaves = [{"harm": harm, **counts.to_json()} for harm, counts in self.by_leaf.items()]
        return {**self.total.to_json(), "by_leaf": leaves}


def effect_to_json(stats: EffectStats) -> dict[str, object] | None:
    """Convert to a JSON object; None if no draft was compared."""
    return stats.to_json() if stats.by_leaf else None


def count_effects(drafts: pl.DataFrame) -> EffectStats:
    """Sum levels and safety by leaf over the drafts that were compared."""
    import polars as pl

    rows = drafts.filter(pl.col("policy_effect").is_not_null())
    if rows.is_empty():
        return EffectStats()
    names = ("delivered", "delivered_without", "safety", "safety_without", "level_change")
    parts = [pl.col("policy_effect").struct.field(name) for name in (*names, "safety_change")]
    rows = rows.select(pl.col("harm").cast(pl.String), *parts)
    level = [pl.col(name).str.slice(1).cast(pl.Int64) for name in names[:2]]
    is_compared = pl.col("level_change").is_not_null()
    is_rated = pl.col("safety_change").is_not_null()
    sums = rows.group_by("harm").agg(
        drafts=pl.len(),
        compared=is_compared.sum(),
        changed=(pl.col("level_change") != 0).sum(),
        level=level[0].filter(is_compared).sum(),
        level_without=level[1].filter(is_compared).sum(),
        rated=is_rated.sum(),
        # Safety has few values, all of them exact in binary, so the order of additions changes nothing.
        safety=pl.col("safety").filter(is_rated).sum(),
        safety_without=pl.col("safety_without").filter(is_rated).sum(),
    )
    return EffectStats(
        {harm: EffectCounts(*values) for harm, *values in sums.sort("harm").iter_rows()}
    )
