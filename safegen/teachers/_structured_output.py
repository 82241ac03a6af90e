"""The structured-output layers: request JSON in a format that the endpoint takes, repair once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import get_args

from safegen.core.arguments import check_callable, check_choice
from safegen.core.errors import TeacherRejected
from safegen.core.types import Reply, ReplyFormat, Request, Teacher
from safegen.teachers import _structured
from safegen.teachers._errors import AmbiguousRejection, RetryableError
from safegen.teachers._settings import StructuredSetting
from safegen.teachers._structured import REPLY_FORMATS

ACCOUNT_STATUSES = frozenset({401, 402, 407, 429})
"""Rejections that mostly concern the account. One request without a format shows if they do not."""
TESTED_LIMITS = frozenset({2, 6})
"""Numbers of 429s for a format without an answer, at which a request without a format is sent."""
MAX_SERVER_ERRORS = 6
"""HTTP 5xx after which no lower format is tried any more: the server is down."""


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


class FormatMemory:
    """The reply formats of an endpoint, as far as its answers show them."""

    def __init__(self, first: ReplyFormat = "json_schema") -> None:
        self.format: ReplyFormat = first
        self.confirmed: set[ReplyFormat] = set()
        """Formats that the endpoint answered."""
        self.server_errors = 0
        """HTTP 5xx and bodies without an answer for the present format since its last answer."""
        self.limits = 0
        """HTTP 429 for the present format since its last answer."""
        self.account_tested: set[ReplyFormat] = set()
        """Formats whose rejection by the account was tested without a format."""
        self.lock = asyncio.Lock()

    def confirm(self, reply_format: ReplyFormat) -> None:
        """Note that the endpoint answered a request in this format."""
        self.confirmed.add(reply_format)
        self.server_errors = self.limits = 0


class FormatFallbackTeacher:
    """A teacher that sends requests with a schema in a format that the endpoint takes.

    With `auto` it starts with `json_schema`. If the endpoint fails such a request, the same request
    is sent with `json_object` and then without a format. The first that is answered stays in use.

    Args:
        teacher: makes one attempt.
        structured: the format, or `auto`.
        memory: shared by the teachers of one endpoint and model.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        structured: StructuredSetting = "auto",
        memory: FormatMemory | None = None,
    ) -> None:
        check_callable("teacher", teacher)
        check_choice("structured", structured, get_args(StructuredSetting))
        self._teacher = teacher
        self._structured: StructuredSetting = structured
        self._memory = memory or FormatMemory()

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RetryableError: another attempt may succeed.
            AmbiguousRejection: the endpoint rejects this request, or all, in every format.
            TeacherRejected: the endpoint rejects all requests.
        """
        if request.schema is None:
            return await self._teacher(request)
        if self._structured != "auto":
            fixed = choose_first_format(self._structured)
            return await self._teacher(apply_format(request, fixed))
        tried = self._memory.format
        try:
            reply = await self._teacher(apply_format(request, tried))
        except (AmbiguousRejection, RetryableError, TeacherRejected) as e:
            if not self._may_be_format(e, tried):
                raise
            error = e
        else:
            self._memory.confirm(tried)
            return reply
        async with self._memory.lock:
            if _is_account_fault(error):
                return await self._test_account(request, tried, error)
            return await self._step_down(request, tried, error)

    def _may_be_format(self, error: Exception, tried: ReplyFormat) -> bool:
        if tried == REPLY_FORMATS[-1] or tried in self._memory.confirmed:
            return False
        if isinstance(error, RetryableError):
            return self._may_be_unreadable_format(error)
        if isinstance(error, AmbiguousRejection):
            return error.rejected.status is not None
        return _read_status(error) not in {None, *ACCOUNT_STATUSES}

    def _may_be_unreadable_format(self, error: RetryableError) -> bool:
        if error.limited:
            self._memory.limits += 1
            return self._memory.limits in TESTED_LIMITS
        if error.status is None:
            return False
        # One HTTP 5xx may be an accident, so the first is retried in the same format.
        self._memory.server_errors += 1
        return 2 <= self._memory.server_errors <= MAX_SERVER_ERRORS

    async def _test_account(self, request: Request, tried: ReplyFormat, error: Exception) -> Reply:
        """Send the request without a format; step down by one format if it is answered."""
        memory, plain = self._memory, REPLY_FORMATS[-1]
        if memory.format != tried:
            return await self._step_down(request, tried, error)
        if tried in memory.account_tested:
            raise error
        if not isinstance(error, RetryableError):
            memory.account_tested.add(tried)
        try:
            reply = await self._teacher(apply_format(request, plain))
        except (AmbiguousRejection, RetryableError, TeacherRejected):
            raise error from None
        again = await self._recheck(request, tried, error)
        if again is not None:
            return again
        memory.confirm(plain)
        # The format in between may work; the next request tries it.
        memory.format = REPLY_FORMATS[REPLY_FORMATS.index(tried) + 1]
        return reply

    async def _step_down(self, request: Request, tried: ReplyFormat, error: Exception) -> Reply:
        # Another request may have stepped down further in the meantime.
        last = max(REPLY_FORMATS.index(tried), REPLY_FORMATS.index(self._memory.format) - 1)
        for lower in REPLY_FORMATS[last + 1 :]:
            try:
                reply = await self._teacher(apply_format(request, lower))
            except (AmbiguousRejection, RetryableError, TeacherRejected):
                continue
            again = await self._recheck(request, tried, error)
            if again is not None:
                return again
            self._memory.format = lower
            self._memory.confirm(lower)
            return reply
        # Without a format it fails too, so the format is not the cause.
        raise error

    async def _recheck(
        self, request: Request, tried: ReplyFormat, error: Exception
    ) -> Reply | None:
        """Send the first format again after a passing error; return the reply if there is one."""
        # A server that was loading its model recovers between two requests.
        if not isinstance(error, RetryableError):
            return None
        try:
            reply = await self._teacher(apply_format(request, tried))
        except (AmbiguousRejection, RetryableError, TeacherRejected):
            return None
        self._memory.confirm(tried)
        return reply


def _read_status(error: Exception) -> int | None:
    if isinstance(error, AmbiguousRejection):
        error = error.rejected
    return error.status if isinstance(error, TeacherRejected | RetryableError) else None


def _is_account_fault(error: Exception) -> bool:
    if isinstance(error, AmbiguousRejection) and error.is_account:
        return True
    return _read_status(error) in ACCOUNT_STATUSES


class StructuredTeacher:
    """A teacher whose replies to requests with a schema carry the parsed object.

    A reply that does not satisfy the schema gets one repair turn.
    """

    def __init__(self, teacher: Teacher) -> None:
        check_callable("teacher", teacher)
        self._teacher = teacher

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request; a reply that does not fit the schema has the outcome `malformed`."""
        answer = await self._teacher(request)
        first = attach_object(answer, request)
        if request.schema is None or answer.outcome != "ok" or first.outcome != "malformed":
            return first
        repair = _structured.make_repair_turns(first.text, first.message)
        again = replace(request, messages=(*request.messages, *repair))
        return _add_tokens(first, attach_object(await self._teacher(again), request))


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
