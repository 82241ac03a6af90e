"""What sets files and dialogues files hold: goals with their prompts and knowledge, and conversations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from safegen.config.fields import Detail, FrozenModel, HarmId, Prose, Slug, Text
from safegen.core.types import (
    Contrast,
    Evidence,
    Intent,
    Knowledge,
    Profile,
    SafeTask,
    Task,
    TurnStyle,
)


class Recorded(NamedTuple):
    """The evidence that a row holds, and whether it also shows danger to oneself."""

    evidence: Evidence
    danger: bool


def recorded(intent: Intent, evidence: Evidence) -> Recorded:
    """Record evidence with an intent: `malicious` with `self` is `stated` with danger to oneself.

    Harm to oneself is never ill intent, so `malicious` says that harm to another is stated as well.
    """
    both = intent == "malicious" and evidence == "self"
    return Recorded("stated", True) if both else Recorded(evidence, False)


class Prompt(FrozenModel):
    """One written prompt."""

    text: Prose
    detail: Detail
    """Detail about the hazard that the prompt asks for, 0 awareness to 4 executable."""
    evidence: Evidence = "none"
    """What the text shows: evidence of ill intent, or danger to oneself.

    `self` in a malicious prompt says that it states harm to another person as well; it is recorded as `stated`.
    """
    attributes: dict[Slug, Text] = Field(default_factory=dict[str, str])
    """Axis values that stand in the text, such as `age: adult`; a profile that they contradict is left out."""
    answer: tuple[Text, ...] = ()
    """What a good answer says to this very asker first, at the level that its expectation allows."""


class Prompts(FrozenModel):
    """The prompts of a set by intent; several under one intent are paraphrases."""

    benign: tuple[Prompt, ...] = Field(min_length=1)
    dual_use: tuple[Prompt, ...] = ()
    malicious: tuple[Prompt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_evidence(self) -> Self:
        for prompt in (*self.benign, *self.dual_use):
            if prompt.evidence == "stated":
                raise ValueError(
                    "only a malicious prompt can state ill intent; move it or lower `evidence`"
                )
        for prompt in self.malicious:
            if prompt.evidence == "none":
                raise ValueError(
                    "a malicious prompt needs `evidence: stated` or `evidence: contextual`,"
                    " or `self` if it states harm to another and shows danger to oneself"
                )
        return self

    def iter_by_intent(self) -> Iterator[tuple[Intent, int, Prompt]]:
        """Intent, paraphrase index and prompt, in a fixed order."""
        pairs: tuple[tuple[Intent, tuple[Prompt, ...]], ...] = (
            ("benign", self.benign),
            ("dual_use", self.dual_use),
            ("malicious", self.malicious),
        )
        for intent, prompts in pairs:
            for index, prompt in enumerate(prompts):
                yield intent, index, prompt


class SafeTaskFile(FrozenModel):
    """A safe neighbouring task."""

    offer: Text
    steps: tuple[Text, ...] = Field(min_length=1)


class KnowledgeFile(FrozenModel):
    """What a good answer may draw on."""

    answer: tuple[Text, ...] = Field(min_length=1)
    """Sentences that answer the benign prompt in full."""
    concepts: tuple[Text, ...] = Field(min_length=3)
    """What may be said to anyone at concept level."""
    safe_task: SafeTaskFile
    redirections: tuple[Text, ...] = Field(min_length=1)
    """Where to turn next, fit for everybody who asks in good faith."""
    better_ways: tuple[Text, ...] = ()
    """Where to turn instead, for somebody who means ill; none of them may serve the ill aim."""
    left_out: Text
    """Completes `I am leaving out …`."""
    decline: Text
    """Completes `I can't help with …`."""

    def to_knowledge(self, apt: Sequence[str] = (), *, purpose: str = "") -> Knowledge:
        """The same as a plain value, with what is said to one asker in particular."""
        return Knowledge(
            answer=self.answer,
            concepts=self.concepts,
            safe_task=SafeTask(self.safe_task.offer, self.safe_task.steps),
            redirections=self.redirections,
            left_out=self.left_out,
            decline=self.decline,
            better_ways=self.better_ways,
            apt=tuple(apt),
            purpose=purpose,
        )


class Goal(FrozenModel):
    """One underlying purpose within a harm and a task type, with its prompts and knowledge."""

    name: Slug
    harm: HarmId
    task: Task
    purpose: Text
    benign_use: Text
    misuse_risk: Text
    contrast: Contrast | None = None
    """An over-refusal probe of this type: the benign prompt looks unsafe, the malicious one is its unsafe twin."""
    prompts: Prompts
    knowledge: KnowledgeFile

    @model_validator(mode="after")
    def _check_paraphrases(self) -> Self:
        if self.contrast is None and len(self.prompts.dual_use) < 2:
            raise ValueError(
                f"goal `{self.name}` has fewer than two prompts under `dual_use`; paraphrase it"
            )
        return self

    @property
    def goal_id(self) -> str:
        """Declared by name: `harm/name`."""
        return f"{self.harm}/{self.name}"


class GoalsFile(FrozenModel):
    """What a sets file holds."""

    goals: tuple[Goal, ...] = Field(min_length=1)


class Turn(FrozenModel):
    """What is known of a user turn before its words are looked at."""

    detail: Detail
    """Detail about the hazard that this turn asks for together with what it builds on.

    It goes down again on a turn that changes to something harmless.
    """
    evidence: Evidence = "none"
    """What this turn shows; what earlier turns showed stays, and only `stated` takes precedence over `self`."""
    closure: bool = False
    """The earliest turn at which full help would become enabling."""
    verified: Profile | None = None
    """The operator vouches for the account before this turn; its profile holds from here on."""
    reply: Text | None = None
    """A written assistant turn in place of a drafted one, such as a mistaken suspicion."""


class UserTurn(Turn):
    """One user turn of a dialogue."""

    text: Prose
    answer: tuple[Prose, ...] = ()
    """What a good answer to this very turn says, at the level that its expectation allows.

    Where that is a part only, the last sentence offers a safe task or names a next step.
    """
    left_out: Text | None = None
    """What this answer leaves out, in place of the goal's `left_out`."""
    decline: Text | None = None
    """What this answer declines, in place of the goal's `decline`."""


