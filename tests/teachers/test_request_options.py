from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safegen.core.errors import ConfigError, TeacherRejected
from safegen.core.types import Request
from safegen.teachers import Journal, RateLimiters, split_unset_variables
from safegen.teachers._request_options import is_secret_name
from safegen.teachers.openai_chat import TRAITS, OpenAIChatTeacher, openai_chat
from safegen.testing import FakeEndpoint

SECRET = "gw-a-long-secret-value"
REQUEST = Request(({"role": "user", "content": "How is the sauce made?"},))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_API_KEY", SECRET)
    monkeypatch.setenv("OTHER_API_KEY", "another-long-secret")


def teacher(url: str = "http://127.0.0.1:9/v1", **params: Any) -> OpenAIChatTeacher:
    return openai_chat(base_url=url, model="m", **params)


async def test_headers_and_query_are_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint() as fake:
        made = teacher(
            f"{fake.url}?region=north",
            headers={"X-Tenant": "kitchen", "X-Gate-Token": {"env": "GATE_API_KEY"}},
            query={"api-version": "2024-10-21", "sig": {"env": "OTHER_API_KEY"}},
            journal=journal,
        )
        await made(REQUEST)
        await made.aclose()
    await journal.aclose()
    assert fake.headers[0]["x-tenant"] == "kitchen"
    assert fake.headers[0]["x-gate-token"] == SECRET
    assert fake.queries == [
        {"api-version": "2024-10-21", "region": "north", "sig": "another-long-secret"}
    ]
    stored = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    assert SECRET.encode() not in stored
    assert b"another-long-secret" not in stored
    assert SECRET not in f"{made!r} {made.endpoint!r} {made.endpoint.headers!r}"


SECRET_VARIABLES = (
    "GATE_KEY GATE_TOKEN GATE_SECRET GATE_PASSWORD GATE_CREDENTIAL GATE_2_CREDENTIALS GATE_API_KEY"
).split()


