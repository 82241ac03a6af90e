"""One set's way from scenarios to records; the only place that chains the stages.

    expand → draft → validate → revise → record

A stage takes one item and returns a value; collaborators arrive in a `Workers`. Nothing is dropped:
a draft that fails is a record with its verdicts, an item that cannot be had is a record with its
outcome and a line under `failures/`. RunError and UserError pass through and stop the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    Expectation,
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
from safegen.policy.compile import compile_instructions
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.expand import Writers, expand_set
from safegen.scenarios.authoring.next_turn import NextTurn, write_next_turn
from safegen.scenarios.context import make_draft_id
from safegen.scenarios.dialogues import insert_answers, split_conversations


async def _scrub_nothing(_: Sequence[str]) -> None:
    """Where no journal is, nothing is to be taken out of it."""


class Drafter(NamedTuple):
    """A teacher that drafts, under the name that records carry."""

    name: str
    teacher: Teacher
    grade: Grade


@dataclass(frozen=True)
class Workers:
    """Who works on a set, and how much."""

    drafters: tuple[Drafter, ...]
    """They take turns over the candidates."""
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
    """They take turns over the candidates, too."""
    reasoning: bool = False
    writers: Writers | None = None
    validating: bool = True
    scrub: Callable[[Sequence[str]], Awaitable[None]] = _scrub_nothing
    """Takes the replies to these requests out of the journal."""
    progress: Progress = field(default_factory=Progress)


class SetResult(NamedTuple):
    """What became of a set, in canonical order."""

    records: list[Record]
    failures: list[Failure]
    unsafe: list[str]
    """Requests whose replies were found unsafe."""

    @staticmethod
    def merge(parts: Sequence[SetResult]) -> SetResult:
        """What the parts came to, in their order."""
        return SetResult(
            [record for part in parts for record in part.records],
            [failure for part in parts for failure in part.failures],
            [key for part in parts for key in part.unsafe],
        )


async def process_set(planned: Sequence[PlannedScenario], crew: Workers) -> SetResult:
    """Take the scenarios of a set to records.

    Raises:
        RunError: the run cannot go on.
    """
    ready = await expand_set(planned, crew.writers)
    if ready.failures:
        crew.progress.done += len(planned) * crew.candidates
        crew.progress.failed += len(planned) * crew.candidates
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_process_conversation(turns, crew))
            for turns in split_conversations(ready.planned)
        ]
    before = SetResult([], list(ready.failures), list(ready.unsafe))
    return SetResult.merge([before, *(task.result() for task in tasks)])


async def _process_conversation(turns: Sequence[PlannedScenario], crew: Workers) -> SetResult:
    """One conversation: a turn is written and asked once the turn before it is answered."""
    answers: dict[int, str] = {}
    earlier_messages: tuple[Message, ...] = ()
    outcomes: list[SetResult] = []
    for i, item in enumerate(turns):
        if item.brief is not None and not item.scenario.messages:
            turned = await _write_turn(item, earlier_messages, answers, crew)
            outcomes.append(SetResult([], [f for f in (turned.failure,) if f], list(turned.unsafe)))
            if turned.failure is not None:
                crew.progress.done += crew.candidates
                crew.progress.failed += crew.candidates
            if turned.planned is None:
                outcomes.append(_fail_turns(turns[i + bool(turned.failure) :], crew))
                break
            item, earlier_messages = turned.planned, turned.messages
        messages = insert_answers(item.scenario.messages, answers)
        if messages is None:
            outcomes.append(_fail_turns(turns[i:], crew))
            break
        scenario = replace(item.scenario, messages=messages)
        outcomes.append(await _draft_candidates(replace(item, scenario=scenario), crew))
        chosen = select_best(outcomes[-1].records)
        if chosen is not None and chosen.draft.response is not None:
            answers[item.scenario.turn] = chosen.draft.response
    return SetResult.merge(outcomes)


async def _write_turn(
    item: PlannedScenario,
    earlier_messages: tuple[Message, ...],
    answers: dict[int, str],
    crew: Workers,
) -> NextTurn:
    """Have a turn written, if every turn before it was answered."""
    assert crew.writers is not None, "a plan with briefs has an author"
    heard = insert_answers((*earlier_messages, Message(role="user", content="")), answers)
    if heard is None:
        return NextTurn(None, earlier_messages)
    return await write_next_turn(
        item, messages=earlier_messages, conversation=heard[:-1], writers=crew.writers
    )


def _fail_turns(turns: Sequence[PlannedScenario], crew: Workers) -> SetResult:
    """Turns that cannot be asked since an earlier one has no accepted answer."""
    crew.progress.done += len(turns) * crew.candidates
    if not crew.validating:
        return SetResult([], [], [])
    crew.progress.failed += len(turns) * crew.candidates
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


async def _draft_candidates(planned: PlannedScenario, crew: Workers) -> SetResult:
    """Every candidate of one scenario."""
    numbers = range(planned.first, planned.first + crew.candidates)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_draft_candidate(planned, number, crew)) for number in numbers]
    return SetResult.merge([task.result() for task in tasks])


async def _draft_candidate(planned: PlannedScenario, candidate: int, crew: Workers) -> SetResult:
    """One draft and its revisions."""
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    style = crew.styles[candidate % len(crew.styles)] if crew.styles else ""
    messages = build_teacher_messages(context, crew, style=style)
    request = Request(messages, sample=candidate, context=context)
    drafted = await request_draft(
        crew.drafters[candidate % len(crew.drafters)], request, style=style
    )
    record = await _make_record(context, drafted, None, crew)
    outcome = SetResult(
        [record], drafted.list_failures("draft", record), drafted.list_unsafe(record)
    )
    for revision in range(1, crew.revisions + 1):
        if record.accepted or record.draft.response is None or not crew.validating:
            break
        request = replace(
            request, messages=_build_revision_messages(messages, record, crew), revision=revision
        )
        drafted = await request_draft(crew.reviser, request, style=style)
        before, record = record, await _make_record(context, drafted, record.draft, crew)
        outcome.records.append(record)
        outcome.failures.extend(drafted.list_failures("revise", record))
        outcome.unsafe.extend(drafted.list_unsafe(record))
        if record.draft.response == before.draft.response:
            break  # the next request would be the same, and so would its reply
    crew.progress.done += 1
    crew.progress.accepted += record.accepted
    crew.progress.failed += bool(outcome.failures)
    return outcome


class DraftAttempt(NamedTuple):
    """A reply, or the loss in its place."""

    request: Request
    drafter: Drafter
    style: str
    reply: Reply
    error: ItemError | None

    def list_failures(self, stage: FailureStage, record: Record) -> list[Failure]:
        """The line for `failures/`, if the item was lost."""
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
            )
        ]

    def list_unsafe(self, record: Record) -> list[str]:
        """The request to take out of the journal, if its reply was found unsafe."""
        return [self.reply.key] if record.draft.withheld and self.reply.key else []


async def request_draft(by: Drafter, request: Request, *, style: str = "") -> DraftAttempt:
    """Ask a teacher; a lost item comes back as a value."""
    try:
        return DraftAttempt(request, by, style, await by.teacher(request), None)
    except ItemError as e:
        model = getattr(by.teacher, "model", by.name)
        return DraftAttempt(request, by, style, Reply(text="", model=model, outcome=e.outcome), e)


def is_drafted_without_spec(expectation: Expectation, tier: Tier) -> bool:
    """Whether an answer is drafted without the spec, so that a harmless question gets no hedged answer."""
    return expectation.mode == "direct_answer" and tier == "allowed"


def build_teacher_messages(
    context: DraftContext, crew: Workers, *, style: str = ""
) -> tuple[Message, ...]:
    """The conversation as the teacher sees it: the spec's instructions in place of a system turn."""
    if is_drafted_without_spec(context.expectation, crew.tiers[context.scenario.harm]):
        wish = (Message(role="system", content=f"Write it {style}."),) if style else ()
        return (*wish, *context.scenario.messages)
    policy = crew.policies[context.expectation.policy_id]
    operator = [m["content"] for m in context.scenario.messages if m["role"] == "system"]
    system = crew.draft_prompt.render(
        "system",
        instructions=compile_instructions(policy, context.expectation, harm=context.scenario.harm),
        operator="\n".join(operator),
        style=style,
    )
    turns = [m for m in context.scenario.messages if m["role"] != "system"]
    return (Message(role="system", content=system), *turns)


