"""Process one set from scenarios to records; the only place that chains the stages.

    expand → draft → validate → revise → record → validate the set

A stage takes one item and returns a value. Collaborators are in `Workers`. Every draft is kept: a
rejected one is a record with its verdicts, and a failed request is a record with its outcome and a
line under `failures/`. RunError and UserError stop the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from safegen.config.contacts import Contacts
from safegen.core.errors import ItemError, RunError, UserError
from safegen.core.hashing import text_sha256
from safegen.core.progress import Progress
from safegen.core.templates import PromptTemplate
from safegen.core.types import (
    JURY,
    SEVERITIES,
    UNSAFE_SEVERITIES,
    AcceptedBy,
    Draft,
    DraftContext,
    DraftValidator,
    Failure,
    FailureStage,
    Grade,
    Message,
    NotAccepted,
    PlannedScenario,
    PolicyEffect,
    Record,
    Reply,
    Request,
    SetValidator,
    Severity,
    Teacher,
    Tier,
    Verdict,
    list_deciding_verdicts,
)
from safegen.core.visible_text import has_visible_character
from safegen.dataset.curation.select import select_best
from safegen.judges.juror import CODES, JudgedText, JurorReading
from safegen.judges.jury import FIELD_OF_CODE
from safegen.judges.kept_findings import keep_findings
from safegen.judges.panel import JudgedDraft, Panel
from safegen.pipeline.acceptance import (
    AcceptanceRules,
    decide_acceptance,
    find_hard_failure,
    verdict_name,
)
from safegen.pipeline.draft_messages import (
    SystemRenderer,
    build_draft_messages,
    choose_style,
    make_note,
    make_system_renderer,
)
from safegen.pipeline.policy_effect import (
    FIRST_SAMPLE,
    MAX_REPEATS,
    EffectMeter,
    compare_drafts,
    measure_without_spec,
    select_by_effect,
)
from safegen.pipeline.validate_set import validate_set
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.expand import Writers, expand_set
from safegen.scenarios.authoring.next_turn import NextTurn, write_next_turn
from safegen.scenarios.context import make_draft_id
from safegen.scenarios.dialogues import insert_answers, split_conversations
from safegen.scenarios.wrapper import Wrapper
from safegen.store.schema import SCORE_COLUMNS

STOPS = (RunError, UserError, asyncio.CancelledError)
"""Errors that end a draft because the run stops."""


async def _scrub_nothing(_: Sequence[str]) -> None:
    """Do nothing; the default without a journal."""


async def keep_nothing(_: Record) -> None:
    """Do nothing; the default without a key of a quarantine."""


class Drafter(NamedTuple):
    """A teacher that drafts, with the name and grade that its records get."""

    name: str
    teacher: Teacher
    grade: Grade


@dataclass(frozen=True)
class Workers:
    """The collaborators and limits of a set."""

    drafters: tuple[Drafter, ...]
    """Candidate i is drafted by drafter i modulo their number."""
    reviser: Drafter
    validators: Mapping[str, DraftValidator]
    required: tuple[str, ...]
    policies: Mapping[str, Policy]
    tiers: Mapping[str, Tier]
    draft_prompt: PromptTemplate
    revise_prompt: PromptTemplate
    candidates: int
    revisions: int
    set_validators: Mapping[str, SetValidator] = field(default_factory=dict[str, SetValidator])
    """They judge the drafts of a set against each other when all of them have their verdicts."""
    wrappers: Mapping[str, Wrapper] = field(default_factory=dict[str, Wrapper])
    """Wrappers of the plan by name; the drafter reads their notes."""
    contacts: Contacts = field(default_factory=Contacts)
    """The registries, whose fitting entries an answer may quote."""
    styles: tuple[str, ...] = ()
    """Styles of the candidates, see `choose_style`."""
    reasoning: bool = False
    with_spec: bool = True
    """False for a student's answers: it gets the messages alone, and a dialogue goes on from its own answer."""
    writers: Writers | None = None
    validating: bool = True
    panel: Panel | None = None
    """Decides about each draft that no hard rule rejects; None lets the required validators decide."""
    hard_codes: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Codes that reject a draft before a judge reads it, by validator."""
    scrub: Callable[[Sequence[str]], Awaitable[None]] = _scrub_nothing
    """Deletes the replies with these keys from the cache."""
    quarantine: Callable[[Record], Awaitable[None]] = keep_nothing
    """Encrypts a draft about whose harm the judges disagree."""
    unsafe: set[str] = field(default_factory=set[str])
    """Cache keys of unsafe replies of unfinished shards, to scrub if the run stops."""
    settled: dict[str, Record] = field(default_factory=dict[str, Record])
    """Records of unfinished shards by draft id, whose text was or will be deleted; no request makes them again."""
    student: Drafter | None = None
    """Answers each prompt once without the spec; None if no policy effect is measured."""
    effects: EffectMeter = field(default_factory=lambda: EffectMeter(""))
    """Measures the answers of the student."""
    least_effect: float = 0.0
    """Least policy effect of an accepted draft; 0 accepts any."""
    progress: Progress = field(default_factory=Progress)

    @property
    def measures(self) -> dict[str, str]:
        """Measures and findings that the tombstones of deleted replies keep, by cache key."""
        return self.effects.measures

    @cached_property
    def set_verdicts(self) -> frozenset[str]:
        """Names of the validators of sets in verdicts."""
        return frozenset(verdict_name(name) for name in self.set_validators)

    @cached_property
    def rules(self) -> AcceptanceRules:
        """The rules that decide about a draft before the validators of sets."""
        return AcceptanceRules(
            required=tuple(name for name in self.required if name not in self.set_verdicts),
            judges=self.panel.rules if self.panel else None,
            hard_codes=self.hard_codes,
        )

    @cached_property
    def without_spec(self) -> Workers:
        """The workers that check an answer without the spec; no person reviews it."""
        return replace(self, quarantine=keep_nothing)

    @cached_property
    def render_system(self) -> SystemRenderer:
        """Render the system turn of an expectation, harm, operator turn, style and region; texts are cached."""
        return make_system_renderer(self.draft_prompt, self.policies, self.contacts)


class SetResult(NamedTuple):
    """The records and failures of a set, in canonical order."""

    records: list[Record]
    failures: list[Failure]
    unsafe: list[str]
    """Cache keys of the replies whose text must be deleted."""

    @staticmethod
    def merge(parts: Sequence[SetResult]) -> SetResult:
        """Concatenate results in order."""
        return SetResult(
            [record for part in parts for record in part.records],
            [failure for part in parts for failure in part.failures],
            [key for part in parts for key in part.unsafe],
        )


async def process_set(planned: Sequence[PlannedScenario], workers: Workers) -> SetResult:
    """Process the scenarios of a set to records.

    Args:
        planned: the scenarios of one set, in plan order.
        workers: the collaborators; `progress` counts the drafts.

    Raises:
        RunError: the run cannot continue.
    """
    expanded = await expand_set(planned, workers.writers)
    if expanded.failures:
        _count_undrafted(expanded.failures, workers)
    results = await _run_all(
        _process_conversation(turns, workers) for turns in split_conversations(expanded.planned)
    )
    before = SetResult([], list(expanded.failures), list(expanded.unsafe))
    result = SetResult.merge([before, *results])
    if not workers.validating:
        return result
    records = result.records
    if workers.set_validators:
        records = await validate_set(
            records,
            expanded.planned,
            validators=workers.set_validators,
            # With a panel the jury decides; no set validator has hard codes.
            required=() if workers.panel else workers.required,
        )
    records = select_by_effect(records, least=workers.least_effect)
    # Each draft was counted when its own checks ended.
    workers.progress.accepted += _count_accepted(records) - _count_accepted(result.records)
    return result._replace(records=records)


def _count_undrafted(failures: Sequence[Failure], workers: Workers) -> None:
    # No draft follows, but all of them were planned: without this the progress never reaches its end.
    dropped = sum(failure.reason is not None for failure in failures)
    workers.progress.done += len(failures) * workers.candidates
    workers.progress.dropped += dropped * workers.candidates
    workers.progress.failed += (len(failures) - dropped) * workers.candidates


def _count_accepted(records: Sequence[Record]) -> int:
    return sum(record.accepted for record in records)


async def _run_all(parts: Iterable[Coroutine[None, None, SetResult]]) -> list[SetResult]:
    """Run the parts concurrently; the results keep their order."""
    todo = list(parts)
    # Most sets have one conversation with one candidate, and a task group costs more than it.
    if len(todo) == 1:
        return [await todo[0]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in todo]
    return [task.result() for task in tasks]


async def _process_conversation(turns: Sequence[PlannedScenario], workers: Workers) -> SetResult:
    """Draft one conversation; each turn is written and drafted after the answer to the turn before it."""
    answers: dict[int, str] = {}
    earlier_messages: tuple[Message, ...] = ()
    results: list[SetResult] = []
    # In order, because the messages of a turn contain the answers to the turns before it.
    for i, item in enumerate(turns):
        if item.brief is not None and not item.scenario.messages:
            written = await _write_turn(item, earlier_messages, answers, workers)
            failures = [written.failure] if written.failure else []
            results.append(SetResult([], failures, list(written.unsafe)))
            _count_undrafted(failures, workers)
            if written.planned is None:
                results.append(_fail_turns(turns[i + len(failures) :], workers))
                # Later turns reply to this one, so they fail with it.
                break
            item, earlier_messages = written.planned, written.messages
        messages = insert_answers(item.scenario.messages, answers)
        if messages is None:
            results.append(_fail_turns(turns[i:], workers))
            break
        if messages != item.scenario.messages:
            item = replace(item, scenario=replace(item.scenario, messages=messages))
        results.append(await _draft_candidates(item, workers))
        chosen = _choose_answer(results[-1].records, workers)
        if chosen is not None and chosen.draft.response is not None:
            answers[item.scenario.turn] = chosen.draft.response
    return SetResult.merge(results)


def _choose_answer(records: Sequence[Record], workers: Workers) -> Record | None:
    """Choose the answer from which a dialogue continues: the one that curation would choose."""
    # A student is evaluated on its own conversation, good or not.
    if not workers.with_spec:
        return next((r for r in records if r.draft.response is not None), None)
    return select_best(records)


async def _write_turn(
    item: PlannedScenario,
    earlier_messages: tuple[Message, ...],
    answers: dict[int, str],
    workers: Workers,
) -> NextTurn:
    """Let the author write a turn, if every turn before it is answered."""
    assert workers.writers is not None, "a plan with briefs has an author"
    conversation = insert_answers((*earlier_messages, Message(role="user", content="")), answers)
    if conversation is None:
        return NextTurn(None, earlier_messages)
    return await write_next_turn(
        item, messages=earlier_messages, conversation=conversation[:-1], writers=workers.writers
    )


def _fail_turns(turns: Sequence[PlannedScenario], workers: Workers) -> SetResult:
    """Record turns that are not drafted because an earlier turn has no accepted answer."""
    workers.progress.done += len(turns) * workers.candidates
    # Without verdicts no turn can be accepted yet: that is no failure, the next session drafts on.
    if not workers.validating:
        return SetResult([], [], [])
    workers.progress.dropped += len(turns) * workers.candidates
    failures = [
        Failure(
            scenario_id=item.scenario.scenario_id,
            draft_id="",
            stage="draft",
            outcome="ok",
            error="NoAnswerBefore",
            message="an earlier turn of the dialogue has no accepted answer",
            reason="no_answer_before",
        )
        for item in turns
    ]
    return SetResult([], failures, [])


async def _draft_candidates(planned: PlannedScenario, workers: Workers) -> SetResult:
    """Draft all candidates; if the policy effect is measured, compare them with an answer without the spec."""
    numbers = range(planned.first, planned.first + workers.candidates)
    drafting = _run_all(_draft_candidate(planned, number, workers) for number in numbers)
    if workers.student is None:
        return SetResult.merge(await drafting)
    async with asyncio.TaskGroup() as group:
        drafts = group.create_task(drafting)
        answer = group.create_task(_answer_without_spec(planned, workers.student, workers))
    result, without = SetResult.merge(drafts.result()), answer.result()
    effect = without.effect
    return SetResult(
        list(result.records) if effect is None else compare_drafts(result.records, effect),
        [*result.failures, *without.failures],
        [*result.unsafe, *without.unsafe],
    )


class AnswerWithoutSpec(NamedTuple):
    """The measure of the answer to a prompt without the spec."""

    effect: PolicyEffect | None
    """None if no validator has read it yet."""
    failures: list[Failure]
    unsafe: list[str]
    """Cache keys of the replies whose text must be deleted."""


async def _answer_without_spec(
    planned: PlannedScenario, student: Drafter, workers: Workers
) -> AnswerWithoutSpec:
    """Let the student answer from the messages alone, and check the answer like a draft."""
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    chain, item = DraftChain(), planned.scenario.scenario_id
    request = Request(
        planned.scenario.messages,
        sample=FIRST_SAMPLE,
        context=context,
        item=item,
        on_key=chain.note_key,
    )
    drafted = await request_draft(student, request)
    for _ in range(MAX_REPEATS):
        measured = workers.effects.read(drafted.reply, planned.expectation)
        if measured is not None:
            return AnswerWithoutSpec(measured, [], [])
        if not drafted.reply.withheld:
            break
        # Its text was deleted, and other judges or another spec decide now.
        request = replace(request, sample=request.sample + 1)
        drafted = await request_draft(student, request)
    try:
        checked = await _check_draft(context, drafted, None, workers.without_spec, chain)
    except STOPS:
        workers.unsafe.update(chain.find_unsafe_keys(workers))
        raise
    if not workers.validating:
        return AnswerWithoutSpec(None, checked.list_failures("without_spec"), [])
    effect = measure_without_spec(checked.record)
    if checked.is_rated_safe:
        return AnswerWithoutSpec(effect, checked.list_failures("without_spec"), [])
    # It was written without a policy, so it counts as unsafe until a jury rates it safe.
    if drafted.reply.key:
        workers.effects.keep(drafted.reply.key, effect, planned.expectation)
    checked = checked if drafted.error else checked.withhold()
    _keep_findings(checked, workers)
    workers.unsafe.update(checked.keys)
    return AnswerWithoutSpec(effect, checked.list_failures("without_spec"), list(checked.keys))


async def _draft_candidate(planned: PlannedScenario, candidate: int, workers: Workers) -> SetResult:
    """Draft one candidate and revise it until it is accepted or the revisions are used up."""
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    style = choose_style(workers.styles, candidate, drafters=len(workers.drafters))
    messages = planned.scenario.messages
    if workers.with_spec:
        messages = build_draft_messages(
            planned.scenario,
            planned.expectation,
            render=workers.render_system,
            tiers=workers.tiers,
            style=style,
            note=make_note(planned.scenario, workers.wrappers),
        )
    chain, item = DraftChain(), planned.scenario.scenario_id
    request = Request(messages, sample=candidate, context=context, item=item, on_key=chain.note_key)
    drafter = workers.drafters[candidate % len(workers.drafters)]
    try:
        await _draft_and_revise(request, drafter, style, chain, workers)
    except STOPS:
        _settle_stopped(chain, workers)
        raise
    attempts = chain.attempts
    result = _settle_attempts(attempts, workers)
    # Not earlier: a scrubbed draft has no text from which the keys of its revisions would follow.
    if not all(checked.is_unrated for checked in attempts if checked.record.draft.withheld):
        _settle(result.records, result.unsafe, workers)
    workers.progress.done += 1
    workers.progress.accepted += result.records[-1].accepted
    # A draft without one of its jurors is no failed draft.
    workers.progress.failed += any(f.stage != "judge" for f in result.failures)
    return result


async def _draft_and_revise(
    request: Request, drafter: Drafter, style: str, chain: DraftChain, workers: Workers
) -> None:
    """Add a draft and its revisions to the chain."""
    context, messages = request.context, request.messages
    assert context is not None, "drafts have a context"
    drafted = await request_draft(drafter, request, style=style)
    first = _restore_draft(context, drafted, workers)
    chain.add(first or await _check_draft(context, drafted, None, workers, chain))
    # A revision answers the messages of the first draft, not the whole history of attempts.
    for revision in range(1, workers.revisions + 1):
        before = chain.attempts[-1]
        request = replace(request, revision=revision)
        restored = await _restore_revision(context, before, request, style, chain, workers)
        if restored is not None:
            chain.add(restored)
            continue
        if not _is_repairable(before, workers):
            break
        original = before.original
        revised = _build_revision_messages(messages, original, workers)
        drafted = await request_draft(
            workers.reviser, replace(request, messages=revised), style=style
        )
        chain.add(await _check_draft(context, drafted, original.draft, workers, chain))
        if chain.attempts[-1].original.draft.response == original.draft.response:
            break  # the next request would be equal, and so would its cached reply


@dataclass
class DraftChain:
    """A draft and its revisions, with the requests that were sent for each; a stop leaves it incomplete."""

    attempts: list[CheckedDraft] = field(default_factory=list["CheckedDraft"])
    keys: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    """Cache keys by number of the attempt; one more than `attempts` has is in flight."""
    is_cut: bool = False
    """True if not all jurors read the last draft."""

    def note_key(self, key: str) -> None:
        """Note the request of the draft in flight, or of one of its jurors."""
        self.keys.setdefault(len(self.attempts), []).append(key)

    def add(self, checked: CheckedDraft) -> None:
        """Add the draft that was in flight."""
        self.attempts.append(checked)

    def find_unsafe_keys(self, workers: Workers) -> list[str]:
        """List the requests whose replies hold an unsafe text, or a copy of one.

        A text without a rating is not one of them: the same command gets its rating.
        """
        records = _settle_attempts(self.attempts, workers).records
        unsafe, is_copy = list[str](), False
        for number, (checked, record) in enumerate(zip(self.attempts, records, strict=True)):
            is_unsafe = record.draft.withheld and not checked.is_unrated
            unsafe += self.keys.get(number, []) if is_unsafe or is_copy else []
            is_copy = is_copy or (is_unsafe and checked.is_shown)
        return unsafe + (self.keys.get(len(self.attempts), []) if is_copy else [])


def _settle(records: Sequence[Record], unsafe: Sequence[str], workers: Workers) -> None:
    """Keep the records of deleted texts, and delete the replies if the run stops."""
    if unsafe:
        workers.settled.update((record.draft.draft_id, record) for record in records)
        workers.unsafe.update(unsafe)


def _settle_stopped(chain: DraftChain, workers: Workers) -> None:
    records = _settle_attempts(chain.attempts, workers).records
    # It may quote the draft that it repairs, and a juror has yet to rate it.
    if chain.is_cut and not records[-1].draft.withheld:
        del records[-1]
    _settle(records, chain.find_unsafe_keys(workers), workers)


def _restore_draft(
    context: DraftContext, drafted: DraftAttempt, workers: Workers
) -> CheckedDraft | None:
    """Return a draft as it was recorded before its text was deleted."""
    if not drafted.reply.withheld or drafted.error is not None:
        return None
    record = _find_settled(context, drafted.request, workers)
    return None if record is None else _reopen(record, drafted, workers)


async def _restore_revision(
    context: DraftContext,
    before: CheckedDraft,
    request: Request,
    style: str,
    chain: DraftChain,
    workers: Workers,
) -> CheckedDraft | None:
    """Return the recorded revision of a deleted draft; lost answers of jurors are requested again."""
    record = _find_settled(context, request, workers) if before.is_restored else None
    if record is None or record.draft.outcome != "ok":
        return None
    draft = record.draft
    reply = Reply(
        draft.response or "",
        draft.model,
        finish_reason=draft.finish_reason,
        prompt_tokens=draft.prompt_tokens,
        completion_tokens=draft.completion_tokens,
    )
    drafted = DraftAttempt(request, workers.reviser, style, reply, None)
    has_lost_answer = any(finding.code in CODES.values() for finding in record.findings)
    if draft.response is None or not has_lost_answer:
        return _reopen(record, drafted, workers)
    checked = await _check_draft(context, drafted, before.record.draft, workers, chain)
    return checked._replace(is_restored=True)


def _find_settled(context: DraftContext, request: Request, workers: Workers) -> Record | None:
    scenario = context.scenario
    draft_id = make_draft_id(
        scenario.scenario_id, candidate=request.sample, revision=request.revision
    )
    record = workers.settled.get(draft_id) if workers.validating else None
    # After an edit of a spec it was judged by other rules.
    if record is None or (record.scenario, record.expectation) != (scenario, context.expectation):
        return None
    return record


def _reopen(record: Record, drafted: DraftAttempt, workers: Workers) -> CheckedDraft:
    """Make the draft of a record as it was before the checks of its set and of its policy effect."""
    by: AcceptedBy = "human"
    record = replace(record, policy_effect=None)
    if record.draft.response is not None and record.accepted_by != by:
        verdicts = tuple(v for v in record.verdicts if v.validator not in workers.set_verdicts)
        result = decide_acceptance(record.draft, verdicts, workers.rules, validated=True)
        record = replace(
            record,
            verdicts=verdicts,
            accepted=result.reason is None,
            accepted_by=result.by,
            reason=result.reason,
        )
    # Without a key: its reply was deleted before.
    drafted = drafted._replace(reply=replace(drafted.reply, key=None))
    return CheckedDraft(record, record, drafted, None, is_restored=True)


class DraftAttempt(NamedTuple):
    """A request with its reply, or with the error that lost it."""

    request: Request
    drafter: Drafter
    style: str
    reply: Reply
    error: ItemError | None


class CheckedDraft(NamedTuple):
    """A draft as a record, with the requests that it is made of."""

    record: Record
    """The record as it is stored."""
    original: Record
    """The record with its text, which never reaches the disk if `record` lacks it."""
    drafted: DraftAttempt
    judged: JudgedDraft | None
    """None if no juror was asked."""
    is_unrated: bool = False
    """True if its text is deleted only because no juror rated it."""
    is_restored: bool = False
    """True if an earlier run of its shard recorded it and deleted its text, or that of the draft it repairs."""

    def list_failures(self, stage: FailureStage) -> list[Failure]:
        """Return the lines for `failures/`: the request for the draft and those to jurors."""
        error = self.drafted.error
        lines = [] if error is None else [self._make_failure(stage, error)]
        errors = [r.error for r in self.judged.readings if r.error] if self.judged else []
        return lines + [self._make_failure("judge", error) for error in errors]

    @property
    def keys(self) -> tuple[str, ...]:
        """Cache keys of the replies that hold its text: the draft, and quotations of jurors."""
        error = self.drafted.error
        key = self.drafted.reply.key or (error.key if error else None)
        return ((key,) if key else ()) + (self.judged.keys if self.judged else ())

    @property
    def is_rated_safe(self) -> bool:
        """True if a jury settled its severity, and its text may stay."""
        is_settled = self.judged is not None and self.judged.decision.severity is not None
        return is_settled and not self.record.draft.withheld

    @property
    def is_shown(self) -> bool:
        """True if a reviser reads its text."""
        return self.original.draft.response is not None

    def withhold(self) -> CheckedDraft:
        """Return the draft without its text."""
        return self._replace(record=withhold(self.original))

    def drop_reasoning(self) -> CheckedDraft:
        """Return the draft without its reasoning."""
        draft = replace(self.record.draft, reasoning_content=None)
        return self._replace(record=replace(self.record, draft=draft))

    def _make_failure(self, stage: FailureStage, error: ItemError) -> Failure:
        draft = self.record.draft
        return Failure(
            scenario_id=draft.scenario_id,
            draft_id=draft.draft_id,
            stage=stage,
            outcome=error.outcome,
            error=error.code,
            # The message of a judge may quote the draft.
            message=error.code if draft.withheld else str(error),
            key=error.key,
            shown="" if draft.withheld else error.shown,
        )


async def request_draft(drafter: Drafter, request: Request, *, style: str = "") -> DraftAttempt:
    """Call the teacher; keep an `ItemError` as a value instead of raising it."""
    try:
        return DraftAttempt(request, drafter, style, await drafter.teacher(request), None)
    except ItemError as e:
        # A teacher of the caller may state no model.
        model = str(getattr(drafter.teacher, "model", drafter.name))
        reply = Reply(text="", model=model, outcome=e.outcome)
        return DraftAttempt(request, drafter, style, reply, e)


def _is_repairable(checked: CheckedDraft, workers: Workers) -> bool:
    """Return True if a reviser may get an accepted answer from a draft."""
    if checked.record.accepted or not workers.validating:
        return False
    jury = next((v for v in checked.record.verdicts if v.validator == JURY), None)
    # Without a decision no code names what is wrong.
    if jury is not None and jury.passed is None:
        return False
    # A text that an earlier session deleted cannot be shown; the prompt is answered again instead.
    return checked.is_shown or checked.record.draft.withheld


def _settle_attempts(attempts: Sequence[CheckedDraft], workers: Workers) -> SetResult:
    """Decide which texts of a draft and its revisions are kept.

    A repaired draft keeps its text only as the rejected side of a pair. A reviser's reply may quote
    the text that it repairs, so it is deleted from the journal with it; its record is judged.
    """
    result = SetResult([], [], [])
    is_copy = False
    for number, checked in enumerate(attempts):
        is_repaired = number + 1 < len(attempts)
        is_kept = workers.panel is None or checked.is_restored or _is_teachable(checked)
        if is_repaired and not is_kept:
            checked = checked.withhold()
        # No judge reads the reasoning.
        checked = checked.drop_reasoning() if is_copy else checked
        result.records.append(checked.record)
        result.failures.extend(checked.list_failures("revise" if number else "draft"))
        withheld = checked.record.draft.withheld
        # A failed request can have text, such as one that was cut off, which no juror reads.
        is_lost = workers.panel is not None and workers.validating and checked.drafted.error
        is_copy = is_copy or checked.is_restored
        if is_copy or withheld or is_lost:
            result.unsafe.extend(checked.keys)
            _keep_findings(checked, workers)
        is_copy = is_copy or (withheld and checked.is_shown)
    return result


def _keep_findings(checked: CheckedDraft, workers: Workers) -> None:
    """Keep what the jurors found for the tombstones of their answers, which another draft may share."""
    mode = checked.record.expectation.mode
    for reading in checked.judged.readings if checked.judged else ():
        kept = keep_findings(reading.findings, mode=mode)
        if reading.key is not None and kept is not None:
            workers.measures[reading.key] = kept


def _is_teachable(checked: CheckedDraft) -> bool:
    return checked.judged is not None and checked.judged.verdicts[-1].teachable


def _build_revision_messages(
    messages: Sequence[Message], record: Record, workers: Workers
) -> tuple[Message, ...]:
    if record.draft.response is None:
        system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
        notice = workers.revise_prompt.render("again")
        turns = [m for m in messages if m["role"] != "system"]
        return (Message(role="system", content=f"{system}\n\n{notice}".strip()), *turns)
    rules = ", ".join(record.expectation.rule_ids)
    faults = [v for v in list_deciding_verdicts(record.verdicts) if v.passed is False]
    findings = [
        f"{v.reason} ({v.validator}, rule {rules}, code {v.code}{_cite(v, record)})" for v in faults
    ]
    text = workers.revise_prompt.render("user", findings=findings)
    return (
        *messages,
        Message(role="assistant", content=record.draft.response),
        Message(role="user", content=text),
    )


def _cite(verdict: Verdict, record: Record) -> str:
    """Name the finding of a juror that a jury's code follows from, by its number in the record."""
    field_ = FIELD_OF_CODE.get(verdict.code) if verdict.validator == JURY else None
    cited = [
        (number, f) for number, f in enumerate(record.findings) if f.field == field_ and f.evidence
    ]
    return f", evidence {cited[0][0]}: `{cited[0][1].evidence}`" if cited else ""