@pytest.mark.parametrize("variable", SECRET_VARIABLES)
async def test_secret_of_any_variable_is_only_sent(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv(variable, SECRET)
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(lambda body: f"I saw {SECRET}.") as fake:
        made = teacher(
            fake.url,
            headers={"X-Gate": {"env": variable}},
            query={"gate": {"env": variable}},
            journal=journal,
        )
        reply = await made(REQUEST)
        await made.aclose()
    await journal.aclose()
    assert (fake.headers[0]["x-gate"], fake.queries[0]["gate"]) == (SECRET, SECRET)
    assert reply.text == "I saw ***."
    stored = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    assert SECRET.encode() not in stored
    assert SECRET not in f"{caplog.text} {made!r} {made.endpoint!r}"


OTHER_VARIABLES = (
    "PATH HOME KEY TOKEN _TOKEN gate_token GATE_TOKENS GATE_KEY_FILE GATE_TOKEN= TOKEN_GATE PASSWORD"
    " AWS_SECRET_ACCESS_KEY DEPLOY_PRIVATE_KEY SSH_KEY SIGNING_KEY GITHUB_TOKEN GH_TOKEN NPM_TOKEN DB_PASSWORD VAULT_TOKEN"
).split()


@pytest.mark.parametrize("variable", [*OTHER_VARIABLES, "GATE_TOKEN\n", "G" * 100 + "_TOKEN", ""])
@pytest.mark.parametrize("kind", ["headers", "query"])
def test_other_variables_are_rejected_unread(
    variable: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable.isidentifier():
        monkeypatch.setenv(variable, SECRET)
    endings = "`_KEY`, `_TOKEN`, `_SECRET`, `_PASSWORD`, `_CREDENTIAL` or `_CREDENTIALS`"
    with pytest.raises(ValueError, match=f"`{kind}.gate.env` must name .*{endings}") as caught:
        teacher("http://127.0.0.1:9/v1", **{kind: {"gate": {"env": variable}}})
    assert SECRET not in str(caught.value)


def test_key_variable_still_ends_in_api_key() -> None:
    with pytest.raises(ValueError, match="ends in `_API_KEY`"):
        teacher(api_key_env="GATE_TOKEN")


async def test_echoed_header_secret_is_removed() -> None:
    with FakeEndpoint(lambda body: f"The gate says {SECRET}.") as fake:
        made = teacher(fake.url, headers={"X-Token": {"env": "GATE_API_KEY"}})
        assert (await made(REQUEST)).text == "The gate says ***."
        await made.aclose()


async def test_azure_deployment_gets_key_in_its_header() -> None:
    with FakeEndpoint(path="/openai/deployments/stew") as fake:
        made = teacher(fake.url, api_key_env="GATE_API_KEY", query={"api-version": "2024-10-21"})
        await made(REQUEST)
        await made.aclose()
    assert fake.headers[0]["api-key"] == SECRET
    assert fake.authorizations == [None]
    assert fake.queries == [{"api-version": "2024-10-21"}]


async def test_azure_v1_address_gets_a_bearer_key() -> None:
    with FakeEndpoint(path="/openai/v1") as fake:
        made = teacher(fake.url, api_key_env="GATE_API_KEY")
        await made(REQUEST)
        await made.aclose()
    assert fake.authorizations == [f"Bearer {SECRET}"]


async def test_missing_deployment_names_deployment_and_version() -> None:
    with FakeEndpoint() as fake:
        address = fake.url.removesuffix("/v1") + "/openai/deployments/stew"
        made = teacher(address, api_key_env="GATE_API_KEY")
        with pytest.raises(TeacherRejected) as caught:
            await made(REQUEST)
        await made.aclose()
    assert "`api-version` in `query`" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"headers": {"X-Api-Key": SECRET}}, "may be a secret"),
        ({"headers": {"Authorization": f"Bearer {SECRET}"}}, "may be a secret"),
        ({"headers": {"Cookie": SECRET}}, "may be a secret"),
        ({"query": {"subscription-key": SECRET}}, "may be a secret"),
        ({"base_url": f"http://127.0.0.1:9/v1?sig={SECRET}"}, "may be a secret"),
        ({"headers": {"X-Token": {"env": SECRET}}}, "`headers.X-Token.env` must name"),
        ({"headers": {"X-Token": {"env": "HOME"}}}, "`headers.X-Token.env` must name"),
        ({"headers": {"X-Token": {"file": SECRET}}}, "`{env: NAME_API_KEY}`"),
        ({"headers": {"X-List": [SECRET]}}, "`{env: NAME_API_KEY}`"),
        ({"headers": {"X Tenant": "a"}}, "invalid name"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "printable ASCII"),
        ({"headers": {"X-A": "käse"}}, "printable ASCII"),
        ({"headers": {"Host": "a.example"}}, "the HTTP client sets it"),
        ({"headers": {"content-length": "1"}}, "the HTTP client sets it"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "twice"),
        ({"headers": "X-A: 1"}, "must map names"),
        ({"query": {"": "1"}}, "empty"),
        ({"base_url": "http://127.0.0.1:9/v1?a=1&a=2"}, "twice"),
        ({"cache_address": f"http://127.0.0.1:9/v1?sig={SECRET}"}, "may be a secret"),
        ({"cache_address": f"http://u:{SECRET}@a.example/v1"}, "`cache_address` holds user info"),
        ({"cache_address": "a.example/v1"}, "`cache_address` is `a.example/v1`"),
        ({"base_url": "http://127.0.0.1:9/v1#top"}, "fragment"),
        ({"base_url": "http:///v1"}, "no host"),
        ({"base_url": "http://[::1/v1"}, "host or port is invalid"),
        ({"base_url": "http://${HOST}/v1"}, "replaces no variables"),
        ({"headers": {"X-A": "${{ secrets.A }}"}}, "replaces no variables"),
        ({"query": {"a": "%TENANT%"}}, "replaces no variables"),
        ({"headers": {"X\nA": "1"}}, r"`X\\nA`"),
        ({"base_url": f"http://u:{SECRET}@a.example:99999/v1"}, "host or port is invalid"),
        ({"base_url": f"ftp://a.example/v1?x={SECRET}"}, "must begin with"),
        ({"base_url": "http://127.0.0.1:9/v1/chat/completions"}, "must end before"),
    ],
)
def test_invalid_option_is_rejected_without_its_value(params: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "model": "m"} | params
    assert TRAITS.check_params is not None
    with pytest.raises(ValueError, match=says) as checked:
        TRAITS.check_params(given)
    with pytest.raises(ValueError, match=says) as made:
        openai_chat(**given)
    assert SECRET not in f"{checked.value} {made.value}"


