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
from safegen.core.templates import PromptFile
from safegen.core.types import Evidence, Intent, Message, Request, Teacher
from safegen.judges.labelling import (
    LabelFiles,
    answer_schema,
    every,
    load_questions,
    majority,
    pick,
    quoted,
    read,
)

NONE = "none"
QUESTIONS = ("label", "which_harm")
"""Prompt files that labellers are asked by."""
READ = ("intent", "evidence", "detail")
LONGEST = 190_000
"""Characters of a prompt as JSON that a question can hold."""
ASKED = frozenset({"harm", *READ, "max_tokens"})
NAMED = re.compile(r"`([^`]*)`")
RUN = 4
"""A problem that shares this many words in a row with a prompt may quote it, and is not told."""
LONGEST_PROBLEM = 160
AT_ONCE = 512
"""Prompts under way; how many requests are, is bounded by the endpoint."""


class Found(NamedTuple):
    """What labellers read; None where it was not asked, or they could not tell."""

    harm: str | None = None
    intent: Intent | None = None
    evidence: Evidence | None = None
    detail: int | None = None
    danger: bool = False
    """Harm to another person is stated, and the words also show danger to oneself."""
    why: Mapping[str, str] = {}
    """By label, why they could not tell."""


class Wanted(NamedTuple):
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
    which: PromptFile = field(
        default_factory=lambda: templates.load(
            "which_harm", blocks=("system", "user"), fields=("leaves", "text")
        )
    )

    async def read(self, wanted: Wanted) -> Found:
        """Read one prompt; an answer that cannot be had leaves its labels open.

        Raises:
            RunError: the run cannot go on.
        """
        text = shown(wanted.messages)
        if len(quoted(text)) > LONGEST:
            names = (("harm",) if wanted.harm else ()) + (READ if wanted.labels else ())
            return Found(why=dict.fromkeys(names, "too long to be shown to a labeller"))
        asked = [self._labels(text)] if wanted.labels else []
        asked += [self._harm(text)] if wanted.harm else []
        parts = await every(asked)
        return Found(
            harm=next((p.harm for p in parts if p.harm), None),
            intent=next((p.intent for p in parts if p.intent), None),
            evidence=next((p.evidence for p in parts if p.evidence), None),
            detail=next((p.detail for p in parts if p.detail is not None), None),
            danger=any(p.danger for p in parts),
            why={name: told for p in parts for name, told in p.why.items()},
        )

    async def read_all(
        self, work: Iterable[tuple[str, Wanted]], *, read_one: Callable[[], None]
    ) -> dict[str, Found]:
        """Read prompts by key, a bounded number at once; `read_one` is called after each.

        Where one ends the run, what is under way was paid for and is awaited first.

        Raises:
            RunError: the first one.
        """
        found: dict[str, Found] = {}
        under_way: set[asyncio.Task[None]] = set()

        async def one(key: str, wanted: Wanted) -> None:
            found[key] = await self.read(wanted)
            read_one()

        try:
            for key, wanted in work:
                under_way.add(asyncio.create_task(one(key, wanted)))
                if len(under_way) >= AT_ONCE:
                    first = asyncio.FIRST_COMPLETED
                    done, under_way = await asyncio.wait(under_way, return_when=first)
                    await every(done)
            await every(under_way)
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)
        return found

    async def _labels(self, text: str) -> Found:
        try:
            found = await read(text, judges=self.judges, files=self.labels)
        except ItemError as e:
            return Found(why=dict.fromkeys(READ, _lost(e, text)))
        why = {n: "labellers disagree" for n in READ if getattr(found, n) is None}
        return Found(None, found.intent, found.evidence, found.detail, found.danger, why)

    async def _harm(self, text: str) -> Found:
        allowed = (*self.harms, NONE)
        try:
            replies = await every(
                judge(harm_request(text, self.which, self.harms, sample=i))
                for i, judge in enumerate(self.judges)
            )
            said = majority([pick(reply, "harm", allowed) for reply in replies])
        except ItemError as e:
            return Found(why={"harm": _lost(e, text)})
        if said is None or said == NONE:
            told = "no one leaf fits" if said else "labellers disagree"
            return Found(why={"harm": told})
        return Found(harm=said)


def harm_request(
    text: str, file: PromptFile, harms: Mapping[str, Harm], *, sample: int = 0
) -> Request:
    """The question which leaf a prompt is about."""
    fields = {"leaves": tuple(harms.values()), "text": quoted(text)}
    schema = answer_schema({"harm": {"type": "string", "enum": [*harms, NONE]}})
    system, user = file.render("system", **fields), file.render("user", **fields)
    told = (Message(role="system", content=system), Message(role="user", content=user))
    return Request(told, sample=sample, schema=schema)


def shown(turns: Sequence[Message]) -> str:
    """The words as labellers see them: a prompt as it is, a conversation turn by turn."""
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in turns)


def _lost(e: ItemError, text: str) -> str:
    told = f"no answer of a labeller ({e.outcome}{_problem(e, text)})"
    return f"{told}; `--replan` asks again" if e.outcome == "unavailable" else told


def _problem(e: ItemError, text: str) -> str:
    """What was wrong with an answer, in the parser's words; nothing that it or the prompt says."""
    if not isinstance(e, ParseError | Truncated):
        return ""
    said = NAMED.sub(lambda m: m[0] if m[1] in ASKED else "`…`", " ".join(str(e).split()))
    words, own = said.lower().split(), f" {' '.join(text.lower().split())} "
    runs = (" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1)))
    quotes = any(f" {run} " in own for run in runs)
    return "" if quotes or not said else f": {said[:LONGEST_PROBLEM]}"
