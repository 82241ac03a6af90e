"""Counts of a panel's answers: by juror, leaf and result, and the drafts on which jurors disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from safegen.core.types import JUROR, JURY, UNSAFE_SEVERITIES, FindingCode, JurorOutcome
from safegen.store import parquet
from safegen.store.run_folder import RECORDS_REMEDY, RunFolder
from safegen.store.schema import record_schema

if TYPE_CHECKING:
    import polars as pl

JurorResult = Literal["answered", "abstained", "failed"]
"""Result of a request to a juror: it decided, it could not decide, or its request failed."""
JUROR_RESULTS: tuple[JurorResult, ...] = get_args(JurorResult)
JURY_COLUMNS = ("draft_id", "harm", "verdicts", "findings", "disagreement")
"""Columns of records that hold the answers of a panel."""
INVENTED: FindingCode = "invented_evidence"


@dataclass(frozen=True)
class JuryStats:
    """Counts of a panel's answers."""

    drafts: int = 0
    """Drafts that the panel read."""
    answers: Mapping[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    """Readings by juror, leaf and code of the verdict."""
    invented: Mapping[str, int] = field(default_factory=dict[str, int])
    """Quotations that the response does not contain, by juror."""
    compared: int = 0
    """Drafts about which two jurors or more decided, or whose severity two or more rated."""
    split: int = 0
    """Of these, drafts about which their decisions differ, or that some rate unsafe and others do not."""

    def __add__(self, other: JuryStats) -> JuryStats:
        return JuryStats(
            self.drafts + other.drafts,
            Counter(self.answers) + Counter(other.answers),
            Counter(self.invented) + Counter(other.invented),
            self.compared + other.compared,
            self.split + other.split,
        )

    @property
    def judges(self) -> tuple[str, ...]:
        """Names of the jurors, sorted."""
        return tuple(sorted({judge for judge, _, _ in self.answers}))

    @property
    def disagreement(self) -> float | None:
        """Share of the compared drafts about which jurors disagree; None if there are none."""
        return self.split / self.compared if self.compared else None

    def to_json(self) -> dict[str, object]:
        """Convert the counts to JSON."""
        return {
            "drafts": self.drafts,
            "jurors": {judge: counts for (judge,), counts in self.count_results().items()},
            "by_leaf": [
                {"judge": judge, "harm": harm, **counts}
                for (judge, harm), counts in self.count_results(by_leaf=True).items()
            ],
            "codes": [
                {"judge": judge, "harm": harm, "code": code, "drafts": n}
                for (judge, harm, code), n in sorted(self.answers.items())
            ],
            "invented_evidence": dict(sorted(self.invented.items())),
            "compared": self.compared,
            "split": self.split,
        }

    def count_results(self, *, by_leaf: bool = False) -> dict[tuple[str, ...], dict[str, int]]:
        """Count the readings by juror, or by juror and leaf, and by result, sorted."""
        counts: dict[tuple[str, ...], Counter[str]] = {}
        for (judge, harm, code), n in sorted(self.answers.items()):
            key = (judge, harm) if by_leaf else (judge,)
            counts.setdefault(key, Counter())[classify_reading(code)] += n
        return {key: dict(results) for key, results in counts.items()}


def classify_reading(code: str) -> JurorResult:
    """Return the result of a request to a juror by the code of its verdict."""
    if code in get_args(JurorOutcome):
        return "failed"
    return "abstained" if code in _NULL_CODES else "answered"


_NULL_CODES: frozenset[FindingCode] = frozenset(
    {"abstained", "no_evidence", "invented_evidence", "too_long"}
)


def count_jury(drafts: pl.DataFrame) -> JuryStats:
    """Count the answers of each juror by leaf, and the drafts on which jurors disagree."""
    import polars as pl

    # A guard decides nothing alone, but its severity can differ.
    votes = pl.col("findings").list.eval(
        pl.element()
        .filter(
            (pl.element().struct.field("field") == "severity")
            & pl.element().struct.field("value").is_not_null()
        )
        .struct.field("value")
        .is_in(sorted(UNSAFE_SEVERITIES))
    )
    views = drafts.select(
        pl.col("disagreement").is_not_null() | (votes.list.len() > 1).fill_null(value=False),
        split=(pl.col("disagreement") > 0).fill_null(value=False)
        | (votes.list.any() & ~votes.list.all()).fill_null(value=False),
    )
    rows = drafts.select("harm", "draft_id", "verdicts").explode("verdicts").unnest("verdicts")
    answers = rows.filter(pl.col("validator") == JUROR).select("judge", "harm", "code")
    findings = drafts.select(pl.col("findings").explode()).drop_nulls().unnest("findings")
    invented = findings.filter(pl.col("code") == INVENTED).select("judge")
    return JuryStats(
        drafts=rows.filter(pl.col("validator") == JURY).height,
        answers={
            (judge, str(harm), code): n for (judge, harm, code), n in _count_rows(answers).items()
        },
        invented={judge: n for (judge,), n in _count_rows(invented).items()},
        compared=int(views["disagreement"].sum()),
        split=int(views["split"].sum()),
    )


def read_jury_stats(run: RunFolder) -> JuryStats:
    """Count the answers of a panel in the finished shards of a run.

    Raises:
        StoreDamaged: a shard cannot be read.
    """
    stats = JuryStats()
    for shard in run.finished_shards():
        for frame in parquet.read_frames(
            run.records(shard), JURY_COLUMNS, record_schema(), remedy=RECORDS_REMEDY
        ):
            stats += count_jury(frame)
    return stats


def _count_rows(rows: pl.DataFrame) -> dict[tuple[str, ...], int]:
    return {tuple(key): n for *key, n in rows.group_by(rows.columns).len().iter_rows()}