def test_options_set_twice_are_rejected() -> None:
    with pytest.raises(ValueError, match="`Authorization` are both set"):
        teacher(api_key_env="GATE_API_KEY", headers={"Authorization": {"env": "GATE_API_KEY"}})
    with pytest.raises(ValueError, match="`a` is in `query` and in `base_url`"):
        teacher("http://127.0.0.1:9/v1?a=1", query={"a": "2"})


def test_unset_variable_of_a_header_is_named() -> None:
    with pytest.raises(ConfigError, match="`NO_SUCH_API_KEY` is not set"):
        teacher(headers={"X-Token": {"env": "NO_SUCH_API_KEY"}})


def test_unset_variables_are_split_off() -> None:
    params = {
        "model": "m",
        "api_key_env": "NO_SUCH_API_KEY",
        "headers": {"X-A": "1", "X-Token": {"env": "NONE_API_KEY"}},
        "query": {"sig": {"env": "GATE_API_KEY"}},
    }
    kept, unset = split_unset_variables(params)
    assert kept == {"model": "m", "headers": {"X-A": "1"}, "query": params["query"]}
    assert unset == ("NO_SUCH_API_KEY", "NONE_API_KEY")


def test_cache_key_has_names_and_texts_without_secrets() -> None:
    def key(**params: Any) -> str:
        return teacher(**params).request_key(REQUEST)

    gate, other = {"env": "GATE_API_KEY"}, {"env": "OTHER_API_KEY"}
    assert key(headers={"X-Token": gate}) == key(headers={"x-token": other})
    assert key(query={"a": "1"}) == key(url="http://127.0.0.1:9/v1?a=1")
    different = [
        key(),
        key(headers={"X-Token": gate}),
        key(headers={"X-Gate-Token": gate}),
        key(headers={"X-A": "1"}),
        key(headers={"X-A": "2"}),
        key(query={"X-A": "1"}),
        key(reasoning_effort="low"),
    ]
    assert len(set(different)) == len(different)
    assert key(reasoning_effort="low") == key(extra={"reasoning_effort": "low"})


def test_limiters_differ_by_headers_and_query() -> None:
    limiters = RateLimiters()
    shared: dict[str, Any] = {"limiters": limiters}
    chosen = [
        teacher(**shared),
        teacher(**shared, headers={"X-Token": {"env": "GATE_API_KEY"}}),
        teacher(**shared, headers={"X-Token": {"env": "OTHER_API_KEY"}}),
        teacher(**shared, query={"tier": "flex"}),
    ]
    assert len({t.endpoint.account for t in chosen}) == 4
    assert limiters.limiter_for(*chosen[1].endpoint.account, limit=3).limit == 3
    assert limiters.limiter_for(*chosen[2].endpoint.account, limit=64).limit == 64


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"reasoning_effort": "huge"}, "must be one of"),
        ({"reasoning_effort": "low", "extra": {"reasoning_effort": "high"}}, "keep one"),
    ],
)
def test_invalid_reasoning_effort_is_rejected(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        teacher(**params)


async def test_reasoning_effort_is_sent() -> None:
    with FakeEndpoint() as fake:
        made = teacher(fake.url, reasoning_effort="minimal", max_completion_tokens=50)
        await made(REQUEST)
        await made.aclose()
    assert fake.requests[0]["reasoning_effort"] == "minimal"
    assert fake.requests[0]["max_completion_tokens"] == 50


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ocp-Apim-Subscription-Key", True),
        ("apikey", True),
        ("X-Auth", True),
        ("Helicone-Auth", True),
        ("access_token", True),
        ("X-Tenant", False),
        ("api-version", False),
        ("X-Author", False),
        ("HTTP-Referer", False),
    ],
)
def test_secret_names_are_recognised(name: str, expected: bool) -> None:
    assert is_secret_name(name) is expected
