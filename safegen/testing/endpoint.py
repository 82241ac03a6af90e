"""A fake chat-completions endpoint on 127.0.0.1 that answers, throttles and fails on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from safegen.core.hashing import digest

Body = dict[str, Any]
Head = dict[str, str]
FAULTS = (
    "429 500 400-policy 400 401 404 quota 408 redirect reset cut-json short-body length "
    "content_filter refusal empty no-schema no-choices hang"
).split()
POLICY = {
    "message": "The response was filtered due to the content management policy.",
    "code": "content_filter",
    "type": None,
}
STATUS: dict[str, tuple[int, dict[str, Any]]] = {
    "500": (500, {"message": "the server stumbled"}),
    "400-policy": (400, POLICY),
    "400": (400, {"message": "temperature is out of range", "type": "invalid_request_error"}),
    "401": (401, {"message": "bad key"}),
    "404": (404, {"message": "no such model"}),
    "408": (408, {"message": "too slow"}),
    "quota": (429, {"message": "no quota left", "code": "insufficient_quota"}),
    "redirect": (307, {"message": "elsewhere"}),
    "no-schema": (400, {"message": "`response_format` of type json_schema is not supported"}),
}


def plain_answer(body: Body) -> str:
    """Return a text that depends on the body alone."""
    return f"An answer in plain words, number {digest(body)[:12]}."


class FakeEndpoint:
    """A fake OpenAI-compatible server: HTTP/1.1 with keep-alive, in its own thread.

    Args:
        answer: the text of a reply to a request body.
        fault: one of `FAULTS`, or None, for the nth request (from 0) with this body.
        latency_s: seconds before each reply.
        bucket: `(n, seconds)` answers at most n requests in any such span and 429 to the rest.
        retry_after: `computed` from the bucket, a value for the header, or None for no header.
        extra: further fields of the reply's message.
        path: the path of its address.
        port: 0 for a free one.

    Attributes:
        requests: bodies of the requests in order of arrival; `headers` holds their headers,
            `queries` the parameters of their addresses.
        answered: number of completions by digest of the body; `statuses` counts replies by status.
        max_in_flight: largest number of requests in flight.
        connections: number of TCP connections so far.

    Example:
        >>> with FakeEndpoint(lambda body: "Use a lid.") as fake:
        ...     fake.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(
        self,
        answer: Callable[[Body], str] = plain_answer,
        *,
        fault: Callable[[Body, int], str | None] = lambda body, nth: None,
        latency_s: float = 0.0,
        bucket: tuple[int, float] | None = None,
        retry_after: str | None = "computed",
        extra: dict[str, Any] | None = None,
        path: str = "/v1",
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.fault = fault
        self.latency_s = latency_s
        self.bucket = bucket
        self.retry_after = retry_after
        self.extra = extra or {}
        self._path = path
        self.models: list[str] | None = ["fake"]
        self.date: str | None = None
        self.requests: list[Body] = []
        self.headers: list[Head] = []
        self.queries: list[Head] = []
        self.answered: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.max_in_flight = 0
        self.connections = 0
        self._port = port
        self._in_flight = 0
        self._seen: Counter[str] = Counter()
        self._passed: deque[float] = deque()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The `base_url` of a client."""
        return f"http://127.0.0.1:{self._port}{self._path}"

    @property
    def authorizations(self) -> list[str | None]:
        """The `Authorization` header of each request."""
        return [head.get("authorization") for head in self.headers]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the fake endpoint did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", self._port, backlog=1024)
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(
                asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
            ):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        head = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines) if k}
        data = await reader.readexactly(int(head.get("content-length", "0")))
        if method == "GET" and path == f"{self._path}/models" and self.models is not None:
            listed = {"object": "list", "data": [{"id": m, "object": "model"} for m in self.models]}
            date = {"Date": self.date} if self.date else {}
            return await self._send(writer, 200, listed, date)
        if method != "POST" or path != f"{self._path}/chat/completions":
            return await self._send(writer, 404, {"error": {"message": f"no {method} {path}"}})
        self.queries.append(dict(parse_qsl(query)))
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            return await self._chat(json.loads(data), head, writer)
        finally:
            self._in_flight -= 1

    async def _chat(self, body: Body, head: Head, writer: asyncio.StreamWriter) -> bool:
        key = digest(body)
        nth = self._seen[key]
        self._seen[key] += 1
        self.requests.append(body)
        self.headers.append(head)
        wait = self._wait_s()
        fault = "429" if wait is not None else self.fault(body, nth)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "429":
            retry_after = self._retry_after(wait)
            return await self._send(writer, 429, {"error": {"message": "slow down"}}, retry_after)
        if fault in STATUS:
            status, error = STATUS[fault]
            target = {"Location": "http://127.0.0.1:9/elsewhere"} if fault == "redirect" else {}
            return await self._send(writer, status, {"error": error}, target)
        if fault == "reset":
            writer.transport.abort()
            return False
        reply = self._completion(body, fault)
        if fault in ("cut-json", "short-body"):
            return await self._send_part(writer, reply, declare_all=fault == "short-body")
        self.answered[key] += fault != "no-choices"
        return await self._send(writer, 200, reply)

    def _retry_after(self, wait_s: float | None) -> Head:
        if self.retry_after is None:
            return {}
        value = f"{wait_s or 0:.3f}" if self.retry_after == "computed" else self.retry_after
        return {"Retry-After": value}

    # Seconds until the bucket lets a request pass, or None if it passes now.
    def _wait_s(self) -> float | None:
        if self.bucket is None:
            return None
        limit, span_s = self.bucket
        now = time.monotonic()
        while self._passed and self._passed[0] <= now - span_s:
            self._passed.popleft()
        if len(self._passed) >= limit:
            return self._passed[0] + span_s - now
        self._passed.append(now)
        return None

    def _completion(self, body: Body, fault: str | None) -> Body:
        text = "" if fault in ("empty", "content_filter", "refusal") else self.answer(body)
        message: dict[str, Any] = {"role": "assistant", "content": text} | self.extra
        if fault == "refusal":
            message |= {"content": None, "refusal": "I will not."}
        finish = fault if fault in ("length", "content_filter") else "stop"
        prompt_tokens = sum(len(m["content"]) for m in body["messages"]) // 4 + 1
        return {
            "id": "fake",
            "object": "chat.completion",
            "model": f"{body['model']}-fake",
            "choices": []
            if fault == "no-choices"
            else [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": len(text) // 4 + 1},
        }

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: Body, head: Head | None = None
    ) -> bool:
        self.statuses[status] += 1
        data = json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        lines = "".join(f"{k}: {v}\r\n" for k, v in (fields | (head or {})).items())
        writer.write(f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + data)
        await writer.drain()
        return True

    async def _send_part(
        self, writer: asyncio.StreamWriter, body: Body, *, declare_all: bool
    ) -> bool:
        data = json.dumps(body).encode()
        part = data[: len(data) // 2]
        size = len(data) if declare_all else len(part)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        )
        writer.write(head.encode() + part)
        await writer.drain()
        return not declare_all
