"""The layers of an exchange with an endpoint: meter, retries with full jitter, wire."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from safegen.core.errors import BudgetSpent
from safegen.core.types import Reply, Request, Teacher, Usage
from safegen.teachers._errors import Endpoint, RetryableError, translate_error

if TYPE_CHECKING:
    import httpx2
    import openai

Body = dict[str, object]
"""The JSON that is sent."""
MIN_SECRET_LENGTH = 16
"""Shorter keys are placeholders such as `EMPTY` or `ollama`, and words that answers may hold."""
KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which common servers hang up."""
CONNECT_S = 20.0
PLATFORM_HEADERS = [
    f"X-Stainless-{name}"
    for name in "Lang Package-Version OS Arch Runtime Runtime-Version Async".split()
]
"""What the SDK tells about this machine; it is nobody's business, and a tenth of a request's CPU time."""
FIRST_RETRY_WAIT_S = 0.5
MAX_RETRY_WAIT_S = 30.0


class Meter:
    """Counts what is spent and stops before a limit is passed.

    Tokens are known only after an answer, so requests in flight may pass the token limit. What
    earlier sessions of the run spent counts against the limits and not in `usage`.
    """

    def __init__(
        self,
        *,
        requests: int | None = None,
        tokens: int | None = None,
        before: Usage | None = None,
    ) -> None:
        self._before = before or Usage()
        self.in_flight = 0
        self._most_requests = requests
        self._most_tokens = tokens
        self._requests = 0
        self._cached = 0
        self._retries = 0
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._uncounted = False

    def record_request(self, *, retry: bool = False) -> None:
        """Count a request that is about to be sent.

        Raises:
            BudgetSpent: a limit is reached, or cannot be told; nothing is counted.
        """
        if self._most_tokens is not None and self._uncounted:
            raise BudgetSpent(
                "the endpoint counts no tokens, so `budget.tokens` bounds nothing; take it out, set"
                " `budget.requests`, and run the same command again",
                kept=True,
            )
        before = self._before
        earlier = before.prompt_tokens + before.completion_tokens
        tokens = earlier + self._prompt_tokens + self._completion_tokens
        for name, used, most in (
            ("requests", before.requests + self._requests, self._most_requests),
            ("tokens", tokens, self._most_tokens),
        ):
            if most is not None and used >= most:
                raise BudgetSpent(
                    f"the budget of `{most}` {name} is spent; raise `budget.{name}` and run the"
                    " same command again",
                    kept=True,
                )
        self._requests += 1
        self._retries += retry
        self.in_flight += 1

    def record_end(self) -> None:
        """Count a request as no longer in flight."""
        self.in_flight -= 1

    def record_reply(self, reply: Reply) -> None:
        """Count the tokens of an answer."""
        self._uncounted |= reply.prompt_tokens is None and reply.completion_tokens is None
        self._prompt_tokens += reply.prompt_tokens or 0
        self._completion_tokens += reply.completion_tokens or 0

    def record_cache_hit(self) -> None:
        """Count a reply that was already paid for."""
        self._cached += 1

    def usage(self) -> Usage:
        """What this session spent so far."""
        return Usage(
            requests=self._requests,
            cached=self._cached,
            retries=self._retries,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
        )


class MeteredTeacher:
    """A teacher that somebody else made, with its requests and tokens in the run's meter."""

    def __init__(self, teacher: Teacher, meter: Meter) -> None:
        self._teacher, self._meter = teacher, meter

    def __getattr__(self, name: str) -> object:
        """What else the teacher tells of itself, such as its `model`."""
        return getattr(self._teacher, name)

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            BudgetSpent: nothing may be asked any more.
        """
        self._meter.record_request()
        try:
            reply = await self._teacher(request)
        finally:
            self._meter.record_end()
        self._meter.record_reply(reply)
        return reply


async def with_retries(
    attempt: Callable[[bool], Awaitable[Reply]],
    *,
    attempts: int,
    sleep: Callable[[float], Awaitable[None]],
) -> Reply:
    """Call `attempt(is_retry)` until it raises no `RetryableError`, at most `attempts` times.

    Waits are full jitter, exponential from 0.5 s to 30 s, and never shorter than what the endpoint
    asked for; after a 429 they are what it asked for, and jitter only where it named no time.

    Raises:
        Again: the last one, when attempts are used up.
    """
    from tenacity import (
        AsyncRetrying,
        RetryCallState,
        retry_if_exception_type,
        stop_after_attempt,
        wait_random_exponential,
    )

    jitter = wait_random_exponential(multiplier=FIRST_RETRY_WAIT_S, max=MAX_RETRY_WAIT_S)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, RetryableError):
            return jitter(state)
        if error.limited and error.after_s is not None:
            return error.after_s
        return max(jitter(state), error.after_s or 0.0)

    retrying = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        retry=retry_if_exception_type(RetryableError),
        wait=wait,
        sleep=sleep,
        reraise=True,
    )
    async for state in retrying:
        with state:
            return await attempt(state.retry_state.attempt_number > 1)
    raise AssertionError("tenacity ends with an answer or an error")


class ModelList(NamedTuple):
    """What GET /models says."""

    names: tuple[str, ...] | None
    """None where the answer is no list of models."""
    date: str | None
    """The endpoint's clock, as the `Date` header has it."""


