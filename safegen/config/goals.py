"""Models of sets files and dialogues files: goals with prompts and knowledge, and conversations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from safegen.config.fields import (
    Detail,
    FrozenModel,
    HarmId,
    Prose,
    Slug,
    Text,
    UnifySpelling,
)
from safegen.core.suggestions import find_repeated
from safegen.core.types import (
    HARMLESS_EVIDENCE,
    Contrast,
    Evidence,
    Intent,
    Knowledge,
    Profile,
    SafeTask,
    Task,
    TurnStyle,
)

PLACEHOLDER = re.compile(r"\{(\w+)\}")


class RecordedEvidence(NamedTuple):
    """Evidence as a row records it; `danger` marks danger to oneself in addition."""

    evidence: Evidence
    danger: bool


def record_evidence(intent: Intent, evidence: Evidence) -> RecordedEvidence:
    """Record evidence with an intent: `malicious` with `self` is `stated` with danger to oneself.

    Harm to oneself is never ill intent, so `malicious` means that harm to another person is stated as well.
    """
    both = intent == "malicious" and evidence == "self"
    return RecordedEvidence("stated", True) if both else RecordedEvidence(evidence, False)


class Prompt(FrozenModel):
    """One written prompt."""

    text: Prose
    detail: Detail
    """Detail about the hazard that the prompt asks for, 0 awareness to 4 executable."""
    evidence: Evidence = "none"
    """Evidence in the text: of ill intent, or of danger to oneself.

    `self` in a malicious prompt means that it states harm to another person as well; it is recorded as `stated`.
    """
    attributes: Annotated[dict[Slug, Text], UnifySpelling] = Field(default_factory=dict[str, str])
    """Axis values that the text states, such as `age: adult`; profiles that contradict them are skipped."""
    answer: tuple[Text, ...] = ()
    """Sentences that open a good answer to this prompt, within the ceiling of its expectation."""
    disputed: bool = False
    """True if blind readers disagree about its labels; the labeller check leaves it out."""
    left_out: Text | None = None
    """The part of this request that an answer omits; default that of the goal if `detail` is 3 or 4."""
    decline: Text | None = None
    """The act that a refusal of this prompt declines; replaces the goal's `decline`."""
    twin: Slug | None = None
    """Name that prompts of one intent share if they differ only in the group that they name."""
    group: Text | None = None
    """The group that the text names; each prompt of a `twin` has its own."""

    @model_validator(mode="after")
    def _check_twin(self) -> Self:
        if (self.twin is None) != (self.group is None):
            raise ValueError("`twin` and `group` need each other; write both or none")
        return self

    @property
    def labels(self) -> tuple[object, ...]:
        """The labels, which are equal for twins."""
        return (self.evidence, self.detail, self.attributes, self.disputed)


class IntentPrompt(NamedTuple):
    """A prompt of a goal with its intent."""

    intent: Intent
    paraphrase: int
    """Number of the wording among those of the intent; twins share it."""
    prompt: Prompt


class Prompts(FrozenModel):
    """The prompts of a set by intent; several under one intent are paraphrases."""

    benign: tuple[Prompt, ...] = Field(min_length=1)
    # Probes have none; `Goal` requires two of every other goal.
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
            if prompt.evidence in HARMLESS_EVIDENCE:
                raise ValueError(
                    "a malicious prompt needs `evidence: stated` or `evidence: contextual`,"
                    " or `self` if it states harm to another and shows danger to oneself"
                )
        return self

    def iter_by_intent(self) -> Iterator[IntentPrompt]:
        """Iterate over the prompts in a fixed order."""
        pairs: tuple[tuple[Intent, tuple[Prompt, ...]], ...] = (
            ("benign", self.benign),
            ("dual_use", self.dual_use),
            ("malicious", self.malicious),
        )
        for intent, prompts in pairs:
            numbers: dict[str | int, int] = {}
            for index, prompt in enumerate(prompts):
                number = numbers.setdefault(prompt.twin or index, len(numbers))
                yield IntentPrompt(intent, number, prompt)

    def with_groups(self, groups: Sequence[Mapping[str, str]]) -> Prompts:
        """Write each template once for each group; a prompt without a placeholder stays as it is."""
        return Prompts(
            benign=_fill_templates("benign", self.benign, groups),
            dual_use=_fill_templates("dual-use", self.dual_use, groups),
            malicious=_fill_templates("malicious", self.malicious, groups),
        )


def _fill_templates(
    name: str, prompts: Sequence[Prompt], groups: Sequence[Mapping[str, str]]
) -> tuple[Prompt, ...]:
    filled: list[Prompt] = []
    for number, prompt in enumerate(prompts):
        if prompt.twin is not None or not PLACEHOLDER.search(prompt.text):
            filled.append(prompt)
            continue
        twin = f"{name}-{number}"
        filled += (_fill_template(prompt, twin, group) for group in groups)
    return tuple(filled)


