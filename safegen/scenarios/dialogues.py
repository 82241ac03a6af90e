"""Written dialogues about a goal: one scenario per user turn that needs an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from safegen.config.goals import Dialogue, Goal, Script, Turn, UserTurn
from safegen.core.types import (
    HARMLESS_EVIDENCE,
    PRECEDENCE,
    Attribute,
    Evidence,
    Intent,
    Message,
    PlannedScenario,
    Profile,
    Scenario,
)
from safegen.scenarios.context import (
    IN_DANGER,
    ChangedEvidence,
    PlanningContext,
    PromptSpec,
    make_set_id,
    plan_scenario,
)
from safegen.scenarios.system_turns import add_system_turn, choose_system_turn

DIALOGUE_INTENT = "dialogue_intent"
"""Attribute with the intent of the whole conversation; `Scenario.intent` covers the turns so far."""


def plan_dialogues(goal: Goal, context: PlanningContext) -> Iterator[list[PlannedScenario]]:
    """Yield one set per kind of dialogue in the plan, one conversation after the other."""
    for twins in _group_twins(goal, context):
        set_: list[PlannedScenario] = []
        for index, dialogue in _number_twins(twins, context):
            for profile in _allowed_profiles(goal.harm, dialogue, twins, context):
                set_ += plan_turns(goal, dialogue, context, profile=profile, paraphrase=index)
        if set_:
            yield set_


def _number_twins(
    twins: Sequence[Dialogue], context: PlanningContext
) -> Iterator[tuple[int, Dialogue]]:
    """Yield the dialogues of the chosen intents, each with its paraphrase number."""
    taken: dict[str, int] = {}
    for dialogue in twins:
        if dialogue.intent in context.plan.intents:
            # The paraphrase number separates conversations with the same intent.
            index = taken.get(dialogue.intent, 0)
            taken[dialogue.intent] = index + 1
            yield index, dialogue


def iter_changed_turns(goal: Goal, context: PlanningContext) -> Iterator[ChangedEvidence]:
    """Yield the planned turns with evidence `self` that is recorded as `stated` with danger to oneself."""
    for twins in _group_twins(goal, context):
        for index, dialogue in _number_twins(twins, context):
            if not _allowed_profiles(goal.harm, dialogue, twins, context):
                continue
            recorded = strongest_evidence(dialogue.turns)
            for number, (turn, evidence) in enumerate(zip(dialogue.turns, recorded, strict=True)):
                # Only danger to oneself becomes an attribute; ill intent of an earlier turn just remains.
                if turn.reply is None and turn.evidence == "self" and evidence != "self":
                    yield ChangedEvidence(
                        goal_id=goal.goal_id,
                        intent=dialogue.intent,
                        turn_style=dialogue.kind,
                        paraphrase=index,
                        turn=number,
                        evidence=turn.evidence,
                        recorded=evidence,
                        danger=bool(danger_attributes(dialogue.turns[: number + 1])),
                    )


def _group_twins(goal: Goal, context: PlanningContext) -> Iterator[list[Dialogue]]:
    for kind in context.plan.dialogues:
        yield [d for d in context.dialogues.get(goal.goal_id, ()) if d.kind == kind]


def count_excluded_turns(goal: Goal, profile: Profile, context: PlanningContext) -> int:
    """Count the turns that are excluded because their conversation or a twin contradicts a profile."""
    return sum(
        sum(turn.reply is None for turn in dialogue.turns)
        for twins in _group_twins(goal, context)
        for dialogue in twins
        if dialogue.intent in context.plan.intents
        and not _fits_profile(goal.harm, twins, profile, context)
    )


def _fits_profile(
    harm: str, twins: Sequence[Dialogue], profile: Profile, context: PlanningContext
) -> bool:
    # If one twin contradicts the profile, all are excluded: a set must stay matched.
    return all(context.fits(harm, twin.attributes, profile) for twin in twins)


def _allowed_profiles(
    harm: str, dialogue: Dialogue, twins: Sequence[Dialogue], context: PlanningContext
) -> Sequence[Profile]:
    fit: list[Profile] = [
        p for p in context.plan.profiles if _fits_profile(harm, twins, p, context)
    ]
    granted = [turn.verified for turn in dialogue.turns if turn.verified is not None]
    if not granted:
        return fit
    # After the operator grants a profile, conversations that began under other profiles are
    # identical from there on; one is enough.
    others: list[Profile] = [p for p in fit if p not in granted]
    return others[:1] or fit[:1]


def plan_turns(
    goal: Goal, dialogue: Dialogue, context: PlanningContext, *, profile: Profile, paraphrase: int
) -> list[PlannedScenario]:
    """Plan the turns of one conversation that need an answer.

    Evidence accumulates over turns; danger to oneself yields only to stated harm to another person.
    The system turn follows the profile at that turn. A turn with a written reply is history only.
    """
    set_ = make_set_id(context.tree.file.taxonomy, goal, axes=(("turn_style", dialogue.kind),))
    messages: tuple[Message, ...] = ()
    now = profile
    scenarios: list[PlannedScenario] = []
    labelled = zip(dialogue.turns, label_turns(dialogue), strict=True)
    for number, (turn, labels) in enumerate(labelled):
        now = turn.verified or now
        messages = (*messages, Message(role="user", content=turn.text))
        if turn.reply is not None:
            messages = (*messages, Message(role="assistant", content=turn.reply))
            continue
        spec = PromptSpec(
            intent=labels.intent,
            dialogue=dialogue.intent,
            paraphrase=paraphrase,
            profile=now,
            evidence=labels.evidence,
            detail=turn.detail,
            messages=add_system_turn(choose_system_turn(context.locale, set_, now), messages),
            apt=turn.answer,
            left_out=turn.left_out,
            attributes=(
                *context.written_attributes(goal, dialogue.attributes),
                *danger_attributes(dialogue.turns[: number + 1]),
                *dialogue_attributes(dialogue, turn),
            ),
            turn=number,
            system_profile=profile,
        )
        scenarios.append(plan_scenario(_goal_for_turn(goal, turn), set_, spec, context))
    return scenarios


class TurnLabels(NamedTuple):
    """The labels that a conversation shows up to a turn."""

    evidence: Evidence
    """The evidence with the highest precedence so far."""
    intent: Intent
    """Malicious only after evidence of it; dual-use before a turn that clarifies."""


def label_turns(whole: Dialogue | Script) -> Iterator[TurnLabels]:
    """Yield the labels of each turn."""
    # The label must follow from what the messages show so far.
    is_open = any(turn.clarifies for turn in whole.turns)
    for turn, evidence in zip(whole.turns, strongest_evidence(whole.turns), strict=True):
        is_open = is_open and not turn.clarifies
        hidden = evidence in HARMLESS_EVIDENCE or evidence == "self"
        unclear = is_open or (whole.intent == "malicious" and hidden)
        yield TurnLabels(evidence, "dual_use" if unclear else whole.intent)


def _goal_for_turn(goal: Goal, turn: UserTurn) -> Goal:
    # A turn may decline something else than its goal does.
    own = {"decline": turn.decline or goal.knowledge.decline}
    return goal.model_copy(update={"knowledge": goal.knowledge.model_copy(update=own)})


def strongest_evidence(turns: Sequence[Turn]) -> Iterator[Evidence]:
    """Yield, for each turn, the evidence with the highest precedence so far."""
    indices = (PRECEDENCE.index(turn.evidence) for turn in turns)
    return (PRECEDENCE[index] for index in accumulate(indices, max))


def danger_attributes(turns: Sequence[Turn]) -> tuple[Attribute, ...]:
    """Mark turns that together state harm to another person and show danger to oneself."""
    return (IN_DANGER,) if {"stated", "self"} <= {turn.evidence for turn in turns} else ()


def dialogue_attributes(whole: Dialogue | Script, turn: Turn) -> tuple[Attribute, ...]:
    """Build a turn's attributes: closure, and intent and kind of the conversation."""
    closure = (Attribute("closure", "yes", "written"),) if turn.closure else ()
    intent_attribute = Attribute(DIALOGUE_INTENT, whole.intent, "written")
    return (*closure, intent_attribute, Attribute("turn_style", whole.kind, "written"))


