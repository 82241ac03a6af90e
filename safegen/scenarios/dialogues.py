"""Conversations about a goal: each turn that is to be answered, with what was said before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from safegen.config.goals import Dialogue, Goal, Script, Turn, UserTurn
from safegen.core.types import (
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
    PlanningContext,
    PromptSpec,
    add_system_turn,
    make_set_id,
    plan_scenario,
)

DIALOGUE_INTENT = "dialogue_intent"
"""The attribute that holds the intent of the whole conversation; a turn's own is that of what was said so far."""


def plan_dialogues(goal: Goal, world: PlanningContext) -> Iterator[list[PlannedScenario]]:
    """One set per kind of dialogue that the plan asks for, its conversations one after the other."""
    for twins in _group_twins(goal, world):
        taken: dict[str, int] = {}
        set_: list[PlannedScenario] = []
        for dialogue in twins:
            if dialogue.intent in world.plan.intents:
                index = taken.get(dialogue.intent, 0)
                taken[dialogue.intent] = index + 1
                for profile in _allowed_profiles(goal.harm, dialogue, twins, world):
                    set_ += plan_turns(goal, dialogue, world, profile=profile, paraphrase=index)
        if set_:
            yield set_


def _group_twins(goal: Goal, world: PlanningContext) -> Iterator[list[Dialogue]]:
    """The conversations about a goal, by kind."""
    for kind in world.plan.dialogues:
        yield [d for d in world.dialogues.get(goal.goal_id, ()) if d.kind == kind]


def count_excluded_turns(goal: Goal, profile: Profile, world: PlanningContext) -> int:
    """Turns that are not asked under a profile which their conversation, or a twin of it, contradicts."""
    return sum(
        sum(turn.reply is None for turn in dialogue.turns)
        for twins in _group_twins(goal, world)
        for dialogue in twins
        if dialogue.intent in world.plan.intents
        and not _fits_profile(goal.harm, twins, profile, world)
    )


def _fits_profile(
    harm: str, twins: Sequence[Dialogue], profile: Profile, world: PlanningContext
) -> bool:
    """Whether a profile makes sense with what every twin tells, so that a set stays matched."""
    return all(world.fits(harm, twin.attributes, profile) for twin in twins)


def _allowed_profiles(
    harm: str, dialogue: Dialogue, twins: Sequence[Dialogue], world: PlanningContext
) -> Sequence[Profile]:
    """Those to hold a conversation under: such as make sense with what it and its twins tell.

    Where the operator grants a profile on the way, all that began otherwise go on alike: one will do.
    """
    fit: list[Profile] = [p for p in world.plan.profiles if _fits_profile(harm, twins, p, world)]
    granted = [turn.verified for turn in dialogue.turns if turn.verified is not None]
    if not granted:
        return fit
    others: list[Profile] = [p for p in fit if p not in granted]
    return others[:1] or fit[:1]


def plan_turns(
    goal: Goal, dialogue: Dialogue, world: PlanningContext, *, profile: Profile, paraphrase: int
) -> list[PlannedScenario]:
    """The turns of one conversation that are to be answered.

    What was shown stays, and danger to oneself yields to stated harm to another person alone; the operator's system turn is that of the profile
    which holds at the turn. A turn with a written reply is said, and not asked.
    """
    set_ = make_set_id(world.tree.file.taxonomy, goal, axes=(("turn_style", dialogue.kind),))
    messages: tuple[Message, ...] = ()
    now = profile
    planned_turns: list[PlannedScenario] = []
    for number, (turn, evidence) in enumerate(
        zip(dialogue.turns, strongest_evidence(dialogue.turns), strict=True)
    ):
        now = turn.verified or now
        messages = (*messages, Message(role="user", content=turn.text))
        if turn.reply is not None:
            messages = (*messages, Message(role="assistant", content=turn.reply))
            continue
        spec = PromptSpec(
            intent=cumulative_intent(dialogue.intent, evidence),
            dialogue=dialogue.intent,
            paraphrase=paraphrase,
            profile=now,
            evidence=evidence,
            detail=turn.detail,
            messages=add_system_turn(world.locale.system_turn(set_, now), messages),
            apt=turn.answer,
            attributes=(
                *world.written_attributes(goal, dialogue.attributes),
                *in_danger(dialogue.turns[: number + 1]),
                *dialogue_attributes(dialogue, turn),
            ),
            turn=number,
            system_profile=profile,
        )
        planned_turns.append(plan_scenario(_goal_for_turn(goal, turn), set_, spec, world))
    return planned_turns


