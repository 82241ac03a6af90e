from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from safegen.core.errors import (
    Blocked,
    BudgetSpent,
    ConfigError,
    ContentFiltered,
    EmptyAnswer,
    ItemError,
    Refused,
    TeacherRejected,
    TeacherUnavailable,
    Truncated,
)
from safegen.core.types import Message, Reply, Request
from safegen.store.journal import Journal
from safegen.teachers._circuit_breaker import MAX_FAILED_ITEMS
from safegen.teachers._meter import Meter
from safegen.teachers._rate_limit import RateLimiters
from safegen.teachers.openai_chat import OpenAIChatTeacher, openai_chat
from safegen.testing import Body, FakeEndpoint, plain_answer

KEY = "sk-a-very-secret-key-0123456789"
Fault = Callable[[Body, int], str | None]


async def no_sleep(seconds: float) -> None:
    assert seconds >= 0


def request_of(text: str = "How is the sauce made?", **values: Any) -> Request:
    messages: tuple[Message, ...] = (
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": text},
    )
    return Request(messages, **values)


@asynccontextmanager
async def endpoint(url: str, **params: Any) -> AsyncIterator[OpenAIChatTeacher]:
    """Yield an endpoint that does not sleep between attempts."""
    journal, meter = params.pop("journal", None), params.pop("meter", None)
    arguments: dict[str, Any] = {"base_url": url, "model": "m"} | params
    built = openai_chat(**arguments)
    quick = OpenAIChatTeacher(built._settings, journal=journal, meter=meter, sleep=no_sleep)
    try:
        yield quick
    finally:
        await quick.aclose()


def always(name: str) -> Fault:
    return lambda body, nth: name


def once(name: str) -> Fault:
    return lambda body, nth: name if nth == 0 else None


class Uncounted(Journal):
    """A journal that fails if its rows are counted, because counting is linear in its size."""

    def __len__(self) -> int:
        raise AssertionError("the rows of the journal were counted")


async def test_requests_do_not_count_journal_rows(tmp_path: Path) -> None:
    journal = Uncounted(tmp_path / "journal.sqlite")
    with FakeEndpoint() as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            assert await teacher(request_of()) == await teacher(request_of())
        assert len(fake.requests) == 1
    await journal.aclose()


async def test_no_platform_headers_are_sent() -> None:
    with FakeEndpoint() as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request_of())
        headers = {name for head in fake.headers for name in head}
    assert not {f"x-stainless-{field}" for field in ("os", "arch", "runtime-version")} & headers
    assert "user-agent" in headers


async def test_reply_has_text_model_tokens_and_key() -> None:
    with FakeEndpoint(extra={"reasoning_content": "I think."}) as fake:
        async with endpoint(fake.url) as teacher:
            reply = await teacher(request_of())
            assert reply.text == plain_answer(fake.requests[0])
            assert reply.model == "m-fake"
            assert reply.finish_reason == "stop"
            assert reply.reasoning_content == "I think."
            assert (reply.prompt_tokens or 0) > 0
            assert (reply.completion_tokens or 0) > 0
            assert reply.key == teacher.request_key(request_of())
            assert teacher.name == "openai_chat"
            assert teacher.model == "m"


async def test_think_block_becomes_reasoning() -> None:
    with FakeEndpoint(lambda body: "<think>\nhm\n</think>\n\nYes.") as fake:
        async with endpoint(fake.url) as teacher:
            reply = await teacher(request_of())
    assert (reply.text, reply.reasoning_content) == ("Yes.", "hm")


