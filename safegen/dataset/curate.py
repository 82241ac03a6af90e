"""Choice of the scenarios that a dataset holds, and of their drafts.

`curate` reads each shard of records once. Digests, ids and categories of each scenario, and the texts of
prompts, which the corpus checks read several times, go to temporary files.
`CurationResult.iter_groups` reads the shards a second time, for the views.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from safegen.core.errors import DatasetInvalid, StoreDamaged
from safegen.core.types import TWIN, WRAPPER, Record
from safegen.dataset.coverage_report import AxisShapes, collect_planned_shapes
from safegen.dataset.curation.corpus_checks import (
    CorpusCheck,
    CorpusPrompt,
    check_corpus,
    user_text,
)
from safegen.dataset.curation.exact_duplicates import (
    DuplicateFilter,
    DuplicateKey,
    DuplicateReason,
    digest_64,
    message_key,
    plain_messages,
)
from safegen.dataset.curation.select import NO_REWARD, select_best
from safegen.dataset.effect_stats import EFFECT_COLUMNS, EffectStats, count_effects
from safegen.dataset.jury_stats import JURY_COLUMNS, count_jury
from safegen.dataset.run_stats import (
    MODEL_COLUMNS,
    REJECTION_COLUMNS,
    STORED_AXES,
    VERDICT_COLUMNS,
    DraftStats,
    RunStats,
    axis_expressions,
    read_plan_rows,
)
from safegen.dataset.view import ScenarioGroup
from safegen.store import parquet, plan
from safegen.store.frame_spool import FrameSpool, iter_frames
from safegen.store.run_folder import RECORDS_REMEDY, RunFolder
from safegen.store.schema import record_row, record_schema
from safegen.store.temporary import SPOOL_BYTES, name_temporary_folder

if TYPE_CHECKING:
    import polars as pl

BATCH_DRAFTS = 2_000
"""Drafts that are aggregated at once, at least; a frame for each shard would cost more than the work."""
# Reasons become keys of a table of counts.
MAX_REASON_CHARS = 80
RECORD_COLUMNS = (
    "scenario_id set_id goal_id source source_licence taxonomy round attributes messages base_prompt policy_id "
    "ceiling floor required draft_id revision response withheld teacher model outcome verdicts "
    "accepted accepted_by reason grade reward"
).split()
HEAD_COLUMNS = (
    "scenario_id",
    *STORED_AXES,
    *("set_id", "goal_id", "source", "source_licence", "taxonomy", "is_confirmed", "is_wrapped"),
    *(TWIN, "shard", "expectation", "messages", "base_prompt"),
)
"""Columns that all drafts of a scenario share."""
BEST_COLUMNS = (
    "reward",
    "score",
    "draft_id",
    "response",
    "policy_id",
    "accepted_by",
    "grade",
    "round",
)
"""Columns of the draft that is selected."""


Recutter = Callable[[Sequence[Record]], list[Record]]
"""Decides the records of one shard again, in their order."""


class ScenarioDigests(NamedTuple):
    """64-bit digests of a scenario's texts, and what its conversation holds."""

    messages: int
    has_history: bool
    prompt: int | None
    question: int | None
    answer: int | None


