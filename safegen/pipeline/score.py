"""Score existing answers: the validators of a recipe over a file, a frame or a dataset folder."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from safegen.config.recipe import Recipe
from safegen.core.arguments import (
    check_callable,
    check_choice,
    check_mapping,
    check_names,
    check_path,
    check_text,
    describe_argument,
    raise_user_errors,
)
from safegen.core.errors import UserError
from safegen.core.progress import Progress
from safegen.core.types import MODES, UNSAFE_SEVERITIES, AnswerSignal, Mode, Teacher
from safegen.dataset.judge_results import read_judge_results
from safegen.judges.juror import JudgedText
from safegen.judges.kept_findings import keep_findings
from safegen.judges.panel import JudgedDraft, Panel
from safegen.pipeline._threads import run_in_own_loop
from safegen.pipeline.answer_checks import (
    AnswerChecker,
    AnswerScore,
    add_measuring_validators,
    use_all_validators,
)
from safegen.pipeline.api import load_context, open_run
from safegen.pipeline.judge_check import check_judges
from safegen.pipeline.records import verdict_code
from safegen.pipeline.resolve import ResolvedRecipe, RunContext, check_panel, resolve_recipe
from safegen.pipeline.score_report import AnswerReport, check_by, read_group
from safegen.pipeline.score_sources import (
    AnswerBatch,
    AnswerPath,
    AnswerRows,
    AnswerSource,
    RecordSource,
    open_path,
    open_rows,
)
from safegen.pipeline.session import Watch, check_disk_room, open_folder
from safegen.pipeline.workers import open_worker_factory
from safegen.scenarios.user_prompts.answer_rows import AnswerLabels
from safegen.scenarios.user_prompts.faults import RowError
from safegen.scenarios.user_prompts.languages import find_language_tag
from safegen.store import parquet
from safegen.store.run_folder import RunFolder
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

WINDOW = 64
"""Answers that a jury reads at once; its teachers have limits of their own."""
GROUP_ROWS = 1_000
"""Rows of a row group of the output."""
FIXED_COLUMNS = "row id delivered severity accepted unjudged outcome not_run verdicts".split()
TEXT_COLUMNS = ("messages", "response")
WriteRows = Callable[[Sequence[ArrowRow]], None]


class ScoreOptions(TypedDict, total=False):
    """The keyword arguments of `score` and `ascore`; see `ascore`."""

    recipe: Recipe | str | Path | None
    by: Sequence[str]
    columns: Mapping[str, str | None] | None
    mode: Mode | None
    language: str | None
    reveal: bool
    plugins: Sequence[str]
    teachers: Mapping[str, Teacher] | None
    cache: str | Path | None
    watch: Watch | None


class Scores(NamedTuple):
    """One row of scores for each answer, and the report."""

    frame: pl.DataFrame
    report: AnswerReport


def score(rows: AnswerPath | AnswerRows, **options: Unpack[ScoreOptions]) -> Scores:
    """Score existing answers with the validators of a recipe.

    Args:
        rows: a polars frame, mappings of column to value, or the path of a file or dataset folder.
        options: the keyword arguments of `ascore`.

    Returns:
        A frame with one row per answer, and the report.

    Raises:
        UserError: an argument, a column or the recipe is wrong, or an event loop is running.

    Example:
        >>> rows = [{"prompt": "How do I descale a kettle?", "response": "I cannot help with that."}]
        >>> score(rows, mode="direct_answer").report.total.rate("over_refusal").hits
        1
    """
    return run_in_own_loop(lambda: ascore(rows, **options), instead="ascore")


async def ascore(
    rows: AnswerPath | AnswerRows,
    *,
    recipe: Recipe | str | Path | None = None,
    by: Sequence[str] = (),
    columns: Mapping[str, str | None] | None = None,
    mode: Mode | None = None,
    language: str | None = None,
    reveal: bool = False,
    plugins: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    cache: str | Path | None = None,
    watch: Watch | None = None,
) -> Scores:
    """Score existing answers inside a running event loop; see `score`.

    Args:
        rows: a polars frame, mappings of column to value, or the path of a file or dataset folder.
        recipe: a recipe whose validators and policies are used. Default: those of the run for its
            folder, else every shipped validator of answers.
        by: columns or labels of the groups in the report.
        columns: column by field, for columns that are not named like their fields; None leaves a
            field unread.
        mode: the mode of all rows, for rows without labels.
        language: the language of rows that name none; default the recipe's.
        reveal: add messages, responses and evidence to the frame.
        plugins: modules that the recipe may name as `module:factory`.
        teachers: `{"judge": function}` in place of the recipe's `judges.panel`.
        cache: folder of the panel's replies; default `outputs/NAME-score`. Without a panel nothing is
            written.
        watch: receives the live counters of a panel once, before its first request.

    Raises:
        UserError: an argument, a column or the recipe is wrong.
    """
    _check_arguments(recipe, by, columns=columns, plugins=plugins)
    with raise_user_errors():
        check_mapping("teachers", teachers, "a mapping: {'judge': function}")
        check_path("cache", cache, optional=True)
        check_callable("watch", watch, optional=True)
    request = ScoreRequest(
        recipe=recipe,
        by=tuple(by),
        columns=columns or {},
        mode=mode,
        language=language,
        reveal=reveal,
        plugins=tuple(plugins),
        teachers=teachers or {},
        cache=None if cache is None else Path(cache),
        watch=watch,
    )
    import pyarrow as pa

    scored: list[ArrowRow] = []
    async with open_job(rows, request) as job:
        await job.run(scored.extend)
    table = pa.Table.from_pylist(scored, schema=job.make_schema())
    return Scores(parquet.to_frame(table), job.report)


def _check_arguments(recipe: object, by: object, *, columns: object, plugins: object) -> None:
    with raise_user_errors():
        if recipe is not None and not isinstance(recipe, Recipe | str | Path):
            allowed = "a `Recipe`, a path, the name of a built-in recipe, or None"
            raise TypeError(describe_argument("recipe", recipe, allowed))
        check_names("by", by, list, tuple)
        check_names("plugins", plugins, list, tuple)
        check_mapping("columns", columns, "a mapping: {'response': 'completion'}")


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """A request to score; the fields are the arguments of `ascore`."""

    recipe: Recipe | str | Path | None = None
    by: tuple[str, ...] = ()
    columns: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    mode: Mode | None = None
    language: str | None = None
    reveal: bool = False
    plugins: tuple[str, ...] = ()
    teachers: Mapping[str, Teacher] = field(default_factory=dict[str, Teacher])
    cache: Path | None = None
    watch: Watch | None = None

    def read_common_labels(self) -> AnswerLabels:
        """Return the labels of all rows.

        Raises:
            UserError: the mode or the language is unknown.
        """
        with raise_user_errors():
            if self.mode is not None:
                check_choice("mode", self.mode, MODES)
            check_text("language", self.language, optional=True)
        tag = None if self.language is None else find_language_tag(self.language)
        if self.language is not None and tag is None:
            raise UserError(
                f"`language` is `{self.language[:60]}`; give a BCP-47 tag such as `en`, or an English"
                " name"
            )
        return AnswerLabels(mode=self.mode, language=tag)


class ScoringRecipe(NamedTuple):
    """A resolved recipe for scoring."""

    context: RunContext
    judging: ResolvedRecipe | None = None
    """The recipe, if it has a panel of judges."""


@dataclass
class TestedPanel:
    """A panel that reads its traps before its first answer, so that rows without a rubric cost nothing."""

    panel: Panel
    folder: RunFolder
    inputs: ResolvedRecipe
    progress: Progress
    report: AnswerReport
    """Names the jurors that are dropped."""
    tested: Panel | None = None
    """The panel without the jurors that were dropped."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def judge(self, text: JudgedText, *, item: str) -> JudgedDraft:
        """Ask all jurors about a reply and decide.

        Raises:
            RunError: a juror fails on traps, as in a run, or an endpoint cannot be used.
        """
        async with self.lock:
            tested = self.tested = self.tested or await self._test()
        return await tested.judge(text, item=item)

    async def _test(self) -> Panel:
        progress, done = self.progress, self.progress.done
        tested = await check_judges(self.folder, self.inputs, self.panel, progress=progress)
        self.report.dropped = read_judge_results(self.folder).dropped
        progress.planned, progress.done, progress.stage = 0, done, "scoring"
        return tested


