"""Blind labels of one prompt and its fit to a goal, by a majority of judges.

The label request depends on the text and on the axes of the run alone. So a judge knows neither the
intended labels nor another prompt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, cast

from safegen.config.goals import record_evidence
from safegen.core import templates
from safegen.core.errors import ItemError, ParseError
from safegen.core.templates import PromptTemplate
from safegen.core.types import (
    DETAIL_LEVELS,
    EVIDENCE,
    INTENTS,
    Evidence,
    Intent,
    Message,
    Reply,
    Request,
    Teacher,
)
from safegen.judges.label_definitions import AxisValue, LabelDefinitions, load_definitions

NOT_SHOWN = "not_shown"
FIXED_FIELDS = ("intent", "evidence", "detail")
T = TypeVar("T")
V = TypeVar("V")
OnError = Callable[[ItemError], None]
"""A callback for the error of each judge without a usable answer."""


class PromptLabels(NamedTuple):
    """The labels of a prompt; None without a majority of judges."""

    intent: Intent | None
    evidence: Evidence | None
    detail: int | None
    axes: tuple[tuple[str, str], ...]
    """Axes with their values; axes that the text does not show or without a majority are left out."""
    danger: bool = False
    """Harm to another person is stated, and a judge also reads danger to oneself."""


class GoalFit(NamedTuple):
    """The fit of a prompt to a goal: same purpose, same task; None without a majority."""

    purpose: bool | None
    task: bool | None
    read_task: str | None = None
    """Another kind of help than the goal's that most judges read in the prompt."""


class AxisPart(NamedTuple):
    """An axis as the label prompt lists it."""

    name: str
    options: tuple[AxisValue, ...]

    @property
    def allowed(self) -> tuple[str, ...]:
        """The allowed answers of a judge."""
        return (*(v.value for v in self.options), NOT_SHOWN)


@dataclass(frozen=True)
class LabelFiles:
    """The two questions, and the axes of the label question."""

    label: PromptTemplate
    same_goal: PromptTemplate
    definitions: LabelDefinitions
    axes: tuple[AxisValue, ...] = ()

    def __post_init__(self) -> None:
        if reserved := {v.axis for v in self.axes} & set(FIXED_FIELDS):
            raise ValueError(f"`{min(reserved)}` is a label of every prompt; it cannot be an axis")


def load_questions(
    *,
    axes: Sequence[AxisValue] = (),
    label: str = "label",
    same_goal: str = "same_goal",
    definitions: LabelDefinitions | None = None,
) -> LabelFiles:
    """Read the two questions of a labeller by name or path.

    Args:
        axes: every value of every axis that a row may hold; the question lists all of them.
        label: file of the question for the labels of a prompt.
        same_goal: file of the question if a prompt serves a goal.
        definitions: definitions of the labels; default those of the axes file in use.

    Raises:
        AssetNotFound: no such file.
        ConfigError: a file is invalid; with file and line.
    """
    pair = ("system", "user")
    return LabelFiles(
        label=templates.load_template(label, blocks=pair, fields=("text", "axes", "definitions")),
        same_goal=templates.load_template(
            same_goal, blocks=pair, fields=("text", "purpose", "task", "definitions")
        ),
        definitions=definitions or load_definitions(),
        axes=tuple(axes),
    )


def group_by_axis(values: Sequence[AxisValue]) -> tuple[AxisPart, ...]:
    """Group values by axis, in the given order."""
    names = tuple(dict.fromkeys(v.axis for v in values))
    return tuple(AxisPart(n, tuple(v for v in values if v.axis == n)) for n in names)


def make_label_request(text: str, files: LabelFiles, *, sample: int = 0, ask: int = 0) -> Request:
    """Build the label question; it depends on the text and the axes alone."""
    axes = group_by_axis(files.axes)
    fields = {"text": quote(text), "axes": axes, "definitions": files.definitions}
    schema = make_answer_schema(
        {
            "intent": {"type": "string", "enum": list(INTENTS)},
            "evidence": {"type": "string", "enum": list(EVIDENCE)},
            "detail": {"type": "integer", "enum": list(DETAIL_LEVELS)},
        }
        | {a.name: {"type": "string", "enum": list(a.allowed)} for a in axes}
    )
    messages = _render_messages(files.label, fields)
    return Request(messages, sample=sample, ask=ask, schema=schema, item=text)


def make_goal_request(
    text: str, files: LabelFiles, *, purpose: str, task: str, sample: int = 0, ask: int = 0
) -> Request:
    """Build the question if a prompt serves a goal."""
    fields = {
        "text": quote(text),
        "purpose": purpose,
        "task": task,
        "definitions": files.definitions,
    }
    schema = make_answer_schema(
        {
            "same_purpose": {"type": "boolean"},
            "same_task": {"type": "boolean"},
            "task": {"type": "string", "enum": [*_list_tasks(files)]},
        }
    )
    messages = _render_messages(files.same_goal, fields)
    return Request(messages, sample=sample, ask=ask, schema=schema, item=text)


async def read_labels(
    text: str,
    *,
    judges: Sequence[Teacher],
    files: LabelFiles,
    ask: int = 0,
    on_error: OnError | None = None,
) -> PromptLabels:
    """Label one prompt by a majority of judges, one request each.

    Args:
        text: the prompt.
        judges: the judges.
        files: the question.
        ask: number of the request, for repeated ones.
        on_error: receives the error of each judge without a usable answer.

    Raises:
        ItemError: that of the first judge without a usable answer, if at most half have one.
    """
    axes = group_by_axis(files.axes)

    async def vote(judge: Teacher, sample: int) -> PromptLabels:
        request = make_label_request(text, files, sample=sample, ask=ask)
        return _parse_labels(await judge(request), axes)

    votes = await gather_votes(
        (vote(judge, i) for i, judge in enumerate(judges)), on_error=on_error
    )
    evidence: Evidence | None = votes.choose(lambda v: v.evidence)
    chosen = [(a.name, votes.choose(lambda v, name=a.name: dict(v.axes).get(name))) for a in axes]
    return PromptLabels(
        intent=votes.choose(lambda v: v.intent),
        evidence=evidence,
        detail=votes.choose(lambda v: v.detail),
        axes=tuple((name, value) for name, value in chosen if value is not None),
        # One judge is enough: a needless contact costs less than a missing one.
        danger=evidence == "stated" and any(v.danger for v in votes.answers),
    )