async def test_request_body_has_only_configured_fields() -> None:
    with FakeEndpoint() as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request_of())
        async with endpoint(fake.url, temperature=0.5, top_p=0.9, max_tokens=7, seed=40) as teacher:
            await teacher(request_of(sample=2))
    plain, full = fake.requests
    assert set(plain) == {"model", "messages", "stream"}
    assert plain["stream"] is False
    assert full["seed"] == 42
    assert (full["temperature"], full["top_p"], full["max_tokens"]) == (0.5, 0.9, 7)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("length", Truncated),
        ("content_filter", ContentFiltered),
        ("refusal", Refused),
        ("empty", EmptyAnswer),
        ("400-policy", Blocked),
    ],
)
async def test_failed_reply_is_cached_and_not_repeated(
    fault: str, error: type[ItemError], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(fault=always(fault)) as fake:
        async with endpoint(fake.url, journal=journal, attempts=3) as teacher:
            with pytest.raises(error) as first:
                await teacher(request_of())
            sent = len(fake.requests)
            with pytest.raises(error) as second:
                await teacher(request_of())
    assert str(first.value) == str(second.value) != ""
    assert len(fake.requests) == sent == 1
    assert len(journal) == 1
    await journal.aclose()


@pytest.mark.parametrize(
    "fault", ["500", "408", "429", "reset", "short-body", "cut-json", "no-choices"]
)
async def test_exhausted_attempts_are_not_cached(fault: str, tmp_path: Path) -> None:
    journal, meter = Journal(tmp_path / "j.sqlite"), Meter()
    with FakeEndpoint(fault=always(fault)) as fake:
        async with endpoint(fake.url, journal=journal, meter=meter, attempts=4) as teacher:
            with pytest.raises(TeacherUnavailable, match="4"):
                await teacher(request_of())
    assert len(fake.requests) == 4
    assert len(journal) == 0
    assert (meter.usage().requests, meter.usage().retries, meter.in_flight) == (4, 3, 0)
    await journal.aclose()


@pytest.mark.parametrize(
    "fault", ["500", "408", "429", "reset", "cut-json", "short-body", "no-choices"]
)
async def test_passing_failure_is_retried(fault: str) -> None:
    with FakeEndpoint(fault=once(fault)) as fake:
        async with endpoint(fake.url) as teacher:
            assert (await teacher(request_of())).text == plain_answer(fake.requests[0])
    assert len(fake.requests) == 2
    assert sum(fake.answered.values()) == 1


async def test_hanging_request_times_out_and_is_retried() -> None:
    with FakeEndpoint(fault=once("hang")) as fake:
        async with endpoint(fake.url, timeout_s=0.2) as teacher:
            assert (await teacher(request_of())).outcome == "ok"


async def test_refused_connection_is_unavailable() -> None:
    async with endpoint("http://127.0.0.1:9/v1", attempts=2) as teacher:
        with pytest.raises(TeacherUnavailable, match=r"127\.0\.0\.1:9.*connection refused"):
            await teacher(request_of())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("401", "api_key_env"),
        ("404", "`m`"),
        ("quota", "quota"),
        ("redirect", "307"),
    ],
)
async def test_rejection_stops_all_requests(fault: str, says: str) -> None:
    with FakeEndpoint(fault=always(fault)) as fake:
        async with endpoint(fake.url, concurrency=1) as teacher:
            with pytest.raises(TeacherRejected, match=says) as first:
                await teacher(request_of())
            with pytest.raises(TeacherRejected) as second:
                await teacher(request_of("something else"))
    # The second one is the control.
    assert len(fake.requests) == 2
    assert str(first.value) == str(second.value)


@pytest.mark.parametrize("fault", ["401", "404", "quota", "redirect"])
async def test_rejection_of_all_costs_two_requests(fault: str) -> None:
    with FakeEndpoint(fault=always(fault)) as fake:
        async with endpoint(fake.url, concurrency=16) as teacher:
            calls = [teacher(request_of(str(i))) for i in range(16)]
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(r) for r in results} == {TeacherRejected}
    assert len(fake.requests) == 2


async def test_long_retry_after_stops_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with FakeEndpoint(fault=always("429"), retry_after="86400") as fake:
        async with endpoint(fake.url, concurrency=16) as teacher:
            calls = [teacher(request_of(str(i))) for i in range(16)]
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(r) for r in results} == {TeacherRejected}
    assert "it asks to wait 86,400 s, until " in str(results[0])
    assert "run the same command again after that time" in str(results[0])
    assert len(fake.requests) == 2
    assert not caplog.records


async def test_long_retry_after_of_one_request_is_retryable() -> None:
    faults: Fault = lambda body, nth: "429" if "bad" in str(body) else None  # noqa: E731
    with FakeEndpoint(fault=faults, retry_after="7200") as fake:
        async with endpoint(fake.url) as teacher:
            with pytest.raises(TeacherUnavailable, match=r"7,200 s.*run the same command again"):
                await teacher(request_of("bad"))
            assert (await teacher(request_of("fine"))).outcome == "ok"


