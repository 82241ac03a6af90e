"""The endpoint of a teacher: address, model, key and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from safegen.teachers._redaction import redact_secret
from safegen.teachers._request_options import Option

MAX_SHOWN_CHARS = 200
"""Characters of a provider's message that are shown or stored."""


class CachedAddress(NamedTuple):
    """The part of an address that the cache key holds."""

    base_url: str
    query: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address, model, key and options of an endpoint; `redact` removes secrets from messages."""

    base_url: str
    model: str
    key_env: str | None
    key: str
    headers: tuple[Option, ...] = ()
    query: tuple[Option, ...] = ()
    cached_as: CachedAddress | None = None
    """Address and query in the cache key, if they differ from those of the requests."""

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r}, {self.key_env!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the secret values of headers and query, the longest first."""
        values = {o.value for o in (*self.headers, *self.query) if o.is_secret} | {self.key}
        # A short secret inside of a long one would leave the rest of the long one readable.
        return tuple(sorted((v for v in values if v), key=len, reverse=True))

    @property
    def account(self) -> tuple[object, ...]:
        """A value that is equal for endpoints with one address, key, headers and query."""
        return self.base_url, self.key, self.headers, self.query

    @property
    def identity(self) -> list[object]:
        """The part of the cache key: address, names of all options, values of those not secret."""
        address, query = self.cached_as or (self.base_url, self.query)
        options = [
            {o.name.lower() if kind == "headers" else o.name: _public_value(o) for o in values}
            for kind, values in (("headers", self.headers), ("query", query))
        ]
        return [address, *([options] if any(options) else [])]

    @property
    def is_azure_deployment(self) -> bool:
        """True for addresses of Azure that name a deployment; they read the key in `api-key`."""
        return "/openai/deployments/" in f"{urlsplit(self.base_url).path}/"

    def redact(self, message: object) -> str:
        """Remove secrets and control characters from a message and cut it at 200 characters."""
        # A provider may return a page of several MB.
        text = str(message)[: MAX_SHOWN_CHARS * 100]
        for secret in self.secrets:
            text = redact_secret(text, secret)
        printable = "".join(c if c.isprintable() else " " for c in text[: MAX_SHOWN_CHARS * 4])
        return " ".join(printable.split())[:MAX_SHOWN_CHARS]


def _public_value(option: Option) -> str | None:
    return None if option.is_secret else option.value
