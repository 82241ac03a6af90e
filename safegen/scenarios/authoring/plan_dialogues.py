"""Conversations that an author holds: what each turn is to be is planned, its words come once the turn before is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile

from safegen.config.goals import Goal, Script, ScriptsFile, ScriptTurn
from safegen.core import resources, yaml_source
from safegen.core.hashing import canonical
from safegen.core.types import Intent, Planned, Profile, TurnStyle
from safegen.scenarios.authoring.brief import GoalPart, HarmPart, Slot
from safegen.scenarios.authoring.plan_sets import LICENCE, goal_part, goals_by_harm, harm_part
from safegen.scenarios.context import NO_KNOWLEDGE, Asked, World, planned, set_id
from safegen.scenarios.dialogues import in_danger, marks, shown, so_far


@dataclass(frozen=True, slots=True)
class Mistake:
    """A user turn to which the assistant is to have replied wrongly; both are the author's."""

    move: str
    reply: str


@dataclass(frozen=True, slots=True)
class TurnBrief:
    """What the author of one user turn is told; the plan stores it."""

    harm: HarmPart
    goal: GoalPart
    kind: TurnStyle
    definition: str
    intent: Intent
    """Of the whole conversation; the slot's is what is to be seen of it so far."""
    slot: Slot
    """The number of the turn stands in `paraphrase`."""
    move: str
    turns: int
    """User turns of the whole conversation."""
    about: int
    """The first turn that is about the goal."""
    sample: int
    """Another one is another conversation from the same script."""
    exemplar: tuple[str, ...] = ()
    """The user turns of a written conversation of this kind about another goal."""
    mistake: Mistake | None = None
    """What comes right before this turn."""

    def to_json(self) -> str:
        """Encode as canonical JSON: equal briefs give equal text."""
        return canonical({"turn": asdict(self)}).decode()

    @staticmethod
    def from_json(text: str) -> TurnBrief:
        """Decode what `to_json` gave.

        Raises:
            ValueError: it is not the brief of a turn.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(TurnBrief).validate_python(json.loads(text)["turn"])


def load(name: str = "dialogues") -> ScriptsFile:
    """Read scripts by name or path; a file in the working folder's `prompts/scripts/` comes first.

    Raises:
        AssetNotFound: no such file.
        ConfigError: the file does not fit.
    """
    return yaml_source.load(resources.find("scripts", name), ScriptsFile)


def authored_dialogues(world: World, *, count: int) -> Iterator[list[Planned]]:
    """Plan conversations for an author: `count` sets of each leaf and each kind that the plan asks for.

    Raises:
        ConfigError: a mistake in the scripts or axes file.
    """
    if not count:
        return
    scripts = load()
    for harm, goals in goals_by_harm(world).items():
        for kind in world.plan.dialogues if world.profiles(harm) else ():
            world.axes.value("turn_style", kind)
            for number in range(count):
                told = [s for s in scripts.of(kind) if s.intent in world.plan.intents]
                turns = [t for s in told for t in _turns(world, s, goals, number=number)]
                if turns:
                    yield turns


def _turns(
    world: World, script: Script, goals: Sequence[Goal], *, number: int
) -> Iterator[Planned]:
    """The turns of one conversation that are to be answered."""
    goal, index = goals[number % len(goals)], number // len(goals)
    axes = (("turn_style", script.kind),)
    set_ = set_id(world.tree.file.taxonomy, goal, axes=axes, author=index + 1)
    begun = now = _profile(script, world.profiles(goal.harm), number)
    before: ScriptTurn | None = None
    for turn_number, (turn, evidence) in enumerate(
        zip(script.turns, shown(script.turns), strict=True)
    ):
        now = turn.verified or now
        if turn.reply is None:
            asked = Asked(
                intent=so_far(script.intent, evidence),
                dialogue=script.intent,
                paraphrase=0,
                profile=now,
                evidence=evidence,
                detail=turn.detail,
                messages=(),
                attributes=(*in_danger(script.turns[: turn_number + 1]), *marks(script, turn)),
                turn=turn_number,
                under=begun,
                source="author",
                licence=LICENCE,
            )
            slot = Slot(asked.intent, turn_number, evidence, turn.detail)
            brief = _brief(world, goal, script, turn, slot=slot, before=before, sample=index)
            item = planned(goal, set_, asked, world)
            yield replace(item, brief=brief.to_json(), knowledge=NO_KNOWLEDGE)
        before = turn


def _profile(script: Script, wanted: Sequence[Profile], number: int) -> Profile:
    """Profiles take turns over the sets; one that is granted on the way is no beginning, if there are others."""
    granted = {turn.verified for turn in script.turns}
    others: list[Profile] = [p for p in wanted if p not in granted]
    profiles = others or wanted
    return profiles[number % len(profiles)]


def _brief(
    world: World,
    goal: Goal,
    script: Script,
    turn: ScriptTurn,
    *,
    slot: Slot,
    before: ScriptTurn | None,
    sample: int,
) -> TurnBrief:
    mistaken = before is not None and before.reply is not None
    return TurnBrief(
        harm=harm_part(world, goal),
        goal=goal_part(goal),
        kind=script.kind,
        definition=world.axes.axis("turn_style").values[script.kind],
        intent=script.intent,
        slot=slot,
        move=turn.move,
        turns=len(script.turns),
        about=len(list(takewhile(lambda t: t.elsewhere, script.turns))),
        sample=sample,
        exemplar=_exemplar(world, goal, script),
        mistake=Mistake(before.move, before.reply or "") if before and mistaken else None,
    )


def _exemplar(world: World, goal: Goal, script: Script) -> tuple[str, ...]:
    """How people talk in a written conversation of this kind and intent, about another goal."""
    for about, dialogues in world.dialogues.items():
        for told in dialogues:
            if about != goal.goal_id and (told.kind, told.intent) == (script.kind, script.intent):
                return tuple(turn.text for turn in told.turns)
    return ()