def _fill_template(prompt: Prompt, twin: str, group: Mapping[str, str]) -> Prompt:
    def fill(text: str) -> str:
        return PLACEHOLDER.sub(replace, text)

    def replace(match: re.Match[str]) -> str:
        if match[1] not in group:
            raise ValueError(
                f"`{match[0]}` is no placeholder of `groups`; known: {', '.join(group)}"
            )
        return group[match[1]]

    return prompt.model_copy(
        update={
            "text": fill(prompt.text),
            "answer": tuple(fill(sentence) for sentence in prompt.answer),
            "left_out": prompt.left_out and fill(prompt.left_out),
            "decline": prompt.decline and fill(prompt.decline),
            "twin": twin,
            "group": group["group"],
        }
    )


class SafeTaskFile(FrozenModel):
    """A safe task close to the hazardous one."""

    offer: Text
    steps: tuple[Text, ...] = Field(min_length=1)


class KnowledgeFile(FrozenModel):
    """Knowledge for good answers."""

    answer: tuple[Text, ...] = Field(min_length=1)
    """Sentences that answer the benign prompt in full."""
    concepts: tuple[Text, ...] = Field(min_length=3)
    """Sentences at concept level that any user may read."""
    safe_task: SafeTaskFile
    redirections: tuple[Text, ...] = Field(min_length=1)
    """Places to turn to, for every user in good faith."""
    better_ways: tuple[Text, ...] = ()
    """Places to turn to for a user with ill intent; none may serve the harmful aim."""
    left_out: Text
    """Completes `I am leaving out …`; for requests of detail 3 and 4 that name nothing else."""
    decline: Text
    """Completes `I can't help with …`."""

    def to_knowledge(
        self,
        apt: Sequence[str] = (),
        *,
        purpose: str = "",
        left_out: str | None = None,
        decline: str | None = None,
    ) -> Knowledge:
        """Convert to a plain value, with the sentences (`apt`), limit and refusal of one prompt."""
        return Knowledge(
            answer=self.answer,
            concepts=self.concepts,
            safe_task=SafeTask(self.safe_task.offer, self.safe_task.steps),
            redirections=self.redirections,
            left_out=self.left_out if left_out is None else left_out,
            decline=decline or self.decline,
            better_ways=self.better_ways,
            apt=tuple(apt),
            purpose=purpose,
        )