def _build_revision_messages(
    messages: Sequence[Message], failed: Record, crew: Workers
) -> tuple[Message, ...]:
    rules = ", ".join(failed.expectation.rule_ids)
    findings = [
        f"{v.reason} ({v.validator}, rule {rules})" for v in failed.verdicts if v.passed is False
    ]
    text = crew.revise_prompt.render("user", findings=findings)
    return (
        *messages,
        Message(role="assistant", content=failed.draft.response or ""),
        Message(role="user", content=text),
    )


async def _make_record(
    context: DraftContext, drafted: DraftAttempt, parent: Draft | None, crew: Workers
) -> Record:
    draft = _make_draft(context, drafted, parent, crew)
    verdicts: tuple[Verdict, ...] = ()
    if draft.response is not None and crew.validating:
        verdicts = tuple([await validate(draft, context) for validate in crew.validators.values()])
    severity = worst_severity(verdicts)
    if severity in UNSAFE_SEVERITIES:
        draft = replace(draft, response=None, reasoning_content=None, withheld=True)
        verdicts = tuple(replace(v, evidence="") for v in verdicts)
    reason = _rejection_reason(draft, verdicts, crew)
    return Record(
        scenario=context.scenario,
        expectation=context.expectation,
        draft=draft,
        verdicts=verdicts,
        delivered=next((v.delivered for v in verdicts if v.delivered), None),
        severity=severity,
        accepted=reason is None,
        accepted_by=("rules" if crew.required else "nothing") if reason is None else None,
        reason=reason,
        grade=drafted.drafter.grade,
    )


def _make_draft(
    context: DraftContext, drafted: DraftAttempt, parent: Draft | None, crew: Workers
) -> Draft:
    reply, scenario = drafted.reply, context.scenario.scenario_id
    candidate, revision = drafted.request.sample, drafted.request.revision
    text = None if drafted.error or reply.withheld else reply.text
    return Draft(
        draft_id=make_draft_id(scenario, candidate=candidate, revision=revision),
        scenario_id=scenario,
        candidate=candidate,
        revision=revision,
        parent_id=parent.draft_id if parent else None,
        response=text,
        reasoning_content=reply.reasoning_content if crew.reasoning else None,
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
    """The gravest severity that a verdict names; None where none names any."""
    named = [SEVERITIES.index(v.severity) for v in verdicts if v.severity is not None]
    return SEVERITIES[max(named)] if named else None


def _rejection_reason(draft: Draft, verdicts: Sequence[Verdict], crew: Workers) -> str | None:
    """The outcome, the code or the validator for which a draft is not accepted, or None."""
    if draft.outcome != "ok":
        return draft.outcome
    required = [v for v in verdicts if v.validator in crew.required]
    failed = next((v.validator for v in required if v.passed is False), None)
    code: NotAccepted | None = None
    if draft.withheld:
        code = "withheld"
    elif not crew.validating:
        code = "not_validated"
    elif failed is None and any(v.passed is None for v in required):
        code = "unscored"
    return code or failed