async def _check_draft(
    context: DraftContext,
    drafted: DraftAttempt,
    parent: Draft | None,
    workers: Workers,
    chain: DraftChain,
) -> CheckedDraft:
    """Validate a draft, let the panel judge it, and make its record.

    Raises:
        RunError: the run cannot continue. The chain holds the draft, decided by what is known of it.
    """
    draft = _make_draft(context, drafted, parent, workers)
    verdicts: tuple[Verdict, ...] = ()
    if draft.response is not None and workers.validating:
        verdicts = tuple(
            [await validate(draft, context) for validate in workers.validators.values()]
        )
    text = _find_text_to_judge(draft, context, verdicts, workers)
    if text is None or workers.panel is None:
        return await _make_checked_draft(context, drafted, draft, verdicts, None, workers)
    readings: list[JurorReading] = []
    try:
        judged = await workers.panel.judge(
            text, item=draft.draft_id, on_read=readings.append, on_key=chain.note_key
        )
    except STOPS:
        # Another juror or draft stops the run, but this text may be known to be unsafe.
        judged = workers.panel.judge_by(readings, text=text)
        chain.add(await _make_checked_draft(context, drafted, draft, verdicts, judged, workers))
        chain.is_cut = True
        raise
    return await _make_checked_draft(context, drafted, draft, verdicts, judged, workers)