@dataclass(frozen=True)
class CurationResult:
    """The curated state of a run. It is computed once per state and passed on."""

    run: RunFolder
    stats: RunStats
    corpus: CorpusCheck
    extra_shards: Mapping[str, tuple[int, ...]]
    """Shards with further drafts of a scenario, from top-up rounds."""
    planned_shapes: AxisShapes
    """Axis values of the planned scenarios."""
    recut: Recutter | None = None
    """Decides acceptance again; None for the stored result."""

    @cached_property
    def kept_ids(self) -> frozenset[str]:
        """Ids of the scenarios in the dataset."""
        import polars as pl

        kept = self.stats.scenarios.filter(pl.col("kept")).select("scenario_id")
        return frozenset(kept.collect()["scenario_id"])

    @cached_property
    def excluded(self) -> dict[str, str]:
        """The reason of each accepted scenario that is not in the dataset, by id."""
        import polars as pl

        excluded = self.stats.scenarios.filter(pl.col("accepted") & ~pl.col("kept"))
        return dict(excluded.select("scenario_id", "reason").collect().iter_rows())

    @property
    def excluded_by_reason(self) -> dict[str, int]:
        """Count the accepted scenarios that are not in the dataset, by reason, sorted."""
        return dict(sorted(Counter(self.excluded.values()).items()))

    def iter_groups(self) -> Iterator[ScenarioGroup]:
        """Read the scenarios of the dataset with all their drafts, in canonical order.

        Raises:
            StoreDamaged: a shard cannot be read.
        """
        frames = iter_frames(self.stats.scenarios, "shard", "scenario_id", "kept")
        kept = chain.from_iterable(frame.filter(frame["kept"]).iter_rows() for frame in frames)
        shards = _ShardReader(self.run, self.recut)
        for shard, rows in groupby(kept, key=itemgetter(0)):
            groups = shards.read(shard)
            for _, id_, _ in rows:
                more = [shards.read_extra(n) for n in self.extra_shards.get(id_, ())]
                records = [r for group in (groups, *more) for r in group.get(id_, ())]
                yield ScenarioGroup(tuple(records), select_best(records))


def curate(run: RunFolder, *, recut: Recutter | None = None) -> CurationResult:
    """Choose the scenarios and drafts of a dataset from the finished shards of a run.

    Args:
        run: the run.
        recut: decides acceptance again from the stored verdicts; default: the stored result.

    Raises:
        DatasetInvalid: two scenarios have equal messages and different expectations.
        StoreDamaged: a plan or shard cannot be read.
    """
    plans = plan.Plans(run.plans)
    # The footer of an open plan takes 170 bytes a row, which the C library keeps afterwards. Plans
    # are read first, before other memory grows.
    parquet.release_memory()
    planned_shapes = collect_planned_shapes(plans)
    parquet.release_memory()
    plan_rows = read_plan_rows(plans)
    parquet.release_memory()
    drafts, spool = DraftStats(), FrameSpool()
    by = ["shard", "scenario_id"]
    with (
        name_temporary_folder(),
        SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8") as file,
    ):
        prompts = _PromptSpool(file)
        spool.append(_digest_texts(_reduce(_make_drafts([]), by=by), prompts))
        for batch in _iter_drafts(run, recut):
            drafts += _count_drafts(batch)
            spool.append(_digest_texts(_reduce(batch, by=by), prompts))
        parquet.release_memory()
        corpus = check_corpus(prompts.read) if prompts.has_foreign else CorpusCheck()
    with name_temporary_folder():
        rows = spool.finish()
        _check_shards(run, plans.shard_sizes, rows, plan_rows)
        rows, extra_shards = _merge_shards(rows)
        _check_contradictions(rows, corpus)
        repeats = _find_repeats(rows, corpus)
        spool = FrameSpool()
        for frame in iter_frames(rows):
            spool.append(_decide(frame, corpus, repeats))
        spool.append(_read_lost(run, rows, plan_rows))
        stats = RunStats(plan_rows, spool.finish(), drafts)
        return CurationResult(run, stats, corpus, extra_shards, planned_shapes, recut)


