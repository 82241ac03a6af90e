"""Plans of dialogues that an author writes.

Each turn has a brief; its text is written after the answer to the turn before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile

from safegen.config.goals import Goal, Script, ScriptsFile, ScriptTurn
from safegen.core import resources, yaml_source
from safegen.core.hashing import canonical_json
from safegen.core.types import Intent, PlannedScenario, Profile, TurnStyle
from safegen.scenarios.authoring.brief import GoalPart, HarmPart, PromptSlot
from safegen.scenarios.authoring.plan_sets import (
    LICENCE,
    group_goals_by_harm,
    make_goal_part,
    make_harm_part,
)
from safegen.scenarios.context import (
    EMPTY_KNOWLEDGE,
    PlanningContext,
    PromptSpec,
    make_set_id,
    plan_scenario,
)
from safegen.scenarios.dialogues import (
    danger_attributes,
    dialogue_attributes,
    label_turns,
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A user turn with a wrong assistant reply, both written by the author."""

    move: str
    reply: str


@dataclass(frozen=True, slots=True)
class TurnBrief:
    """The instructions for the author of one user turn, as the plan stores them."""

    harm: HarmPart
    goal: GoalPart
    kind: TurnStyle
    definition: str
    intent: Intent
    """The intent of the whole conversation; the slot has the one that shows so far."""
    slot: PromptSlot
    """The labels of the turn; `paraphrase` is its number, from 0."""
    move: str
    turns: int
    """Number of user turns in the whole conversation."""
    about: int
    """Number of the first turn that is about the goal, from 0."""
    sample: int
    """The author index; each index gives another conversation from the same script."""
    exemplar: tuple[str, ...] = ()
    """The user turns of a written conversation of this kind about another goal."""
    mistake: Mistake | None = None
    """The mistaken exchange right before this turn."""

    def to_json(self) -> str:
        """Encode as canonical JSON, so that equal briefs give equal text."""
        return canonical_json({"turn": asdict(self)}).decode()

    @staticmethod
    def from_json(text: str) -> TurnBrief:
        """Decode the text of `to_json`.

        Raises:
            ValueError: the text is not the brief of a turn.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(TurnBrief).validate_python(json.loads(text)["turn"])


def load_scripts(name: str = "dialogues") -> ScriptsFile:
    """Load scripts by name or path; a file in the working folder's `prompts/scripts/` wins.

    Raises:
        AssetNotFound: no such file.
        ConfigError: the file does not match its schema.
    """
    return yaml_source.load(resources.find_file("scripts", name), ScriptsFile)


def plan_authored_dialogues(
    context: PlanningContext, *, count: int
) -> Iterator[list[PlannedScenario]]:
    """Plan conversations for an author: `count` sets per harm and per kind of dialogue in the plan.

    Raises:
        ConfigError: a mistake in the scripts or axes file.
    """
    if not count:
        return
    scripts = load_scripts()
    for harm, goals in group_goals_by_harm(context).items():
        for kind in context.plan.dialogues if context.allowed_profiles(harm) else ():
            context.axes.require_value("turn_style", kind)
            for number in range(count):
                chosen_scripts = [
                    s for s in scripts.scripts_of_kind(kind) if s.intent in context.plan.intents
                ]
                turns = [
                    t for s in chosen_scripts for t in _plan_turns(context, s, goals, number=number)
                ]
                if turns:
                    yield turns


def _plan_turns(
    context: PlanningContext, script: Script, goals: Sequence[Goal], *, number: int
) -> Iterator[PlannedScenario]:
    # Every goal has one conversation before any has a second one, as with sets.
    goal, index = goals[number % len(goals)], number // len(goals)
    axes = (("turn_style", script.kind),)
    set_ = make_set_id(context.tree.file.taxonomy, goal, axes=axes, author=index + 1)
    first = now = _choose_profile(script, context.allowed_profiles(goal.harm), number)
    before: ScriptTurn | None = None
    labelled = zip(script.turns, label_turns(script), strict=True)
    for turn_number, (turn, labels) in enumerate(labelled):
        now = turn.verified or now
        if turn.reply is None:
            spec = PromptSpec(
                intent=labels.intent,
                dialogue=script.intent,
                paraphrase=0,
                profile=now,
                evidence=labels.evidence,
                detail=turn.detail,
                messages=(),
                attributes=(
                    *danger_attributes(script.turns[: turn_number + 1]),
                    *dialogue_attributes(script, turn),
                ),
                turn=turn_number,
                system_profile=first,
                source="author",
                licence=LICENCE,
            )
            slot = PromptSlot(spec.intent, turn_number, spec.evidence, turn.detail)
            brief = _make_brief(context, goal, script, turn, slot=slot, before=before, sample=index)
            item = plan_scenario(goal, set_, spec, context)
            yield replace(item, brief=brief.to_json(), knowledge=EMPTY_KNOWLEDGE)
        before = turn


def _choose_profile(script: Script, allowed: Sequence[Profile], number: int) -> Profile:
    """Rotate profiles over the sets, without those that the script grants, if others are left."""
    granted = {turn.verified for turn in script.turns}
    # A profile that holds from the start cannot be granted later.
    others: list[Profile] = [p for p in allowed if p not in granted]
    profiles = others or allowed
    return profiles[number % len(profiles)]


def _make_brief(
    context: PlanningContext,
    goal: Goal,
    script: Script,
    turn: ScriptTurn,
    *,
    slot: PromptSlot,
    before: ScriptTurn | None,
    sample: int,
) -> TurnBrief:
    mistaken = before is not None and before.reply is not None
    return TurnBrief(
        harm=make_harm_part(context, goal),
        goal=make_goal_part(goal),
        kind=script.kind,
        definition=context.axes.get_axis("turn_style").values[script.kind],
        intent=script.intent,
        slot=slot,
        move=turn.move,
        turns=len(script.turns),
        about=len(list(takewhile(lambda t: t.elsewhere, script.turns))),
        sample=sample,
        exemplar=_choose_exemplar(context, goal, script),
        mistake=Mistake(before.move, before.reply or "") if before and mistaken else None,
    )


def _choose_exemplar(context: PlanningContext, goal: Goal, script: Script) -> tuple[str, ...]:
    """Return the user turns of a written conversation of this kind about another goal."""
    kind = (script.kind, script.intent)
    for goal_id, dialogues in context.dialogues.items():
        for dialogue in dialogues if goal_id != goal.goal_id else ():
            if (dialogue.kind, dialogue.intent) == kind:
                return tuple(turn.text for turn in dialogue.turns)
    return ()
