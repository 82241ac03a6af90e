"""Counts of a run by stage and by any axes: planned, answered, accepted, kept, and the reasons of the rest.

The counts are polars aggregations over two tables, one row for each planned scenario and one for
each scenario with a record or a failure. The tables hold ids and categories, no text, and are on disk
if they are large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from safegen.core.types import DropReason, Outcome
from safegen.coverage.ledger import Cell, Ledger, StageCounts
from safegen.dataset.curation.corpus_checks import ExclusionReason
from safegen.dataset.curation.exact_duplicates import DuplicateReason
from safegen.dataset.effect_stats import EffectStats
from safegen.dataset.jury_stats import JuryStats
from safegen.store import parquet, plan
from safegen.store.frame_spool import FrameSpool
from safegen.store.schema import plan_schema
from safegen.store.temporary import name_temporary_folder

if TYPE_CHECKING:
    import polars as pl

PLAN_AXES = ("harm", "intent", "profile", "language")
"""Reported over the values that the plan holds: the recipe chose them."""
VALUE_AXES = ("task", "evidence", "requested_detail")
"""Reported over every value of the axes file."""
AXES = (*PLAN_AXES, *VALUE_AXES, "domain", "mode")
"""Axes of a recipe's target."""
STORED_AXES = (*AXES, "contrast", "paraphrase")
"""Axes with a column in plans and records; the others are attributes."""
UNKNOWN_VALUE = "unknown"
"""Value of an axis that neither the prompt nor the plan states."""
UNFINISHED = "unfinished"
"""Reason of planned scenarios whose shard is not complete."""
MODEL_COLUMNS = ("role", "teacher", "model")
VERDICT_COLUMNS = ("validator", "result")
REJECTION_AXES = ("harm", "mode", "language", "teacher")
"""Axes by which rejected drafts are counted."""
REJECTION_COLUMNS = ("reason", *REJECTION_AXES)
PROVIDER_REFUSALS: tuple[Outcome, ...] = ("refused", "filtered", "blocked")
"""Outcomes by which a provider withholds an answer because of its content."""
LossResult = Literal["dropped", "failed", "rejected", "withheld", "excluded", "unfinished"]
"""Result of a loss for a prompt or a draft; docs/reference/codes.md defines the words."""
_RESULTS: Mapping[str, LossResult] = {
    **dict.fromkeys(get_args(DropReason), "dropped"),
    **dict.fromkeys(get_args(Outcome), "failed"),
    **dict.fromkeys([*get_args(ExclusionReason), *get_args(DuplicateReason)], "excluded"),
    "withheld": "withheld",
    UNFINISHED: "unfinished",
}


def classify_loss(reason: str) -> LossResult:
    """Return the result of a reason; a validator, or a missing verdict, rejects a draft."""
    return _RESULTS.get(reason, "rejected")


