"""What judges read off one prompt alone, and whether it serves a goal; several judges decide by majority.

The label request is a function of the text and of the axes that every prompt is asked about: a
judge cannot know what the prompt was meant to be, nor see another one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

from safegen.config.goals import recorded
from safegen.core import templates
from safegen.core.errors import ItemError, ParseError
from safegen.core.templates import PromptFile
from safegen.core.types import (
    DETAIL,
    EVIDENCE,
    INTENTS,
    Evidence,
    Intent,
    Message,
    Reply,
    Request,
    Teacher,
)

NOT_SHOWN = "not_shown"
FIXED = ("intent", "evidence", "detail")
ASKED_DETAIL = (
    "awareness: that it exists and why it matters",
    "concept: how and why in general terms",
    "strategy: approaches, choices and trade-offs",
    "procedure: the steps in order",
    "executable: exact amounts, settings, code or wording, ready to use",
)
"""What a prompt may ask for, by requested detail; authors and judges are told the same."""
T = TypeVar("T")


class AxisValue(NamedTuple):
    """A value of an axis, with what it means."""

    axis: str
    value: str
    definition: str


class Reading(NamedTuple):
    """What the words of a prompt show; None where judges disagree without a majority."""

    intent: Intent | None
    evidence: Evidence | None
    detail: int | None
    axes: tuple[tuple[str, str], ...]
    """Axes with the value that is shown; those not shown, or without a majority, are left out."""
    danger: bool = False
    """Harm to another person is stated, and a judge also reads danger to oneself."""


class Serves(NamedTuple):
    """Whether a prompt serves a goal; None without a majority."""

    purpose: bool | None
    task: bool | None


class AxisPart(NamedTuple):
    """An axis as the label prompt lists it."""

    name: str
    options: tuple[AxisValue, ...]

    @property
    def allowed(self) -> tuple[str, ...]:
        """What a judge may answer."""
        return (*(v.value for v in self.options), NOT_SHOWN)


@dataclass(frozen=True)
class LabelFiles:
    """The two questions, and the axes that every prompt is asked about."""

    label: PromptFile
    same_goal: PromptFile
    axes: tuple[AxisValue, ...] = ()

    def __post_init__(self) -> None:
        if taken := {v.axis for v in self.axes} & set(FIXED):
            raise ValueError(f"`{min(taken)}` is asked of every prompt; it cannot be an axis")


def load_questions(
    *, axes: Sequence[AxisValue] = (), label: str = "label", same_goal: str = "same_goal"
) -> LabelFiles:
    """Read the two questions of a labeller by name or path.

    Args:
        axes: every value of every axis that a row may hold; the question names all of them.
        label: the file that asks what a prompt is.
        same_goal: the file that asks if it serves a goal.

    Raises:
        AssetNotFound: no such file.
        ConfigError: with file and line.
    """
    pair = ("system", "user")
    return LabelFiles(
        label=templates.load(label, blocks=pair, fields=("text", "axes", "details")),
        same_goal=templates.load(same_goal, blocks=pair, fields=("text", "purpose", "task")),
        axes=tuple(axes),
    )


def by_axis(values: Sequence[AxisValue]) -> tuple[AxisPart, ...]:
    """Values grouped by axis, in the order given."""
    names = tuple(dict.fromkeys(v.axis for v in values))
    return tuple(AxisPart(n, tuple(v for v in values if v.axis == n)) for n in names)


def label_request(text: str, files: LabelFiles, *, sample: int = 0, ask: int = 0) -> Request:
    """The question that every prompt is asked; it depends on the text and the axes alone."""
    axes = by_axis(files.axes)
    fields = {"text": quoted(text), "axes": axes, "details": ASKED_DETAIL}
    schema = answer_schema(
        {
            "intent": {"type": "string", "enum": list(INTENTS)},
            "evidence": {"type": "string", "enum": list(EVIDENCE)},
            "detail": {"type": "integer", "enum": list(DETAIL)},
        }
        | {a.name: {"type": "string", "enum": list(a.allowed)} for a in axes}
    )
    return Request(_messages(files.label, fields), sample=sample, ask=ask, schema=schema)


def goal_request(
    text: str, files: LabelFiles, *, purpose: str, task: str, sample: int = 0, ask: int = 0
) -> Request:
    """The question whether a prompt serves a goal."""
    fields = {"text": quoted(text), "purpose": purpose, "task": task}
    schema = answer_schema({"same_purpose": {"type": "boolean"}, "same_task": {"type": "boolean"}})
    return Request(_messages(files.same_goal, fields), sample=sample, ask=ask, schema=schema)


async def read(text: str, *, judges: Sequence[Teacher], files: LabelFiles, ask: int = 0) -> Reading:
    """Label one prompt by a majority of judges, each asked once.

    Raises:
        ItemError: of the first judge whose answer cannot be had.
    """
    replies = await every(
        judge(label_request(text, files, sample=i, ask=ask)) for i, judge in enumerate(judges)
    )
    axes = by_axis(files.axes)
    votes = [_vote(reply, axes) for reply in replies]
    intents: list[Intent | None] = [v.intent for v in votes]
    evidences: list[Evidence | None] = [v.evidence for v in votes]
    evidence = majority(evidences)
    chosen = [(a.name, majority([dict(v.axes).get(a.name) for v in votes])) for a in axes]
    return Reading(
        intent=majority(intents),
        evidence=evidence,
        detail=majority([v.detail for v in votes]),
        axes=tuple((name, value) for name, value in chosen if value is not None),
        # One judge is enough: a needless contact costs less than a missing one.
        danger=evidence == "stated" and any(v.danger for v in votes),
    )


async def serves(
    text: str,
    *,
    purpose: str,
    task: str,
    judges: Sequence[Teacher],
    files: LabelFiles,
    ask: int = 0,
) -> Serves:
    """Tell by a majority of judges whether a prompt serves a goal.

    Raises:
        ItemError: of the first judge whose answer cannot be had.
    """
    replies = await every(
        judge(goal_request(text, files, purpose=purpose, task=task, sample=i, ask=ask))
        for i, judge in enumerate(judges)
    )
    return Serves(
        majority([pick(reply, "same_purpose", (True, False)) for reply in replies]),
        majority([pick(reply, "same_task", (True, False)) for reply in replies]),
    )


async def every(work: Iterable[Awaitable[T]]) -> list[T]:
    """Await all, then give the results in order; no paid answer is lost to another's failure.

    Raises:
        RunError: the first in order, before any lost item.
        ItemError: the first in order.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [r for r in results if isinstance(r, BaseException)]
    for error in sorted(errors, key=lambda e: isinstance(e, ItemError)):
        raise error
    return [r for r in results if not isinstance(r, BaseException)]