class Goal(FrozenModel):
    """One benign purpose within a harm and a task, with its prompts and knowledge."""

    name: Slug
    harm: HarmId
    task: Task
    purpose: Text
    benign_use: Text
    misuse_risk: Text
    contrast: Contrast | None = None
    """Type of over-refusal probe: the benign prompt looks unsafe, the malicious one is its unsafe twin."""
    groups: tuple[dict[Slug, Text], ...] = ()
    """Words by placeholder for each group; `group` is its name. Prompts with placeholders become twins."""
    prompts: Prompts
    knowledge: KnowledgeFile

    @field_validator("groups", mode="after")
    @classmethod
    def _check_groups(cls, groups: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
        if not groups:
            return groups
        if len(groups) < 2:
            raise ValueError("`groups` needs two or more groups")
        if any("group" not in words or words.keys() != groups[0].keys() for words in groups):
            raise ValueError("each of `groups` needs `group` and the same placeholders")
        if (repeated := find_repeated([words["group"] for words in groups])) is not None:
            raise ValueError(f"`groups` names `{repeated}` twice")
        return groups

    @field_validator("prompts", mode="after")
    @classmethod
    def _fill_groups(cls, prompts: Prompts, info: ValidationInfo) -> Prompts:
        groups = info.data.get("groups")
        return prompts.with_groups(groups) if groups else prompts

    @model_validator(mode="after")
    def _check_twins(self) -> Self:
        twins: dict[str, list[IntentPrompt]] = {}
        for row in self.prompts.iter_by_intent():
            if row.prompt.twin is not None:
                twins.setdefault(row.prompt.twin, []).append(row)
        for name, rows in twins.items():
            if len(rows) < 2 or len({row.prompt.group for row in rows}) < len(rows):
                raise ValueError(f"twin `{name}` needs two or more prompts with different groups")
            first = rows[0]
            if any(
                (r.intent, r.prompt.labels) != (first.intent, first.prompt.labels) for r in rows
            ):
                raise ValueError(
                    f"twin `{name}` has prompts of different intent, evidence, detail or attributes"
                )
        return self

    @model_validator(mode="after")
    def _check_paraphrases(self) -> Self:
        if self.contrast is None and len(self.prompts.dual_use) < 2:
            raise ValueError(
                f"goal `{self.name}` has fewer than two prompts under `dual_use`; paraphrase it"
            )
        return self

    @property
    def goal_id(self) -> str:
        """Id of the goal: `harm/name`."""
        return f"{self.harm}/{self.name}"


class GoalsFile(FrozenModel):
    """A sets file."""

    goals: tuple[Goal, ...] = Field(min_length=1)


class Turn(FrozenModel):
    """Attributes of a user turn that do not depend on its words."""

    detail: Detail
    """Detail about the hazard that this turn asks for, together with earlier turns that it builds on.

    It decreases on a turn that changes to a harmless subject.
    """
    evidence: Evidence = "none"
    """Evidence in this turn. Earlier evidence remains, and only `stated` takes precedence over `self`."""
    closure: bool = False
    """The earliest turn from which full help would enable harm."""
    verified: Profile | None = None
    """Profile that the operator grants before this turn; it applies from here on."""
    reply: Text | None = None
    """A written assistant turn instead of a drafted one, such as a mistaken suspicion."""
    clarifies: bool = False
    """True if this turn of a benign dialogue makes an open request harmless; earlier turns count as dual-use."""


class UserTurn(Turn):
    """One user turn of a dialogue."""

    text: Prose
    answer: tuple[Prose, ...] = ()
    """Sentences of a good answer to this turn, within the ceiling of its expectation.

    If the ceiling allows a partial answer only, the last sentence offers a safe task or names a next step.
    """
    left_out: Text | None = None
    """The part that this answer omits; replaces the goal's `left_out`."""
    decline: Text | None = None
    """The request that this answer declines; replaces the goal's `decline`."""


class ScriptTurn(Turn):
    """One user turn that an author writes; `reply` describes a mistaken assistant turn."""

    move: Text
    """Action of the user in this turn; completes `The user …`."""
    elsewhere: bool = False
    """True if the turn is not about the goal yet."""


class Dialogue(FrozenModel):
    """A conversation about a goal; several under one goal and kind are a matched set."""

    goal: Text
    """A goal of the taxonomy, as `harm/name`."""
    kind: TurnStyle
    intent: Intent
    """Intent of the whole conversation.

    A turn before any evidence of ill intent, or before the one that clarifies, counts as dual-use.
    """
    attributes: Annotated[dict[Slug, Text], UnifySpelling] = Field(default_factory=dict[str, str])
    """Axis values that the user's turns state, such as `age: adult`."""
    turns: tuple[UserTurn, ...] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _check_turns(self) -> Self:
        _check_turn_order(self.kind, self.intent, self.turns)
        return self


class Script(FrozenModel):
    """Course of a conversation of one kind, for an author to write."""

    kind: TurnStyle
    intent: Intent
    turns: tuple[ScriptTurn, ...] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _check_turns(self) -> Self:
        _check_turn_order(self.kind, self.intent, self.turns)
        if any(one.reply and other.reply for one, other in pairwise(self.turns)):
            raise ValueError(
                "two turns in a row have a `reply`; put a turn without one between them"
            )
        return self


def _check_turn_order(kind: TurnStyle, intent: Intent, turns: Sequence[Turn]) -> None:
    if intent != "malicious" and any(t.evidence == "stated" for t in turns):
        raise ValueError("only a malicious dialogue can state ill intent")
    if sum(t.closure for t in turns) > 1:
        raise ValueError("`closure` is set on more than one turn; keep the earliest")
    if kind == "benign_thread" and any(t.closure for t in turns):
        raise ValueError("a benign thread has no closure turn")
    _check_clarifying_turn(kind, intent, turns)
    if turns[-1].reply is not None:
        raise ValueError(
            "the last turn cannot have a written `reply`, because the drafter answers it"
        )


def _check_clarifying_turn(kind: TurnStyle, intent: Intent, turns: Sequence[Turn]) -> None:
    count = sum(t.clarifies for t in turns)
    if count and intent != "benign":
        raise ValueError("only a benign dialogue has a turn that `clarifies`")
    if count > 1 or turns[0].clarifies:
        raise ValueError("`clarifies` is set on one turn, after the first; keep that one")
    if kind == "clarification" and intent == "benign" and not count:
        raise ValueError("a benign clarification needs a turn with `clarifies: true`")


class ScriptsFile(FrozenModel):
    """A scripts file."""

    scripts: tuple[Script, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        keys = [(script.kind, script.intent) for script in self.scripts]
        if (repeated := find_repeated(keys)) is not None:
            kind, intent = repeated
            raise ValueError(f"kind `{kind}` has two scripts of intent `{intent}`; keep one")
        return self

    def scripts_of_kind(self, kind: TurnStyle) -> tuple[Script, ...]:
        """Return the scripts of a kind, in the order of the file."""
        return tuple(script for script in self.scripts if script.kind == kind)


class DialoguesFile(FrozenModel):
    """A dialogues file."""

    dialogues: tuple[Dialogue, ...] = Field(min_length=1)
