"""One set's way from scenarios to records; the only place that chains the stages.

    expand → draft → validate → revise → record

A stage takes one item and returns a value; collaborators arrive in a `Crew`. Nothing is dropped:
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
from safegen.core.templates import PromptFile
from safegen.core.types import (
    SEVERITIES,
    UNSAFE,
    Draft,
    DraftContext,
    DraftValidator,
    Expectation,
    Failure,
    FailureStage,
    Grade,
    Message,
    NotAccepted,
    Planned,
    Record,
    Reply,
    Request,
    Severity,
    Teacher,
    Tier,
    Verdict,
)
from safegen.dataset.curation.select import best
from safegen.policy.compile import instructions
from safegen.policy.spec import Policy
from safegen.scenarios.authoring.expand import Writers, expand
from safegen.scenarios.authoring.next_turn import Turned, next_turn
from safegen.scenarios.context import draft_id
from safegen.scenarios.dialogues import answered, threads


async def _nothing(_: Sequence[str]) -> None:
    """Where no journal is, nothing is to be taken out of it."""


class Drafter(NamedTuple):
    """A teacher that drafts, under the name that records carry."""

    name: str
    teacher: Teacher
    grade: Grade


@dataclass(frozen=True)
class Crew:
    """Who works on a set, and how much."""

    drafters: tuple[Drafter, ...]
    """They take turns over the candidates."""
    reviser: Drafter
    validators: Mapping[str, DraftValidator]
    required: tuple[str, ...]
    policies: Mapping[str, Policy]
    tiers: Mapping[str, Tier]
    draft_prompt: PromptFile
    revise_prompt: PromptFile
    candidates: int
    revisions: int
    styles: tuple[str, ...] = ()
    """They take turns over the candidates, too."""
    reasoning: bool = False
    writers: Writers | None = None
    validating: bool = True
    scrub: Callable[[Sequence[str]], Awaitable[None]] = _nothing
    """Takes the replies to these requests out of the journal."""
    progress: Progress = field(default_factory=Progress)


class Outcome(NamedTuple):
    """What became of a set, in canonical order."""

    records: list[Record]
    failures: list[Failure]
    unsafe: list[str]
    """Requests whose replies were found unsafe."""

    @staticmethod
    def of(parts: Sequence[Outcome]) -> Outcome:
        """What the parts came to, in their order."""
        return Outcome(
            [record for part in parts for record in part.records],
            [failure for part in parts for failure in part.failures],
            [key for part in parts for key in part.unsafe],
        )


async def journey(planned: Sequence[Planned], crew: Crew) -> Outcome:
    """Take the scenarios of a set to records.

    Raises:
        RunError: the run cannot go on.
    """
    ready = await expand(planned, crew.writers)
    if ready.failures:
        crew.progress.done += len(planned) * crew.candidates
        crew.progress.failed += len(planned) * crew.candidates
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_thread(turns, crew)) for turns in threads(ready.planned)]
    before = Outcome([], list(ready.failures), list(ready.unsafe))
    return Outcome.of([before, *(task.result() for task in tasks)])


async def _thread(turns: Sequence[Planned], crew: Crew) -> Outcome:
    """One conversation: a turn is written and asked once the turn before it is answered."""
    answers: dict[int, str] = {}
    said: tuple[Message, ...] = ()
    outcomes: list[Outcome] = []
    for i, item in enumerate(turns):
        if item.brief is not None and not item.scenario.messages:
            turned = await _turned(item, said, answers, crew)
            outcomes.append(Outcome([], [f for f in (turned.failure,) if f], list(turned.unsafe)))
            if turned.failure is not None:
                crew.progress.done += crew.candidates
                crew.progress.failed += crew.candidates
            if turned.planned is None:
                outcomes.append(_broken(turns[i + bool(turned.failure) :], crew))
                break
            item, said = turned.planned, turned.said
        messages = answered(item.scenario.messages, answers)
        if messages is None:
            outcomes.append(_broken(turns[i:], crew))
            break
        scenario = replace(item.scenario, messages=messages)
        outcomes.append(await _candidates(replace(item, scenario=scenario), crew))
        chosen = best(outcomes[-1].records)
        if chosen is not None and chosen.draft.response is not None:
            answers[item.scenario.turn] = chosen.draft.response
    return Outcome.of(outcomes)


async def _turned(
    item: Planned, said: tuple[Message, ...], answers: dict[int, str], crew: Crew
) -> Turned:
    """Have a turn written, if every turn before it was answered."""
    assert crew.writers is not None, "a plan with briefs has an author"
    heard = answered((*said, Message(role="user", content="")), answers)
    if heard is None:
        return Turned(None, said)
    return await next_turn(item, said=said, heard=heard[:-1], writers=crew.writers)


def _broken(turns: Sequence[Planned], crew: Crew) -> Outcome:
    """Turns that cannot be asked since an earlier one has no accepted answer."""
    crew.progress.done += len(turns) * crew.candidates
    if not crew.validating:
        return Outcome([], [], [])
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
    return Outcome([], failures, [])


async def _candidates(planned: Planned, crew: Crew) -> Outcome:
    """Every candidate of one scenario."""
    numbers = range(planned.first, planned.first + crew.candidates)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_candidate(planned, number, crew)) for number in numbers]
    return Outcome.of([task.result() for task in tasks])


async def _candidate(planned: Planned, candidate: int, crew: Crew) -> Outcome:
    """One draft and its revisions."""
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    style = crew.styles[candidate % len(crew.styles)] if crew.styles else ""
    messages = teacher_messages(context, crew, style=style)
    request = Request(messages, sample=candidate, context=context)
    drafted = await ask(crew.drafters[candidate % len(crew.drafters)], request, style=style)
    record = await _record(context, drafted, None, crew)
    outcome = Outcome([record], drafted.failures("draft", record), drafted.unsafe(record))
    for revision in range(1, crew.revisions + 1):
        if record.accepted or record.draft.response is None or not crew.validating:
            break
        request = replace(request, messages=_revision(messages, record, crew), revision=revision)
        drafted = await ask(crew.reviser, request, style=style)
        before, record = record, await _record(context, drafted, record.draft, crew)
        outcome.records.append(record)
        outcome.failures.extend(drafted.failures("revise", record))
        outcome.unsafe.extend(drafted.unsafe(record))
        if record.draft.response == before.draft.response:
            break  # the next request would be the same, and so would its reply
    crew.progress.done += 1
    crew.progress.accepted += record.accepted
    crew.progress.failed += bool(outcome.failures)
    return outcome


class Drafted(NamedTuple):
    """A reply, or the loss in its place."""

    request: Request
    by: Drafter
    style: str
    reply: Reply
    error: ItemError | None

    def failures(self, stage: FailureStage, record: Record) -> list[Failure]:
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

    def unsafe(self, record: Record) -> list[str]:
        """The request to take out of the journal, if its reply was found unsafe."""
        return [self.reply.key] if record.draft.withheld and self.reply.key else []


async def ask(by: Drafter, request: Request, *, style: str = "") -> Drafted:
    """Ask a teacher; a lost item comes back as a value."""
    try:
        return Drafted(request, by, style, await by.teacher(request), None)
    except ItemError as e:
        model = getattr(by.teacher, "model", by.name)
        return Drafted(request, by, style, Reply(text="", model=model, outcome=e.outcome), e)


def without_spec(expectation: Expectation, tier: Tier) -> bool:
    """Whether an answer is drafted without the spec, so that a harmless question gets no hedged answer."""
    return expectation.mode == "direct_answer" and tier == "allowed"


def teacher_messages(context: DraftContext, crew: Crew, *, style: str = "") -> tuple[Message, ...]:
    """The conversation as the teacher sees it: the spec's instructions in place of a system turn."""
    if without_spec(context.expectation, crew.tiers[context.scenario.harm]):
        wish = (Message(role="system", content=f"Write it {style}."),) if style else ()
        return (*wish, *context.scenario.messages)
    policy = crew.policies[context.expectation.policy_id]
    operator = [m["content"] for m in context.scenario.messages if m["role"] == "system"]
    system = crew.draft_prompt.render(
        "system",
        told=instructions(policy, context.expectation, harm=context.scenario.harm),
        operator="\n".join(operator),
        style=style,
    )
    turns = [m for m in context.scenario.messages if m["role"] != "system"]
    return (Message(role="system", content=system), *turns)


