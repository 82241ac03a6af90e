"""What was measured of a dataset beyond counts: coverage, target, near copies, telling words, hedging."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from safegen.core.types import Record
from safegen.coverage.axes import Axes
from safegen.dataset.coverage_report import Certificates, Shapes, certificates, certificates_json
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.artifacts import Question, Result
from safegen.dataset.curation.corpus_checks import (
    BOUND,
    Left,
    Prompt,
    Sample,
    prompt_text,
    result_json,
)
from safegen.dataset.curation.hedging import Hedging
from safegen.dataset.target import TargetReport

NAMED = 100
"""Near copies that a manifest names."""


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What figures are computed with, beside the rows."""

    tiers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Policy tier by leaf."""
    axes: Axes | None = None
    """Of the plan; default the axes file."""
    cut: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Axes of which the plan takes some values alone."""
    barred: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Profiles under which a leaf is never asked, by leaf."""
    hedges: Mapping[str, re.Pattern[str]] = field(default_factory=dict[str, re.Pattern[str]])
    """What hedges, by language."""
    target: TargetReport | None = None


class Figures:
    """Filled while rows are taken; results are computed once, afterwards."""

    def __init__(self, given: Yardsticks) -> None:
        self.target = given.target
        self.before, self.after = Shapes(), Shapes()
        self.left = Left()
        self.sample = Sample(total=0)
        self.hedging = Hedging(given.tiers, given.hedges)
        self._given = given

    def keep(self, record: Record) -> None:
        """Count a scenario that stays, by its selected draft."""
        s = record.scenario
        text = prompt_text(s.messages)
        mode = record.expectation.mode
        prompt = Prompt(s.scenario_id, s.set_id, s.goal_id, s.source, s.intent, mode, text)
        self.after.keep(record)
        self.sample.add(prompt)
        self.hedging.add(record)

    @cached_property
    def certificates(self) -> Certificates | None:
        """Of the plan and of the rows; None without a plan, or where fewer than two axes vary."""
        by = self._given
        return certificates(
            self.before, self.after, by.tiers, axes=by.axes, cut=by.cut, barred=by.barred
        )

    @cached_property
    def telltale(self) -> dict[Question, Result]:
        """How well words tell, by question."""
        return self.sample.measured()

    @property
    def telling(self) -> str | None:
        """A sentence on words that give authored prompts away, in too many sets to leave these out."""
        found = self.left.telling
        if found is None:
            return None
        words = ", ".join(f"`{w.word}`" for w in found.words)
        return (
            f"{words} tell the author's dual-use prompts from its benign ones (AUC {found.auc:.2f}, bound {BOUND}),"
            " in too many sets to leave them out; mend `prompts/author.j2` or take another `teachers.author`"
        )

    def as_json(self) -> dict[str, object]:
        """The manifest's part."""
        found = self.certificates
        return {
            "certificate": None if found is None else certificates_json(found),
            "target": None if self.target is None else self.target.as_json(),
            "corpus": self._corpus(),
            "hedging": self.hedging.as_json(),
        }

    def _corpus(self) -> dict[str, object]:
        left = self.left
        return {
            "near_duplicates": {
                "threshold": near_duplicates.THRESHOLD,
                "left_out": [
                    {"scenario_id": c.id, "of": c.of, "similarity": round(c.similarity, 4)}
                    for c in left.near[:NAMED]
                ],
                "left_out_total": len(left.near),
                "written_kept": left.near_written,
            },
            "lexical_artifact": {
                "bound": BOUND,
                "prompts": len(self.sample.rows),
                "left_out_for": [w.word for w in left.words],
                "too_telling": self.telling,
                "questions": {q: result_json(r) for q, r in self.telltale.items()},
            },
        }
