"""Agreement of judges with people, measured on a file of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast, get_args

from safegen.core.errors import ConfigError, UserError
from safegen.core.statistics import Interval
from safegen.core.types import SEVERITIES, Assistance, Scale
from safegen.judges.agreement import (
    KappaWeights,
    Label,
    Ratings,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    make_ratings,
    percent_agreement,
)
from safegen.judges.alternative_annotator import (
    AlternativeAnnotatorResult,
    alternative_annotator_test,
)
from safegen.judges.bootstrap import bootstrap_interval
from safegen.judges.classification import (
    ClassScores,
    ThresholdScores,
    average_f1,
    score_classes,
    sweep_thresholds,
)
from safegen.judges.corrected_rates import CorrectedMean, correct_mean, correct_rate
from safegen.pipeline.label_table import MAX_LABELS, LabelColumns, LabelTable, read_label_table

KNOWN_ORDERS: tuple[tuple[str, ...], ...] = (SEVERITIES, get_args(Assistance))
"""Labels of safegen that have an order."""
MAIN_KAPPA: Mapping[Scale, KappaWeights] = {"nominal": "none", "ordinal": "quadratic"}
"""The weights of the κ that is shown and that has an interval."""
MAX_ORDINAL = 10
"""Distinct whole numbers up to which numbers are an ordinal scale by default."""
MAX_THRESHOLDS = 20
"""Thresholds of a sweep; more distinct scores are thinned to quantiles."""


NO_LABELS = ("abstain", "unscored", "nan", "null")
"""Labels that always count as missing: an abstention is no score, and tables write null as text."""


class CalibrationOptions(NamedTuple):
    """Options of a calibration."""

    scale: Scale | None = None
    """Default: by the labels."""
    order: tuple[str, ...] = ()
    """Labels from lowest to highest; makes the scale ordinal."""
    positive: str | None = None
    """Label that scores predict."""
    missing: tuple[str, ...] = ()
    """Labels that count as missing, in addition to `NO_LABELS`."""
    epsilon: float = 0.1
    """Cost of a human label in the alternative-annotator test."""
    resamples: int = 1_000
    seed: int = 0


class Coefficient(NamedTuple):
    """A coefficient with its 95 % interval; None if it is not defined."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """Agreement of raters on the items that two or more of them labelled."""

    items: int
    percent: float | None
    alpha: Coefficient
    ac1: Coefficient
    kappa: Mapping[KappaWeights, Coefficient] = field(
        default_factory=dict[KappaWeights, Coefficient]
    )
    """By weights; only for two raters with categories, and with an interval for `MAIN_KAPPA`."""


class GroupAgreement(NamedTuple):
    """Agreement of a judge with people within one group."""

    column: str
    value: str
    agreement: RaterAgreement
    macro_f1: float | None


class LabelRate(NamedTuple):
    """The rate of a label over all items, corrected by human labels."""

    label: Label
    estimate: CorrectedMean


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """A judge against people."""

    judge: str
    unanswered: int
    """Items without a label of the judge."""
    agreement: RaterAgreement
    classes: tuple[ClassScores, ...]
    rates: tuple[LabelRate, ...]
    mean: CorrectedMean | None
    """Corrected mean of numeric labels on an interval scale."""
    alternative: AlternativeAnnotatorResult | None
    groups: tuple[GroupAgreement, ...]

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 over the classes."""
        return average_f1(self.classes)


