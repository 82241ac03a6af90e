"""The transport layer: one request as a chat completion over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from safegen.core.hashing import digest
from safegen.core.types import Message, Reply, Request
from safegen.teachers import _structured
from safegen.teachers._client import HttpAnswer, HttpClient, RequestBody
from safegen.teachers._errors import translate_failed_reply
from safegen.teachers._quota import Quota, read_quota
from safegen.teachers._reply import FailedReply, read_reply
from safegen.teachers._settings import Settings


class RawReply(NamedTuple):
    """A reply and the body of the response that holds it."""

    reply: Reply
    body: object


class ChatTransport:
    """A teacher that sends each request once and reads the response.

    Args:
        settings: address, model and parameters.
        on_quota: receives the quota that the headers of an answer state.
    """

    def __init__(
        self, settings: Settings, *, on_quota: Callable[[Quota], None] | None = None
    ) -> None:
        self._settings = settings
        self._on_quota = on_quota
        self._client = HttpClient(
            settings.endpoint,
            connections=settings.concurrency,
            timeout_s=settings.timeout_s,
            max_reply_bytes=settings.max_reply_bytes,
        )

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RetryableError: another attempt may succeed.
            Blocked: the provider rejects the request because of its content.
            AmbiguousRejection: it rejects this request, or all.
            TeacherRejected: it rejects all requests.
            OversizedReply: the answer exceeds `max_reply_bytes`.
        """
        return self._read(await self._client.post(self.body(request)), request)

    async def send(self, request: Request) -> RawReply:
        """Answer one request, and keep the body that holds the reply."""
        answer = await self._client.post(self.body(request))
        return RawReply(self._read(answer, request), answer.body)

    def _read(self, answer: HttpAnswer, request: Request) -> Reply:
        endpoint = self._settings.endpoint
        quota = read_quota(answer.headers) if self._on_quota else None
        if quota is not None and self._on_quota is not None:
            self._on_quota(quota)
        reply = read_reply(answer.body, endpoint.model, is_object=request.schema is not None)
        if isinstance(reply, FailedReply):
            raise translate_failed_reply(
                endpoint,
                reply.error,
                headers=answer.headers,
                is_completion=reply.is_completion,
                http_status=answer.status,
            )
        return reply

    def body(self, request: Request) -> RequestBody:
        """Return the JSON that is sent for a request."""
        messages: list[Message] = [
            {"role": m["role"], "content": _structured.replace_surrogates(m["content"])}
            for m in request.messages
        ]
        if self._settings.fold_system:
            messages = fold_system_turns(messages)
        body: RequestBody = {
            "model": self._settings.endpoint.model,
            "messages": messages,
            "stream": False,
        }
        body |= self._settings.body_fields(request.sample)
        if request.schema is not None:
            response_format = _structured.make_response_format(
                request.schema, request.reply_format or "json_schema"
            )
            if response_format is not None:
                body["response_format"] = response_format
        return body

    def key(self, request: Request) -> str:
        """Return the digest of address, options, body and sample number."""
        body = self.body(request)
        # Every request sends it, so it identifies none.
        del body["stream"]
        return digest([*self._settings.endpoint.identity, body, request.sample])

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        await self._client.aclose()


def fold_system_turns(messages: Sequence[Message]) -> list[Message]:
    """Join the system turns and the first user turn to one user turn."""
    system = [m["content"] for m in messages if m["role"] == "system"]
    turns = [m for m in messages if m["role"] != "system"]
    if not system:
        return turns
    if not turns or turns[0]["role"] != "user":
        return [{"role": "user", "content": "\n\n".join(system)}, *turns]
    first: Message = {"role": "user", "content": "\n\n".join([*system, turns[0]["content"]])}
    return [first, *turns[1:]]
