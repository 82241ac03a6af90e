"""The structured-output layer: requests JSON in a format that the endpoint takes, repairs once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from safegen.core.errors import TeacherRejected
from safegen.core.types import Reply, ReplyFormat, Request, Teacher
from safegen.teachers import _structured
from safegen.teachers._errors import FormatUnsupported
from safegen.teachers._settings import StructuredSetting


def choose_first_format(structured: StructuredSetting) -> ReplyFormat:
    """Return the first reply format to try."""
    return "json_schema" if structured == "auto" else structured


def apply_format(request: Request, reply_format: ReplyFormat) -> Request:
    """Return the request with its schema as an instruction, unless the endpoint takes schemas."""
    if request.schema is None:
        return request
    messages = request.messages
    if reply_format != "json_schema":
        messages = tuple(_structured.add_schema_instruction(messages, request.schema))
    return replace(request, messages=messages, reply_format=reply_format)


class StructuredTeacher:
    """A teacher whose replies to requests with a schema carry the parsed object.

    With `auto` it starts with `json_schema` and steps down to `json_object` and `text` when the
    endpoint rejects the format. A reply that does not satisfy the schema gets one repair turn.

    Args:
        teacher: raises `FormatUnsupported` if the endpoint does not take the format.
        structured: the format, or `auto`.
        address: names the endpoint in messages.
        stop: called with the error that stops the run.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        structured: StructuredSetting = "auto",
        address: str,
        stop: Callable[[TeacherRejected], object] = lambda _: None,
    ) -> None:
        self._teacher = teacher
        self._structured = structured
        self._address = address
        self._stop = stop
        self._format: ReplyFormat = choose_first_format(structured)

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request; a reply that does not fit the schema has the outcome `malformed`.

        Raises:
            TeacherRejected: the endpoint rejects every format that the settings allow.
        """
        while True:
            reply_format = self._format
            try:
                return await self._ask(apply_format(request, reply_format))
            except FormatUnsupported as e:
                self._step_down(request, reply_format, e)

    async def _ask(self, request: Request) -> Reply:
        first = attach_object(await self._teacher(request), request)
        if request.schema is None or first.outcome != "malformed" or not first.text:
            return first
        repair = _structured.make_repair_turns(first.text, first.message)
        again = replace(request, messages=(*request.messages, *repair))
        return _add_tokens(first, attach_object(await self._teacher(again), request))

    def _step_down(self, request: Request, tried: ReplyFormat, error: FormatUnsupported) -> None:
        formats = _structured.REPLY_FORMATS
        lower = formats.index(tried) + 1
        if request.schema is None or self._structured != "auto" or lower == len(formats):
            stop = TeacherRejected(
                f"`{self._address}` does not take the requested reply format: {error}; set"
                " `structured` to `auto` or `text`"
            )
            self._stop(stop)
            raise stop from None
        # Another request may have stepped down further in the meantime.
        self._format = formats[max(lower, formats.index(self._format))]


def attach_object(reply: Reply, request: Request) -> Reply:
    """Return the reply with its object, or with the outcome `malformed` if it does not fit."""
    if request.schema is None or reply.outcome != "ok" or reply.parsed is not None:
        return reply
    value, problem = _structured.parse_object(reply.text, request.schema)
    if value is None:
        return replace(reply, outcome="malformed", message=problem)
    return replace(reply, parsed=value)


def _add_tokens(first: Reply, reply: Reply) -> Reply:
    return replace(
        reply,
        prompt_tokens=(first.prompt_tokens or 0) + (reply.prompt_tokens or 0),
        completion_tokens=(first.completion_tokens or 0) + (reply.completion_tokens or 0),
    )
