"""What blind labellers read in a user's prompt, where its file does not say.

Two questions, each a function of the words alone: what the prompt shows (that of `labelling`), and
which leaf of the taxonomy it is about. What they cannot tell stays open, with the reason.
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
from safegen.core.types import Evidence, Intent, Message, Request, Teacher
from safegen.judges.labelling import (
    LabelFiles,
    gather_all,
    load_questions,
    majority_vote,
    make_answer_schema,
    quote,
    read_choice,
    read_labels,
)

NO_HARM = "none"
QUESTIONS = ("label", "which_harm")
"""Prompt files that labellers are asked by."""
LABEL_FIELDS = ("intent", "evidence", "detail")
MAX_CHARS = 190_000
"""Characters of a prompt as JSON that a question can hold."""
FIELD_NAMES = frozenset({"harm", *LABEL_FIELDS, "max_tokens"})
QUOTED_NAME = re.compile(r"`([^`]*)`")
MIN_QUOTED_WORDS = 4
"""A problem that shares this many words in a row with a prompt may quote it, and is not told."""
MAX_PROBLEM_CHARS = 160
MAX_IN_FLIGHT = 512
"""Prompts under way; how many requests are, is bounded by the endpoint."""


class BlindLabels(NamedTuple):
    """What labellers read; None where it was not asked, or they could not tell."""

    harm: str | None = None
    intent: Intent | None = None
    evidence: Evidence | None = None
    detail: int | None = None
    danger: bool = False
    """Harm to another person is stated, and the words also show danger to oneself."""
    reasons: Mapping[str, str] = {}
    """By label, why they could not tell."""


class LabelRequest(NamedTuple):
    """What is to be read in one prompt."""

    messages: tuple[Message, ...]
    labels: bool
    harm: bool


@dataclass(frozen=True)
class Labellers:
    """Who reads, and by which questions."""

    judges: tuple[Teacher, ...]
    harms: Mapping[str, Harm]
    """Every leaf, red lines too: a prompt about one must be known for what it is."""
    labels: LabelFiles = field(default_factory=load_questions)
    harm_prompt: PromptTemplate = field(
        default_factory=lambda: templates.load_template(
            "which_harm", blocks=("system", "user"), fields=("leaves", "text")
        )
    )

    async def read(self, wanted: LabelRequest) -> BlindLabels:
        """Read one prompt; an answer that cannot be had leaves its labels open.

        Raises:
            RunError: the run cannot go on.
        """
        text = render_turns(wanted.messages)
        if len(quote(text)) > MAX_CHARS:
            names = (("harm",) if wanted.harm else ()) + (LABEL_FIELDS if wanted.labels else ())
            return BlindLabels(reasons=dict.fromkeys(names, "too long to be shown to a labeller"))
        questions = [self._read_labels(text)] if wanted.labels else []
        questions += [self._read_harm(text)] if wanted.harm else []
        parts = await gather_all(questions)
        return BlindLabels(
            harm=next((p.harm for p in parts if p.harm), None),
            intent=next((p.intent for p in parts if p.intent), None),
            evidence=next((p.evidence for p in parts if p.evidence), None),
            detail=next((p.detail for p in parts if p.detail is not None), None),
            danger=any(p.danger for p in parts),
            reasons={name: reason for p in parts for name, reason in p.reasons.items()},
        )

    async def read_all(
        self, work: Iterable[tuple[str, LabelRequest]], *, read_one: Callable[[], None]
    ) -> dict[str, BlindLabels]:
        """Read prompts by key, a bounded number at once; `read_one` is called after each.

        Where one ends the run, what is under way was paid for and is awaited first.

        Raises:
            RunError: the first one.
        """
        labels: dict[str, BlindLabels] = {}
        under_way: set[asyncio.Task[None]] = set()

        async def one(key: str, wanted: LabelRequest) -> None:
            labels[key] = await self.read(wanted)
            read_one()

        try:
            for key, wanted in work:
                under_way.add(asyncio.create_task(one(key, wanted)))
                if len(under_way) >= MAX_IN_FLIGHT:
                    first = asyncio.FIRST_COMPLETED
                    done, under_way = await asyncio.wait(under_way, return_when=first)
                    await gather_all(done)
            await gather_all(under_way)
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)
        return labels

    async def _read_labels(self, text: str) -> BlindLabels:
        try:
            labels = await read_labels(text, judges=self.judges, files=self.labels)
        except ItemError as e:
            return BlindLabels(reasons=dict.fromkeys(LABEL_FIELDS, _describe_loss(e, text)))
        reasons = {n: "labellers disagree" for n in LABEL_FIELDS if getattr(labels, n) is None}
        return BlindLabels(
            None, labels.intent, labels.evidence, labels.detail, labels.danger, reasons
        )

    async def _read_harm(self, text: str) -> BlindLabels:
        allowed = (*self.harms, NO_HARM)
        try:
            replies = await gather_all(
                judge(make_harm_request(text, self.harm_prompt, self.harms, sample=i))
                for i, judge in enumerate(self.judges)
            )
            choice = majority_vote([read_choice(reply, "harm", allowed) for reply in replies])
        except ItemError as e:
            return BlindLabels(reasons={"harm": _describe_loss(e, text)})
        if choice is None or choice == NO_HARM:
            reason = "no one leaf fits" if choice else "labellers disagree"
            return BlindLabels(reasons={"harm": reason})
        return BlindLabels(harm=choice)


def make_harm_request(
    text: str, file: PromptTemplate, harms: Mapping[str, Harm], *, sample: int = 0
) -> Request:
    """The question which leaf a prompt is about."""
    fields = {"leaves": tuple(harms.values()), "text": quote(text)}
    schema = make_answer_schema({"harm": {"type": "string", "enum": [*harms, NO_HARM]}})
    system, user = file.render("system", **fields), file.render("user", **fields)
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return Request(messages, sample=sample, schema=schema)


def render_turns(turns: Sequence[Message]) -> str:
    """The words as labellers see them: a prompt as it is, a conversation turn by turn."""
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in turns)


def _describe_loss(e: ItemError, text: str) -> str:
    message = f"no answer of a labeller ({e.outcome}{_describe_problem(e, text)})"
    return f"{message}; `--replan` asks again" if e.outcome == "unavailable" else message


def _describe_problem(e: ItemError, text: str) -> str:
    """What was wrong with an answer, in the parser's words; nothing that it or the prompt says."""
    if not isinstance(e, ParseError | Truncated):
        return ""
    message = QUOTED_NAME.sub(
        lambda m: m[0] if m[1] in FIELD_NAMES else "`…`", " ".join(str(e).split())
    )
    words, own = message.lower().split(), f" {' '.join(text.lower().split())} "
    runs = (
        " ".join(words[i : i + MIN_QUOTED_WORDS])
        for i in range(max(1, len(words) - MIN_QUOTED_WORDS + 1))
    )
    quotes = any(f" {run} " in own for run in runs)
    return "" if quotes or not message else f": {message[:MAX_PROBLEM_CHARS]}"