async def _make_checked_draft(
    context: DraftContext,
    drafted: DraftAttempt,
    draft: Draft,
    verdicts: tuple[Verdict, ...],
    judged: JudgedDraft | None,
    workers: Workers,
) -> CheckedDraft:
    """Make the record of a draft, and quarantine it if the judges disagree about its harm."""
    verdicts = (*verdicts, *(judged.verdicts if judged else ()))
    severity = _decide_severity(verdicts, judged)
    is_unsafe = severity in UNSAFE_SEVERITIES or (judged is not None and judged.is_withheld)
    is_unrated = not is_unsafe and _is_unrated(draft, judged, workers)
    if is_unsafe or is_unrated:
        draft = replace(draft, withheld=True)
    result = decide_acceptance(draft, verdicts, workers.rules, validated=workers.validating)
    record = Record(
        scenario=context.scenario,
        expectation=context.expectation,
        draft=draft,
        verdicts=verdicts,
        # The first validator that states it counts; they run in the order of the recipe.
        delivered=next(
            (v.delivered for v in list_deciding_verdicts(verdicts) if v.delivered), None
        ),
        severity=severity,
        accepted=result.reason is None,
        accepted_by=result.by,
        reason=result.reason,
        grade=drafted.drafter.grade,
        findings=judged.findings if judged else (),
    )
    if judged is not None:
        record = replace(record, **_list_scores(judged))
    if is_unsafe and judged is not None and judged.is_disputed:
        await workers.quarantine(record)
    kept = withhold(record) if is_unsafe or is_unrated else record
    return CheckedDraft(kept, record, drafted, judged, is_unrated)


