"""The next user turn of a conversation, written by an author who has read the answers so far.

    write → gates → (faults) → write anew, once → gates → the turn, or the faults that are left

The gates are those of sets: form by rules, and blind judges who read the conversation and know nothing
of its script. What is lost ends the conversation, and says why.
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
from safegen.judges.blind_panel import render_turns
from safegen.judges.labelling import judge_goal_fit, read_labels
from safegen.policy.decide import danger_in
from safegen.scenarios.authoring import _writing, judged_checks
from safegen.scenarios.authoring.brief import Brief
from safegen.scenarios.authoring.expand import Writers, make_drop_failure, make_error_failure
from safegen.scenarios.authoring.judged_checks import JudgedCase, Judgement
from safegen.scenarios.authoring.plan_dialogues import TurnBrief
from safegen.scenarios.authoring.rule_checks import (
    SHINGLE,
    CheckBounds,
    CheckContext,
    Fault,
    check_rules,
    form,
    operational_detail,
)
from safegen.scenarios.context import add_system_turn, history_attributes

TEXT_KEY, LEAD_KEY, REPLY_KEY = "text", "before", "reply"
"""What an author is asked for: the turn; where the assistant was mistaken, also what was said before it."""


class NextTurn(NamedTuple):
    """A turn with its words, or why it has none."""

    planned: PlannedScenario | None
    messages: tuple[Message, ...]
    """The conversation with the new turn, drafted answers left out; no system turn."""
    failure: Failure | None = None
    unsafe: tuple[str, ...] = ()
    """Requests whose replies held operational detail."""


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
    heard: tuple[Message, ...]
    """The conversation so far, answers included."""
    writers: Writers

    def expect(self, evidence: Evidence, detail: int) -> Expectation:
        """What the policy expects of an answer to this turn."""
        return self.expect_of(replace(self.planned.scenario, evidence=evidence), detail)

    def expect_of(self, scenario: Scenario, detail: int) -> Expectation:
        """What the policy expects of an answer to a scenario that asks for a detail."""
        danger = danger_in(scenario)
        return self.writers.expect(
            scenario.harm, scenario.evidence, scenario.profile, detail, danger=danger
        )


async def write_next_turn(
    planned: PlannedScenario,
    *,
    messages: Sequence[Message],
    heard: Sequence[Message],
    writers: Writers,
) -> NextTurn:
    """Have the next user turn written, checked, and mended once.

    Args:
        planned: the turn, with its brief.
        messages: the conversation so far without its drafted answers.
        heard: the same with them.
        writers: who writes and who reads.

    Raises:
        RunError: the run cannot go on.
    """
    assert planned.brief is not None
    desk = _TurnAuthoring(planned, TurnBrief.from_json(planned.brief), tuple(heard), writers)
    try:
        first = await _attempt_turn(desk, None)
        last = await _attempt_turn(desk, first) if first.faults else first
    except ItemError as e:
        return NextTurn(None, tuple(messages), make_error_failure(planned, e))
    attempts = (first,) if last is first else (first, last)
    unsafe = _writing.find_unsafe_keys((a.reply, a.faults) for a in attempts)
    if last.faults:
        return NextTurn(None, tuple(messages), make_drop_failure(planned, last.faults), unsafe)
    now = (*messages, *_new_messages(last.texts))
    return NextTurn(_fill_scenario(desk, last, now), now, None, unsafe)


async def _attempt_turn(desk: _TurnAuthoring, before: _TurnAttempt | None) -> _TurnAttempt:
    """Write, or write anew what failed before; then every gate."""
    names = (LEAD_KEY, REPLY_KEY, TEXT_KEY) if desk.brief.mistake else (TEXT_KEY,)
    if before is not None:
        failed = {TEXT_KEY if f.slot == desk.brief.slot.name else f.slot for f in before.faults}
        names = tuple(n for n in names if n in failed)
    reply = await desk.writers.author(_make_request(desk, names, before))
    texts = (before.texts if before else {}) | _writing.read_texts(reply, names)
    ruled = _check_rules(desk, texts)
    if any(f.gate == "form" for f in ruled):
        return _TurnAttempt(texts, tuple(ruled), None, False, reply)
    case = await _judge_turn(desk, texts)
    faults, read = (*ruled, *judged_checks.find_faults(case)), case.labels
    return _TurnAttempt(texts, faults, read.detail, read.danger, reply)


def _make_request(
    desk: _TurnAuthoring, names: Sequence[str], before: _TurnAttempt | None
) -> Request:
    """The brief with the conversation; in a repair what was written and what is wrong with it."""
    return _writing.make_request(
        desk.writers.files.turn,
        {
            "brief": desk.brief,
            "number": desk.brief.slot.paraphrase + 1,
            "conversation": desk.heard,
            "language": desk.writers.locale.locale,
        },
        names=names,
        wrote=before.texts if before else None,
        faults=before.faults if before else (),
        sample=desk.brief.sample,
    )


def _check_rules(desk: _TurnAuthoring, texts: dict[str, str]) -> list[Fault]:
    """Faults that form shows: of the user's words by all gates, of a mistaken reply by two."""
    slot = desk.brief.slot
    brief = Brief(harm=desk.brief.harm, goal=desk.brief.goal, row=(), slots=(slot,))
    bench = CheckContext(brief, CheckBounds(), desk.writers.locale)
    mistaken = {REPLY_KEY: texts[REPLY_KEY]} if REPLY_KEY in texts else {}
    faults = check_rules({slot.name: texts[TEXT_KEY]}, mistaken, bench)
    if LEAD_KEY in texts:
        lead = {LEAD_KEY: texts[LEAD_KEY]}
        faults += [*form(lead, bench), *operational_detail(lead, bench)]
    runs = _word_runs(texts[TEXT_KEY])
    for message in desk.heard:
        alike = (
            text_forms.jaccard(runs, _word_runs(message["content"]))
            if message["role"] == "user"
            else 0.0
        )
        if alike >= bench.bounds.near_duplicate:
            faults.append(
                Fault("near_duplicate", slot.name, f"is {alike:.0%} the words of an earlier turn")
            )
    return faults


