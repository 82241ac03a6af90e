from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from safegen.core.errors import TeacherRejected
from safegen.teachers._client import HttpClient, choose_exchange
from safegen.teachers._direct_exchange import DirectExchange
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._errors import OversizedReply, RetryableError
from safegen.teachers._exchange import Bounds, Exchange
from safegen.teachers._proxy import Proxy, find_proxy
from safegen.teachers._sdk_exchange import SdkExchange
from safegen.teachers._tls import make_tls_context
from safegen.testing import FakeEndpoint

KEY = "sk-a-long-secret-value"
BOUNDS = Bounds(connections=2, timeout_s=20, max_reply_bytes=100_000)
EXCHANGES = pytest.mark.parametrize("make", [DirectExchange, SdkExchange])
Make = Callable[[Endpoint, Bounds], Exchange]
PROXY_NAMES = "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY".split()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Served:
    """The heads of the requests that a loopback server received."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.url = ""


@asynccontextmanager
async def serve(*responses: bytes, close: bool = False) -> AsyncIterator[Served]:
    """Answer the nth request with the nth response, and the last one again; nothing hangs up."""
    served = Served()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                served.heads.append(head)
                lines = [line.partition(":") for line in head.lower().split("\r\n")]
                size = next((int(v) for k, _, v in lines if k == "content-length"), 0)
                await reader.readexactly(size)
                answer = responses[min(len(served.heads), len(responses)) - 1]
                writer.write(answer)
                await writer.drain()
                if close or not answer:
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield served
    finally:
        server.close()


@asynccontextmanager
async def client(url: str, **values: Any) -> AsyncIterator[HttpClient]:
    endpoint = Endpoint(url, "m", "MY_API_KEY", KEY)
    made = HttpClient(endpoint, connections=2, timeout_s=values.pop("timeout_s", 20), **values)
    try:
        yield made
    finally:
        await made.aclose()


def response(body: bytes, *, status: int = 200, **headers: str) -> bytes:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body


@EXCHANGES
async def test_exchange_returns_body_and_headers(make: Make) -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with serve(response(packed, Content_Encoding="gzip", X_Mine="yes")) as served:
        exchange = make(Endpoint(served.url, "m", "MY_API_KEY", KEY), BOUNDS)
        answer = await exchange.send("POST", f"{served.url}/x", b'{"b":2}')
        await exchange.aclose()
    assert (answer.status, answer.content) == (200, b'{"a": 1}')
    assert answer.headers.get("x-mine") == "yes"
    assert served.heads[0].startswith("POST /v1/x HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}" in served.heads[0].lower()
    assert not any(f"x-stainless-{n}" in served.heads[0].lower() for n in ("os", "arch", "lang"))


@EXCHANGES
async def test_exchange_sends_equal_bytes_of_body(make: Make) -> None:
    with FakeEndpoint() as fake:
        exchange = make(Endpoint(fake.url, "m", None, ""), BOUNDS)
        body = {"model": "m", "messages": [{"role": "user", "content": "Soße?"}]}
        sent = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        await exchange.send("POST", f"{fake.url}/chat/completions", sent)
        await exchange.aclose()
        assert fake.requests == [body]
        assert fake.headers[0]["content-length"] == str(len(sent))
        assert fake.authorizations == [None]


@EXCHANGES
async def test_exchange_bounds_a_decoded_body(make: Make) -> None:
    packed = gzip.compress(b" " * 1_000_000)
    async with serve(response(packed, Content_Encoding="gzip")) as served:
        exchange = make(Endpoint(served.url, "m", None, ""), BOUNDS)
        with pytest.raises(OversizedReply):
            await exchange.send("POST", f"{served.url}/x", b"{}")
        await exchange.aclose()


@pytest.mark.parametrize("status", [301, 307, 400, 429, 500, 503])
async def test_error_status_is_requested_once(status: int) -> None:
    body = b'{"error": {"message": "the oven is cold"}}'
    async with serve(response(body, status=status, Location="/v1/y")) as served:
        async with client(served.url) as http:
            with pytest.raises(Exception, match="the oven is cold"):
                await http.post({})
        assert len(served.heads) == 1


async def test_other_success_status_is_an_answer() -> None:
    async with serve(response(b'{"a": 1}', status=201)) as served, client(served.url) as http:
        assert (await http.post({})).body == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        response(b"no gzip", status=503, Content_Encoding="gzip"),
        response(b"odd", status=503, Content_Encoding="zstd"),
        response(b"x" * 200_000, status=503),
    ],
    ids=["damaged", "unknown", "long"],
)
async def test_status_counts_if_error_body_is_unreadable(body: bytes) -> None:
    async with serve(body) as served, client(served.url, max_reply_bytes=1000) as http:
        with pytest.raises(RetryableError, match="HTTP `503`") as caught:
            await http.post({})
    assert caught.value.status == 503


async def test_connection_closed_while_idle_is_replaced() -> None:
    async with serve(response(b"{}"), close=True) as served, client(served.url) as http:
        for _ in range(4):
            await http.post({})
            await asyncio.sleep(0)
        assert len(served.heads) == 4


async def test_request_without_answer_is_sent_once() -> None:
    async with serve(response(b"{}"), b"") as served, client(served.url) as http:
        await http.post({})
        with pytest.raises(RetryableError, match="the connection was closed"):
            await http.post({})
        assert len(served.heads) == 2


@EXCHANGES
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"garbage\r\n\r\n", "no complete HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "no complete HTTP"),
        (response(b"{}", Content_Length="9"), "no complete HTTP|inside of the answer"),
    ],
    ids=["garbage", "header", "cut"],
)
async def test_broken_http_is_named_in_plain_words(make: Make, answer: bytes, says: str) -> None:
    async with serve(answer, close=True) as served:
        exchange = make(Endpoint(served.url, "m", "MY_API_KEY", KEY), BOUNDS)
        with pytest.raises(RetryableError, match=says):
            await exchange.send("POST", f"{served.url}/chat/completions", b"{}")
        await exchange.aclose()


async def test_kept_alive_connection_that_breaks_is_not_resent() -> None:
    async with serve(response(b"{}"), b"garbage\r\n\r\n") as served, client(served.url) as http:
        await http.post({})
        with pytest.raises(RetryableError, match="no answer"):
            await http.post({})
        assert len(served.heads) == 2


async def test_prompt_above_one_megabyte_is_sent() -> None:
    with FakeEndpoint() as fake:
        async with client(fake.url) as http:
            long = "word " * 300_000
            await http.post({"model": "m", "messages": [{"role": "user", "content": long}]})
        assert fake.requests[0]["messages"][0]["content"] == long


async def test_host_name_with_a_long_label_is_unresolved() -> None:
    async with client(f"http://{'a' * 70}.invalid/v1") as http:
        with pytest.raises(RetryableError, match="no answer"):
            await http.post({})


async def test_plain_port_behind_https_is_named() -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(b"{}", status=400))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with client(f"https://127.0.0.1:{port}/v1") as http:
        with pytest.raises(RetryableError, match="no TLS on this port"):
            await http.post({})
    server.close()


def test_missing_certificate_file_stops_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(TeacherRejected, match="`SSL_CERT_FILE` cannot be read"):
        make_tls_context()


async def test_http_proxy_receives_request_and_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(response(b'{"a": 1}')) as proxy:
        host = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://cook:sa%6Ct@{host}")
        async with client("http://oven.example/v1") as http:
            assert (await http.post({})).body == {"a": 1}
    assert proxy.heads[0].startswith("POST http://oven.example/v1/chat/completions HTTP/1.1")
    assert "Proxy-Authorization: Basic Y29vazpzYWx0" in proxy.heads[0]


async def test_proxy_without_credentials_receives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(response(b"", status=502)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/v1"))
        async with client("https://oven.example/v1") as http:
            with pytest.raises(RetryableError):
                await http.post({})
    assert "Authorization" not in proxy.heads[0]


async def test_https_proxy_opens_a_tunnel_without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(response(b"", status=502)) as proxy:
        host = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("https_proxy", f"http://cook:salt@{host}")
        async with client("https://oven.example/v1") as http:
            with pytest.raises(RetryableError):
                await http.post({})
    assert proxy.heads[0].startswith("CONNECT oven.example:443 HTTP/1.1")
    assert proxy.heads[0].count("Proxy-Authorization: Basic Y29vazpzYWx0") == 1
    assert KEY not in proxy.heads[0]


@EXCHANGES
async def test_dead_proxy_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(response(b"{}")) as gone:
        dead = gone.url.removesuffix("/v1")
    monkeypatch.setenv("http_proxy", dead.replace("//", "//cook:salt@"))
    exchange = make(Endpoint("http://oven.example/v1", "m", None, ""), BOUNDS)
    with pytest.raises(RetryableError) as caught:
        await exchange.send("POST", "http://oven.example/v1/x", b"{}")
    await exchange.aclose()
    assert f"through the proxy `{dead}` (connection refused: no proxy" in str(caught.value)
    assert "`HTTP_PROXY`" in caught.value.hint
    assert "`oven.example` to `NO_PROXY`" in caught.value.hint


async def test_status_of_a_refusing_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(response(b"", status=407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/v1"))
        async with client("https://oven.example/v1") as http:
            with pytest.raises(RetryableError, match="answered HTTP `407`") as caught:
                await http.post({})
    assert "set `HTTPS_PROXY` to `http://USER:PASSWORD@HOST:PORT`" in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "http://a.example/v1", None),
        (
            {"http_proxy": "p.example:1"},
            "http://a.example/v1",
            Proxy("http://p.example:1", "", "", "HTTP_PROXY"),
        ),
        ({"http_proxy": "http://p.example:1"}, "https://a.example/v1", None),
        (
            {"all_proxy": "socks5://u:w@p.example:1"},
            "https://a.example/v1",
            Proxy("socks5://p.example:1", "u", "w", "ALL_PROXY"),
        ),
        ({"http_proxy": "http://p", "no_proxy": "a.example"}, "http://a.example:8/v1", None),
        ({"http_proxy": "http://p", "no_proxy": "*"}, "http://a.example/v1", None),
    ],
    ids=["none", "bare", "other", "all", "excluded", "star"],
)
def test_proxy_is_found_in_the_environment(
    environment: dict[str, str],
    url: str,
    expected: Proxy | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(url) == expected


def test_socks_proxy_selects_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("https://oven.example/v1", "m", None, "")
    assert isinstance(choose_exchange(endpoint, BOUNDS), DirectExchange)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    assert isinstance(choose_exchange(endpoint, BOUNDS), SdkExchange)


async def test_socks_proxy_names_unreadable_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/missing.pem")
    async with client("https://oven.example/v1") as http:
        with pytest.raises(TeacherRejected, match="`SSL_CERT_FILE` cannot be read"):
            await http.post({})


async def test_unknown_proxy_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks4://127.0.0.1:9")
    async with client("http://oven.example/v1") as http:
        with pytest.raises(TeacherRejected, match=r"`socks4://127\.0\.0\.1:9`") as caught:
            await http.post({})
    assert "`socks5://` or `socks5h://` in `ALL_PROXY`" in str(caught.value.hint)


@pytest.mark.skipif(find_spec("socksio") is not None, reason="the package is installed")
async def test_missing_socks_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    async with client("https://oven.example/v1") as http:
        with pytest.raises(TeacherRejected, match="`socksio` is missing") as caught:
            await http.post({})
    assert "pip install socksio" in str(caught.value.hint)


def test_direct_exchange_imports_no_sdk() -> None:
    code = (
        "import asyncio, sys\n"
        "from safegen.core.types import Request\n"
        "from safegen.teachers.openai_chat import openai_chat\n"
        "async def run(url):\n"
        "    teacher = openai_chat(base_url=url, model='m')\n"
        "    await teacher(Request(({'role': 'user', 'content': 'hello'},)))\n"
        "    await teacher.aclose()\n"
        "asyncio.run(run(sys.argv[1]))\n"
        "print('openai' in sys.modules, 'httpx2' in sys.modules)\n"
    )
    with FakeEndpoint() as fake:
        ran = subprocess.run(
            [sys.executable, "-c", code, fake.url], capture_output=True, text=True, check=False
        )
    assert (ran.stdout, ran.stderr) == ("False False\n", "")
