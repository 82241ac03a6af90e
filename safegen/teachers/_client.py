"""The HTTP client: one request, one response, no retry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from urllib.parse import urlencode

from safegen.teachers._bounded_body import MAX_REPLY_BYTES
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._error_body import decode_json, parse_payload, read_charset
from safegen.teachers._errors import translate_response, unreadable_text_error
from safegen.teachers._exchange import Bounds, Exchange, HttpResponse, is_success
from safegen.teachers._proxy import find_proxy
from safegen.teachers._redaction import redact_body

RequestBody = dict[str, object]
"""The JSON that is sent."""


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
    status: int = 200


class HttpClient:
    """An HTTP client with one connection per request in flight; only the retry layer retries."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int,
        timeout_s: float,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        self._endpoint = endpoint
        self._bounds = Bounds(connections, timeout_s, max_reply_bytes)
        self._exchange: Exchange | None = None
        query = urlencode([(o.name, o.value) for o in endpoint.query])
        self._query = f"?{query}" if query else ""

    async def post(self, body: RequestBody) -> HttpAnswer:
        """Send one request and return the response.

        Raises:
            RetryableError: another attempt may succeed.
            Blocked: the provider rejects the request because of its content.
            AmbiguousRejection: the endpoint rejects this request, or all.
            TeacherRejected: the endpoint rejects all requests.
            OversizedReply: the decoded body exceeds the bound.
        """
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        response = await self._send("POST", "chat/completions", payload.encode("utf-8", "replace"))
        return HttpAnswer(self._parse(response), response.headers, response.status)

    async def models(self) -> ModelList:
        """List the endpoint's models and read its clock.

        Raises:
            RetryableError: another attempt may succeed.
            TeacherRejected: the endpoint rejects all requests, or has no such list.
        """
        response = await self._send("GET", "models", None)
        return ModelList(
            _model_ids(self._parse(response)),
            response.headers.get("date"),
        )

    def _parse(self, response: HttpResponse) -> object:
        text = decode_json(response.content)
        if text is None:
            charset = read_charset(response.headers.get("content-type", ""))
            text = decode_json(response.content, charset)
            # A replaced character would reach the dataset, so damaged text is no answer.
            if text is None:
                raise unreadable_text_error(self._endpoint, charset)
        return parse_body(text, self._endpoint.secrets)

    async def _send(self, method: str, path: str, body: bytes | None) -> HttpResponse:
        exchange = self._exchange = self._exchange or choose_exchange(self._endpoint, self._bounds)
        url = f"{self._endpoint.base_url}/{path}{self._query}"
        response = await exchange.send(method, url, body)
        if is_success(response.status):
            return response
        raise translate_response(
            self._endpoint,
            status=response.status,
            headers=response.headers,
            body=response.content,
        )

    async def aclose(self) -> None:
        """Close the connections; the next `post` opens new ones."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.aclose()


def choose_exchange(endpoint: Endpoint, bounds: Bounds) -> Exchange:
    """Return the direct exchange, or that of the openai package if the proxy needs it."""
    proxy = find_proxy(endpoint.base_url)
    if proxy is None or proxy.is_http:
        from safegen.teachers._direct_exchange import DirectExchange

        return DirectExchange(endpoint, bounds)
    from safegen.teachers._sdk_exchange import SdkExchange

    return SdkExchange(endpoint, bounds)


def parse_body(body: str, secrets: Sequence[str]) -> object:
    """Return the JSON of a body without the secrets, or its text if it is no JSON."""
    for secret in secrets:
        body = redact_body(body, secret)
    return parse_payload(body)


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
