"""Any endpoint that speaks OpenAI's chat completions: one HTTP exchange per attempt.

The order of the layers: journal, budget, retries, gate, wire. A reply is in the journal before its
slot is free, so whatever was paid for survives a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from safegen.core.errors import Blocked, RunError, TeacherRejected, TeacherUnavailable
from safegen.core.hashing import digest
from safegen.core.types import Message, Reply, Request, Sampling
from safegen.store.journal import Journal, stored_key
from safegen.teachers import _settings, _structured
from safegen.teachers._client import Body, Meter, Transport, with_retries
from safegen.teachers._errors import (
    AmbiguousRejection,
    Endpoint,
    FormatUnsupported,
    RetryableError,
    error_for_reply,
)
from safegen.teachers._rate_limit import RateLimiter, RateLimiters
from safegen.teachers._settings import Settings, StructuredSetting

OUTAGE_FAILURES = 8
"""Requests that go unanswered in a row, after all their attempts, before the run stops."""
OUTAGE_REJECTIONS = 3
"""Refused requests in a row, before any answer, after which it is not the requests but the settings."""
RESUME_HINT = "run the same command again"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request on its way: what is asked, and under which key its reply is kept."""

    request: Request
    base: str
    key: str


def openai_chat(
    *,
    base_url: str,
    model: str,
    api_key_env: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    max_completion_tokens: int | None = None,
    seed: int | None = None,
    extra: Mapping[str, object] | None = None,
    concurrency: int = 64,
    attempts: int = 6,
    timeout_s: float = 120,
    structured: StructuredSetting = "auto",
    journal: Journal | None = None,
    meter: Meter | None = None,
    gates: RateLimiters | None = None,
) -> OpenAIChatTeacher:
    """Build a teacher from an OpenAI-compatible endpoint.

    Args:
        base_url: such as `https://api.example.org/v1`; http or https, without user info.
        model: as the endpoint names it.
        api_key_env: environment variable with the key, ending in `_API_KEY`; None sends no key.
        temperature: 0 to 2; None leaves the endpoint's default, as below.
        top_p: above 0, at most 1.
        max_tokens: at least 1.
        max_completion_tokens: at least 1; what OpenAI's reasoning models take in its place.
        seed: sent plus the number of the sample, so that samples differ; None sends none (the
            recipe's own seed is never sent), since strict servers refuse it.
        extra: further fields of the body, such as `top_k` or `reasoning_effort`; part of the key
            under which replies are kept.
        concurrency: requests under way, at most; 1 to 10 000.
        attempts: tries per request, the first included; 1 to 100.
        timeout_s: seconds for one try.
        structured: how to ask for JSON; `auto` finds out what the endpoint takes.
        journal: where replies are kept; None keeps none.
        meter: counts and bounds what is spent.
        gates: shared by teachers, so that `concurrency` bounds an address and key, not a teacher;
            the smallest counts.

    Raises:
        ValueError: a value that cannot be.
        ConfigError: the key's variable is not set.
    """
    settings = Settings(
        endpoint=_settings.make_endpoint(base_url, model, api_key_env),
        sampling=Sampling(temperature, top_p, max_tokens, seed),
        concurrency=concurrency,
        attempts=attempts,
        timeout_s=timeout_s,
        structured=structured,
        max_completion_tokens=max_completion_tokens,
        extra=_settings.check_extra(extra),
    ).validate()
    return OpenAIChatTeacher(settings, journal=journal, meter=meter, gates=gates)


