"""The scripted teacher: returns given answers, for tests and experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from safegen.core.arguments import describe_argument
from safegen.core.errors import ItemError, RunError, TeacherUnavailable
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers import _errors, _structured

Answer = str | Reply | ItemError | RunError


def scripted(answers: Callable[[Request], Answer] | Sequence[Answer]) -> Teacher:
    """Build a teacher that answers from a function of the request, or from a list in its order.

    An error among the answers is raised, and so is the error of a reply whose outcome is not `ok`.
    An exhausted list raises `TeacherUnavailable`. Answers to requests with a schema are parsed.

    Example:
        >>> teacher = scripted(["first answer", "second answer"])
    """
    if isinstance(answers, str):
        raise TypeError("`answers` is one text; give a list of answers or a function")
    if callable(answers):
        return ScriptedTeacher(answers)
    if not isinstance(answers, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's value)
        raise TypeError(describe_argument("answers", answers, "a list of answers or a function"))
    remaining = iter(tuple(answers))
    return ScriptedTeacher(lambda _: _next_answer(remaining))


@dataclass
class ScriptedTeacher:
    """A teacher with given answers; `requests` records the requests in order."""

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
            parsed, problem = _structured.parse_object(reply.text, request.schema)
            outcome = "malformed" if parsed is None else "ok"
            reply = replace(reply, parsed=parsed, outcome=outcome, message=problem)
        error = _errors.error_for_reply(reply)
        if error is not None:
            raise error
        return reply

    async def aclose(self) -> None:
        """Do nothing; there is nothing to close."""


def _next_answer(remaining: Iterator[Answer]) -> Answer:
    return next(remaining, TeacherUnavailable("the script has no more answers; add some"))