class Transport:
    """The HTTP side: one client with as many connections as requests under way.

    The SDK's retries are off, and `post` in place of `create` halves the CPU time per request.
    """

    def __init__(self, caller: Endpoint, *, connections: int, timeout_s: float) -> None:
        self._caller = caller
        self._connections = connections
        self._timeout_s = timeout_s
        self._client: openai.AsyncOpenAI | None = None

    async def post(self, body: Body) -> object:
        """Send one request; the JSON of its answer, or None when it is not JSON.

        Raises:
            Again: another attempt may mend it.
            FormatUnsupported: the endpoint does not take the `response_format`.
            Blocked: the provider rejected the request for what it says.
            Doubtful: it rejected this request, or any.
            TeacherRejected: the endpoint will not serve us.
        """
        import httpx2

        client = self._client = self._client or self._open_client()
        return _parse_json(
            await self._receive(
                client.post(
                    # The whole address: joining it anew for every request costs 30 us.
                    f"{self._caller.base_url}/chat/completions",
                    cast_to=httpx2.Response,
                    body=body,
                    options=_without_sdk_retries(client),
                )
            ),
            self._caller.key,
        )

    async def models(self) -> ModelList:
        """Ask which models there are, and what time it is there.

        Raises:
            Again: another attempt may mend it.
            TeacherRejected: the endpoint will not serve us, or keeps no such list.
        """
        import httpx2

        client = self._client = self._client or self._open_client()
        address = f"{self._caller.base_url}/models"
        response = await self._receive(
            client.get(address, cast_to=httpx2.Response, options=_without_sdk_retries(client))
        )
        return ModelList(
            _model_ids(_parse_json(response, self._caller.key)), response.headers.get("date")
        )

    async def _receive(self, response: Awaitable[httpx2.Response]) -> httpx2.Response:
        """The answer in time, or what went wrong in safegen's words."""
        import aiohttp
        import httpx2
        import openai

        problem: Exception
        try:
            async with asyncio.timeout(self._timeout_s):
                return await response
        except (openai.OpenAIError, aiohttp.ClientError, httpx2.HTTPError, OSError) as e:
            problem = translate_error(self._caller, e)
        raise problem  # outside of the handler: the SDK's error may quote the key

    async def aclose(self) -> None:
        """Close the connections; the next `post` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open_client(self) -> openai.AsyncOpenAI:
        """A client that sends the key it was given, and nothing else from the environment."""
        import httpx2
        import openai

        limits = httpx2.Limits(
            max_connections=self._connections,
            max_keepalive_connections=self._connections,
            keepalive_expiry=KEEP_ALIVE_S,
        )
        timeout = httpx2.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s))
        lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
        names = [line.partition(":")[0].strip() for line in lines] + PLATFORM_HEADERS
        # Any: the SDK takes Omit here, to undo a header that it reads from the environment.
        headers: Any = {n: openai.Omit() for n in names if n and n.lower() != "authorization"}
        key = self._caller.key
        headers["Authorization"] = f"Bearer {key}" if key else openai.Omit()
        client = openai.AsyncOpenAI(
            api_key=key,
            admin_api_key="",
            base_url=self._caller.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(
                limits=limits, timeout=timeout, follow_redirects=False
            ),
            default_headers=headers,
            _enforce_credentials=False,
        )
        client.organization = client.project = None
        return client


# Any: the SDK's own type for options; Omit keeps its Authorization header out.
def _without_sdk_retries(client: openai.AsyncOpenAI) -> Any:  # noqa: ANN401
    import openai

    return {} if client.api_key else {"headers": {"Authorization": openai.Omit()}}


def _parse_json(response: httpx2.Response, key: str) -> object:
    """The JSON of an answer without the key in it, or None when it is not JSON."""
    try:
        return json.loads(_redact_key(response.content, key))
    except (ValueError, RecursionError):
        return None


def _model_ids(data: object) -> tuple[str, ...] | None:
    """The ids of a list of models."""
    listed = cast("dict[str, object]", data).get("data") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        return None
    ids = [
        cast("dict[str, object]", entry).get("id")
        for entry in cast("list[object]", listed)
        if isinstance(entry, dict)
    ]
    return tuple(name for name in ids if isinstance(name, str))


def _redact_key(body: bytes, key: str) -> bytes:
    """A body that does not echo the key, as it is or as JSON writes it."""
    if len(key) < MIN_SECRET_LENGTH:
        return body
    quoted = json.dumps(key)[1:-1]
    for form in {key, quoted, quoted.replace("/", "\\/")}:
        body = body.replace(form.encode(), b"***")
    return body
