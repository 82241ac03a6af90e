"""The HTTP client: one request, one response, no retry."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from safegen.teachers._bounded_body import (
    ACCEPTED_ENCODINGS,
    MAX_REPLY_BYTES,
    BodyTooLarge,
    UnknownEncoding,
    iter_bounded,
)
from safegen.teachers._error_body import parse_payload
from safegen.teachers._errors import Endpoint, translate_error

if TYPE_CHECKING:
    import httpx2
    import openai

RequestBody = dict[str, object]
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
"""Telemetry headers of the SDK: they describe this machine and cost about 10 % CPU per request."""


class ModelList(NamedTuple):
    """The response to GET /models."""

    names: tuple[str, ...] | None
    """None if the response is no list of models."""
    date: str | None
    """The `Date` header: the endpoint's clock."""


class HttpAnswer(NamedTuple):
    """The body and the headers of a response with a success status."""

    body: object
    """JSON, or text if the body is no JSON."""
    headers: Mapping[str, str]


class HttpClient:
    """An HTTP client with one connection per request in flight.

    The SDK's retries are off, because only the retry layer retries. `post` halves the CPU time per
    request compared with the SDK's `create`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int,
        timeout_s: float,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._timeout_s = timeout_s
        self._max_reply_bytes = max_reply_bytes
        self._client: openai.AsyncOpenAI | None = None

    async def post(self, body: RequestBody) -> HttpAnswer:
        """Send one request and return the response.

        Raises:
            RetryableError: another attempt may succeed.
            Blocked: the provider rejects the request because of its content.
            AmbiguousRejection: the endpoint rejects this request, or all.
            TeacherRejected: the endpoint rejects all requests.
            OversizedReply: the decoded body exceeds the bound.
        """
        import httpx2

        client = self._client = self._client or self._open_client()
        response = await self._receive(
            client.post(
                # A full URL: joining base and path for every request costs 30 us.
                f"{self._endpoint.base_url}/chat/completions",
                cast_to=httpx2.Response,
                body=body,
                options=_auth_options(client),
            )
        )
        return HttpAnswer(parse_body(response.content, self._endpoint.key), response.headers)

    async def models(self) -> ModelList:
        """List the endpoint's models and read its clock.

        Raises:
            RetryableError: another attempt may succeed.
            TeacherRejected: the endpoint rejects all requests, or has no such list.
        """
        import httpx2

        client = self._client = self._client or self._open_client()
        address = f"{self._endpoint.base_url}/models"
        response = await self._receive(
            client.get(address, cast_to=httpx2.Response, options=_auth_options(client))
        )
        return ModelList(
            _model_ids(parse_body(response.content, self._endpoint.key)),
            response.headers.get("date"),
        )

    async def _receive(self, response: Awaitable[httpx2.Response]) -> httpx2.Response:
        import aiohttp
        import httpx2
        import openai

        problem: Exception
        try:
            # The client's own time-out restarts with each chunk; this one bounds the whole attempt.
            async with asyncio.timeout(self._timeout_s):
                return await response
        except (
            openai.OpenAIError,
            aiohttp.ClientError,
            httpx2.HTTPError,
            OSError,
            BodyTooLarge,
            UnknownEncoding,
            zlib.error,
        ) as e:
            problem = translate_error(self._endpoint, e)
        # Raised outside the handler so that no traceback shows the SDK's error, which may quote the key.
        raise problem

    async def aclose(self) -> None:
        """Close the connections; the next `post` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open_client(self) -> openai.AsyncOpenAI:
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
        # The SDK adds headers, organization and project from the environment; only the given key is
        # sent. Any: the SDK's type lacks Omit, which removes a header.
        headers: Any = {n: openai.Omit() for n in names if n and n.lower() != "authorization"}
        key = self._endpoint.key
        headers["Accept-Encoding"] = ACCEPTED_ENCODINGS
        headers["Authorization"] = f"Bearer {key}" if key else openai.Omit()
        client = openai.AsyncOpenAI(
            api_key=key,
            admin_api_key="",
            base_url=self._endpoint.base_url,
            max_retries=0,
            timeout=timeout,
            # A redirect could send the prompt and the key to another host.
            http_client=_bound_replies(
                openai.DefaultAioHttpClient(limits=limits, timeout=timeout, follow_redirects=False),
                self._max_reply_bytes,
            ),
            default_headers=headers,
            _enforce_credentials=False,
        )
        client.organization = client.project = None
        return client


def _bound_replies(client: httpx2.AsyncClient, limit: int) -> httpx2.AsyncClient:
    """Decode the bodies of a client's responses with a bound on their size."""
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream, encoding: str) -> None:
            self._stream = stream
            self._encoding = encoding

        def __aiter__(self) -> AsyncIterator[bytes]:
            chunks = self._stream.__aiter__()
            return iter_bounded(chunks, encoding=self._encoding, limit=limit)

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx2.Response) -> None:
        # The client's own decoder has no bound, so it must find no encoding.
        encoding = response.headers.pop("content-encoding", "")
        stream = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = BoundedStream(stream, encoding)

    client.event_hooks = {"response": [bound]}
    return client


# Any: the SDK's own type for options; Omit keeps its Authorization header out.
def _auth_options(client: openai.AsyncOpenAI) -> Any:  # noqa: ANN401
    import openai

    return {} if client.api_key else {"headers": {"Authorization": openai.Omit()}}


def parse_body(body: bytes, key: str) -> object:
    """Return the JSON of a body without the key, or its text if it is no JSON."""
    body = _redact_key(body, key)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return parse_payload(body.decode("utf-8", "replace"))


def _model_ids(data: object) -> tuple[str, ...] | None:
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
    # A server may echo the key, verbatim or escaped as JSON.
    if len(key) < MIN_SECRET_LENGTH:
        return body
    quoted = json.dumps(key)[1:-1]
    for form in {key, quoted, quoted.replace("/", "\\/")}:
        body = body.replace(form.encode(), b"***")
    return body
