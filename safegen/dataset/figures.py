"""Measures of a dataset beyond counts: coverage, target, near-duplicates, lexical artifacts, hedging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from safegen.core.timed_pattern import SearchPattern
from safegen.core.types import NOISE, WRAPPER, Record, Severity, Tier
from safegen.coverage.axes import Axes
from safegen.dataset.coverage_report import (
    AxisShapes,
    Certificates,
    certificates_json,
    certify_run,
)
from safegen.dataset.curate import CurationResult
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.artifacts import ArtifactResult, ArtifactTarget
from safegen.dataset.curation.corpus_checks import (
    MAX_AUC,
    CorpusPrompt,
    PromptSample,
    result_to_json,
    user_text,
)
from safegen.dataset.curation.hedging import HedgingMeasure
from safegen.dataset.pair_measures import PairMeasure, PairSample
from safegen.dataset.target import TargetReport
from safegen.dataset.yields import measure_yields
from safegen.store.schema import ArrowRow

# A manifest is read by people; the total is stated in addition.
MAX_NAMED = 100
"""Most near-duplicates that a manifest lists."""


@dataclass(frozen=True, slots=True)
class MeasureInputs:
    """Inputs of the measures in addition to the rows."""

    tiers: Mapping[str, Tier] = field(default_factory=dict[str, Tier])
    """Policy tier by leaf."""
    axes: Axes | None = None
    """Axes of the plan; the axes file by default."""
    restricted_axes: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Axes that the plan restricts to some values."""
    barred_profiles: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Excluded profiles by leaf."""
    hedge_patterns: Mapping[str, SearchPattern] = field(default_factory=dict[str, SearchPattern])
    """Pattern of hedging words by language."""
    target: TargetReport | None = None


class RunMeasures:
    """Measures of a curated run. Rows are added while they are written; results are computed once, afterwards."""

    def __init__(self, inputs: MeasureInputs, curated: CurationResult) -> None:
        self.target = inputs.target
        self.before = curated.planned_shapes
        self.after = AxisShapes()
        self.corpus = curated.corpus
        self.sample = PromptSample(total=curated.stats.planned)
        self.hedging = HedgingMeasure(inputs.tiers, inputs.hedge_patterns)
        self.yields = measure_yields(curated.stats)
        self.surface = Counter[tuple[str, str, str]]()
        """Kept prompts that code changed, by `wrapper` or `noise`, its name, and intent."""
        self._pairs: dict[str, PairSample] = {}
        self._inputs = inputs

    def add_kept(self, record: Record) -> None:
        """Count a kept scenario with its selected draft."""
        s = record.scenario
        text = user_text(s.messages, s.base_prompt)
        mode = record.expectation.mode
        prompt = CorpusPrompt(s.scenario_id, s.set_id, s.goal_id, s.source, s.intent, mode, text)
        self.after.add_kept(record)
        wrapper, noise = s.find_attribute(WRAPPER), s.find_attribute(NOISE)
        if wrapper is None:
            # A wrapped copy would count the words of its prompt again.
            self.sample.add(prompt)
        for kind, name in (("wrapper", wrapper), ("noise", noise)):
            if name is not None:
                self.surface[kind, name, s.intent] += 1
        self.hedging.add(record)

    def add_pairs(self, view: str, rows: Sequence[ArrowRow], records: Sequence[Record]) -> None:
        """Count the rows that a view of pairs made of a scenario's drafts."""
        if rows:
            severities: dict[str, Severity | None] = {r.draft.draft_id: r.severity for r in records}
            sample = self._pairs.setdefault(view, PairSample())
            for row in rows:
                sample.add(row, severities)

    @cached_property
    def pairs(self) -> dict[str, PairMeasure]:
        """Measures of each view of pairs that has rows."""
        return {view: sample.measure() for view, sample in sorted(self._pairs.items())}

    @cached_property
    def certificates(self) -> Certificates | None:
        """Certificates of plan and rows; None without a plan, or if fewer than two axes vary."""
        by = self._inputs
        return certify_run(
            self.before,
            self.after,
            by.tiers,
            axes=by.axes,
            restricted_axes=by.restricted_axes,
            barred_profiles=by.barred_profiles,
        )

    @cached_property
    def artifacts(self) -> dict[ArtifactTarget, ArtifactResult]:
        """Artifact measures by target."""
        return self.sample.measure()

    @property
    def artifact_warning(self) -> str | None:
        """A warning about artifacts in too many authored sets to exclude them; None without one."""
        artifacts = self.corpus.artifacts
        if artifacts is None:
            return None
        words = ", ".join(f"`{w.word}`" for w in artifacts.words)
        return (
            f"{words} separate the author's dual-use prompts from its benign ones (AUC {artifacts.auc:.2f}, bound {MAX_AUC}),"
            " in too many sets to exclude them; change `prompts/author.j2` or use another `teachers.author`"
        )

    def to_json(self) -> dict[str, object]:
        """Convert the measures to JSON for the manifest."""
        certificates = self.certificates
        return {
            "certificate": None if certificates is None else certificates_json(certificates),
            "target": None if self.target is None else self.target.to_json(),
            "corpus": self._corpus_json(),
            "hedging": self.hedging.to_json(),
            "pairs": {view: measure.to_json() for view, measure in self.pairs.items()},
            "yields": self.yields.to_json(),
            "low_yields": [low.to_json() for low in self.yields.low],
        }

    def _corpus_json(self) -> dict[str, object]:
        corpus = self.corpus
        return {
            "near_duplicates": {
                "threshold": near_duplicates.THRESHOLD,
                "excluded": [
                    {"scenario_id": c.id, "of": c.original, "similarity": round(c.similarity, 4)}
                    for c in corpus.near_duplicates[:MAX_NAMED]
                ],
                "excluded_total": len(corpus.near_duplicates),
                "written_kept": corpus.written_near_duplicates,
            },
            "lexical_artifact": {
                "bound": MAX_AUC,
                "prompts": len(self.sample.rows),
                "excluded_for": [w.word for w in corpus.words],
                "artifact_warning": self.artifact_warning,
                "questions": {name: result_to_json(r) for name, r in self.artifacts.items()},
            },
        }