class _PromptSpool:
    """Prompts with an answer that may be taken, without the answer; one reader at a time."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.has_foreign = False

    def add(self, prompt: CorpusPrompt) -> None:
        self.has_foreign |= prompt.source != "written"
        # As ASCII, because UTF-8 cannot encode a lone surrogate of an imported prompt.
        self._file.write(json.dumps(prompt, ensure_ascii=True) + "\n")

    def read(self) -> Iterator[CorpusPrompt]:
        self._file.seek(0)
        for line in self._file:
            yield CorpusPrompt(*json.loads(line))


class _ShardReader:
    """Records of one shard at a time by scenario, and of the latest extra shard of each round.

    Rounds ask for further drafts in the order of the first plan, so each extra shard is read once.
    The last one of a round may hold new scenarios too and stays for their turn.
    """

    def __init__(self, run: RunFolder, recut: Recutter | None) -> None:
        self._run, self._plans, self._recut = run, plan.Plans(run.plans), recut
        self._extra: dict[int, tuple[int, dict[str, list[Record]]]] = {}

    def read(self, shard: int) -> dict[str, list[Record]]:
        held = self._extra.get(self._round_of(shard), (-1, {}))
        return held[1] if held[0] == shard else self._load(shard)

    def read_extra(self, shard: int) -> dict[str, list[Record]]:
        round_ = self._round_of(shard)
        if self._extra.get(round_, (-1, {}))[0] != shard:
            self._extra[round_] = (shard, self._load(shard))
        return self._extra[round_][1]

    def _round_of(self, shard: int) -> int:
        return self._plans.round_of(shard) if shard < self._plans.shards else shard

    def _load(self, shard: int) -> dict[str, list[Record]]:
        groups: dict[str, list[Record]] = {}
        for record in _read_records(self._run, shard, self._recut):
            groups.setdefault(record.scenario.scenario_id, []).append(record)
        return groups


def _read_records(run: RunFolder, shard: int, recut: Recutter | None) -> list[Record]:
    records = run.read_records(shard)
    return records if recut is None else recut(records)


def read_drafts(
    run: RunFolder, shard: int, columns: Sequence[str], *, recut: Recutter | None = None
) -> Iterator[pl.DataFrame]:
    """Read some columns of the drafts of a shard.

    Raises:
        StoreDamaged: the shard cannot be read.
    """
    import pyarrow as pa

    if recut is None:
        yield from parquet.read_frames(
            run.records(shard), columns, record_schema(), remedy=RECORDS_REMEDY
        )
        return
    rows = [record_row(record) for record in _read_records(run, shard, recut)]
    table = pa.Table.from_pylist(rows, schema=record_schema())
    yield parquet.to_frame(table.select(list(columns)))


def _iter_drafts(run: RunFolder, recut: Recutter | None) -> Iterator[pl.DataFrame]:
    """Read the drafts of all shards, some shards at a time."""
    frames: list[pl.DataFrame] = []
    columns = list(dict.fromkeys([*RECORD_COLUMNS, *STORED_AXES, *JURY_COLUMNS, *EFFECT_COLUMNS]))
    for shard in run.finished_shards():
        read = read_drafts(run, shard, columns, recut=recut)
        frames += [frame.with_columns(_lit(shard).alias("shard")) for frame in read]
        if sum(frame.height for frame in frames) >= BATCH_DRAFTS:
            yield _make_drafts(frames)
            frames = []
    if frames:
        yield _make_drafts(frames)


def _lit(value: int) -> pl.Expr:
    import polars as pl

    return pl.lit(value, pl.Int64)


def _make_drafts(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Join frames of drafts and compute the columns that selection needs."""
    import polars as pl

    if not frames:
        empty = parquet.to_frame(record_schema().empty_table())
        frames = [empty.with_columns(_lit(0).alias("shard"))]
    drafts = pl.concat(frames)
    scores = drafts["verdicts"].list.eval(pl.element().struct.field("score")).to_list()
    # Separators of ASCII: no name of an element or a mode contains them.
    required = pl.col("required").list.sort().list.join("\x1f")
    is_answered = pl.col("outcome") == "ok"
    is_shown = is_answered & pl.col("accepted") & ~pl.col("withheld")
    reason = (
        pl.when(~is_answered)
        .then("outcome")
        .when("accepted")
        .then(pl.lit("withheld"))
        .otherwise(pl.col("reason").replace("", None).fill_null("not_accepted"))
    )
    return drafts.with_columns(
        # Python's sum: another order of additions changes the last digit, and so a tie.
        pl.Series("score", [sum(s for s in own if s is not None) for own in scores], pl.Float64),
        *axis_expressions(),
        pl.concat_str("mode", "ceiling", "floor", required, separator="\x1e").alias("expectation"),
        is_answered.alias("answered"),
        is_shown.alias("is_shown"),
        (is_shown & pl.col("response").is_not_null()).alias("accepted"),
        pl.col("attributes")
        .list.eval(pl.element().struct.field("source") == "confirmed")
        .list.any()
        .alias("is_confirmed"),
        pl.col("attributes")
        .list.eval(pl.element().struct.field("axis") == WRAPPER)
        .list.any()
        .alias("is_wrapped"),
        pl.col("attributes")
        .list.eval(
            pl.element().filter(pl.element().struct.field("axis") == TWIN).struct.field("value")
        )
        .list.first()
        .alias(TWIN),
        pl.col("accepted").alias("is_draft_accepted"),
        pl.col("reward").fill_null(NO_REWARD),
        reason.str.head(MAX_REASON_CHARS).alias("rejection"),
    ).with_columns(
        pl.col("reward").alias("rejection_reward"),
        pl.col("score").alias("rejection_score"),
        pl.col("draft_id").alias("rejection_id"),
    )


