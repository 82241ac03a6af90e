"""Differences between two models on the same prompts, with intervals from resampled sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from safegen.core.statistics import Interval
from safegen.core.types import ANSWER_SIGNALS, AnswerSignal
from safegen.judges.bootstrap import Cluster, bootstrap_mean_interval
from safegen.pipeline.answer_checks import AnswerScore

Measure = AnswerSignal | Literal["accepted"]
MEASURES: tuple[Measure, ...] = (*ANSWER_SIGNALS, "accepted")
Grouping = Literal["all", "mode", "intent", "harm"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)


class ScoredPrompt(NamedTuple):
    """The measures of one answer, with the groups of its prompt."""

    set_id: str
    groups: Mapping[Grouping, str]
    measures: Mapping[Measure, bool | None]


class PairedDifference(NamedTuple):
    """The rates of a baseline and of another model on the prompts that both have decided."""

    grouping: Grouping
    group: str
    measure: Measure
    pairs: int
    sets: int
    baseline: float
    other: float
    difference: float
    """The other model's rate minus the baseline's."""
    interval: Interval | None
    """95 %, by resampling sets; None with fewer than 10 sets."""

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {**self._asdict(), "interval": self.interval and list(self.interval)}


def read_prompt(score: AnswerScore) -> ScoredPrompt:
    """Read the measures of a scored record."""
    scenario, labels = score.answer.context.scenario, score.answer.labels
    return ScoredPrompt(
        scenario.set_id,
        {
            "all": "",
            "mode": labels.mode or "",
            "intent": scenario.intent,
            "harm": scenario.harm,
        },
        {**score.signals, "accepted": score.accepted},
    )


def compare(
    baseline: Mapping[str, ScoredPrompt],
    other: Mapping[str, ScoredPrompt],
    *,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[PairedDifference]:
    """Compare two models on the prompts that both answered.

    Args:
        baseline: measures by prompt.
        other: the same of the other model.
        resamples: number of resampled collections of sets.
        seed: seed of the draws.
    """
    differences: list[PairedDifference] = []
    for grouping in GROUPINGS:
        groups = sorted({prompt.groups[grouping] for prompt in baseline.values()})
        for group in groups:
            ids = [id_ for id_ in sorted(baseline) if baseline[id_].groups[grouping] == group]
            for measure in MEASURES:
                pairs = list(_iter_pairs(ids, baseline, other, measure))
                if pairs:
                    differences.append(
                        _make_difference(
                            grouping, group, measure, pairs, resamples=resamples, seed=seed
                        )
                    )
    return differences


class _ModelPair(NamedTuple):
    set_id: str
    baseline: bool
    other: bool


def _iter_pairs(
    ids: list[str],
    baseline: Mapping[str, ScoredPrompt],
    other: Mapping[str, ScoredPrompt],
    measure: Measure,
) -> Iterator[_ModelPair]:
    for id_ in ids:
        if id_ not in other:
            continue
        values = (baseline[id_].measures.get(measure), other[id_].measures.get(measure))
        if values[0] is not None and values[1] is not None:
            yield _ModelPair(baseline[id_].set_id, values[0], values[1])


def _make_difference(
    grouping: Grouping,
    group: str,
    measure: Measure,
    pairs: list[_ModelPair],
    *,
    resamples: int,
    seed: int,
) -> PairedDifference:
    clusters: dict[str, Cluster] = {}
    for pair in pairs:
        before = clusters.get(pair.set_id, Cluster(0.0, 0))
        change = float(pair.other) - float(pair.baseline)
        clusters[pair.set_id] = Cluster(before.total + change, before.n + 1)
    rates = [sum(values) / len(pairs) for values in zip(*(p[1:] for p in pairs), strict=True)]
    return PairedDifference(
        grouping=grouping,
        group=group,
        measure=measure,
        pairs=len(pairs),
        sets=len(clusters),
        baseline=rates[0],
        other=rates[1],
        difference=sum(c.total for c in clusters.values()) / len(pairs),
        interval=bootstrap_mean_interval(list(clusters.values()), resamples=resamples, seed=seed),
    )
