"""The scripted teacher: answers that the caller gives. For tests and for trying things out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from safegen.core.errors import ItemError, RunError, TeacherUnavailable
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers import _errors, _structured

Answer = str | Reply | ItemError | RunError


def scripted(answers: Callable[[Request], Answer] | Sequence[Answer]) -> Teacher:
    """Build a teacher that answers from a function of the request, or from a list in its order.

    An error among the answers is raised; so is the error that a reply's outcome stands for. A list
    that runs out raises `TeacherUnavailable`. Answers to requests with a schema are parsed.
    """
    if isinstance(answers, str):
        raise TypeError("`answers` is one text; give a list of answers or a function")
    if callable(answers):
        return ScriptedTeacher(answers)
    left = iter(tuple(answers))
    return ScriptedTeacher(lambda _: _next_answer(left))


@dataclass
class ScriptedTeacher:
    """A teacher that says what it was told; `requests` holds what it was asked."""

    answer: Callable[[Request], Answer]
    name: str = "scripted"
    model: str = "scripted"
    requests: list[Request] = field(default_factory=list[Request])

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request."""
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        reply = (
            Reply(answer, self.model, finish_reason="stop") if isinstance(answer, str) else answer
        )
        if request.schema is not None and reply.outcome == "ok" and reply.parsed is None:
            parsed, wrong = _structured.parse_object(reply.text, request.schema)
            outcome = "malformed" if parsed is None else "ok"
            reply = replace(reply, parsed=parsed, outcome=outcome, message=wrong)
        error = _errors.error_for_reply(reply)
        if error is not None:
            raise error
        return reply

    async def aclose(self) -> None:
        """Do nothing; there is nothing to close."""


def _next_answer(left: Iterator[Answer]) -> Answer:
    return next(left, TeacherUnavailable("the script has no more answers; add some"))