def _count_drafts(drafts: pl.DataFrame) -> DraftStats:
    import polars as pl

    rejected = _select_rejected(drafts.filter(~pl.col("is_draft_accepted")))
    role = pl.when(pl.col("revision") == 0).then(pl.lit("drafter")).otherwise(pl.lit("reviser"))
    verdict = drafts.select(pl.col("verdicts").explode()).drop_nulls().unnest("verdicts")
    result = (
        pl.when("passed").then(pl.lit("passed")).when(~pl.col("passed")).then(pl.lit("failed"))
    ).otherwise(pl.lit("unscored"))
    return DraftStats(
        total=drafts.height,
        accepted=int(drafts["is_draft_accepted"].sum()),
        rejected={name: n for (name,), n in _count_rows(rejected.select("reason")).items()},
        by_model=_count_rows(drafts.with_columns(role=role).select(MODEL_COLUMNS)),
        by_verdict=_count_rows(verdict.with_columns(result=result).select(VERDICT_COLUMNS)),
        jury=count_jury(drafts),
        by_rejection=_count_rows(rejected),
        effect=count_effects(drafts),
    )


def _select_rejected(drafts: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    reason = pl.col("reason").replace("", None).fill_null("not_accepted")
    return drafts.with_columns(reason).select(pl.col(*REJECTION_COLUMNS).cast(pl.String))


def count_rejections(run: RunFolder, *, recut: Recutter | None = None) -> DraftStats:
    """Count only the drafts that were not accepted, without curation.

    Raises:
        StoreDamaged: a shard cannot be read.
    """
    counts = Counter[tuple[str, ...]]()
    for shard in run.finished_shards():
        for drafts in read_drafts(run, shard, ["accepted", *REJECTION_COLUMNS], recut=recut):
            rejected = _select_rejected(drafts.filter(~drafts["accepted"]))
            counts.update(_count_rows(rejected))
    return DraftStats(by_rejection=counts)


def read_effects(run: RunFolder, *, recut: Recutter | None = None) -> EffectStats:
    """Sum the policy effect of the finished shards, without curation.

    Raises:
        StoreDamaged: a shard cannot be read.
    """
    stats = EffectStats()
    for shard in run.finished_shards():
        for drafts in read_drafts(run, shard, EFFECT_COLUMNS, recut=recut):
            stats += count_effects(drafts)
    return stats


def _count_rows(rows: pl.DataFrame) -> dict[tuple[str, ...], int]:
    return {tuple(key): n for *key, n in rows.group_by(rows.columns).len().iter_rows()}


def _reduce(rows: pl.DataFrame, *, by: list[str]) -> pl.DataFrame:
    """Reduce drafts, or scenarios of several shards, to one row per key in canonical order.

    The selected draft is that of `select_best`. Without one, the reason is that of the draft that is
    nearest to acceptance: an answer before a failure, then the highest score, then the first id.
    """
    import polars as pl

    heads = rows.unique(by, keep="first", maintain_order=True)
    columns = (*HEAD_COLUMNS, *_DIGESTS, _POSITION)
    heads = heads.select(name for name in columns if name in rows.columns)
    flags = rows.group_by(by).agg(pl.col("answered", "is_shown", "accepted").any())
    ranks = ["reward", "score", "draft_id"]
    accepted = rows.filter("accepted").sort(ranks, descending=[True, True, False])
    best = accepted.unique(by, keep="first", maintain_order=True)
    columns = (*by, *BEST_COLUMNS, *_BEST_DIGESTS)
    best = best.select(name for name in columns if name in rows.columns)
    rejected_ranks = ["rejection_reward", "rejection_score", "rejection_id"]
    rejected = rows.sort(["answered", *rejected_ranks], descending=[True, True, True, False])
    nearest = rejected.unique(by, keep="first", maintain_order=True)
    nearest = nearest.select(*by, "rejection", *rejected_ranks)
    for part in (flags, best, nearest):
        heads = heads.join(part, on=by, how="left", maintain_order="left")
    return heads


_DIGESTS = ("digest", "has_history")
_BEST_DIGESTS = ("prompt", "question", "answer")
_POSITION = "position"


def _digest_texts(rows: pl.DataFrame, prompts: _PromptSpool) -> pl.DataFrame:
    """Replace the texts of scenarios by digests, and spool the prompts for the corpus checks."""
    import polars as pl

    digests: list[ScenarioDigests] = []
    columns = ("scenario_id", "set_id", "goal_id", "source", "intent", "mode", "messages")
    for *labels, messages, base_prompt, is_wrapped, twin, response, is_shown in rows.select(
        *columns, "base_prompt", "is_wrapped", TWIN, "response", "is_shown"
    ).iter_rows():
        prompt = CorpusPrompt(*labels, text=user_text(messages, base_prompt))
        if is_shown:
            prompts.add(prompt)
        plain = plain_messages(messages, base_prompt, is_wrapped=is_wrapped)
        question = None if twin is None else (prompt.goal_id, twin)
        key = (
            None
            if response is None
            else DuplicateKey.of(messages, response, plain=plain, question=question)
        )
        digests.append(
            ScenarioDigests(
                digest_64(message_key(messages)),
                any(m["role"] == "assistant" for m in messages),
                *(key or (None, None, None)),
            )
        )
    types: dict[str, Any] = {  # Any: as polars types a schema
        "digest": pl.UInt64,
        "has_history": pl.Boolean,
        **dict.fromkeys(_BEST_DIGESTS, pl.UInt64),
    }
    table = pl.DataFrame(digests, schema=types, orient="row")
    return rows.drop(
        "messages", "base_prompt", "is_wrapped", TWIN, "response", "set_id", "goal_id"
    ).hstack(table)


def _find_repeated(rows: pl.LazyFrame, value: pl.Expr) -> pl.Series:
    """Return the 64-bit values that several rows have."""
    import numpy as np
    import polars as pl

    column = rows.select(value).collect(engine="streaming").to_series()
    values = np.sort(column.drop_nulls().to_numpy())
    return pl.Series(np.unique(values[1:][values[1:] == values[:-1]]))


def _is_in(value: pl.Expr, values: pl.Series) -> pl.Expr:
    return value.is_in(values.implode())


def _merge_shards(rows: pl.LazyFrame) -> tuple[pl.LazyFrame, dict[str, tuple[int, ...]]]:
    """Reduce scenarios of several shards to one row each, and list their further shards.

    Only a top-up round drafts a scenario in a second shard.
    """
    import polars as pl

    id_hash = pl.col("scenario_id").hash()
    repeated = _find_repeated(rows, id_hash)
    if repeated.is_empty():
        return rows, {}
    is_repeated = _is_in(id_hash, repeated)
    several = pl.concat(frame.filter(is_repeated) for frame in _iter_positioned(rows))
    merged = _reduce(several, by=["scenario_id"]).select(several.columns)
    spool = FrameSpool()
    for frame in _iter_positioned(rows):
        here = merged.filter(_is_in(pl.col(_POSITION), frame[_POSITION]))
        parts = pl.concat([frame.filter(~is_repeated), here])
        spool.append(parts.sort(_POSITION).drop(_POSITION))
    return spool.finish(), _list_extra_shards(several)


def _iter_positioned(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    start = 0
    for frame in iter_frames(rows):
        yield frame.with_row_index(_POSITION, offset=start)
        start += frame.height


def _check_shards(
    run: RunFolder, sizes: list[int], rows: pl.LazyFrame, plan_rows: pl.LazyFrame
) -> None:
    """Check that each shard's records are of scenarios that the plan has in that shard.

    Raises:
        StoreDamaged: a scenario is in another shard of the plan, or in none.
    """
    import numpy as np
    import polars as pl

    # Without a plan nothing can be compared.
    if not sizes:
        return
    place = pl.struct("shard", "scenario_id").hash()
    numbers = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    # Digests instead of ids, which take five times the memory.
    # The last one makes an empty plan searchable.
    known = np.zeros(len(numbers) + 1, dtype=np.uint64)
    start = 0
    for frame in iter_frames(plan_rows, "scenario_id"):
        end = start + frame.height
        shards = pl.Series("shard", numbers[start:end], pl.Int64)
        known[start:end] = frame.select(shards, "scenario_id").select(place).to_series().to_numpy()
        start = end
    known.sort()
    for frame in iter_frames(rows, "shard", "scenario_id"):
        recorded = frame.filter(pl.col("shard") < len(sizes))
        digests = recorded.select(place).to_series().to_numpy()
        at = np.minimum(np.searchsorted(known, digests), len(known) - 1)
        for shard, id_ in recorded.filter(pl.Series(known[at] != digests)).head(1).iter_rows():
            raise StoreDamaged(
                f"`{run.records(shard)}` has scenario `{id_}`, which the plan has in another shard or not at"
                f" all; {RECORDS_REMEDY}"
            )


def _list_extra_shards(rows: pl.DataFrame) -> dict[str, tuple[int, ...]]:
    import polars as pl

    shards = rows.group_by("scenario_id", maintain_order=True).agg(pl.col("shard").unique())
    several = shards.filter(pl.col("shard").list.len() > 1)
    return {id_: tuple(sorted(numbers)[1:]) for id_, numbers in several.iter_rows()}


def _check_contradictions(table: pl.LazyFrame, corpus: CorpusCheck) -> None:
    """Reject equal messages with different expectations.

    A repeated prompt of an author that is excluded contradicts no other prompt.

    Raises:
        DatasetInvalid: two scenarios contradict each other.
    """
    import polars as pl

    repeated = _find_repeated(table, pl.col("digest"))
    if repeated.is_empty():
        return
    is_repeated = _is_in(pl.col("digest"), repeated)
    frames = iter_frames(table, "scenario_id", "source", "expectation", "digest")
    rows = pl.concat(frame.filter(is_repeated) for frame in frames)
    if corpus.scenarios:
        is_excluded = pl.col("scenario_id").is_in(list(corpus.scenarios))
        rows = rows.filter(~(is_excluded & (pl.col("source") == "author")))
    first = pl.col("scenario_id", "expectation").first().over("digest").name.prefix("first_")
    rows = rows.select("scenario_id", "expectation", first)
    clash = rows.filter(pl.col("expectation") != pl.col("first_expectation")).head(1)
    for later, _, earlier, _ in clash.iter_rows():
        raise DatasetInvalid(
            f"scenarios `{earlier}` and `{later}` have equal messages and different expectations;"
            " put the difference into the messages"
        )


def _find_repeats(rows: pl.LazyFrame, corpus: CorpusCheck) -> dict[str, DuplicateReason]:
    """Find the accepted scenarios that repeat the prompt or the response of an earlier one."""
    import polars as pl

    accepted = rows.filter(pl.col("accepted"))
    # Only rows with a repeated digest can repeat a row or be repeated.
    is_candidate = pl.col("accepted") & pl.any_horizontal(
        _is_in(pl.col(name), _find_repeated(accepted, pl.col(name)))
        for name in ("prompt", "answer")
    )
    duplicates = DuplicateFilter()
    repeats: dict[str, DuplicateReason] = {}
    # In canonical order, because the first of several duplicates stays.
    for frame in iter_frames(rows, "scenario_id", "accepted", *_BEST_DIGESTS):
        for id_, _, *digests in frame.filter(is_candidate).iter_rows():
            if id_ in corpus.scenarios:
                continue
            if reason := duplicates.check(DuplicateKey(*digests)):
                repeats[id_] = reason
    return repeats


def _decide(
    rows: pl.DataFrame, corpus: CorpusCheck, repeats: Mapping[str, DuplicateReason]
) -> pl.DataFrame:
    """Add `kept` and the reason of each scenario that is not kept."""
    import polars as pl

    reasons = [
        (corpus.scenarios.get(id_) or repeats.get(id_)) if accepted else rejection
        for id_, accepted, rejection in rows.select(
            "scenario_id", "accepted", "rejection"
        ).iter_rows()
    ]
    reason = pl.Series("reason", reasons, pl.String)
    return rows.select(
        "scenario_id",
        *STORED_AXES,
        "round",
        "shard",
        "answered",
        "accepted",
        reason.is_null().alias("kept"),
        reason,
        *("source", "source_licence", "taxonomy", "policy_id", "grade"),
        pl.col("accepted_by").replace("", None).fill_null("unknown"),
        "is_confirmed",
        "has_history",
        pl.lit(value=True).alias("has_record"),
    )


def _read_lost(run: RunFolder, rows: pl.LazyFrame, plan_rows: pl.LazyFrame) -> pl.DataFrame:
    """Make rows of the scenarios that have a failure and no record, with the axes of the plan."""
    import polars as pl

    reasons: dict[str, str] = {}
    for shard in run.finished_shards():
        for failure in run.shard_failures(shard):
            # The first failure: later ones of a scenario often follow from it.
            reasons.setdefault(failure.scenario_id, failure.reason or failure.outcome)
    schema: Any = {"scenario_id": pl.String, "reason": pl.String}  # Any: as polars types a schema
    lost = pl.DataFrame(list(reasons.items()), schema=schema, orient="row")
    for ids in iter_frames(rows, "scenario_id") if reasons else ():
        lost = lost.join(ids, on="scenario_id", how="anti", maintain_order="left")
    axes = pl.concat(
        frame.filter(pl.col("first") == 0).join(lost, on="scenario_id", how="semi")
        for frame in iter_frames(plan_rows, "scenario_id", *STORED_AXES, "first")
    )
    lost = lost.join(axes, on="scenario_id", how="left", maintain_order="left").with_columns(
        pl.lit(value=False).alias(name) for name in ("answered", "accepted", "kept", "has_record")
    )
    empty = _decide(rows.head(0).collect(), CorpusCheck(), {})
    return pl.concat([empty, lost.drop("first")], how="diagonal")
