"""State of a run's target, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from safegen.config.recipe import Target
from safegen.core.plural import format_plural
from safegen.coverage import ledger
from safegen.coverage.ledger import Cell

StopCode = Literal[
    "no_target",
    "met",
    "unfinished",
    "unavailable",
    "stalled",
    "round_limit",
    "nothing_left",
    "unknown",
    "due",
]
"""Code of the reason why no further round was planned; `due` if one is due."""


@dataclass(frozen=True, slots=True)
class TargetReport:
    """State of a target, and why no further round was planned."""

    accepted: int
    per: tuple[str, ...]
    cells: int
    """Cells with a planned scenario."""
    shortfall: Mapping[Cell, int]
    """Missing accepted scenarios, by cell."""
    stop_code: StopCode
    stop_reason: str
    """The code in words, for people."""
    hint: str = ""
    """A hint how to fill the missing cells."""
    stalled: frozenset[Cell] = frozenset()
    """Short cells that get no further round."""
    turns: int = 0
    """Turns of conversations in short cells without an accepted draft; they are not requested again."""
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])
    """Accepted prompts that do not count because the dataset excludes them, by reason."""

    @property
    def lines(self) -> list[str]:
        """The state as short lines: the state, then reasons and a hint."""
        head = f"{self.accepted:,} accepted in each {' × '.join(self.per)}"
        if not self.shortfall:
            return [
                f"{head}: met in {'the' if self.cells == 1 else 'all'} {format_plural(self.cells, 'cell')}",
                *self._excluded_lines(),
            ]
        met = self.cells - len(self.shortfall)
        short = sum(self.shortfall.values())
        return [
            f"{head}: met in {met:,} of {format_plural(self.cells, 'cell')}",
            f"{short:,} missing in {format_plural(len(self.shortfall), 'cell')}: {self.stop_reason}",
            *self._excluded_lines(),
            *self._reason_lines(),
        ]

    def _excluded_lines(self) -> Iterator[str]:
        if self.excluded:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.excluded.items())
            yield f"accepted, but excluded from the dataset: {reasons}"

    def _reason_lines(self) -> Iterator[str]:
        if self.stalled and self.stop_code != "stalled":
            yield f"{len(self.stalled):,} of these cells gained nothing in their last round"
        if self.turns:
            verb = "lacks" if self.turns == 1 else "lack"
            turns = format_plural(self.turns, "turn")
            yield f"{turns} of conversations {verb} an accepted draft; only a last turn is requested again"
        if self.hint:
            yield f"hint: {self.hint}"

    def to_json(self) -> dict[str, object]:
        """Convert the report to JSON."""
        return {
            "accepted": self.accepted,
            "per": list(self.per),
            "cells": self.cells,
            "cells_short": len(self.shortfall),
            "short_by": sum(self.shortfall.values()),
            "short": [
                {
                    "cell": dict(zip(self.per, cell, strict=True)),
                    "missing": n,
                    "stalled": cell in self.stalled,
                }
                for cell, n in sorted(self.shortfall.items())
            ],
            "stop_code": self.stop_code,
            "stop_reason": self.stop_reason,
            "hint": self.hint,
            "turns_without_accepted_draft": self.turns,
            "not_counted": dict(self.excluded),
        }


def to_cell_target(target: Target) -> ledger.CellTarget:
    """Convert the recipe's target for the ledger."""
    return ledger.CellTarget(target.accepted, target.per)
