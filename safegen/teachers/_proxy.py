"""The proxy that the environment names for an address."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass


class Proxy(NamedTuple):
    """The address of a proxy without user info, and its credentials."""

    url: str
    user: str
    password: str
    variable: str = ""
    """Environment variable that names it; the one for the scheme if the system's settings do."""

    @property
    def is_tls(self) -> bool:
        """True if the connection to the proxy itself is encrypted."""
        return self.url.startswith("https:")

    @property
    def is_http(self) -> bool:
        """True for an HTTP proxy; others, such as SOCKS, need another transport."""
        return self.url.startswith(("http:", "https:"))

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"


def find_proxy(url: str) -> Proxy | None:
    """Return the proxy for an address, or None.

    Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, and the system settings of macOS
    and Windows.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    kind = parts.scheme if proxies.get(parts.scheme) else "all"
    address = proxies.get(kind)
    if not address or not parts.hostname or proxy_bypass(parts.netloc):
        return None
    if "://" not in address:
        address = f"http://{address}"
    proxy = urlsplit(address)
    host = proxy.netloc.rpartition("@")[2]
    return Proxy(
        f"{proxy.scheme}://{host}",
        unquote(proxy.username or ""),
        unquote(proxy.password or ""),
        f"{kind.upper()}_PROXY",
    )
