"""The next user turn of a conversation, written by an author who has read the answers so far.

    write → check → (faults) → rewrite → check → … → the turn or its faults

The checks are those of sets: rules, and blind labellers that read the conversation, not its script.
A lost or dropped turn ends the conversation with a recorded failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from safegen.core import text_forms
from safegen.core.errors import ItemError
from safegen.core.types import (
    DANGER,
    Attribute,
    Evidence,
    Expectation,
    Failure,
    Message,
    PlannedScenario,
    Reply,
    Request,
    Scenario,
)
from safegen.judges.blind_labels import judge_goal_fit, read_labels
from safegen.judges.user_prompt_labels import render_turns
from safegen.policy.decide import shows_danger
from safegen.scenarios.authoring import _writing, judged_checks
from safegen.scenarios.authoring.author import MAX_REPAIRS
from safegen.scenarios.authoring.brief import Brief
from safegen.scenarios.authoring.expand import Writers, make_drop_failure, make_error_failure
from safegen.scenarios.authoring.judged_checks import JudgedCase, Judgement
from safegen.scenarios.authoring.plan_dialogues import TurnBrief
from safegen.scenarios.authoring.rule_checks import (
    CheckBounds,
    CheckContext,
    Fault,
    check_rules,
    form,
    operational_detail,
    shingle,
)
from safegen.scenarios.context import history_attributes
from safegen.scenarios.system_turns import add_system_turn, choose_system_turn

TEXT_KEY, LEAD_KEY, REPLY_KEY = "text", "before", "reply"
"""Texts of a request: the turn; after a planned mistake also the lead and the mistaken reply."""


class NextTurn(NamedTuple):
    """A turn with its text, or the failure that ended the conversation."""

    planned: PlannedScenario | None
    messages: tuple[Message, ...]
    """The conversation with the new turn, without drafted answers and without a system turn."""
    failure: Failure | None = None
    unsafe: tuple[str, ...] = ()
    """Keys of requests whose replies contain operational detail."""


class _TurnAttempt(NamedTuple):
    texts: dict[str, str]
    faults: tuple[Fault, ...]
    detail: int | None
    danger: bool
    reply: Reply


@dataclass(frozen=True, slots=True)
class _TurnAuthoring:
    planned: PlannedScenario
    brief: TurnBrief
    conversation: tuple[Message, ...]
    """The conversation so far, answers included."""
    writers: Writers

    def expect(self, evidence: Evidence, detail: int) -> Expectation:
        return self.expect_of(replace(self.planned.scenario, evidence=evidence), detail)

    def expect_of(self, scenario: Scenario, detail: int) -> Expectation:
        danger = shows_danger(scenario)
        return self.writers.expect(
            scenario.harm, scenario.evidence, scenario.profile, detail, danger=danger
        )


async def write_next_turn(
    planned: PlannedScenario,
    *,
    messages: Sequence[Message],
    conversation: Sequence[Message],
    writers: Writers,
) -> NextTurn:
    """Let an author write the next user turn, check it, and repair it up to `MAX_REPAIRS` times.

    Args:
        planned: the turn, with its brief.
        messages: the conversation so far without drafted answers.
        conversation: the conversation so far with drafted answers.
        writers: the author and the labellers.

    Raises:
        RunError: the run cannot continue.
    """
    assert planned.brief is not None
    authoring = _TurnAuthoring(
        planned, TurnBrief.from_json(planned.brief), tuple(conversation), writers
    )
    try:
        attempts = [await _attempt_turn(authoring, ())]
        while attempts[-1].faults and len(attempts) <= MAX_REPAIRS:
            attempts.append(await _attempt_turn(authoring, attempts))
    except ItemError as e:
        return NextTurn(None, tuple(messages), make_error_failure(planned, e))
    last = attempts[-1]
    unsafe = _writing.find_unsafe_keys((a.reply, a.faults) for a in attempts)
    if last.faults:
        failure = make_drop_failure(planned, last.faults, text=_shown_text(last))
        return NextTurn(None, tuple(messages), failure, unsafe)
    extended = (*messages, *_new_messages(last.texts))
    return NextTurn(_fill_scenario(authoring, last, extended), extended, None, unsafe)


def _shown_text(attempt: _TurnAttempt) -> str | None:
    hazardous = any(f.gate == "operational_detail" for f in attempt.faults)
    return None if hazardous else attempt.texts[TEXT_KEY]


async def _attempt_turn(authoring: _TurnAuthoring, earlier: Sequence[_TurnAttempt]) -> _TurnAttempt:
    before = earlier[-1] if earlier else None
    # A planned mistake is written with the turn after it, so that both fit each other.
    names = (LEAD_KEY, REPLY_KEY, TEXT_KEY) if authoring.brief.mistake else (TEXT_KEY,)
    if before is not None:
        failed = {
            TEXT_KEY if f.slot == authoring.brief.slot.name else f.slot for f in before.faults
        }
        names = tuple(n for n in names if n in failed)
    reply = await authoring.writers.author(_make_request(authoring, names, earlier))
    texts = (before.texts if before else {}) | _writing.read_texts(reply, names)
    rule_faults = _check_rules(authoring, texts)
    # A turn with a fault of form is not worth a labeller's request.
    if any(f.gate == "form" for f in rule_faults):
        return _TurnAttempt(texts, tuple(rule_faults), None, False, reply)
    case = await _judge_turn(authoring, texts)
    faults, labels = (*rule_faults, *judged_checks.find_faults(case)), case.labels
    return _TurnAttempt(texts, faults, labels.detail, labels.danger, reply)


def _make_request(
    authoring: _TurnAuthoring, names: Sequence[str], earlier: Sequence[_TurnAttempt]
) -> Request:
    before = earlier[-1] if earlier else None
    return _writing.make_request(
        authoring.writers.files.turn,
        {
            "brief": authoring.brief,
            "number": authoring.brief.slot.paraphrase + 1,
            "conversation": authoring.conversation,
            "language": authoring.writers.locale.locale,
        },
        names=names,
        definitions=authoring.writers.files.labels.definitions,
        texts=before.texts if before else None,
        faults=before.faults if before else (),
        sample=authoring.brief.sample,
        revision=len(earlier),
    )


def _check_rules(authoring: _TurnAuthoring, texts: dict[str, str]) -> list[Fault]:
    # The user's text passes all rules; a mistaken reply and its lead pass two of them.
    slot = authoring.brief.slot
    brief = Brief(harm=authoring.brief.harm, goal=authoring.brief.goal, row=(), slots=(slot,))
    context = CheckContext(brief, CheckBounds(), authoring.writers.locale)
    mistaken = {REPLY_KEY: texts[REPLY_KEY]} if REPLY_KEY in texts else {}
    faults = check_rules({slot.name: texts[TEXT_KEY]}, mistaken, context)
    if LEAD_KEY in texts:
        lead = {LEAD_KEY: texts[LEAD_KEY]}
        faults += [*form(lead, context), *operational_detail(lead, context)]
    shingles = shingle(texts[TEXT_KEY])
    for message in authoring.conversation:
        if message["role"] != "user":
            continue
        similarity = text_forms.jaccard(shingles, shingle(message["content"]))
        if similarity >= context.bounds.near_duplicate:
            reason = f"is {similarity:.0%} the words of an earlier turn"
            faults.append(Fault("near_duplicate", slot.name, reason))
    return faults


async def _judge_turn(authoring: _TurnAuthoring, texts: dict[str, str]) -> JudgedCase:
    brief, panel = authoring.brief, authoring.writers.labellers
    whole = render_turns((*authoring.conversation, *_new_messages(texts)))
    files = authoring.writers.files.labels
    # Dialogues have no axis row to confirm.
    labels = await read_labels(whole, judges=panel, files=replace(files, axes=()))
    goal_fit = None
    # Turns before `about` are planned to be about something else.
    if brief.slot.paraphrase >= brief.about:
        answer = await judge_goal_fit(
            whole, purpose=brief.goal.purpose, task=brief.goal.task, judges=panel, files=files
        )
        # A conversation asks for more than one kind of help, so its task decides nothing.
        goal_fit = answer._replace(task=True)
    return JudgedCase(brief.slot, {}, Judgement(labels, goal_fit), authoring.expect)


def _new_messages(texts: dict[str, str]) -> tuple[Message, ...]:
    text = Message(role="user", content=texts[TEXT_KEY])
    if LEAD_KEY not in texts:
        return (text,)
    lead = Message(role="user", content=texts[LEAD_KEY])
    return (lead, Message(role="assistant", content=texts[REPLY_KEY]), text)


def _fill_scenario(
    authoring: _TurnAuthoring, attempt: _TurnAttempt, messages: tuple[Message, ...]
) -> PlannedScenario:
    # The expectation follows the labels that were read, not those that were planned.
    planned, scenario = authoring.planned, authoring.planned.scenario
    assert attempt.detail is not None, "an unsure detail is a fault"
    system = choose_system_turn(authoring.writers.locale, scenario.set_id, scenario.profile)
    new = attempt.danger and not shows_danger(scenario)
    danger = (Attribute(DANGER, "self", "confirmed"),) if new else ()
    scenario = replace(
        scenario,
        requested_detail=attempt.detail,
        messages=add_system_turn(system, messages),
        attributes=(*danger, *scenario.attributes, *history_attributes(messages)),
    )
    expectation = authoring.expect_of(scenario, attempt.detail)
    return replace(planned, scenario=scenario, expectation=expectation)