REFUSED: dict[str, tuple[int, dict[str, Any]]] = {
    "context": (
        400,
        {"message": "maximum context length is 8192", "code": "context_length_exceeded"},
    ),
    "moderation": (403, {"message": "not permitted", "code": 403}),
    "large": (413, {"message": "Request too large"}),
    "unprocessable": (422, {"message": "input is not valid"}),
    "key": (401, {"message": "this dish is not on your menu"}),
    "credits": (402, {"message": "this dish requires more credits, or a smaller plate"}),
    "route": (404, {"message": "no kitchen cooks this dish"}),
    "moved": (302, {"message": "this dish is served next door"}),
    "firewall": (406, {"message": "this dish was stopped at the door"}),
    "teapot": (418, {"message": "this dish is tea"}),
    "balance": (429, {"message": "this dish exceeds the quota", "code": "insufficient_quota"}),
}
STATUS_OF_ALL = ("key", "credits", "route", "moved", "firewall", "teapot", "balance")


@pytest.mark.parametrize("fault", STATUS_OF_ALL)
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_first_rejected_item_costs_only_itself(
    fault: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", REFUSED)
    faults: Fault = lambda body, nth: fault if "bad" in str(body) else None  # noqa: E731
    with FakeEndpoint(fault=faults) as fake:
        async with endpoint(fake.url, concurrency=concurrency) as teacher:
            calls = [teacher(request_of(text)) for text in ["bad", *"1234567"]]
            first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Blocked)
    assert all(isinstance(reply, Reply) and reply.outcome == "ok" for reply in others)


def all_but_fine(fault: str) -> Fault:
    """Make every request fail whose text has no `fine`."""
    return lambda body, nth: None if "fine" in str(body) else fault


@pytest.mark.parametrize("fault", ["key", "route", "moved", "firewall", "teapot"])
async def test_status_after_answers_stops_after_five_items(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", REFUSED)
    with FakeEndpoint(fault=all_but_fine(fault)) as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request_of("fine"))
            for i in range(MAX_FAILED_ITEMS - 1):
                with pytest.raises(TeacherUnavailable, match=r"this dish|no kitchen"):
                    await teacher(request_of(str(i)))
            with pytest.raises(TeacherRejected, match="check"):
                await teacher(request_of("last"))


@pytest.mark.parametrize("fault", ["credits", "balance"])
async def test_spent_balance_after_answers_stops_at_once(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", REFUSED)
    with FakeEndpoint(fault=all_but_fine(fault)) as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request_of("fine"))
            with pytest.raises(TeacherRejected, match="raise it at the provider"):
                await teacher(request_of("bad"))


