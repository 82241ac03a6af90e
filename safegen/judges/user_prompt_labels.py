"""Blind labels for a user's prompts that come without labels.

Two questions depend on the text alone: the labels of the prompt (see `blind_labels`), and its leaf of
the taxonomy. A label that the labellers cannot give is None, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from safegen.config.taxonomy import Harm
from safegen.core import templates
from safegen.core.errors import ItemError, ParseError, Truncated
from safegen.core.templates import PromptTemplate
from safegen.core.text_forms import has_quotation
from safegen.core.types import Evidence, Failure, Intent, Message, Request, Teacher
from safegen.judges.blind_labels import (
    LabelFiles,
    OnError,
    gather_all,
    gather_votes,
    load_questions,
    make_answer_schema,
    quote,
    read_choice,
    read_labels,
)

NO_HARM = "none"
QUESTIONS = ("label", "which_harm")
"""Prompt files of the two questions."""
LABEL_FIELDS = ("intent", "evidence", "detail")
# A rendered message may have 200 000 characters; the question takes the rest.
MAX_CHARS = 190_000
"""Longest prompt as JSON that a question can hold."""
FIELD_NAMES = frozenset({"harm", *LABEL_FIELDS, "max_tokens", "generate", "--replan"})
QUOTED_NAME = re.compile(r"`([^`]*)`")
MAX_PROBLEM_CHARS = 160
MAX_IN_FLIGHT = 512
"""Prompts in flight, which bounds memory; the rate limiter bounds the requests in flight."""


class BlindLabels(NamedTuple):
    """The labels of one prompt; None if not requested, or without a majority."""

    harm: str | None = None
    intent: Intent | None = None
    evidence: Evidence | None = None
    detail: int | None = None
    danger: bool = False
    """Harm to another person is stated, and the text also shows danger to oneself."""
    reasons: Mapping[str, str] = {}
    """Reason of each label that is None although it was requested."""
    errors: Mapping[str, tuple[ItemError, ...]] = {}
    """Failed requests behind each label that is None and that a repeated request may decide."""


class LabelRequest(NamedTuple):
    """The labels to read in one prompt."""

    messages: tuple[Message, ...]
    labels: bool
    harm: bool


@dataclass(frozen=True)
class Labellers:
    """The labellers with their questions."""

    judges: tuple[Teacher, ...]
    harms: Mapping[str, Harm]
    """All leaves, including red lines, so that a prompt about a red line is recognised."""
    labels: LabelFiles = field(default_factory=load_questions)
    harm_prompt: PromptTemplate = field(
        default_factory=lambda: templates.load_template(
            "which_harm", blocks=("system", "user"), fields=("leaves", "text")
        )
    )

    async def read(self, request: LabelRequest) -> BlindLabels:
        """Read one prompt; a failed request leaves its labels None.

        Raises:
            RunError: the run cannot continue.
        """
        text = render_turns(request.messages)
        if len(quote(text)) > MAX_CHARS:
            names = (("harm",) if request.harm else ()) + (LABEL_FIELDS if request.labels else ())
            return BlindLabels(reasons=dict.fromkeys(names, "too long for a labeller"))
        questions = [self._read_labels(text)] if request.labels else []
        questions += [self._read_harm(text)] if request.harm else []
        parts = await gather_all(questions)
        return BlindLabels(
            harm=next((p.harm for p in parts if p.harm), None),
            intent=next((p.intent for p in parts if p.intent), None),
            evidence=next((p.evidence for p in parts if p.evidence), None),
            detail=next((p.detail for p in parts if p.detail is not None), None),
            danger=any(p.danger for p in parts),
            reasons={name: reason for p in parts for name, reason in p.reasons.items()},
            errors={name: errors for p in parts for name, errors in p.errors.items()},
        )

    async def read_all(
        self, work: Iterable[tuple[str, LabelRequest]], *, on_read: Callable[[], None]
    ) -> dict[str, BlindLabels]:
        """Read prompts by key, at most `MAX_IN_FLIGHT` at once; `on_read` is called after each.

        Raises:
            RunError: the first one; requests in flight are paid for, so they are awaited first.
        """
        labels: dict[str, BlindLabels] = {}
        in_flight: set[asyncio.Task[None]] = set()

        async def one(key: str, request: LabelRequest) -> None:
            labels[key] = await self.read(request)
            on_read()

        try:
            for key, request in work:
                in_flight.add(asyncio.create_task(one(key, request)))
                if len(in_flight) >= MAX_IN_FLIGHT:
                    first = asyncio.FIRST_COMPLETED
                    done, in_flight = await asyncio.wait(in_flight, return_when=first)
                    await gather_all(done)
            await gather_all(in_flight)
        except asyncio.CancelledError:
            for task in in_flight:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*in_flight, return_exceptions=True)
        return labels

    async def read_harm(self, text: str, on_error: OnError | None = None) -> str | None:
        """Read the leaf of a text; None if no single leaf fits or a request failed."""
        return (await self._read_harm(text, on_error)).harm

    async def _read_labels(self, text: str) -> BlindLabels:
        errors: list[ItemError] = []
        try:
            labels = await read_labels(
                text, judges=self.judges, files=self.labels, on_error=errors.append
            )
        except ItemError:
            return _make_failed(LABEL_FIELDS, errors, text)
        missing = [name for name in LABEL_FIELDS if getattr(labels, name) is None]
        undecided = _make_undecided(missing, errors, text)
        return undecided._replace(
            intent=labels.intent,
            evidence=labels.evidence,
            detail=labels.detail,
            danger=labels.danger,
        )

    async def _read_harm(self, text: str, on_error: OnError | None = None) -> BlindLabels:
        allowed = (*self.harms, NO_HARM)
        errors: list[ItemError] = []

        async def vote(judge: Teacher, sample: int) -> str:
            request = make_harm_request(text, self.harm_prompt, self.harms, sample=sample)
            return read_choice(await judge(request), "harm", allowed)

        def add(error: ItemError) -> None:
            errors.append(error)
            if on_error is not None:
                on_error(error)

        work = (vote(judge, i) for i, judge in enumerate(self.judges))
        try:
            votes = await gather_votes(work, on_error=add)
        except ItemError:
            return _make_failed(("harm",), errors, text)
        choice = votes.choose(lambda harm: harm)
        if choice is None:
            return _make_undecided(("harm",), errors, text)
        if choice == NO_HARM:
            return BlindLabels(reasons={"harm": "no single leaf fits"})
        return BlindLabels(harm=choice)


def _make_failed(names: Sequence[str], errors: Sequence[ItemError], text: str) -> BlindLabels:
    """Make the result if too few labellers answered."""
    reasons = dict.fromkeys(names, _describe_loss(errors[0], text))
    return BlindLabels(reasons=reasons, errors=dict.fromkeys(names, tuple(errors)))


def _make_undecided(names: Sequence[str], errors: Sequence[ItemError], text: str) -> BlindLabels:
    """Make the result for labels without a majority; the vote of a failed request may decide them."""
    parts = ["labellers disagree", *(_describe_loss(error, text) for error in errors[:1])]
    failed = dict.fromkeys(names, tuple(errors)) if errors else {}
    return BlindLabels(reasons=dict.fromkeys(names, "; ".join(parts)), errors=failed)


def make_label_failure(key: str, error: ItemError, text: str = "") -> Failure:
    """Make the line for `failures/` of a labeller's failed request.

    Args:
        key: key of the text.
        error: the error.
        text: the prompt, which the shown message must not quote.
    """
    shown = (
        _describe_problem(error, text).removeprefix(": ") if error.shown is None else error.shown
    )
    return Failure(
        scenario_id=key,
        draft_id="",
        stage="label",
        outcome=error.outcome,
        error=error.code,
        message=str(error),
        key=error.key,
        shown=shown,
    )


def make_harm_request(
    text: str, file: PromptTemplate, harms: Mapping[str, Harm], *, sample: int = 0
) -> Request:
    """Build the question for the leaf of a prompt."""
    fields = {"leaves": tuple(harms.values()), "text": quote(text)}
    schema = make_answer_schema({"harm": {"type": "string", "enum": [*harms, NO_HARM]}})
    system, user = file.render("system", **fields), file.render("user", **fields)
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return Request(messages, sample=sample, schema=schema, item=text)


def render_turns(turns: Sequence[Message]) -> str:
    """Render a prompt for labellers: one turn verbatim, a conversation turn by turn."""
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in turns)


def _describe_loss(e: ItemError, text: str) -> str:
    remedy = "the same command" if e.outcome == "unavailable" else "`safegen retry`"
    problem = _describe_problem(e, text)
    return f"no answer of a labeller ({e.outcome}{problem}); {remedy} repeats the request"


def _describe_problem(e: ItemError, text: str) -> str:
    # The report may be shown to people, so it must not quote the prompt or the answer.
    if not isinstance(e, ParseError | Truncated):
        return ""
    message = QUOTED_NAME.sub(
        lambda m: m[0] if m[1] in FIELD_NAMES else "`…`", " ".join(str(e).split())
    )
    may_quote = has_quotation(message, text)
    return "" if may_quote or not message else f": {message[:MAX_PROBLEM_CHARS]}"