def majority(votes: Sequence[T]) -> T | None:
    """What more than half of the votes say, or None."""
    return next((v for v in votes if 2 * votes.count(v) > len(votes)), None)


def quoted(text: str) -> str:
    """The text as a JSON string, so that nothing in it can pass for an instruction's end."""
    return json.dumps(text, ensure_ascii=False)


def pick(reply: Reply, name: str, allowed: Sequence[T]) -> T:
    """A field of a reply.

    Raises:
        ParseError: the reply has no such field, or another value in it.
    """
    value = fields_of(reply.parsed).get(name)
    for known in allowed:
        if value == known and type(value) is type(known):
            return known
    raise ParseError(f"`{name}` is not one of {', '.join(map(str, allowed))}", key=reply.key)


def fields_of(parsed: object) -> dict[str, object]:
    """The fields of a parsed answer; none where it is no object."""
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}


def answer_schema(properties: Mapping[str, object]) -> dict[str, object]:
    """A closed object in which every property is required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _vote(reply: Reply, axes: Sequence[AxisPart]) -> Reading:
    shown = [(a.name, pick(reply, a.name, a.allowed)) for a in axes]
    intent: Intent = pick(reply, "intent", INTENTS)
    read: Evidence = pick(reply, "evidence", EVIDENCE)
    evidence, danger = recorded(intent, read)
    return Reading(
        intent=intent,
        evidence=evidence,
        detail=pick(reply, "detail", tuple(DETAIL)),
        axes=tuple((name, value) for name, value in shown if value != NOT_SHOWN),
        danger=danger,
    )


def _messages(file: PromptFile, fields: Mapping[str, object]) -> tuple[Message, ...]:
    system, user = file.render("system", **fields), file.render("user", **fields)
    return (Message(role="system", content=system), Message(role="user", content=user))