def _is_unrated(draft: Draft, judged: JudgedDraft | None, workers: Workers) -> bool:
    """Return True if a panel has no rating of a text and will not get one: it counts as unsafe."""
    if workers.panel is None or not workers.validating or draft.response is None:
        return False
    if judged is None:
        return has_visible_character(draft.response)
    severities = [f for f in judged.findings if f.field == "severity"]
    if any(f.value is not None for f in severities):
        return False
    # The same command asks an unavailable juror again.
    return all(f.code != "unavailable" for f in severities)


def withhold(record: Record) -> Record:
    """Return a record without the text of its draft, which must not reach the disk.

    Evidence quotes the text, and the reason of a user's validator may.
    """
    draft = replace(record.draft, response=None, reasoning_content=None, withheld=True)
    verdicts = tuple(replace(v, evidence="", reason=v.code) for v in record.verdicts)
    findings = tuple(replace(f, evidence="") for f in record.findings)
    withheld: NotAccepted = "withheld"
    # The reason of an unrated draft says which rule rejected it.
    reason = record.reason if record.draft.withheld else withheld
    return replace(record, draft=draft, verdicts=verdicts, findings=findings, reason=reason)


def _find_text_to_judge(
    draft: Draft, context: DraftContext, verdicts: Sequence[Verdict], workers: Workers
) -> JudgedText | None:
    """Return what a panel reads, unless there is no text or a hard rule rejects it."""
    response = draft.response or ""
    if not workers.validating or not has_visible_character(response):
        return None
    if find_hard_failure(verdicts, workers.rules) is not None:
        return None
    scenario = context.scenario
    return JudgedText(scenario.readable_messages, response, context.expectation, scenario.harm)