def _word_runs(text: str) -> frozenset[tuple[str, ...]]:
    return text_forms.shingles(text_forms.words(text), size=SHINGLE)


async def _judge_turn(desk: _TurnAuthoring, texts: dict[str, str]) -> JudgedCase:
    """What judges read in the whole conversation, who know nothing of what it is to be."""
    brief, panel = desk.brief, desk.writers.labellers
    whole = render_turns((*desk.heard, *_new_messages(texts)))
    files = desk.writers.files.labels
    reading = await read_labels(whole, judges=panel, files=replace(files, axes=()))
    goal_fit = None
    if brief.slot.paraphrase >= brief.about:
        answer = await judge_goal_fit(
            whole, purpose=brief.goal.purpose, task=brief.goal.task, judges=panel, files=files
        )
        goal_fit = answer._replace(task=True)  # a conversation asks for more than one kind of help
    return JudgedCase(brief.slot, {}, Judgement(reading, goal_fit), desk.expect)


def _new_messages(texts: dict[str, str]) -> tuple[Message, ...]:
    """The messages that an author wrote, in order."""
    text = Message(role="user", content=texts[TEXT_KEY])
    if LEAD_KEY not in texts:
        return (text,)
    lead = Message(role="user", content=texts[LEAD_KEY])
    return (lead, Message(role="assistant", content=texts[REPLY_KEY]), text)


def _fill_scenario(
    desk: _TurnAuthoring, attempt: _TurnAttempt, messages: tuple[Message, ...]
) -> PlannedScenario:
    """The scenario with its words, and what the policy expects of them as judges read them."""
    planned, scenario = desk.planned, desk.planned.scenario
    assert attempt.detail is not None, "an unsure detail is a fault"
    system = desk.writers.locale.system_turn(scenario.set_id, scenario.profile)
    new = attempt.danger and not danger_in(scenario)
    danger = (Attribute(DANGER, "self", "confirmed"),) if new else ()
    scenario = replace(
        scenario,
        requested_detail=attempt.detail,
        messages=add_system_turn(system, messages),
        attributes=(*danger, *scenario.attributes, *history_attributes(messages)),
    )
    expectation = desk.expect_of(scenario, attempt.detail)
    return replace(planned, scenario=scenario, expectation=expectation)