def split_conversations(set_: Sequence[PlannedScenario]) -> list[list[PlannedScenario]]:
    """Split a set into conversations; a turn continues one if its history extends the last turn's."""
    conversations: list[list[PlannedScenario]] = []
    for item in set_:
        if conversations and _is_next_turn(conversations[-1][-1].scenario, item.scenario):
            conversations[-1].append(item)
        else:
            conversations.append([item])
    return conversations


def _is_next_turn(before: Scenario, now: Scenario) -> bool:
    earlier, later = _user_messages(before), _user_messages(now)
    return now.turn > before.turn and later[: len(earlier)] == earlier


def _user_messages(scenario: Scenario) -> list[Message]:
    return [m for m in scenario.messages if m["role"] != "system"]


def is_dialogue_turn(scenario: Scenario) -> bool:
    """Check if a prompt is a turn of a conversation."""
    return any(a.axis == "turn_style" for a in scenario.attributes)


def insert_answers(
    messages: tuple[Message, ...], answers: dict[int, str]
) -> tuple[Message, ...] | None:
    """Insert the drafted answers between the user turns; return None if one is missing.

    Args:
        messages: system and user turns, and written assistant turns.
        answers: drafted answers by the number of the user turn, from 0.
    """
    whole: list[Message] = []
    turn = -1
    for i, message in enumerate(messages):
        whole.append(message)
        if message["role"] != "user":
            continue
        turn += 1
        # The last user turn is the one to answer; a written reply needs no draft.
        last = i == len(messages) - 1
        if last or messages[i + 1]["role"] == "assistant":
            continue
        if turn not in answers:
            return None
        whole.append(Message(role="assistant", content=answers[turn]))
    return tuple(whole)