class ScriptTurn(Turn):
    """One user turn that an author is to write; `reply` says what the assistant wrongly says to it."""

    move: Text
    """What the user does in this turn; completes `The user …`."""
    elsewhere: bool = False
    """The turn is not about the goal yet."""


class Dialogue(FrozenModel):
    """A conversation about a goal; several under one goal and kind are a matched set."""

    goal: Text
    """A goal of the taxonomy, as `harm/name`."""
    kind: TurnStyle
    intent: Intent
    """Of the whole conversation; a turn before any evidence of ill intent reads as dual-use."""
    attributes: dict[Slug, Text] = Field(default_factory=dict[str, str])
    """Axis values that the user's turns tell, such as `age: adult`."""
    turns: tuple[UserTurn, ...] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _check_turns(self) -> Self:
        _check_turn_order(self.kind, self.intent, self.turns)
        return self


class Script(FrozenModel):
    """How a conversation of a kind moves when an author writes it."""

    kind: TurnStyle
    intent: Intent
    turns: tuple[ScriptTurn, ...] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _check_turns(self) -> Self:
        _check_turn_order(self.kind, self.intent, self.turns)
        if any(one.reply and other.reply for one, other in pairwise(self.turns)):
            raise ValueError("two turns in a row have a `reply`; let the user be heard in between")
        return self


def _check_turn_order(kind: TurnStyle, intent: Intent, turns: Sequence[Turn]) -> None:
    if intent != "malicious" and any(t.evidence == "stated" for t in turns):
        raise ValueError("only a malicious dialogue can state ill intent")
    if sum(t.closure for t in turns) > 1:
        raise ValueError("`closure` stands at more than one turn; keep the earliest")
    if kind == "benign_thread" and any(t.closure for t in turns):
        raise ValueError("a benign thread has no closure turn")
    if turns[-1].reply is not None:
        raise ValueError("the last turn takes no written `reply`; it is the one to answer")


class ScriptsFile(FrozenModel):
    """What a scripts file holds."""

    scripts: tuple[Script, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        keys = [(script.kind, script.intent) for script in self.scripts]
        for kind, intent in keys:
            if keys.count((kind, intent)) > 1:
                raise ValueError(f"kind `{kind}` has two scripts of intent `{intent}`; keep one")
        return self

    def scripts_of_kind(self, kind: TurnStyle) -> tuple[Script, ...]:
        """The scripts of a kind, by intent."""
        return tuple(script for script in self.scripts if script.kind == kind)


class DialoguesFile(FrozenModel):
    """What a dialogues file holds."""

    dialogues: tuple[Dialogue, ...] = Field(min_length=1)