@asynccontextmanager
async def open_job(
    rows: AnswerPath | AnswerRows, request: ScoreRequest
) -> AsyncGenerator[ScoreJob]:
    """Open the rows, the validators and the panel.

    Raises:
        UserError: the recipe, a column or the file is wrong.
        RunError: the panel's cache cannot be used.
    """
    common = request.read_common_labels()
    if isinstance(rows, str | Path):
        source = open_path(rows, fields=request.columns, common=common)
    else:
        source = open_rows(rows, fields=request.columns, common=common)
    report = AnswerReport(check_by(request.by, source.columns))
    recipe = _resolve_scoring(source, request)
    if recipe.judging is None:
        if request.teachers:
            raise UserError(
                "`teachers` replaces a panel, and no recipe with `judges.panel` is given"
            )
        checker = AnswerChecker(recipe.context)
        yield ScoreJob(source, checker, report, request.reveal)
        return
    check_panel(recipe.judging, replaced=request.teachers)
    folder = RunFolder(request.cache or Path("outputs") / f"{recipe.judging.recipe.name}-score")
    with open_folder(folder):
        async with open_worker_factory(folder, recipe.judging, request.teachers) as factory:
            progress = Progress(stage="scoring")
            if request.watch is not None:
                request.watch(progress, factory.meter)
            check_disk_room(folder, factory.concurrency)
            panel = factory.make_panel()
            assert panel is not None, "the recipe has a panel"
            judging = TestedPanel(panel, folder, recipe.judging, progress, report)
            checker = AnswerChecker(recipe.context, panel=judging)
            yield ScoreJob(source, checker, report, request.reveal, factory.scrub, progress)


