"""The transport layer: one request as a chat completion over HTTP."""

from __future__ import annotations

from safegen.core.hashing import digest
from safegen.core.types import Message, Reply, Request
from safegen.teachers import _structured
from safegen.teachers._client import HttpClient, RequestBody
from safegen.teachers._errors import RetryableError
from safegen.teachers._settings import Settings


class ChatTransport:
    """A teacher that sends each request once and reads the response.

    Args:
        settings: address, model and parameters.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = HttpClient(
            settings.endpoint, connections=settings.concurrency, timeout_s=settings.timeout_s
        )

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RetryableError: another attempt may succeed.
            FormatUnsupported: the endpoint does not take the reply format.
            Blocked: the provider rejects the request because of its content.
            AmbiguousRejection: it rejects this request, or all.
            TeacherRejected: it rejects all requests.
        """
        endpoint = self._settings.endpoint
        reply = _structured.parse_reply(await self._client.post(self.body(request)), endpoint.model)
        if reply is None:
            problem = "answered HTTP `200` with a body that is no chat completion"
            raise RetryableError(f"`{endpoint.base_url}` {problem}", malformed=True)
        return reply

    def body(self, request: Request) -> RequestBody:
        """Return the JSON that is sent for a request."""
        messages: list[Message] = [
            {"role": m["role"], "content": _structured.replace_surrogates(m["content"])}
            for m in request.messages
        ]
        body: RequestBody = {"model": self._settings.endpoint.model, "messages": messages}
        body |= self._settings.body_fields(request.sample)
        if request.schema is not None:
            response_format = _structured.make_response_format(
                request.schema, request.reply_format or "json_schema"
            )
            if response_format is not None:
                body["response_format"] = response_format
        return body

    def key(self, request: Request) -> str:
        """Return the digest of address, body and sample number."""
        return digest([self._settings.endpoint.base_url, self.body(request), request.sample])

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        await self._client.aclose()