class OpenAIChatTeacher:
    """A teacher behind HTTP. Bound to the event loop of its first call; close it with `aclose`."""

    name = "openai_chat"

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Journal | None = None,
        meter: Meter | None = None,
        gates: RateLimiters | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = settings.endpoint.model
        self.concurrency = settings.concurrency
        self._settings = settings
        self._journal = journal
        self._meter = meter or Meter()
        self._sleep = sleep
        self._gate = _make_limiter(settings, gates, sleep)
        self._wire = Transport(
            settings.endpoint, connections=settings.concurrency, timeout_s=settings.timeout_s
        )
        self._mode: _structured.ReplyFormat = _first_format(settings.structured)
        self._answered = False
        self._refused = self._unanswered = 0

    @property
    def endpoint(self) -> Endpoint:
        """Where it is, which model, and under which key."""
        return self._settings.endpoint

    def __repr__(self) -> str:
        return f"Endpoint({self._settings.endpoint.base_url!r}, {self.model!r})"

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request, from the journal where it is there.

        Raises:
            ItemError: this request is lost.
            RunError: the endpoint or the budget ends the run, or the journal cannot be used.
        """
        base = self.request_key(request)
        call = _Call(request, base, self._stored_key(base, request))
        kept = None if self._journal is None else self._journal.get(call.key)
        if kept is None:
            return self._deliver(await self._request_reply(call), call)
        self._meter.record_cache_hit()
        return self._deliver(self._parse_reply(kept, call), call)

    def request_key(self, request: Request) -> str:
        """What `retry` raises and `Reply.key` holds: address, body as sent, number of the sample.

        The body is that of the configured way to ask for JSON, so that an endpoint which takes less
        does not change the key.
        """
        body = self._body(request, _first_format(self._settings.structured))
        return digest([self._settings.endpoint.base_url, body, request.sample])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    def _stored_key(self, base: str, request: Request) -> str:
        raised = 0 if self._journal is None else self._journal.ask_number(base)
        return stored_key(base, request.ask + raised)

    def _body(self, request: Request, mode: _structured.ReplyFormat) -> Body:
        schema = request.schema
        messages: list[Message] = [
            {"role": m["role"], "content": _structured.replace_surrogates(m["content"])}
            for m in request.messages
        ]
        if schema is not None and mode != "json_schema":
            messages = _structured.add_schema_instruction(messages, schema)
        body: Body = {"model": self.model, "messages": messages}
        body |= self._settings.body_fields(request.sample)
        if schema is not None and (reply_format := _structured.make_response_format(schema, mode)):
            body["response_format"] = reply_format
        return body

    async def _request_reply(self, call: _Call) -> Reply:
        """Ask, in the strictest way of asking for JSON that the endpoint takes."""
        while True:
            mode = self._mode
            try:
                return await self._request_object(call, self._body(call.request, mode))
            except FormatUnsupported as e:
                lower = _structured.REPLY_FORMATS.index(mode) + 1
                fixed = call.request.schema is None or self._settings.structured != "auto"
                if fixed or lower == len(_structured.REPLY_FORMATS):
                    self._fail_all(
                        f"`{self._settings.endpoint.base_url}` will not answer in the format asked"
                        f" for: {e}; set `structured` to `auto` or `text`"
                    )
                now = max(lower, _structured.REPLY_FORMATS.index(self._mode))
                self._mode = _structured.REPLY_FORMATS[now]

    async def _request_object(self, call: _Call, body: Body) -> Reply:
        """One turn; a second one where the answer does not fit the schema."""
        first = await self._request_with_retries(call, body, last=call.request.schema is None)
        if first.outcome != "malformed" or call.request.schema is None or not first.text:
            return first
        messages = [*_messages(body), *_structured.make_repair_turns(first.text, first.message)]
        return await self._request_with_retries(
            call, body | {"messages": messages}, last=True, spent=first
        )

    async def _request_with_retries(
        self, call: _Call, body: Body, *, last: bool, spent: Reply | None = None
    ) -> Reply:
        """An answer after as many attempts as it takes; kept, unless a repair turn follows."""

        async def attempt(retry: bool) -> Reply:
            try:
                return await held(retry)
            except RunError as e:
                # Nobody else starts; what is under way was paid for, so its replies are kept first.
                self._gate.fail_waiters(e)
                await self._gate.wait_until_idle()
                raise

        async def held(retry: bool) -> Reply:
            async with self._gate as slot:
                try:
                    reply = await self._exchange(body, retry=retry)
                except RetryableError as e:
                    if e.limited:
                        self._gate.record_throttle(e.after_s, slot=slot)
                    raise
                except (Blocked, AmbiguousRejection) as e:
                    reply = self._blocked_reply(e)
                self._gate.record_success()
                self._unanswered = 0
                reply = _add_tokens(self._parse_reply(reply, call), spent)
                if last or reply.outcome != "malformed":
                    await self._store_reply(call, reply)
                return reply

        settings = self._settings
        try:
            return await with_retries(attempt, attempts=settings.attempts, sleep=self._sleep)
        except RetryableError as e:
            message = f"{e} (`{settings.attempts}` attempts)"
            if not e.malformed:
                self._check_outage(message)
                raise TeacherUnavailable(f"{message}; run the same command again") from None
        reply = Reply("", self.model, outcome="malformed", message=message)
        reply = _add_tokens(reply, spent)
        await self._store_reply(call, reply)
        return reply

    async def _exchange(self, body: Body, *, retry: bool) -> Reply:
        """One HTTP exchange, counted."""
        self._meter.record_request(retry=retry)
        try:
            data = await self._wire.post(body)
        finally:
            self._meter.record_end()
        reply = _structured.parse_reply(data, self.model)
        if reply is None:
            message = "answered HTTP `200` with a body that is no chat completion"
            raise RetryableError(f"`{self._settings.endpoint.base_url}` {message}", malformed=True)
        self._meter.record_reply(reply)
        self._answered = True
        self._refused = 0
        return reply

    def _blocked_reply(self, error: Blocked | AmbiguousRejection) -> Reply:
        """A lost item, where it is about the item: the endpoint says so, or it answers others.

        Raises:
            TeacherUnavailable: it has not yet; nothing is kept, so the same command asks again.
            TeacherRejected: it has refused some in a row and answered none.
        """
        if isinstance(error, Blocked) or self._answered:
            return Reply("", self.model, outcome="blocked", message=str(error))
        self._refused += 1
        if self._refused >= OUTAGE_REJECTIONS:
            raise error.rejected from None
        raise TeacherUnavailable(f"{error.rejected}; run the same command again") from None

    def _parse_reply(self, reply: Reply, call: _Call) -> Reply:
        """The reply with its object, or marked as malformed."""
        if call.request.schema is None or reply.outcome != "ok":
            return reply
        parsed, wrong = _structured.parse_object(reply.text, call.request.schema)
        if parsed is None:
            return replace(reply, outcome="malformed", message=wrong)
        return replace(reply, parsed=parsed)

    async def _store_reply(self, call: _Call, reply: Reply) -> None:
        if self._journal is not None:
            await self._journal.put(call.key, reply)

    def _deliver(self, reply: Reply, call: _Call) -> Reply:
        error = error_for_reply(reply)
        if error is not None:
            error.key = call.base
            raise error
        return replace(reply, key=call.base)

    def _check_outage(self, message: str) -> None:
        """Stop the run where the endpoint answers nobody any more: asking on would only lose items."""
        self._unanswered += 1
        if self._unanswered >= OUTAGE_FAILURES:
            self._fail_all(
                f"{message}, {OUTAGE_FAILURES} requests in a row; is it running? {RESUME_HINT}",
                kept=True,
            )

    def _fail_all(self, message: str, *, kept: bool = False) -> NoReturn:
        error = TeacherRejected(message, kept=kept)
        self._gate.fail_waiters(error)
        raise error from None


def _make_limiter(
    settings: Settings, gates: RateLimiters | None, sleep: Callable[[float], Awaitable[None]]
) -> RateLimiter:
    """The endpoint's own gate, or the one that it shares."""
    caller = settings.endpoint
    if gates is None:
        return RateLimiter(settings.concurrency, sleep=sleep)
    return gates.limiter_for(caller.base_url, caller.key, limit=settings.concurrency)


def _messages(body: Body) -> list[Message]:
    # Any: `_body` put them there.
    messages: Any = body["messages"]
    return list(messages)


def _first_format(structured: StructuredSetting) -> _structured.ReplyFormat:
    return "json_schema" if structured == "auto" else structured


def _add_tokens(reply: Reply, spent: Reply | None) -> Reply:
    """The reply with the tokens of the turn before it."""
    if spent is None:
        return reply
    return replace(
        reply,
        prompt_tokens=(spent.prompt_tokens or 0) + (reply.prompt_tokens or 0),
        completion_tokens=(spent.completion_tokens or 0) + (reply.completion_tokens or 0),
    )