@pytest.mark.parametrize("fault", REFUSED)
async def test_refused_request_among_answered_is_blocked(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", REFUSED)
    journal = Journal(tmp_path / "j.sqlite")
    faults: Fault = lambda body, nth: fault if "bad" in str(body) else None  # noqa: E731
    with FakeEndpoint(fault=faults) as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            for i in range(2 * MAX_FAILED_ITEMS):
                with pytest.raises(Blocked, match=str(REFUSED[fault][1]["message"])):
                    await teacher(request_of(f"bad {i}"))
            with pytest.raises(Blocked):
                await teacher(request_of("bad 0"))
            await teacher(request_of("another"))
    # Each refusal is verified by one control request.
    assert len(fake.requests) == 4 * MAX_FAILED_ITEMS + 1
    assert len(journal) == 2 * MAX_FAILED_ITEMS + 1
    await journal.aclose()


@pytest.mark.parametrize("fault", ["400", "403"])
@pytest.mark.parametrize("answered", [0, 3])
async def test_endpoint_that_refuses_all_stops_the_run(
    fault: str, answered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {fault: (int(fault), {"message": "no"})}
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", status)
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(fault=all_but_fine(fault)) as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            for i in range(answered):
                await teacher(request_of(f"fine {i}"))
            for i in range(MAX_FAILED_ITEMS - 1):
                with pytest.raises(TeacherUnavailable):
                    await teacher(request_of(str(i)))
            for i in range(2):
                with pytest.raises(TeacherRejected, match="check"):
                    await teacher(request_of(f"last {i}"))
    assert len(fake.requests) <= answered + 2 * MAX_FAILED_ITEMS
    assert len(journal) == answered
    await journal.aclose()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "flagged as potentially violating our usage policy. Try another prompt"}),
        (403, {"message": "x requires moderation and your input was flagged for y", "code": 403}),
    ],
)
async def test_content_refusal_blocks_only_its_item(
    status: int, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", {"flagged": (status, body)})
    with FakeEndpoint(fault=always("flagged")) as fake:
        async with endpoint(fake.url) as teacher:
            for i in range(2 * MAX_FAILED_ITEMS):
                with pytest.raises(Blocked):
                    await teacher(request_of(str(i)))


async def test_max_completion_tokens_is_named_as_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", {"old": (400, {"message": message})})
    fault: Fault = lambda body, nth: "old" if "max_tokens" in body else None  # noqa: E731
    with FakeEndpoint(fault=fault) as fake:
        async with endpoint(fake.url, max_tokens=9) as teacher:
            with pytest.raises(TeacherUnavailable, match="set `max_completion_tokens`"):
                await teacher(request_of())
        extra = {"top_k": "20", "plain": "text", "deep": {"on": "true"}}
        async with endpoint(fake.url, max_completion_tokens=9, extra=extra) as teacher:
            await teacher(request_of())
    sent = fake.requests[-1]
    assert set(sent) == {
        *("model", "messages", "stream", "max_completion_tokens", "top_k", "plain", "deep")
    }
    assert sent["top_k"] == 20
    assert sent["deep"] == {"on": True}


async def test_equal_endpoints_share_the_smallest_limit() -> None:
    import asyncio

    limiters = RateLimiters()
    with FakeEndpoint(latency_s=0.02) as fake:
        one = openai_chat(base_url=fake.url, model="m", concurrency=5, limiters=limiters)
        two = openai_chat(base_url=f"{fake.url}/", model="n", concurrency=3, limiters=limiters)
        calls = [teacher(request_of(str(i))) for i in range(20) for teacher in (one, two)]
        await asyncio.gather(*calls)
        await asyncio.gather(one.aclose(), two.aclose())
    assert fake.max_in_flight == 3


def test_limiters_differ_by_address_and_key() -> None:
    limiters = RateLimiters()
    first = limiters.limiter_for("http://a/v1", "", limit=4)
    assert limiters.limiter_for("http://a/v1", "", limit=9) is first
    assert limiters.limiter_for("http://b/v1", "", limit=4) is not first
    assert limiters.limiter_for("http://a/v1", "key", limit=4) is not first
    assert first.limit == 4


async def test_echoed_key_is_removed_from_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = 'sk-"odd"/and-long-0123456789'
    monkeypatch.setenv("FAKE_API_KEY", key)
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(lambda body: f"It is {key}.", extra={"reasoning": key}) as fake:
        params: dict[str, Any] = {"api_key_env": "FAKE_API_KEY", "journal": journal}
        async with endpoint(fake.url, model=f"about {key}", **params) as teacher:
            reply = await teacher(request_of())
    await journal.aclose()
    assert reply.text == "It is ***."
    assert (reply.reasoning_content, reply.model) == ("***", "about ***-fake")
    assert all(key.encode() not in f.read_bytes() for f in tmp_path.iterdir())


async def test_placeholder_key_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "none")
    with FakeEndpoint(lambda body: "I have none.") as fake:
        async with endpoint(fake.url, api_key_env="FAKE_API_KEY") as teacher:
            assert (await teacher(request_of())).text == "I have none."


@pytest.mark.parametrize("pasted", [KEY, f"{KEY.upper()}_API_KEY_", "A" * 200 + "_API_KEY", ""])
def test_pasted_key_is_not_repeated_in_errors(pasted: str) -> None:
    with pytest.raises(ValueError, match="_API_KEY") as caught:
        openai_chat(base_url="http://127.0.0.1:9/v1", model="m", api_key_env=pasted)
    assert not pasted or pasted not in str(caught.value)