async def judge_goal_fit(
    text: str,
    *,
    purpose: str,
    task: str,
    judges: Sequence[Teacher],
    files: LabelFiles,
    ask: int = 0,
) -> GoalFit:
    """Judge by a majority if a prompt serves a goal.

    Raises:
        ItemError: that of the first judge without a usable answer, if at most half have one.
    """

    async def vote(judge: Teacher, sample: int) -> GoalFit:
        request = make_goal_request(text, files, purpose=purpose, task=task, sample=sample, ask=ask)
        reply = await judge(request)
        fits = (True, False)
        return GoalFit(
            read_choice(reply, "same_purpose", fits),
            read_choice(reply, "same_task", fits),
            read_choice(reply, "task", _list_tasks(files)),
        )

    votes = await gather_votes(vote(judge, i) for i, judge in enumerate(judges))
    read_task = votes.choose(lambda v: v.read_task)
    return GoalFit(
        votes.choose(lambda v: v.purpose),
        votes.choose(lambda v: v.task),
        None if read_task == task else read_task,
    )


def _list_tasks(files: LabelFiles) -> tuple[str, ...]:
    return tuple(option.value for option in files.definitions.task.options)


@dataclass(frozen=True)
class Votes(Generic[T]):
    """The usable answers of judges to one question."""

    answers: tuple[T, ...]
    judges: int
    """Number of all judges."""

    def choose(self, read: Callable[[T], V | None]) -> V | None:
        """Return the value that more than half of all judges gave, or None."""
        # A tie decides nothing: a wrong label is worse than an open one.
        values = [read(answer) for answer in self.answers]
        return next((v for v in values if 2 * values.count(v) > self.judges), None)


async def gather_votes(
    work: Iterable[Awaitable[T]], *, on_error: OnError | None = None
) -> Votes[T]:
    """Await the answers of all judges; a judge without a usable answer casts no vote.

    Args:
        work: one answer by judge.
        on_error: receives the error of each judge without a usable answer.

    Raises:
        RunError: the first in order, before any ItemError.
        ItemError: the first in order, if at most half of the judges have a usable answer.
    """
    answers, errors = await _settle(work)
    judges = len(answers) + len(errors)
    has_majority = 2 * len(answers) > judges
    for error in errors:
        if isinstance(error, ItemError) and on_error is not None:
            on_error(error)
    for error in errors:
        if not (has_majority and isinstance(error, ItemError)):
            raise error
    return Votes(tuple(answers), judges)


async def gather_all(work: Iterable[Awaitable[T]]) -> list[T]:
    """Await all and return the results in order; a failure cancels no other paid request.

    Raises:
        RunError: the first in order, before any ItemError.
        ItemError: the first in order.
    """
    answers, errors = await _settle(work)
    for error in errors:
        raise error
    return answers


async def _settle(work: Iterable[Awaitable[T]]) -> tuple[list[T], list[BaseException]]:
    """Await all; return the results in order, and the errors with those that stop a run first."""
    # All are awaited, because requests in flight are paid for and their replies are cached.
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [r for r in results if isinstance(r, BaseException)]
    answers = [r for r in results if not isinstance(r, BaseException)]
    return answers, sorted(errors, key=lambda e: isinstance(e, ItemError))


def quote(text: str) -> str:
    """Quote a text as a JSON string, so that nothing in it looks like the end of the text."""
    return json.dumps(text, ensure_ascii=False)


def read_choice(reply: Reply, name: str, allowed: Sequence[T]) -> T:
    """Return a field of a reply.

    Raises:
        ParseError: the reply lacks the field, or its value is not allowed.
    """
    value = read_fields(reply.parsed).get(name)
    for known in allowed:
        # `True == 1` in Python, and a detail of 1 is no truth value.
        if value == known and type(value) is type(known):
            return known
    raise ParseError(f"`{name}` is not one of {', '.join(map(str, allowed))}", key=reply.key)


def read_fields(parsed: object) -> dict[str, object]:
    """Return the fields of a parsed answer; none if it is no object."""
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}


def make_answer_schema(properties: Mapping[str, object]) -> dict[str, object]:
    """Build the schema of a closed object with only required properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _parse_labels(reply: Reply, axes: Sequence[AxisPart]) -> PromptLabels:
    values = [(a.name, read_choice(reply, a.name, a.allowed)) for a in axes]
    intent: Intent = read_choice(reply, "intent", INTENTS)
    label: Evidence = read_choice(reply, "evidence", EVIDENCE)
    evidence, danger = record_evidence(intent, label)
    return PromptLabels(
        intent=intent,
        evidence=evidence,
        detail=read_choice(reply, "detail", tuple(DETAIL_LEVELS)),
        axes=tuple((name, value) for name, value in values if value != NOT_SHOWN),
        danger=danger,
    )


def _render_messages(file: PromptTemplate, fields: Mapping[str, object]) -> tuple[Message, ...]:
    system, user = file.render("system", **fields), file.render("user", **fields)
    return (Message(role="system", content=system), Message(role="user", content=user))
