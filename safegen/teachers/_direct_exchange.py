"""Sends requests with aiohttp alone, which costs a third of the CPU time of a full client."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from safegen.core.version import __version__
from safegen.teachers._bounded_body import (
    ACCEPTED_ENCODINGS,
    BodyTooLarge,
    DamagedBody,
    UnknownEncoding,
    iter_bounded,
)
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._errors import translate_network_error, translate_proxy_status
from safegen.teachers._exchange import (
    CONNECT_S,
    KEEP_ALIVE_S,
    Bounds,
    HttpResponse,
    IncompleteBody,
    InvalidHttp,
    SlowConnection,
    is_success,
    make_key_header,
)
from safegen.teachers._proxy import Proxy, find_proxy
from safegen.teachers._tls import make_tls_context

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

# aiohttp warns of a longer body in one piece, because writing it may block the loop.
LARGE_BODY_BYTES = 2**20
# The size of aiohttp's read buffer.
CHUNK_BYTES = 64 * 1024


class _Connection(NamedTuple):
    session: aiohttp.ClientSession
    headers: dict[str, str]
    proxy: str | None
    proxy_headers: dict[str, str] | None


class DirectExchange:
    """An exchange over one `aiohttp.ClientSession`.

    The pool drops an idle connection that the server has closed before a request is written to it.
    A connection that closes later may have delivered the request, so nothing is sent a second time
    here; the retry layer decides and counts.
    """

    def __init__(self, endpoint: Endpoint, bounds: Bounds) -> None:
        self._endpoint = endpoint
        self._bounds = bounds
        self._connection: _Connection | None = None
        self._urls: dict[str, URL] = {}

    async def send(self, method: str, url: str, body: bytes | None) -> HttpResponse:
        """Send one request.

        Raises:
            RetryableError: there was no response.
            OversizedReply: the decoded body of a success exceeds the bound.
        """
        import aiohttp

        problem: Exception
        try:
            return await self._exchange(method, url, body)
        except aiohttp.ServerDisconnectedError:
            problem = translate_network_error(self._endpoint, ConnectionResetError())
        except aiohttp.ClientHttpProxyError as e:
            problem = translate_proxy_status(self._endpoint, e.status)
        except aiohttp.ConnectionTimeoutError:
            problem = translate_network_error(self._endpoint, SlowConnection())
        except aiohttp.ClientPayloadError:
            problem = translate_network_error(self._endpoint, IncompleteBody())
        except aiohttp.ClientResponseError:
            problem = translate_network_error(self._endpoint, InvalidHttp())
        except (
            aiohttp.ClientError,
            OSError,
            # The resolver's error for a host name that DNS cannot hold.
            UnicodeError,
            BodyTooLarge,
            UnknownEncoding,
            DamagedBody,
        ) as e:
            problem = translate_network_error(self._endpoint, e)
        # Raised outside the handler so that no traceback shows aiohttp's error, which holds headers.
        raise problem

    async def _exchange(self, method: str, url: str, body: bytes | None) -> HttpResponse:
        connection = self._connection = self._connection or self._open()
        data = io.BytesIO(body) if body and len(body) > LARGE_BODY_BYTES else body
        async with connection.session.request(
            method,
            self._parse(url),
            data=data,
            # Not the session's own headers: aiohttp would send those, and the key, to the proxy too.
            headers=connection.headers,
            allow_redirects=False,
            proxy=connection.proxy,
            proxy_headers=connection.proxy_headers,
        ) as response:
            content = await self._read(response)
            return HttpResponse(response.status, response.headers, content)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        import aiohttp

        parts: list[bytes] = []
        encoding = response.headers.get("content-encoding", "")
        try:
            chunks: AsyncIterator[bytes] = response.content.iter_chunked(CHUNK_BYTES)
            limit = self._bounds.max_reply_bytes
            async for part in iter_bounded(chunks, encoding=encoding, limit=limit):
                parts.append(part)  # noqa: PERF401  a comprehension would lose the parts of a failure
        except (aiohttp.ClientError, BodyTooLarge, UnknownEncoding, DamagedBody):
            # The status of an error says more than its damaged or endless body.
            if is_success(response.status):
                raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _parse(self, url: str) -> URL:
        # Parsing costs 20 us, and a run has one or two addresses.
        if url not in self._urls:
            from yarl import URL

            self._urls[url] = URL(url, encoded=True)
        return self._urls[url]

    def _open(self) -> _Connection:
        import aiohttp

        base_url, timeout_s = self._endpoint.base_url, self._bounds.timeout_s
        is_tls = base_url.startswith("https:")
        headers = make_headers(self._endpoint)
        proxy = find_proxy(base_url)
        permission = _authorize_proxy(proxy) if proxy else {}
        if not is_tls:
            # Without a tunnel the proxy reads the request's own headers.
            headers |= permission
        connector = aiohttp.TCPConnector(
            limit=self._bounds.connections,
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=make_tls_context() if is_tls or (proxy and proxy.is_tls) else True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            # aiohttp decompresses a whole body, however large it becomes.
            auto_decompress=False,
            # A load balancer's cookie would send all requests to one server.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s)),
        )
        tunnel = permission if is_tls and permission else None
        return _Connection(session, headers, proxy.url if proxy else None, tunnel)

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.session.close()


def make_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of every request; none describes this machine."""
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": ACCEPTED_ENCODINGS,
        "Content-Type": "application/json",
        "User-Agent": f"safegen/{__version__}",
    }
    return headers | make_key_header(endpoint) | {o.name: o.value for o in endpoint.headers}


def _authorize_proxy(proxy: Proxy) -> dict[str, str]:
    if not proxy.user:
        return {}
    pair = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {pair}"}
