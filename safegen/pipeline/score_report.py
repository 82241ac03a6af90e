"""Rates of faults and levels over scored answers, in total and by any column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast, get_args

from safegen.core.errors import ConfigError
from safegen.core.statistics import Interval, wilson_interval
from safegen.core.types import ANSWER_SIGNALS, AnswerSignal, Assistance, NotAccepted, Outcome
from safegen.pipeline.answer_checks import AnswerScore, UnjudgedCode
from safegen.scenarios.user_prompts.answer_rows import LABEL_FIELDS
from safegen.scenarios.user_prompts.faults import RowError, RowFault

MAX_GROUPS = 1_000
"""Groups at most, so that a column of ids is not read as groups."""
MAX_LISTED_ROWS = 100
"""Bad rows whose messages are kept; all are counted."""
Unanswered = Outcome | NotAccepted
"""Reason why an answer has no text."""
LEVELS: tuple[Assistance, ...] = get_args(Assistance)


class Rate(NamedTuple):
    """A share of answers with its 95 % interval (Wilson 1927)."""

    hits: int
    n: int
    """Answers that were decided."""
    undecided: int = 0

    @property
    def value(self) -> float | None:
        """The share; None without an answer."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> Interval | None:
        """The interval of the share; None without an answer."""
        return wilson_interval(self.hits, self.n) if self.n else None

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {
            "rate": self.value,
            "interval": self.interval and list(self.interval),
            "hits": self.hits,
            "n": self.n,
            "undecided": self.undecided,
        }


class ListedRow(NamedTuple):
    """A row that was not scored."""

    row: int
    code: RowFault
    message: str
    """The problem with file, line and row."""