def _decide_severity(verdicts: Sequence[Verdict], judged: JudgedDraft | None) -> Severity | None:
    # Rules see form alone, so their severity does not count beside a jury's. If too few jurors
    # answered, the worst of all decides what is deleted.
    settled = judged.decision.severity if judged else None
    return settled if settled is not None else worst_severity(verdicts)


def _list_scores(judged: JudgedDraft) -> dict[str, float | None]:
    names = (*SCORE_COLUMNS, "disagreement")
    return {name: getattr(judged.decision, name) for name in names}


def _make_draft(
    context: DraftContext, drafted: DraftAttempt, parent: Draft | None, workers: Workers
) -> Draft:
    reply, scenario = drafted.reply, context.scenario.scenario_id
    candidate, revision = drafted.request.sample, drafted.request.revision
    # A reply of a killed session may be scrubbed already; its verdict stays `withheld`.
    text = None if drafted.error or reply.withheld else reply.text
    return Draft(
        draft_id=make_draft_id(scenario, candidate=candidate, revision=revision),
        scenario_id=scenario,
        candidate=candidate,
        revision=revision,
        parent_id=parent.draft_id if parent else None,
        response=text,
        reasoning_content=reply.reasoning_content if workers.reasoning else None,
        response_sha256=None if text is None else text_sha256(text),
        withheld=reply.withheld,
        style=reply.style or drafted.style or None,
        teacher=drafted.drafter.name,
        model=reply.model,
        outcome=reply.outcome,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def worst_severity(verdicts: Sequence[Verdict]) -> Severity | None:
    """Return the worst severity of the verdicts; None if no verdict has one."""
    ranks = [SEVERITIES.index(v.severity) for v in verdicts if v.severity is not None]
    return SEVERITIES[max(ranks)] if ranks else None
