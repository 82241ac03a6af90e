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
    Planned,
    Reply,
    Request,
    Scenario,
)
from safegen.judges.blind_panel import shown
from safegen.judges.labelling import read, serves
from safegen.policy.decide import danger_in
from safegen.scenarios.authoring import _writing, judged_checks
from safegen.scenarios.authoring.brief import Brief
from safegen.scenarios.authoring.expand import Writers, dropped, lost
from safegen.scenarios.authoring.judged_checks import Case, Judged
from safegen.scenarios.authoring.plan_dialogues import TurnBrief
from safegen.scenarios.authoring.rule_checks import (
    SHINGLE,
    Bench,
    Fault,
    GateBounds,
    by_rule,
    form,
    operational_detail,
)
from safegen.scenarios.context import history, under

TEXT, LEAD, REPLY = "text", "before", "reply"
"""What an author is asked for: the turn; where the assistant was mistaken, also what was said before it."""


class Turned(NamedTuple):
    """A turn with its words, or why it has none."""

    planned: Planned | None
    said: tuple[Message, ...]
    """The conversation with the new turn, drafted answers left out; no system turn."""
    failure: Failure | None = None
    unsafe: tuple[str, ...] = ()
    """Requests whose replies held operational detail."""


class _Attempt(NamedTuple):
    texts: dict[str, str]
    faults: tuple[Fault, ...]
    detail: int | None
    danger: bool
    reply: Reply


@dataclass(frozen=True, slots=True)
class _Desk:
    planned: Planned
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


async def next_turn(
    planned: Planned, *, said: Sequence[Message], heard: Sequence[Message], writers: Writers
) -> Turned:
    """Have the next user turn written, checked, and mended once.

    Args:
        planned: the turn, with its brief.
        said: the conversation so far without its drafted answers.
        heard: the same with them.
        writers: who writes and who reads.

    Raises:
        RunError: the run cannot go on.
    """
    assert planned.brief is not None
    desk = _Desk(planned, TurnBrief.from_json(planned.brief), tuple(heard), writers)
    try:
        first = await _attempt(desk, None)
        last = await _attempt(desk, first) if first.faults else first
    except ItemError as e:
        return Turned(None, tuple(said), lost(planned, e))
    attempts = (first,) if last is first else (first, last)
    unsafe = _writing.unsafe((a.reply, a.faults) for a in attempts)
    if last.faults:
        return Turned(None, tuple(said), dropped(planned, last.faults), unsafe)
    now = (*said, *_new(last.texts))
    return Turned(_filled(desk, last, now), now, None, unsafe)


async def _attempt(desk: _Desk, before: _Attempt | None) -> _Attempt:
    """Write, or write anew what failed before; then every gate."""
    names = (LEAD, REPLY, TEXT) if desk.brief.mistake else (TEXT,)
    if before is not None:
        failed = {TEXT if f.slot == desk.brief.slot.name else f.slot for f in before.faults}
        names = tuple(n for n in names if n in failed)
    reply = await desk.writers.author(_request(desk, names, before))
    texts = (before.texts if before else {}) | _writing.texts_of(reply, names)
    ruled = _by_rule(desk, texts)
    if any(f.gate == "form" for f in ruled):
        return _Attempt(texts, tuple(ruled), None, False, reply)
    case = await _case(desk, texts)
    faults, read = (*ruled, *judged_checks.faults(case)), case.reading
    return _Attempt(texts, faults, read.detail, read.danger, reply)


def _request(desk: _Desk, names: Sequence[str], before: _Attempt | None) -> Request:
    """The brief with the conversation; in a repair what was written and what is wrong with it."""
    return _writing.request(
        desk.writers.files.turn,
        {
            "brief": desk.brief,
            "number": desk.brief.slot.paraphrase + 1,
            "heard": desk.heard,
            "language": desk.writers.locale.locale,
        },
        names=names,
        wrote=before.texts if before else None,
        faults=before.faults if before else (),
        sample=desk.brief.sample,
    )


def _by_rule(desk: _Desk, texts: dict[str, str]) -> list[Fault]:
    """Faults that form shows: of the user's words by all gates, of a mistaken reply by two."""
    slot = desk.brief.slot
    brief = Brief(harm=desk.brief.harm, goal=desk.brief.goal, row=(), slots=(slot,))
    bench = Bench(brief, GateBounds(), desk.writers.locale)
    mistaken = {REPLY: texts[REPLY]} if REPLY in texts else {}
    faults = by_rule({slot.name: texts[TEXT]}, mistaken, bench)
    if LEAD in texts:
        lead = {LEAD: texts[LEAD]}
        faults += [*form(lead, bench), *operational_detail(lead, bench)]
    runs = _runs(texts[TEXT])
    for message in desk.heard:
        alike = (
            text_forms.jaccard(runs, _runs(message["content"]))
            if message["role"] == "user"
            else 0.0
        )
        if alike >= bench.bounds.near_duplicate:
            faults.append(
                Fault("near_duplicate", slot.name, f"is {alike:.0%} the words of an earlier turn")
            )
    return faults


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    return text_forms.shingles(text_forms.words(text), size=SHINGLE)


async def _case(desk: _Desk, texts: dict[str, str]) -> Case:
    """What judges read in the whole conversation, who know nothing of what it is to be."""
    brief, panel = desk.brief, desk.writers.labellers
    whole = shown((*desk.heard, *_new(texts)))
    files = desk.writers.files.labels
    reading = await read(whole, judges=panel, files=replace(files, axes=()))
    told = None
    if brief.slot.paraphrase >= brief.about:
        answer = await serves(
            whole, purpose=brief.goal.purpose, task=brief.goal.task, judges=panel, files=files
        )
        told = answer._replace(task=True)  # a conversation asks for more than one kind of help
    return Case(brief.slot, {}, Judged(reading, told), desk.expect)


def _new(texts: dict[str, str]) -> tuple[Message, ...]:
    """The messages that an author wrote, in order."""
    text = Message(role="user", content=texts[TEXT])
    if LEAD not in texts:
        return (text,)
    lead = Message(role="user", content=texts[LEAD])
    return (lead, Message(role="assistant", content=texts[REPLY]), text)


def _filled(desk: _Desk, attempt: _Attempt, said: tuple[Message, ...]) -> Planned:
    """The scenario with its words, and what the policy expects of them as judges read them."""
    planned, scenario = desk.planned, desk.planned.scenario
    assert attempt.detail is not None, "an unsure detail is a fault"
    system = desk.writers.locale.system_turn(scenario.set_id, scenario.profile)
    new = attempt.danger and not danger_in(scenario)
    danger = (Attribute(DANGER, "self", "confirmed"),) if new else ()
    scenario = replace(
        scenario,
        requested_detail=attempt.detail,
        messages=under(system, said),
        attributes=(*danger, *scenario.attributes, *history(said)),
    )
    expectation = desk.expect_of(scenario, attempt.detail)
    return replace(planned, scenario=scenario, expectation=expectation)