class ScoreReport(NamedTuple):
    """A numeric score against people."""

    score: str
    positive: Label
    items: int
    thresholds: tuple[ThresholdScores, ...]
    best: ThresholdScores
    """The threshold with the highest F1; of equal ones the lowest."""


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The result of `calibrate`."""

    items: int
    human_labelled: int
    """Items with a human label."""
    ties: int
    """Items whose human labels have no most frequent or middle value."""
    scale: Scale
    categories: tuple[Label, ...]
    people: RaterAgreement | None
    """Agreement of the people with each other; None with one person."""
    jury: RaterAgreement | None
    """Agreement of the judges with each other; None with one judge."""
    judges: tuple[JudgeReport, ...]
    scores: tuple[ScoreReport, ...]


def calibrate(path: Path, columns: LabelColumns, options: CalibrationOptions) -> CalibrationReport:
    """Measure how well judges agree with people.

    Raises:
        ConfigError: the file is wrong; the message has file, line and remedy.
        UserError: an option is wrong.

    Example:
        >>> calibrate(Path("labels.csv"), LabelColumns(), CalibrationOptions())  # doctest: +SKIP
    """
    _check_options(options)
    table = read_label_table(
        path,
        columns,
        missing=(*NO_LABELS, *options.missing),
        allow_mixed=options.scale == "nominal" or bool(options.order),
    )
    scale, categories = _choose_scale(path, table, options)
    return _Calibration(path, table, scale, categories, options).report()


def _check_options(options: CalibrationOptions) -> None:
    if not 0 <= options.epsilon <= 1:
        raise UserError(f"`--epsilon` is `{options.epsilon}`; use a number from 0 to 1")
    if options.resamples < 1:
        raise UserError(f"`--resamples` is `{options.resamples}`; use 1 or more")
    if options.order and options.scale not in (None, "ordinal"):
        raise UserError(f"`--order` makes an ordinal scale; leave out `--scale {options.scale}`")
    if len(set(options.order)) < len(options.order):
        raise UserError("`--order` names a label twice")


def _choose_scale(
    path: Path, table: LabelTable, options: CalibrationOptions
) -> tuple[Scale, tuple[Label, ...]]:
    labels = table.labels
    if not any(label is not None for column in table.human.values() for label in column):
        names = ", ".join(f"`{name}`" for name in table.human)
        raise ConfigError(f"{path}: no item has a human label; fill in {names}")
    if options.order:
        return "ordinal", _apply_order(path, table, options.order)
    if all(not isinstance(label, str) for label in labels):
        numbers = sorted(cast("set[float]", labels))
        few = len(numbers) <= MAX_ORDINAL and all(isinstance(n, int) for n in numbers)
        scale = options.scale or ("ordinal" if few else "interval")
        if scale != "interval" and len(numbers) > MAX_LABELS:
            raise ConfigError(
                f"{path}: `--scale {scale}` takes at most {MAX_LABELS} distinct labels, not"
                f" {len(numbers):,}; use `--scale interval`"
            )
        return scale, tuple(numbers)
    if options.scale == "interval":
        text = min(map(str, labels))
        raise ConfigError(f"{path}: `--scale interval` needs numbers, not `{text[:60]}`")
    known = next((order for order in KNOWN_ORDERS if labels <= set(order)), None)
    if known is not None and options.scale != "nominal":
        return "ordinal", known
    if options.scale == "ordinal":
        listed = ",".join(sorted(map(str, labels)))
        raise ConfigError(
            f"{path}: the order of the labels is unknown; add `--order {listed}`, sorted"
        )
    return "nominal", tuple(sorted(map(str, labels)))


def _apply_order(path: Path, table: LabelTable, order: Sequence[str]) -> tuple[Label, ...]:
    by_text = {str(label): label for label in table.labels}
    for name, column in (*table.human.items(), *table.judge.items()):
        for place, label in zip(table.places, column, strict=True):
            if label is not None and str(label) not in order:
                raise ConfigError(
                    f"{place}: `{name}` is `{str(label)[:60]}`, which `--order` does not name; add it,"
                    f" or use `--missing {str(label)[:60]}`"
                )
    return tuple(by_text.get(name, name) for name in order)


@dataclass(frozen=True, slots=True)
class _Calibration:
    """The inputs of one report, so that its parts share them."""

    path: Path
    table: LabelTable
    scale: Scale
    categories: tuple[Label, ...]
    options: CalibrationOptions

    def report(self) -> CalibrationReport:
        table = self.table
        labelled = [
            any(v is not None for v in row) for row in zip(*table.human.values(), strict=True)
        ]
        gold = self._gold_labels()
        return CalibrationReport(
            items=len(gold),
            human_labelled=sum(labelled),
            ties=sum(has and label is None for has, label in zip(labelled, gold, strict=True)),
            scale=self.scale,
            categories=self.categories,
            people=self._agreement_within(table.human),
            jury=self._agreement_within(table.judge),
            judges=tuple(
                self._judge(name, column, gold, labelled) for name, column in table.judge.items()
            ),
            scores=tuple(self._score(name, column, gold) for name, column in table.score.items()),
        )

    def _gold_labels(self) -> list[Label | None]:
        merge = (
            _most_frequent
            if self.scale == "nominal"
            else partial(_middle, self.scale, self.categories)
        )
        rows = zip(*self.table.human.values(), strict=True)
        return [merge([label for label in row if label is not None]) for row in rows]

    def _agreement_within(
        self, columns: Mapping[str, Sequence[Label | None]]
    ) -> RaterAgreement | None:
        if len(columns) < 2:
            return None
        return self._agreement(list(zip(*columns.values(), strict=True)))

    def _agreement(self, rows: Sequence[Sequence[Label | None]]) -> RaterAgreement:
        shared = [row for row in rows if sum(label is not None for label in row) >= 2]
        if not shared:
            return RaterAgreement(0, None, Coefficient(None), Coefficient(None))
        # On an interval scale, gold labels may lie between the numbers of the file.
        categories = None if self.scale == "interval" else self.categories
        ratings = make_ratings(shared, categories=categories)
        alpha = partial(krippendorff_alpha, scale=self.scale)
        if self.scale == "interval":
            return RaterAgreement(
                len(shared), None, self._estimate(ratings, alpha), Coefficient(None)
            )
        kappa: dict[KappaWeights, Coefficient] = {}
        if len(rows[0]) == 2:
            kappa = {
                w: Coefficient(cohen_kappa(ratings, weights=w)) for w in get_args(KappaWeights)
            }
            main = MAIN_KAPPA[self.scale]
            kappa[main] = self._estimate(ratings, partial(cohen_kappa, weights=main))
        return RaterAgreement(
            len(shared),
            percent_agreement(ratings),
            self._estimate(ratings, alpha),
            self._estimate(ratings, gwet_ac1),
            kappa,
        )

    def _estimate(
        self, ratings: Ratings, statistic: Callable[[Ratings], float | None]
    ) -> Coefficient:
        value = statistic(ratings) if len(ratings) else None
        if value is None:
            return Coefficient(None)
        resamples, seed = self.options.resamples, self.options.seed
        return Coefficient(
            value, bootstrap_interval(ratings, statistic, resamples=resamples, seed=seed)
        )

    def _judge(
        self,
        name: str,
        column: Sequence[Label | None],
        gold: Sequence[Label | None],
        labelled: Sequence[bool],
    ) -> JudgeReport:
        pairs = list(zip(gold, column, strict=True))
        if not _known(pairs):
            raise ConfigError(
                f"{self.path}: no item has a label of `{name}` and a human label that is no tie;"
                " label the same items by both"
            )
        unlabelled = [
            label
            for label, has_human in zip(column, labelled, strict=True)
            if label is not None and not has_human
        ]
        return JudgeReport(
            judge=name,
            unanswered=sum(label is None for label in column),
            agreement=self._agreement(pairs),
            classes=self._classes(pairs),
            rates=self._rates(pairs, unlabelled),
            mean=self._mean(pairs, unlabelled),
            alternative=self._alternative(column),
            groups=self._groups(pairs),
        )

    def _classes(
        self, pairs: Sequence[tuple[Label | None, Label | None]]
    ) -> tuple[ClassScores, ...]:
        if self.scale == "interval":
            return ()
        known = _known(pairs)
        gold, predicted = [pair[0] for pair in known], [pair[1] for pair in known]
        return tuple(score_classes(gold, predicted, labels=self.categories))

    def _rates(
        self, pairs: Sequence[tuple[Label | None, Label | None]], unlabelled: Sequence[Label]
    ) -> tuple[LabelRate, ...]:
        if self.scale == "interval":
            return ()
        known = _known(pairs)
        rates: list[LabelRate] = []
        for label in self.categories:
            estimate = correct_rate(
                [gold == label for gold, _ in known],
                [judged == label for _, judged in known],
                unlabelled=[judged == label for judged in unlabelled],
            )
            rates += [] if estimate is None else [LabelRate(label, estimate)]
        return tuple(rates)

    def _mean(
        self, pairs: Sequence[tuple[Label | None, Label | None]], unlabelled: Sequence[Label]
    ) -> CorrectedMean | None:
        if self.scale != "interval":
            return None
        known = _known(pairs)
        return correct_mean(
            [float(gold) for gold, _ in known],
            [float(judged) for _, judged in known],
            unlabelled=[float(judged) for judged in unlabelled],
        )

    def _alternative(self, column: Sequence[Label | None]) -> AlternativeAnnotatorResult | None:
        people = {name: self._to_values(labels) for name, labels in self.table.human.items()}
        return alternative_annotator_test(
            self._to_values(column), people, epsilon=self.options.epsilon, scale=self.scale
        )

    def _to_values(self, labels: Sequence[Label | None]) -> list[Label | None]:
        """Replace labels of an ordinal scale by their ranks, which measure distance."""
        if self.scale != "ordinal":
            return list(labels)
        ranks = {label: rank for rank, label in enumerate(self.categories)}
        return [None if label is None else ranks[label] for label in labels]

    def _groups(
        self, pairs: Sequence[tuple[Label | None, Label | None]]
    ) -> tuple[GroupAgreement, ...]:
        groups: list[GroupAgreement] = []
        for column, values in self.table.by.items():
            for value in sorted(set(values)):
                chosen = [p for p, v in zip(pairs, values, strict=True) if v == value]
                groups.append(
                    GroupAgreement(
                        column, value, self._agreement(chosen), average_f1(self._classes(chosen))
                    )
                )
        return tuple(groups)

    def _score(
        self, name: str, column: Sequence[float | None], gold: Sequence[Label | None]
    ) -> ScoreReport:
        positive = self._positive(name)
        known = [
            (g, s) for g, s in zip(gold, column, strict=True) if g is not None and s is not None
        ]
        if not known:
            raise ConfigError(f"{self.path}: no item has a human label and a value of `{name}`")
        scores = [score for _, score in known]
        swept = sweep_thresholds(
            [label == positive for label, _ in known], scores, thresholds=_pick_thresholds(scores)
        )
        best = max(swept, key=lambda t: (t.f1 or 0.0, -t.threshold))
        return ScoreReport(name, positive, len(known), tuple(swept), best)

    def _positive(self, score: str) -> Label:
        by_text = {str(label): label for label in self.categories}
        listed = ", ".join(f"`{text[:60]}`" for text in list(by_text)[:20])
        if self.options.positive is None:
            raise UserError(
                f"`{score}` holds scores; name the label that they predict with `--positive LABEL`;"
                f" labels: {listed}"
            )
        if self.options.positive not in by_text:
            raise UserError(f"`--positive {self.options.positive}` is no label; labels: {listed}")
        return by_text[self.options.positive]


def _known(pairs: Sequence[tuple[Label | None, Label | None]]) -> list[tuple[Label, Label]]:
    return [(gold, judged) for gold, judged in pairs if gold is not None and judged is not None]


def _most_frequent(labels: Sequence[Label]) -> Label | None:
    """Return the most frequent label; None without labels or if two are equally frequent."""
    ranked = Counter(labels).most_common(2)
    is_tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return ranked[0][0] if ranked and not is_tie else None


def _middle(scale: Scale, categories: Sequence[Label], labels: Sequence[Label]) -> Label | None:
    """Return the median; None without labels or if two different categories are in the middle."""
    if not labels:
        return None
    ordered = (
        sorted(labels, key=float) if scale == "interval" else sorted(labels, key=categories.index)
    )
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if low == high:
        return low
    return (float(low) + float(high)) / 2 if scale == "interval" else None


def _pick_thresholds(scores: Sequence[float]) -> list[float]:
    distinct = sorted(set(scores))
    if len(distinct) <= MAX_THRESHOLDS:
        return distinct
    last = len(distinct) - 1
    return [distinct[round(n * last / (MAX_THRESHOLDS - 1))] for n in range(MAX_THRESHOLDS)]