def _resolve_scoring(source: AnswerSource, request: ScoreRequest) -> ScoringRecipe:
    if request.recipe is None and isinstance(source, RecordSource):
        run = open_run(source.folder.output)
        context = load_context(run, trusted=request.plugins)
        recipe = context.recipe
        measuring = replace(context, recipe=add_measuring_validators(recipe))
        return ScoringRecipe(measuring)
    if request.recipe is None:
        return ScoringRecipe(resolve_recipe(use_all_validators(Recipe(name="score"))))
    named = request.recipe
    inputs = resolve_recipe(
        str(named) if isinstance(named, Path) else named, trusted=request.plugins
    )
    recipe = inputs.recipe
    measuring = replace(inputs, recipe=add_measuring_validators(recipe))
    judging = inputs if recipe.judges.panel else None
    return ScoringRecipe(measuring, judging)


@dataclass
class ScoreJob:
    """Rows, validators and the report that they fill."""

    source: AnswerSource
    checker: AnswerChecker
    report: AnswerReport
    reveal: bool = False
    scrub: Callable[[Sequence[str], Mapping[str, str]], Awaitable[None]] | None = None
    """Deletes replies of judges that may quote an unsafe answer, and keeps their findings."""
    progress: Progress = field(default_factory=Progress)

    async def run(self, write: WriteRows | None = None) -> AnswerReport:
        """Score every row once; a batch of rows is in memory.

        Args:
            write: takes the rows of the output, in order.

        Raises:
            UserError: the file cannot be read to its end, or there are too many groups.
        """
        buffer: list[ArrowRow] = []
        scored = 0
        async for scores in self._iter_scores():
            await self._scrub_unsafe(scores)
            for one in scores:
                scored += 1
                # The traps are counted in the same place.
                if self.progress.stage == "scoring":
                    self.progress.done = scored
                self.report.add(one)
                if write is not None:
                    buffer.append(self.make_row(one))
            if write is not None and len(buffer) >= GROUP_ROWS:
                write(buffer)
                buffer = []
        if write is not None and buffer:
            write(buffer)
        return self.report

    async def _scrub_unsafe(self, scores: Sequence[AnswerScore]) -> None:
        keys: list[str] = []
        measures: dict[str, str] = {}
        for score in scores:
            if score.judged is None or score.severity not in UNSAFE_SEVERITIES:
                continue
            mode = score.answer.context.expectation.mode
            for reading in score.judged.readings:
                if reading.key is None:
                    continue
                keys.append(reading.key)
                if kept := keep_findings(reading.findings, mode=mode):
                    measures[reading.key] = kept
        if keys and self.scrub is not None:
            await self.scrub(keys, measures)

    async def _iter_scores(self) -> AsyncIterator[list[AnswerScore]]:
        """Score batches in order, several at once so that a jury's requests overlap."""
        window: deque[asyncio.Task[list[AnswerScore]]] = deque()
        try:
            for batch in self._iter_batches():
                window.append(asyncio.create_task(self._score_batch(batch)))
                if len(window) >= WINDOW:
                    yield await window.popleft()
            while window:
                yield await window.popleft()
        finally:
            for task in window:
                task.cancel()

    def _iter_batches(self) -> Iterator[AnswerBatch]:
        for batch in self.source.iter_batches(self.checker):
            if isinstance(batch, RowError):
                self.report.add_bad_row(batch)
            else:
                yield batch

    async def _score_batch(self, batch: AnswerBatch) -> list[AnswerScore]:
        if len(batch.answers) == 1:
            scores = [await self.checker.check(batch.answers[0])]
        else:
            scores = list(await asyncio.gather(*map(self.checker.check, batch.answers)))
        return await self.checker.check_set(scores) if batch.is_set else scores

    # Any: values of an Arrow row.
    def make_row(self, score: AnswerScore) -> dict[str, Any]:
        """Make a row of the output: ids, labels and codes, and texts only if they are revealed."""
        answer, labels = score.answer, score.answer.labels
        row: dict[str, Any] = {
            "row": answer.number,
            "id": answer.id,
            "delivered": score.delivered,
            "severity": score.severity,
            "accepted": score.accepted,
            "unjudged": score.unjudged,
            "outcome": score.outcome,
            **{name: score.signals.get(name) for name in SIGNAL_COLUMNS},
            "not_run": sorted(score.not_run),
            **{name: getattr(labels, name) for name in LABEL_COLUMNS},
            "verdicts": [
                {
                    "validator": v.validator,
                    "version": v.version,
                    "code": verdict_code(v),
                    "passed": v.passed,
                    "score": v.score,
                    "severity": v.severity,
                    "delivered": v.delivered,
                    "judge": v.judge,
                    "prompt_digest": v.prompt_digest,
                    "evidence": v.evidence if self.reveal else None,
                }
                for v in score.verdicts
            ],
        }
        row |= {name: read_group(score, name) for name in self._list_group_columns()}
        if self.reveal:
            row |= {
                "messages": list(answer.context.scenario.messages),
                "response": answer.draft.response,
            }
        return row

    def _list_group_columns(self) -> list[str]:
        fixed = {*FIXED_COLUMNS, *SIGNAL_COLUMNS, *LABEL_COLUMNS, *TEXT_COLUMNS}
        return [name for name in self.report.by if name not in fixed]

    def make_schema(self) -> pa.Schema:
        """Make the schema of the output."""
        import pyarrow as pa

        from safegen.store.schema import message_type

        text, whole, flag = pa.string(), pa.int64(), pa.bool_()
        strings = "validator version code severity delivered judge prompt_digest evidence".split()
        verdict = pa.struct(
            [(name, text) for name in strings] + [("passed", flag), ("score", pa.float64())]
        )
        fields = [("row", whole), ("id", text), ("delivered", text), ("severity", text)]
        fields += [("accepted", flag), ("unjudged", text), ("outcome", text)]
        fields += [(name, flag) for name in SIGNAL_COLUMNS]
        fields += [("not_run", pa.list_(text))]
        fields += [(n, whole if n in WHOLE_LABELS else text) for n in LABEL_COLUMNS]
        fields += [("verdicts", pa.list_(verdict))]
        fields += [(name, text) for name in self._list_group_columns()]
        if self.reveal:
            fields += [("messages", pa.list_(message_type())), ("response", text)]
        return pa.schema(fields)


SIGNAL_COLUMNS: tuple[AnswerSignal, ...] = (
    "over_refusal",
    "over_compliance",
    "unsafe_detail",
    "tone",
)
WHOLE_LABELS = ("ceiling", "floor", "requested_detail")
LABEL_COLUMNS = (
    "mode",
    "ceiling",
    "floor",
    "requested_detail",
    "evidence",
    "profile",
    "harm",
    "intent",
    "language",
    "policy_id",
)


async def score_path(
    path: AnswerPath, request: ScoreRequest, *, output: Path | None = None
) -> AnswerReport:
    """Score a file or folder, and write one Parquet row per answer if an output is named.

    Raises:
        UserError: the file or the recipe is wrong.
        DiskFailed: the output cannot be written.
    """
    async with AsyncExitStack() as stack:
        job = await stack.enter_async_context(open_job(path, request))
        write: WriteRows | None = None
        if output is not None:
            write = stack.enter_context(parquet.open_groups(output, job.make_schema()))
        return await job.run(write)