def _revision(messages: Sequence[Message], failed: Record, crew: Crew) -> tuple[Message, ...]:
    rules = ", ".join(failed.expectation.rule_ids)
    findings = [
        f"{v.reason} ({v.validator}, rule {rules})" for v in failed.verdicts if v.passed is False
    ]
    asked = crew.revise_prompt.render("user", findings=findings)
    return (
        *messages,
        Message(role="assistant", content=failed.draft.response or ""),
        Message(role="user", content=asked),
    )


async def _record(
    context: DraftContext, drafted: Drafted, parent: Draft | None, crew: Crew
) -> Record:
    draft = _draft(context, drafted, parent, crew)
    verdicts: tuple[Verdict, ...] = ()
    if draft.response is not None and crew.validating:
        verdicts = tuple([await validate(draft, context) for validate in crew.validators.values()])
    severity = worst(verdicts)
    if severity in UNSAFE:
        draft = replace(draft, response=None, reasoning_content=None, withheld=True)
        verdicts = tuple(replace(v, evidence="") for v in verdicts)
    reason = _reason(draft, verdicts, crew)
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
        grade=drafted.by.grade,
    )


def _draft(context: DraftContext, drafted: Drafted, parent: Draft | None, crew: Crew) -> Draft:
    reply, scenario = drafted.reply, context.scenario.scenario_id
    candidate, revision = drafted.request.sample, drafted.request.revision
    text = None if drafted.error or reply.withheld else reply.text
    return Draft(
        draft_id=draft_id(scenario, candidate=candidate, revision=revision),
        scenario_id=scenario,
        candidate=candidate,
        revision=revision,
        parent_id=parent.draft_id if parent else None,
        response=text,
        reasoning_content=reply.reasoning_content if crew.reasoning else None,
        response_sha256=None if text is None else text_sha256(text),
        withheld=reply.withheld,
        style=reply.style or drafted.style or None,
        teacher=drafted.by.name,
        model=reply.model,
        outcome=reply.outcome,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def worst(verdicts: Sequence[Verdict]) -> Severity | None:
    """The gravest severity that a verdict names; None where none names any."""
    named = [SEVERITIES.index(v.severity) for v in verdicts if v.severity is not None]
    return SEVERITIES[max(named)] if named else None


def _reason(draft: Draft, verdicts: Sequence[Verdict], crew: Crew) -> str | None:
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