@dataclass(frozen=True)
class DraftStats:
    """Counts of all drafts of a run."""

    total: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])
    """Drafts that were not accepted, by reason."""
    by_model: Mapping[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    """By role, teacher and model."""
    by_verdict: Mapping[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    """By validator and `passed`, `failed` or `unscored`."""
    jury: JuryStats = field(default_factory=JuryStats)
    by_rejection: Mapping[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])
    """Drafts that were not accepted by `REJECTION_COLUMNS`."""
    effect: EffectStats = field(default_factory=EffectStats)

    def __add__(self, other: DraftStats) -> DraftStats:
        return DraftStats(
            self.total + other.total,
            self.accepted + other.accepted,
            Counter(self.rejected) + Counter(other.rejected),
            Counter(self.by_model) + Counter(other.by_model),
            Counter(self.by_verdict) + Counter(other.by_verdict),
            self.jury + other.jury,
            Counter(self.by_rejection) + Counter(other.by_rejection),
            self.effect + other.effect,
        )

    def count_rejections(self, axis: str) -> dict[str, dict[str, int]]:
        """Count the drafts that were not accepted by reason and the values of one of `REJECTION_AXES`, sorted."""
        place = REJECTION_COLUMNS.index(axis)
        counts = Counter[tuple[str, ...]]()
        for key, count in self.by_rejection.items():
            counts[key[0], key[place]] += count
        return _nest(counts)

    def count_refusals(self) -> dict[tuple[str, str, str], int]:
        """Count the drafts that a provider withheld, by teacher, outcome and leaf, sorted."""
        counts = Counter[tuple[str, str, str]]()
        for (reason, harm, _, _, teacher), count in self.by_rejection.items():
            if reason in PROVIDER_REFUSALS:
                counts[teacher, reason, harm] += count
        return dict(sorted(counts.items()))

    def count_teachers(self) -> dict[str, tuple[int, int]]:
        """Count the drafts of each teacher, and how many of them were accepted, sorted."""
        totals, rejected = Counter[str](), Counter[str]()
        for (_, teacher, _), count in self.by_model.items():
            totals[teacher] += count
        for (*_, teacher), count in self.by_rejection.items():
            rejected[teacher] += count
        return {name: (n, n - rejected[name]) for name, n in sorted(totals.items())}


def list_refusals(counts: Mapping[tuple[str, str, str], int]) -> list[dict[str, str | int]]:
    """List the drafts that a provider withheld as JSON objects."""
    return [
        {"teacher": teacher, "outcome": outcome, "harm": harm, "drafts": count}
        for (teacher, outcome, harm), count in counts.items()
    ]


@dataclass(frozen=True)
class RunStats:
    """Statistics of one run state; each number is an aggregation of these tables."""

    plan_rows: pl.LazyFrame
    """A row per planned request for drafts: `scenario_id`, the axes, `round`, `first`, `is_turn`."""
    scenarios: pl.LazyFrame
    """A row per scenario with a record or a failure: the axes, stages, `reason`, facets of the kept draft."""
    drafts: DraftStats

    @cached_property
    def planned(self) -> int:
        """Scenarios of the plan, or with a result if these are more."""
        return max(self._planned_rows, self._seen)

    @property
    def answered(self) -> int:
        """Scenarios with a draft that has an answer."""
        return count_rows(self.scenarios.filter(_column("answered")))

    @property
    def accepted(self) -> int:
        """Scenarios with an accepted draft."""
        return count_rows(self.scenarios.filter(_column("accepted")))

    @cached_property
    def prompts(self) -> int:
        """Scenarios in the dataset."""
        return count_rows(self.scenarios.filter(_column("kept")))

    @cached_property
    def excluded(self) -> dict[str, int]:
        """Scenarios that are not in the dataset, by reason, sorted."""
        counts = Counter(_single_keys(_count(self.scenarios.filter(~_kept()), ["reason"])))
        # Negative if the folder lacks a plan whose records exist.
        if unfinished := self._planned_rows - self._seen:
            counts[UNFINISHED] += max(unfinished, 0)
        return dict(sorted((+counts).items()))

    @property
    def later_turns(self) -> int:
        """Scenarios in the dataset with an assistant turn before the last user turn."""
        return count_rows(self.scenarios.filter(_kept() & _column("has_history")))

    @property
    def imported(self) -> dict[tuple[str, str], int]:
        """Scenarios in the dataset from a user's file, by licence and source of the labels."""
        rows = self.scenarios.filter(_kept() & (_column("source") == "imported"))
        sources = {"true": "blind labellers, in part or whole", "false": "the file"}
        counts = _count(rows, ["source_licence", "is_confirmed"])
        return {(licence, sources[flag]): n for (licence, flag), n in counts.items()}

    def count_kept(self, column: str) -> dict[str, int]:
        """Count the scenarios in the dataset by the values of a column, sorted."""
        return _single_keys(_count(self.scenarios.filter(_kept()), [column]))

    def count_domain_modes(self) -> dict[str, dict[str, int]]:
        """Count the scenarios in the dataset by domain and expected mode, sorted."""
        return _nest(_count(self.scenarios.filter(_kept()), ["domain", "mode"]))

    def count_verdicts(self) -> dict[str, dict[str, int]]:
        """Count the drafts by validator and result, sorted."""
        return _nest(self.drafts.by_verdict)

    def count_stages(self, axis: str) -> dict[str, StageCounts]:
        """Count the scenarios of each value of an axis by stage, sorted.

        A value has at least as many planned scenarios as it has scenarios with a record, because a
        run may lack a plan.
        """
        return {
            str(value): StageCounts(max(planned, seen), answered, accepted, kept)
            for value, planned, seen, answered, accepted, kept in self._stages([axis]).iter_rows()
        }

    def make_ledger(self, axes: Sequence[str], labels: pl.DataFrame | None = None) -> Ledger:
        """Count scenarios by cell and stage.

        Args:
            axes: the axes of a cell: some of `STORED_AXES`, or columns of `labels`.
            labels: values of further axes by `scenario_id`.
        """
        cells: dict[Cell, StageCounts] = {}
        for *cell, planned, _, answered, accepted, kept in self._stages(axes, labels).iter_rows():
            if planned or answered:
                cells[tuple(cell)] = StageCounts(planned, answered, accepted, kept)
        return Ledger(tuple(axes), cells)

    def count_reasons(
        self, axes: Sequence[str], labels: pl.DataFrame | None = None
    ) -> dict[Cell, dict[str, int]]:
        """Count the scenarios of each cell that are not in the dataset, by reason."""
        rows = _with_labels(self.scenarios.filter(~_kept()), axes, labels)
        reasons: dict[Cell, dict[str, int]] = {}
        for (*cell, reason), count in _count(rows, [*axes, "reason"]).items():
            reasons.setdefault(tuple(cell), {})[reason] = count
        return reasons

    def count_unaccepted(self, axis: str) -> dict[str, dict[str, int]]:
        """Count the scenarios without an accepted draft by the values of a stored axis and by reason."""
        rows = self.scenarios.filter(~_column("accepted"))
        return _nest(_count(rows, [axis, "reason"]))

    def find_idle_rounds(self, axes: Sequence[str]) -> dict[Cell, int]:
        """Count for each planned cell the rounds that asked for it since it last gained a kept scenario."""
        import polars as pl

        names = [pl.col(name).cast(pl.String) for name in axes]
        planned_rounds = self.plan_rows.select(*names, "round").unique()
        gained = (
            self.scenarios.filter(_kept())
            .select(*names, "round")
            .group_by(list(axes))
            .agg(pl.col("round").max().alias("gained"))
        )
        # A round counts only after the last gain; a cell without one counts from round 1 on.
        idle = pl.col("round") > pl.col("gained").fill_null(0)
        counts = (
            planned_rounds.join(gained, on=list(axes), how="left")
            .group_by(list(axes))
            .agg(idle.sum())
        )
        return {tuple(cell): count for *cell, count in _collect(counts).iter_rows()}

    def find_unaccepted_turns(self, axes: Sequence[str], cells: Iterable[Cell]) -> int:
        """Count the turns of dialogues in some cells that have no accepted draft."""
        cell_set = frozenset(cells)
        rows = self.plan_rows.filter(_column("is_turn") & (_column("first") == 0))
        lacking = rows.join(self._accepted_ids, on="scenario_id", how="anti")
        counts = _count(lacking, axes)
        return sum(count for cell, count in counts.items() if cell in cell_set)

    def last_candidates(self) -> dict[str, int]:
        """Map each planned scenario without an accepted draft to the first candidate of its latest request."""
        import polars as pl

        rows = self.plan_rows.join(self._accepted_ids, on="scenario_id", how="anti")
        return dict(_collect(rows.group_by("scenario_id").agg(pl.col("first").max())).iter_rows())

    @property
    def _accepted_ids(self) -> pl.LazyFrame:
        return self.scenarios.filter(_column("accepted")).select("scenario_id")

    @cached_property
    def _seen(self) -> int:
        return count_rows(self.scenarios)

    @cached_property
    def _planned_rows(self) -> int:
        return count_prompts(self.plan_rows)

    def _stages(self, axes: Sequence[str], labels: pl.DataFrame | None = None) -> pl.DataFrame:
        """Sum planned, seen, answered, accepted and kept by cell, sorted by cell."""
        import polars as pl

        names = [pl.col(name).cast(pl.String) for name in axes]
        no, yes = pl.lit(value=False), pl.lit(value=True)
        records = self.scenarios.filter(_column("has_record"))
        rows = pl.concat(
            [
                _with_labels(self.plan_rows, axes, labels)
                .filter(_column("first") == 0)
                .select(*names, planned=yes, seen=no, answered=no, accepted=no, kept=no),
                _with_labels(records, axes, labels)
                .select(*names, "answered", "accepted", "kept", planned=no, seen=yes)
                .select(*axes, "planned", "seen", "answered", "accepted", "kept"),
            ]
        )
        sums = pl.col("planned", "seen", "answered", "accepted", "kept").sum()
        # Sorted, because polars groups in any order.
        return _collect(rows.group_by(list(axes)).agg(sums).sort(list(axes)))


def read_plan_rows(plans: plan.Plans) -> pl.LazyFrame:
    """Read the axes of all planned scenarios.

    Raises:
        DiskFailed: the temporary folder is full, read-only or missing.
        StoreDamaged: a plan cannot be read or has other columns.
    """
    import polars as pl

    schema = plan_schema()
    columns = ["scenario_id", *STORED_AXES, "round", "first", "attributes"]
    is_turn = (
        pl.col("attributes").list.eval(pl.element().struct.field("axis") == "turn_style").list.any()
    )
    spool = FrameSpool()
    with name_temporary_folder():
        spool.append(pl.DataFrame(schema=_plan_row_types()))
        for path in plans.paths:
            for frame in parquet.read_frames(path, columns, schema, remedy=plan.REMEDY):
                spool.append(
                    frame.select(
                        "scenario_id",
                        *axis_expressions(),
                        "round",
                        "first",
                        is_turn.alias("is_turn"),
                    )
                )
        return spool.finish()


def count_prompts(plan_rows: pl.LazyFrame) -> int:
    """Count the distinct scenarios of a plan; a top-up round plans a scenario again with a later candidate."""
    return count_rows(plan_rows.filter(_column("first") == 0))


def count_rows(rows: pl.LazyFrame) -> int:
    """Count the rows of a table."""
    import polars as pl

    return int(_collect(rows.select(pl.len())).item())


def axis_expressions() -> list[pl.Expr]:
    """Write the stored axes as text; a prompt that is no probe has the contrast `none`."""
    import polars as pl

    columns = {name: pl.col(name).cast(pl.String) for name in STORED_AXES}
    # A group without a value would be missing from tables of cells.
    columns["contrast"] = columns["contrast"].fill_null("none")
    return list(columns.values())


def _plan_row_types() -> dict[str, Any]:  # Any: polars accepts types and classes of types
    import polars as pl

    axes = dict.fromkeys(STORED_AXES, pl.String)
    return {
        "scenario_id": pl.String,
        **axes,
        "round": pl.Int64,
        "first": pl.Int64,
        "is_turn": pl.Boolean,
    }


def _collect(rows: pl.LazyFrame) -> pl.DataFrame:
    # Streaming: the rows of a large run do not fit into memory.
    return rows.collect(engine="streaming")


def _column(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name)


def _kept() -> pl.Expr:
    return _column("kept")


def _with_labels(
    rows: pl.LazyFrame, axes: Sequence[str], labels: pl.DataFrame | None
) -> pl.LazyFrame:
    """Add the axes that have no column of their own."""
    import polars as pl

    further = [name for name in axes if name not in STORED_AXES]
    if not further:
        return rows
    if labels is None:
        return rows.with_columns(pl.lit(UNKNOWN_VALUE).alias(name) for name in further)
    joined = rows.join(labels.lazy().select("scenario_id", *further), on="scenario_id", how="left")
    return joined.with_columns(pl.col(further).fill_null(UNKNOWN_VALUE))


def _count(rows: pl.LazyFrame, by: Sequence[str]) -> dict[tuple[str, ...], int]:
    """Count rows by the values of columns as text, sorted."""
    import polars as pl

    values = rows.select(pl.col(name).cast(pl.String) for name in by)
    counts = _collect(values.group_by(list(by)).len().sort(list(by)))
    return {tuple(key): count for *key, count in counts.iter_rows()}


def _single_keys(counts: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    return {name: count for (name,), count in counts.items()}


def _nest(counts: Mapping[tuple[str, ...], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counts.items()):
        nested.setdefault(outer, {})[inner] = count
    return nested
