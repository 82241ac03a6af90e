"""One HTTP request and its response, independent of the package that sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from safegen.teachers._endpoint import Endpoint

KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s after which common servers hang up."""
CONNECT_S = 20.0


class SlowConnection(Exception):
    """No connection was opened in time."""


class InvalidHttp(Exception):
    """The answer is not HTTP, or its head is damaged."""


class IncompleteBody(Exception):
    """The connection closed before the end of the body."""


class HttpResponse(NamedTuple):
    """A response of any status with its decoded body."""

    status: int
    headers: Mapping[str, str]
    """Found by names in lower case."""
    content: bytes


class Bounds(NamedTuple):
    """The bounds of the requests to one endpoint."""

    connections: int
    """Connections at most, one for each request in flight."""
    timeout_s: float
    """Seconds for a whole exchange."""
    max_reply_bytes: int
    """Decoded bytes of a body at most."""


class Exchange(Protocol):
    """Sends a request exactly once; it follows no redirect and keeps no cookie."""

    async def send(self, method: str, url: str, body: bytes | None) -> HttpResponse:
        """Send one request with a JSON body, or without a body.

        Raises:
            Exception: a translated error; there was no response, or it exceeds the bound.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        ...


def is_success(status: int) -> bool:
    """Check if a status announces an answer; a redirect does not."""
    return 200 <= status < 300


def make_key_header(endpoint: Endpoint) -> dict[str, str]:
    """Return the header with the key, or none without a key."""
    if not endpoint.key:
        return {}
    if endpoint.is_azure_deployment:
        return {"api-key": endpoint.key}
    return {"Authorization": f"Bearer {endpoint.key}"}