def cumulative_intent(intent: Intent, evidence: Evidence) -> Intent:
    """The intent that the conversation so far shows: ill intent only after evidence of it."""
    hidden = evidence in ("none", "self")
    return "dual_use" if intent == "malicious" and hidden else intent


def _goal_for_turn(goal: Goal, turn: UserTurn) -> Goal:
    """The goal in the words of a turn, where the turn has words of its own."""
    own = {
        "left_out": turn.left_out or goal.knowledge.left_out,
        "decline": turn.decline or goal.knowledge.decline,
    }
    return goal.model_copy(update={"knowledge": goal.knowledge.model_copy(update=own)})


def strongest_evidence(turns: Sequence[Turn]) -> Iterator[Evidence]:
    """The evidence up to each turn that takes precedence."""
    indices = (PRECEDENCE.index(turn.evidence) for turn in turns)
    return (PRECEDENCE[index] for index in accumulate(indices, max))


def in_danger(turns: Sequence[Turn]) -> tuple[Attribute, ...]:
    """Mark turns that together state harm to another person and show danger to oneself."""
    return (IN_DANGER,) if {"stated", "self"} <= {turn.evidence for turn in turns} else ()


def dialogue_attributes(whole: Dialogue | Script, turn: Turn) -> tuple[Attribute, ...]:
    """What a conversation is: the turn that closes it, its intent, its kind."""
    closure = (Attribute("closure", "yes", "written"),) if turn.closure else ()
    intent_attribute = Attribute(DIALOGUE_INTENT, whole.intent, "written")
    return (*closure, intent_attribute, Attribute("turn_style", whole.kind, "written"))


def split_conversations(set_: Sequence[PlannedScenario]) -> list[list[PlannedScenario]]:
    """The conversations of a set: each goes on as long as the number of the turn rises."""
    conversations: list[list[PlannedScenario]] = []
    for item in set_:
        if conversations and _is_next_turn(conversations[-1][-1].scenario, item.scenario):
            conversations[-1].append(item)
        else:
            conversations.append([item])
    return conversations


def _is_next_turn(before: Scenario, now: Scenario) -> bool:
    """Whether a turn follows on another: it is later, and what was said then is how it begins."""
    earlier, later = _user_messages(before), _user_messages(now)
    return now.turn > before.turn and later[: len(earlier)] == earlier


def _user_messages(scenario: Scenario) -> list[Message]:
    return [m for m in scenario.messages if m["role"] != "system"]


def is_dialogue_turn(scenario: Scenario) -> bool:
    """Whether a prompt is a turn of a conversation."""
    return any(a.axis == "turn_style" for a in scenario.attributes)


def insert_answers(
    messages: tuple[Message, ...], answers: dict[int, str]
) -> tuple[Message, ...] | None:
    """The conversation with the drafted answers between its user turns; None where one is missing.

    Args:
        messages: system and user turns, and the assistant turns that are written.
        answers: drafted answers by the number of the user turn, from 0.
    """
    whole: list[Message] = []
    turn = -1
    for i, message in enumerate(messages):
        whole.append(message)
        if message["role"] != "user":
            continue
        turn += 1
        last = i == len(messages) - 1
        if last or messages[i + 1]["role"] == "assistant":
            continue
        if turn not in answers:
            return None
        whole.append(Message(role="assistant", content=answers[turn]))
    return tuple(whole)
