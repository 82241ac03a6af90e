"""Process one set from scenarios to records; the only place that chains the stages.

    expand → draft → validate → revise → record

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

from safegen.core.errors import ItemError
from safegen.core.hashing import text_sha256
from safegen.core.progress import Progress
from safegen.core.templates import PromptTemplate
from safegen.core.types import (
    SEVERITIES,
    UNSAFE_SEVERITIES,
    Draft,
    DraftContext,
    DraftValidator,
    Failure,
    FailureStage,
    Grade,
    Message,
    NotAccepted,
    PlannedScenario,
    Record,
    Reply,
    Request,
    Severity,
    Teacher,
    Tier,
    Verdict,
)
from safegen.dataset.curation.select import select_best
from safegen.pipeline.draft_messages import (
    SystemRenderer,
    build_draft_messages,
    choose_style,
    make_system_renderer,
)
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.expand import Writers, expand_set
from safegen.scenarios.authoring.next_turn import NextTurn, write_next_turn
from safegen.scenarios.context import make_draft_id
from safegen.scenarios.dialogues import insert_answers, split_conversations


async def _scrub_nothing(_: Sequence[str]) -> None:
    """Do nothing; the default without a journal."""


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
    styles: tuple[str, ...] = ()
    """Styles of the candidates, see `choose_style`."""
    reasoning: bool = False
    writers: Writers | None = None
    validating: bool = True
    scrub: Callable[[Sequence[str]], Awaitable[None]] = _scrub_nothing
    """Deletes the replies with these keys from the cache."""
    unsafe: set[str] = field(default_factory=set[str])
    """Cache keys of unsafe replies of unfinished shards, to scrub if the run stops."""
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def render_system(self) -> SystemRenderer:
        """Render the system turn of an expectation, harm, operator turn and style; texts are cached."""
        return make_system_renderer(self.draft_prompt, self.policies)


class SetResult(NamedTuple):
    """The records and failures of a set, in canonical order."""

    records: list[Record]
    failures: list[Failure]
    unsafe: list[str]
    """Cache keys of the replies that were found unsafe."""

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
        # No draft follows, but all of them were planned: without this the progress never reaches its end.
        workers.progress.done += len(planned) * workers.candidates
        workers.progress.failed += len(planned) * workers.candidates
    results = await _run_all(
        _process_conversation(turns, workers) for turns in split_conversations(expanded.planned)
    )
    before = SetResult([], list(expanded.failures), list(expanded.unsafe))
    return SetResult.merge([before, *results])


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
            if written.failure is not None:
                workers.progress.done += workers.candidates
                workers.progress.failed += workers.candidates
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
        # The dialogue continues from the draft that curation would choose.
        chosen = select_best(results[-1].records)
        if chosen is not None and chosen.draft.response is not None:
            answers[item.scenario.turn] = chosen.draft.response
    return SetResult.merge(results)


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
    workers.progress.failed += len(turns) * workers.candidates
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
    numbers = range(planned.first, planned.first + workers.candidates)
    return SetResult.merge(
        await _run_all(_draft_candidate(planned, number, workers) for number in numbers)
    )


async def _draft_candidate(planned: PlannedScenario, candidate: int, workers: Workers) -> SetResult:
    """Draft one candidate and revise it until it is accepted or the revisions are used up."""
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    style = choose_style(workers.styles, candidate, drafters=len(workers.drafters))
    messages = build_draft_messages(
        planned.scenario,
        planned.expectation,
        render=workers.render_system,
        tiers=workers.tiers,
        style=style,
    )
    item = planned.scenario.scenario_id
    request = Request(messages, sample=candidate, context=context, item=item)
    drafted = await request_draft(
        workers.drafters[candidate % len(workers.drafters)], request, style=style
    )
    record = await _make_record(context, drafted, None, workers)
    result = SetResult(
        [record], drafted.list_failures("draft", record), drafted.list_unsafe(record)
    )
    workers.unsafe.update(result.unsafe)
    # A revision answers the messages of the first draft, not the whole history of attempts.
    for revision in range(1, workers.revisions + 1):
        if record.accepted or record.draft.response is None or not workers.validating:
            break
        request = replace(
            request, messages=_build_revision_messages(messages, record, workers), revision=revision
        )
        drafted = await request_draft(workers.reviser, request, style=style)
        before, record = record, await _make_record(context, drafted, record.draft, workers)
        result.records.append(record)
        result.failures.extend(drafted.list_failures("revise", record))
        result.unsafe.extend(drafted.list_unsafe(record))
        workers.unsafe.update(result.unsafe)
        if record.draft.response == before.draft.response:
            break  # the next request would be equal, and so would its cached reply
    workers.progress.done += 1
    workers.progress.accepted += record.accepted
    workers.progress.failed += bool(result.failures)
    return result


class DraftAttempt(NamedTuple):
    """A request with its reply, or with the error that lost it."""

    request: Request
    drafter: Drafter
    style: str
    reply: Reply
    error: ItemError | None

    def list_failures(self, stage: FailureStage, record: Record) -> list[Failure]:
        """Return the line for `failures/`, if the request failed."""
        if self.error is None:
            return []
        return [
            Failure(
                scenario_id=record.scenario.scenario_id,
                draft_id=record.draft.draft_id,
                stage=stage,
                outcome=self.error.outcome,
                error=self.error.code,
                message=str(self.error),
                key=self.error.key,
                shown=self.error.shown,
            )
        ]

    def list_unsafe(self, record: Record) -> list[str]:
        """Return the cache key of the reply, if it was found unsafe."""
        return [self.reply.key] if record.draft.withheld and self.reply.key else []


async def request_draft(drafter: Drafter, request: Request, *, style: str = "") -> DraftAttempt:
    """Call the teacher; keep an `ItemError` as a value instead of raising it."""
    try:
        return DraftAttempt(request, drafter, style, await drafter.teacher(request), None)
    except ItemError as e:
        # A teacher of the caller may state no model.
        model = str(getattr(drafter.teacher, "model", drafter.name))
        reply = Reply(text="", model=model, outcome=e.outcome)
        return DraftAttempt(request, drafter, style, reply, e)


def _build_revision_messages(
    messages: Sequence[Message], record: Record, workers: Workers
) -> tuple[Message, ...]:
    rules = ", ".join(record.expectation.rule_ids)
    findings = [
        f"{v.reason} ({v.validator}, rule {rules})" for v in record.verdicts if v.passed is False
    ]
    text = workers.revise_prompt.render("user", findings=findings)
    return (
        *messages,
        Message(role="assistant", content=record.draft.response or ""),
        Message(role="user", content=text),
    )


async def _make_record(
    context: DraftContext, drafted: DraftAttempt, parent: Draft | None, workers: Workers
) -> Record:
    draft = _make_draft(context, drafted, parent, workers)
    verdicts: tuple[Verdict, ...] = ()
    if draft.response is not None and workers.validating:
        verdicts = tuple(
            [await validate(draft, context) for validate in workers.validators.values()]
        )
    severity = worst_severity(verdicts)
    # Unsafe text must not reach the disk. Evidence quotes it, and the reason of a user's validator may.
    if severity in UNSAFE_SEVERITIES:
        draft = replace(draft, response=None, reasoning_content=None, withheld=True)
        verdicts = tuple(replace(v, evidence="", reason=v.code) for v in verdicts)
    reason = _rejection_reason(draft, verdicts, workers)
    return Record(
        scenario=context.scenario,
        expectation=context.expectation,
        draft=draft,
        verdicts=verdicts,
        # The first validator that states it counts; they run in the order of the recipe.
        delivered=next((v.delivered for v in verdicts if v.delivered), None),
        severity=severity,
        accepted=reason is None,
        accepted_by=("rules" if workers.required else "nothing") if reason is None else None,
        reason=reason,
        grade=drafted.drafter.grade,
    )


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


def _rejection_reason(draft: Draft, verdicts: Sequence[Verdict], workers: Workers) -> str | None:
    """Return the outcome, code or validator that keeps a draft from acceptance; None if accepted."""
    # A failed request has no verdicts, so its outcome is the reason.
    if draft.outcome != "ok":
        return draft.outcome
    # Only required validators decide; the others are recorded.
    required = [v for v in verdicts if v.validator in workers.required]
    failed = next((v.validator for v in required if v.passed is False), None)
    code: NotAccepted | None = None
    if draft.withheld:
        code = "withheld"
    elif not workers.validating:
        code = "not_validated"
    elif failed is None and any(v.passed is None for v in required):
        code = "unscored"
    return code or failed