async def test_waiting_calls_fail_with_the_rejection() -> None:
    with FakeEndpoint(fault=always("401"), latency_s=0.05) as fake:
        async with endpoint(fake.url, concurrency=2) as teacher:
            calls = [teacher(request_of(str(i))) for i in range(50)]
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(r, TeacherRejected) for r in results)
    # The first request is in flight alone; the second one is the control.
    assert len(fake.requests) == 2


async def test_key_is_sent_and_never_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    monkeypatch.setattr(
        "safegen.testing.endpoint.STATUS", {"echo": (401, {"message": f"no {KEY}"})}
    )
    caplog.set_level(logging.DEBUG)
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(fault=always("echo")) as fake:
        async with endpoint(fake.url, api_key_env="FAKE_API_KEY", journal=journal) as teacher:
            with pytest.raises(TeacherRejected, match="FAKE_API_KEY") as caught:
                await teacher(request_of("bad"))
            shown = repr(teacher) + repr(teacher._settings)
    await journal.aclose()
    assert fake.authorizations == [f"Bearer {KEY}"] * 2
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__
    assert KEY not in shown + caplog.text
    assert all(KEY.encode() not in f.read_bytes() for f in tmp_path.iterdir())


async def test_environment_variables_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "leak-me")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: leak-me\nAuthorization: Bearer leak-me")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/leak-me")
    monkeypatch.setenv("MINE_API_KEY", KEY)
    with FakeEndpoint() as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request_of())
        async with endpoint(fake.url, api_key_env="MINE_API_KEY") as teacher:
            await teacher(request_of())
    assert "leak-me" not in str(fake.headers)
    assert fake.authorizations == [None, f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"base_url": "ftp://127.0.0.1/v1"}, "http"),
        ({"base_url": "127.0.0.1/v1"}, "http"),
        ({"base_url": "https://me:pw@127.0.0.1/v1"}, "user info"),
        ({"base_url": "https://127.0.0.1/v1?key=1"}, "`query`"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": 5}, "keep one"),
        ({"extra": {"messages": []}}, "`messages`; safegen sets it"),
        ({"extra": {"stream": True}}, "`stream`; safegen sets it"),
        ({"extra": {"seed": 1}}, "set the parameter `seed`"),
        ({"extra": {"x": float("nan")}}, "JSON"),
        ({"api_key_env": "HOME"}, "_API_KEY"),
        ({"api_key_env": "AWS_SECRET_ACCESS_KEY"}, "_API_KEY"),
        ({"api_key_env": "x_API_KEY"}, "_API_KEY"),
        ({"model": " "}, "model"),
        ({"concurrency": 0}, "concurrency"),
        ({"attempts": 0}, "attempts"),
        ({"max_tokens": 2**31}, "from 1 to 2,147,483,647"),
        ({"model": "$MODEL"}, "replaces no variables"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_invalid_parameter_is_refused_at_construction(params: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        openai_chat(**({"base_url": "http://127.0.0.1:9/v1", "model": "m"} | params))
    assert "pw@" not in str(caught.value)


def test_unset_key_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="`NO_SUCH_API_KEY` is not set; set it"):
        openai_chat(base_url="http://127.0.0.1:9/v1", model="m", api_key_env="NO_SUCH_API_KEY")
    monkeypatch.setenv("ODD_API_KEY", "käse")
    with pytest.raises(ConfigError) as caught:
        openai_chat(base_url="http://127.0.0.1:9/v1", model="m", api_key_env="ODD_API_KEY")
    assert "käse" not in str(caught.value)


async def test_cached_reply_is_reused_until_retry(tmp_path: Path) -> None:
    journal, meter = Journal(tmp_path / "j.sqlite"), Meter()
    with FakeEndpoint() as fake:
        async with endpoint(fake.url, journal=journal, meter=meter) as teacher:
            first = await teacher(request_of())
            assert await teacher(request_of()) == first
            assert len(fake.requests) == 1
            journal.raise_retry_numbers([first.key or ""])
            assert (await teacher(request_of())).key == first.key
            assert len(fake.requests) == 2
            assert await teacher(request_of()) == first
    assert (meter.usage().requests, meter.usage().cached) == (2, 2)
    await journal.aclose()


async def test_budget_stops_before_sending() -> None:
    with FakeEndpoint() as fake:
        async with endpoint(fake.url, meter=Meter(requests=2)) as teacher:
            await teacher(request_of("a"))
            await teacher(request_of("b"))
            with pytest.raises(BudgetSpent, match="`2` requests"):
                await teacher(request_of("c"))
        async with endpoint(fake.url, meter=Meter(tokens=1)) as teacher:
            await teacher(request_of("a"))
            with pytest.raises(BudgetSpent, match="tokens"):
                await teacher(request_of("b"))
    assert len(fake.requests) == 3


def test_token_budget_stops_without_token_counts() -> None:
    free = Meter(requests=9)
    free.record_reply(Reply("a", "m"))
    free.record_request()
    bound = Meter(tokens=1_000)
    bound.record_request()
    bound.record_reply(Reply("a", "m"))
    with pytest.raises(BudgetSpent, match=r"counts no tokens, .* set `budget.requests`"):
        bound.record_request()


async def test_concurrency_bounds_requests_in_flight(tmp_path: Path) -> None:
    import asyncio

    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(latency_s=0.01) as fake:
        async with endpoint(fake.url, concurrency=12, journal=journal) as teacher:
            await asyncio.gather(*(teacher(request_of(str(i))) for i in range(150)))
    assert 8 <= fake.max_in_flight <= 12
    assert fake.connections <= 12
    assert len(journal) == 150
    await journal.aclose()


async def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(lambda body: "half \ud83d and whole \U0001f600 \x00") as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            reply = await teacher(request_of("odd \udc00"))
            assert await teacher(request_of("odd \udc00")) == reply
    assert reply.text == "half \ufffd and whole \U0001f600 "
    await journal.aclose()


async def test_waits_grow_with_random_jitter() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    random.seed(7)
    with FakeEndpoint(fault=always("500")) as fake:
        built = openai_chat(base_url=fake.url, model="m", attempts=8)
        teacher = OpenAIChatTeacher(built._settings, sleep=sleep)
        with pytest.raises(TeacherUnavailable):
            await teacher(request_of())
        await teacher.aclose()
    assert len(slept) == 7
    assert all(0 <= s <= min(30, 0.5 * 2**i) for i, s in enumerate(slept, start=1))


async def test_outage_stops_the_run() -> None:
    async with endpoint("http://127.0.0.1:9/v1", attempts=1) as teacher:
        for i in range(MAX_FAILED_ITEMS - 1):
            with pytest.raises(TeacherUnavailable):
                await teacher(request_of(str(i)))
        with pytest.raises(TeacherRejected, match="start the server"):
            await teacher(request_of("last"))


async def test_failures_between_answers_do_not_stop() -> None:
    def fault(body: Body, nth: int) -> str | None:
        return "500" if "bad" in body["messages"][-1]["content"] else None

    with FakeEndpoint(fault=fault) as fake:
        async with endpoint(fake.url, attempts=1) as teacher:
            for i in range(2 * MAX_FAILED_ITEMS):
                with pytest.raises(TeacherUnavailable):
                    await teacher(request_of(f"bad {i}"))
                assert (await teacher(request_of(f"good {i}"))).outcome == "ok"


@pytest.mark.parametrize("concurrency", [16, 64])
async def test_down_endpoint_costs_few_requests(concurrency: int) -> None:
    import asyncio

    with FakeEndpoint(fault=always("500")) as fake:
        async with endpoint(fake.url, concurrency=concurrency, attempts=6) as teacher:
            calls = [teacher(request_of(str(i))) for i in range(200)]
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(r, TeacherRejected | TeacherUnavailable) for r in results)
    assert sum(isinstance(r, TeacherUnavailable) for r in results) < MAX_FAILED_ITEMS
    # While the control is sent, each failed item makes room for an attempt of another.
    assert len(fake.requests) <= 16 + 7 * MAX_FAILED_ITEMS


async def test_server_message_is_shown_after_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"message": "the kettle is cold"}
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", {"cold": (503, body)})
    with FakeEndpoint(fault=always("cold")) as fake:
        async with endpoint(fake.url, attempts=1) as teacher:
            for i in range(MAX_FAILED_ITEMS - 1):
                with pytest.raises(TeacherUnavailable, match="the kettle is cold"):
                    await teacher(request_of(str(i)))
            with pytest.raises(TeacherRejected, match="the kettle is cold"):
                await teacher(request_of("last"))
