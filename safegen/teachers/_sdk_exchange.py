"""Sends requests with the openai package, for proxies that aiohttp does not know (SOCKS)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from safegen.core.errors import TeacherRejected
from safegen.teachers._bounded_body import (
    ACCEPTED_ENCODINGS,
    BodyTooLarge,
    DamagedBody,
    UnknownEncoding,
    iter_bounded,
)
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._errors import translate_error
from safegen.teachers._exchange import (
    CONNECT_S,
    KEEP_ALIVE_S,
    Bounds,
    HttpResponse,
    make_key_header,
)
from safegen.teachers._proxy import find_proxy
from safegen.teachers._tls import make_tls_context

if TYPE_CHECKING:
    import httpx2
    import openai

PLATFORM_HEADERS = [
    f"X-Stainless-{name}"
    for name in "Lang Package-Version OS Arch Runtime Runtime-Version Async".split()
]
"""Telemetry headers of the SDK: they describe this machine."""


class SdkExchange:
    """An exchange over one `openai.AsyncOpenAI`, whose own retries and redirects are off."""

    def __init__(self, endpoint: Endpoint, bounds: Bounds) -> None:
        self._endpoint = endpoint
        self._bounds = bounds
        self._client: openai.AsyncOpenAI | None = None

    async def send(self, method: str, url: str, body: bytes | None) -> HttpResponse:
        """Send one request.

        Raises:
            Exception: a translated error, also for a response with an error status.
            TeacherRejected: no installed package supports the proxy.
        """
        import httpx2
        import openai

        client = self._client = self._client or self._open()
        options = self._auth_options()
        problem: Exception
        try:
            # The client's own time-out restarts with each chunk; this one bounds the whole attempt.
            async with asyncio.timeout(self._bounds.timeout_s):
                if method == "GET":
                    response = await client.get(url, cast_to=httpx2.Response, options=options)
                else:
                    response = await client.post(
                        url,
                        cast_to=httpx2.Response,
                        body=json.loads(body or b"{}"),
                        options=options,
                    )
                return HttpResponse(response.status_code, response.headers, response.content)
        except (
            openai.OpenAIError,
            httpx2.HTTPError,
            OSError,
            BodyTooLarge,
            UnknownEncoding,
            DamagedBody,
        ) as e:
            problem = translate_error(self._endpoint, e)
        # Raised outside the handler so that no traceback shows the SDK's error, which may quote the key.
        raise problem

    # Any: the SDK's own type for options. Omit keeps out the Authorization that it makes of its key.
    def _auth_options(self) -> Any:  # noqa: ANN401
        import openai

        headers = make_key_header(self._endpoint)
        headers |= {o.name.title(): o.value for o in self._endpoint.headers}
        return {"headers": {"Authorization": headers.get("Authorization", openai.Omit())}}

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> openai.AsyncOpenAI:
        import httpx2
        import openai

        limits = httpx2.Limits(
            max_connections=self._bounds.connections,
            max_keepalive_connections=self._bounds.connections,
            keepalive_expiry=KEEP_ALIVE_S,
        )
        timeout = httpx2.Timeout(
            self._bounds.timeout_s, connect=min(CONNECT_S, self._bounds.timeout_s)
        )
        lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
        names = [line.partition(":")[0].strip() for line in lines] + PLATFORM_HEADERS
        # The SDK adds headers, organization and project from the environment; only the given key is
        # sent. Any: the SDK's type lacks Omit, which removes a header.
        headers: Any = {n: openai.Omit() for n in names if n and n.lower() != "authorization"}
        headers["Accept-Encoding"] = ACCEPTED_ENCODINGS
        headers |= make_key_header(self._endpoint)
        headers |= {o.name.title(): o.value for o in self._endpoint.headers}
        try:
            # Not the SDK's aiohttp client, which knows the same proxies as the direct exchange.
            http_client = openai.DefaultAsyncHttpxClient(
                limits=limits,
                timeout=timeout,
                # A redirect could send the prompt and the key to another host.
                follow_redirects=False,
                # Read here, because the client does not say which file it cannot read.
                verify=make_tls_context() if self._endpoint.base_url.startswith("https:") else True,
            )
        except (ImportError, ValueError) as e:
            raise self._reject_proxy(e) from None
        client = openai.AsyncOpenAI(
            api_key="",
            admin_api_key="",
            base_url=self._endpoint.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=_bound_replies(http_client, self._bounds.max_reply_bytes),
            default_headers=headers,
            _enforce_credentials=False,
        )
        client.organization = client.project = None
        return client

    def _reject_proxy(self, error: ImportError | ValueError) -> TeacherRejected:
        proxy = find_proxy(self._endpoint.base_url)
        name = self._endpoint.redact(proxy.url) if proxy else ""
        variable = proxy.variable if proxy else "HTTPS_PROXY"
        if isinstance(error, ImportError):
            return TeacherRejected(
                f"the proxy `{name}` cannot be used: the package `socksio` is missing",
                hint=f"`pip install socksio`, or name an HTTP proxy in `{variable}`",
            )
        return TeacherRejected(
            f"the proxy `{name}` has an unknown scheme",
            hint=f"use `http://`, `https://`, `socks5://` or `socks5h://` in `{variable}`",
        )


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