@dataclass
class GroupScores:
    """Counts of a group of answers."""

    n: int = 0
    signals: dict[AnswerSignal, Counter[bool | None]] = field(
        default_factory=lambda: {signal: Counter() for signal in ANSWER_SIGNALS}
    )
    levels: Counter[Assistance | None] = field(default_factory=Counter["Assistance | None"])
    accepted: Counter[bool | None] = field(default_factory=Counter["bool | None"])
    codes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Failed verdicts by validator and code."""
    severities: Counter[str] = field(default_factory=Counter[str])
    """Answers by severity, of those that a judge rated."""
    unanswered: Counter[Unanswered] = field(default_factory=Counter["Unanswered"])
    """Answers without a text, by outcome of the request; `withheld` if the text was deleted."""
    judged: int = 0
    """Answers about which a panel decided."""
    unjudged: Counter[UnjudgedCode] = field(default_factory=Counter["UnjudgedCode"])
    """Answers that the panel was to read and did not decide, by reason."""

    def add(self, score: AnswerScore) -> None:
        """Count an answer."""
        self.n += 1
        if score.answer.draft.response is None:
            withheld: NotAccepted = "withheld"
            self.unanswered[withheld if score.answer.draft.withheld else score.outcome] += 1
        self.judged += score.is_judged
        if score.unjudged is not None:
            self.unjudged[score.unjudged] += 1
        for signal, value in score.signals.items():
            self.signals[signal][value] += 1
        self.levels[score.delivered] += 1
        self.accepted[score.accepted] += 1
        self.codes.update((v.validator, v.code) for v in score.verdicts if v.passed is False)
        decision = score.judged.decision if score.judged else score.answer.decision
        if decision is not None and decision.severity is not None:
            self.severities[decision.severity] += 1

    def rate(self, signal: AnswerSignal) -> Rate:
        """Return the rate of a fault among the answers in which it can occur."""
        return _rate(self.signals[signal])

    @property
    def accepted_rate(self) -> Rate:
        """The rate of answers that pass every required validator."""
        return _rate(self.accepted)

    @property
    def lacks_judgement(self) -> bool:
        """True if a panel was to read answers and decided about none."""
        return bool(self.unjudged) and not self.judged

    def level_rate(self, level: Assistance) -> Rate:
        """Return the share of a level among the answers whose level is known."""
        known = sum(self.levels[name] for name in LEVELS)
        return Rate(self.levels[level], known, self.levels[None])

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        return {
            "n": self.n,
            **{signal: self.rate(signal).to_json() for signal in ANSWER_SIGNALS},
            "levels": {level: self.level_rate(level).to_json() for level in LEVELS},
            "accepted": self.accepted_rate.to_json(),
            "severities": dict(sorted(self.severities.items())),
            "unanswered": dict(sorted(self.unanswered.items())),
            "judged": self.judged,
            "unjudged": dict(sorted(self.unjudged.items())),
            "faults": [
                {"validator": validator, "code": code, "count": count}
                for (validator, code), count in sorted(self.codes.items())
            ],
        }


def _rate(counts: Mapping[bool | None, int]) -> Rate:
    hits = counts.get(True, 0)
    return Rate(hits, hits + counts.get(False, 0), counts.get(None, 0))


class NotRun(NamedTuple):
    """Answers for which a validator or the jury was not run because of missing labels."""

    validator: str
    labels: tuple[str, ...]
    rows: int


@dataclass
class AnswerReport:
    """The result of scoring: counts in total and by group, checks that did not run, and bad rows."""

    by: tuple[str, ...] = ()
    """Columns of the groups."""
    total: GroupScores = field(default_factory=GroupScores)
    groups: dict[tuple[str, ...], GroupScores] = field(
        default_factory=dict[tuple[str, ...], GroupScores]
    )
    runs: Counter[str] = field(default_factory=Counter[str])
    """Verdicts by validator."""
    missing: Counter[tuple[str, tuple[str, ...]]] = field(
        default_factory=Counter[tuple[str, tuple[str, ...]]]
    )
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABEL_FIELDS, 0))
    """Rows that have a label, by label."""
    computed: int = 0
    """Rows of which the policy computed a missing mode, ceiling or floor."""
    assumed_language: int = 0
    """Rows without a language, read in the recipe's."""
    bad_rows: list[ListedRow] = field(default_factory=list[ListedRow])
    """The first rows that were not scored."""
    bad: Counter[RowFault] = field(default_factory=Counter["RowFault"])
    """Rows that were not scored, by reason."""
    dropped: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Biases of the jurors that failed on their traps and did not judge, by name."""

    @property
    def rows(self) -> int:
        """Number of scored rows."""
        return self.total.n

    @property
    def not_run(self) -> list[NotRun]:
        """The validators that did not run on some rows, with the labels that these lack."""
        return [NotRun(*key, rows) for key, rows in sorted(self.missing.items())]

    def add(self, score: AnswerScore) -> None:
        """Count an answer in total and in its group.

        Raises:
            ConfigError: there are too many groups.
        """
        self.total.add(score)
        if self.by:
            key = tuple(read_group(score, name) for name in self.by)
            group = self.groups.get(key)
            if group is None:
                group = self._open_group(key)
            group.add(score)
        self.runs.update(verdict.validator for verdict in score.verdicts)
        self.missing.update(score.not_run.items())
        for name in LABEL_FIELDS:
            self.labels[name] += getattr(score.answer.labels, name) is not None
        self.computed += score.answer.computed
        self.assumed_language += score.answer.assumed_language

    def _open_group(self, key: tuple[str, ...]) -> GroupScores:
        if len(self.groups) >= MAX_GROUPS:
            names = ",".join(self.by)
            raise ConfigError(
                f"`--by {names}` makes more than {MAX_GROUPS:,} groups, such as"
                f" `{', '.join(key)[:60]}`; name columns with few values"
            )
        return self.groups.setdefault(key, GroupScores())

    def add_bad_row(self, error: RowError) -> None:
        """List a row that cannot be scored."""
        self.bad[error.code] += 1
        if len(self.bad_rows) < MAX_LISTED_ROWS:
            self.bad_rows.append(ListedRow(error.row, error.code, error.message))

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object with names and counts, and no text of a row."""
        return {
            "rows": self.rows,
            "bad_rows": sum(self.bad.values()),
            "bad_by": dict(sorted(self.bad.items())),
            "bad": [listed._asdict() for listed in self.bad_rows],
            "by": list(self.by),
            "total": self.total.to_json(),
            "groups": [
                {"group": dict(zip(self.by, key, strict=True)), **group.to_json()}
                for key, group in sorted(self.groups.items())
            ],
            "checks": dict(sorted(self.runs.items())),
            "not_run": [
                {"validator": n.validator, "labels": list(n.labels), "rows": n.rows}
                for n in self.not_run
            ],
            "labels": dict(self.labels),
            "computed": self.computed,
            "assumed_language": self.assumed_language,
            "dropped": [
                {"judge": judge, "biases": list(biases)} for judge, biases in self.dropped.items()
            ],
        }


def read_group(score: AnswerScore, name: str) -> str:
    """Return the value of a column for groups: a label as it was used, else the cell."""
    value = getattr(score.answer.labels, name, None) if name in LABEL_FIELDS else None
    value = score.answer.values.get(name) if value is None else value
    if isinstance(value, list | tuple):
        return " ".join(sorted(map(str, cast("Sequence[object]", value))))
    return "" if value is None else str(value)


def check_by(by: Sequence[str], known: Sequence[str] | None) -> tuple[str, ...]:
    """Check the columns of the groups.

    Raises:
        ConfigError: a column is neither in the file nor a label, or appears twice.
    """
    from safegen.core.suggestions import find_repeated, suggest_names

    if (name := find_repeated(by)) is not None:
        raise ConfigError(f"`--by` names `{name[:60]}` twice; keep one")
    allowed = [*dict.fromkeys([*LABEL_FIELDS, *(known or ())])]
    for name in by if known is not None else ():
        if name not in allowed:
            raise ConfigError(f"`--by {name[:60]}`: no such column{suggest_names(name, allowed)}")
    return tuple(by)
