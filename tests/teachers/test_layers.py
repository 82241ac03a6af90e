from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safegen.core.errors import (
    Blocked,
    BudgetSpent,
    ParseError,
    TeacherRejected,
    TeacherUnavailable,
)
from safegen.core.hashing import digest
from safegen.core.types import Message, Reply, Request
from safegen.store.journal import Journal
from safegen.teachers._cache import CachedTeacher
from safegen.teachers._circuit_breaker import MAX_FAILED_ITEMS, CircuitBreaker
from safegen.teachers._errors import (
    AmbiguousRejection,
    AttemptsExhausted,
    RetryableError,
)
from safegen.teachers._item_errors import ItemErrorTeacher
from safegen.teachers._meter import Meter, MeteredTeacher
from safegen.teachers._rate_limit import RateLimitedTeacher, RateLimiter, RateLimiters
from safegen.teachers._retry import RetryingTeacher
from safegen.teachers._structured_output import FormatFallbackTeacher, StructuredTeacher

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


class Script:
    """A teacher that replies or raises in order and records its requests."""

    def __init__(self, *answers: str | Reply | Exception) -> None:
        self._answers: Iterator[str | Reply | Exception] = iter(answers)
        self.requests: list[Request] = []

    async def __call__(self, request: Request, /) -> Reply:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, "m", prompt_tokens=3) if isinstance(answer, str) else answer


def request(text: str = "How is the sauce made?", **values: Any) -> Request:
    message: Message = {"role": "user", "content": text}
    return Request((message,), **values)


def key(request: Request) -> str:
    return digest([request.messages[0]["content"], request.sample])


async def test_cache_returns_a_stored_reply_without_a_call(tmp_path: Path) -> None:
    journal, meter = Journal(tmp_path / "j.sqlite"), Meter()
    teacher = Script("one", "two")
    cached = CachedTeacher(teacher, key=key, journal=journal, meter=meter)
    first, again, other = [await cached(request(sample=n)) for n in (0, 0, 1)]
    assert (first.text, again.text, other.text) == ("one", "one", "two")
    assert first.key == again.key == key(request())
    assert (len(teacher.requests), meter.usage().cached) == (2, 1)
    await journal.aclose()


async def test_cache_stores_no_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    cached = CachedTeacher(Script(TeacherUnavailable("gone"), "one"), key=key, journal=journal)
    with pytest.raises(TeacherUnavailable):
        await cached(request())
    assert (await cached(request())).text == "one"
    await journal.aclose()


async def test_cache_requests_again_after_a_raised_retry_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    cached = CachedTeacher(Script("one", "two"), key=key, journal=journal)
    await cached(request())
    journal.raise_retry_numbers([key(request())])
    assert (await cached(request())).text == "two"
    await journal.aclose()


async def test_cache_holds_permit_until_reply_is_durable(tmp_path: Path) -> None:
    limiter = RateLimiter(4)
    active: list[int] = []

    class Watched(Journal):
        async def put(self, key: str, reply: Reply) -> None:
            active.append(limiter.active)
            await super().put(key, reply)

    journal = Watched(tmp_path / "j.sqlite")
    limited = RateLimitedTeacher(Script("one"), limiter=limiter)
    await CachedTeacher(limited, key=key, journal=journal, in_flight=limiter.hold)(request())
    assert (active, limiter.active) == ([1], 0)
    await journal.aclose()


async def test_meter_stops_before_the_budget_is_exceeded() -> None:
    meter = Meter(requests=1)
    metered = MeteredTeacher(Script("one", "two"), meter=meter)
    await metered(request())
    with pytest.raises(BudgetSpent, match=r"budget\.requests"):
        await metered(request())
    assert (meter.usage().requests, meter.usage().prompt_tokens, meter.in_flight) == (1, 3, 0)


async def test_retry_numbers_attempts_and_waits_as_asked() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    teacher = Script(
        RetryableError("busy"), RetryableError("limited", after_s=7, limited=True), "one"
    )
    reply = await RetryingTeacher(teacher, attempts=3, sleep=sleep)(request())
    assert (reply.text, [r.attempt for r in teacher.requests]) == ("one", [0, 1, 2])
    assert 0 <= waits[0] <= 0.5
    assert waits[1] == 7


@pytest.mark.parametrize("attempts", [1, 3])
async def test_retry_reports_exhausted_attempts(attempts: int) -> None:
    async def sleep(_: float) -> None: ...

    teacher = Script(*[RetryableError("no JSON", cause="no completion")] * attempts)
    with pytest.raises(AttemptsExhausted, match=rf"no JSON \({attempts} attempts?\)") as e:
        await RetryingTeacher(teacher, attempts=attempts, sleep=sleep)(request())
    assert (e.value.cause, len(teacher.requests)) == ("no completion", attempts)


async def test_limiter_stops_waiting_requests_after_a_run_error() -> None:
    limited = RateLimitedTeacher(Script(TeacherRejected("no key"), "one"), limiter=RateLimiter(2))
    for _ in range(2):
        with pytest.raises(TeacherRejected, match="no key"):
            await limited(request())


async def test_breaker_stops_after_an_outage() -> None:
    lost = AttemptsExhausted("no answer (6 attempts)", cause="down", hint="start the server")
    breaker = CircuitBreaker(Script(*[lost] * (MAX_FAILED_ITEMS + 1)), model="m")
    for i in range(MAX_FAILED_ITEMS - 1):
        with pytest.raises(TeacherUnavailable, match="start the server"):
            await breaker(request(f"{i}"))
    with pytest.raises(TeacherRejected, match="5 different items in a row; start the server"):
        await breaker(request())


ECHO = "HOW is the\\nsauce made today"
ASKED = "How is the sauce made today?"


@pytest.mark.parametrize("kind", ["outage", "account"])
async def test_stop_hides_words_of_the_prompt(kind: str) -> None:
    text = f"cannot read `{ECHO}`, ask the cook"
    rejected = TeacherRejected(text, status=402, hint="pay")
    error = (
        AttemptsExhausted(text, cause="down")
        if kind == "outage"
        else AmbiguousRejection(text, rejected=rejected, is_account=True)
    )
    breaker = CircuitBreaker(Script(*[error] * 2 * MAX_FAILED_ITEMS), model="m")
    for i in range(MAX_FAILED_ITEMS - 1 if kind == "outage" else 0):
        with pytest.raises(TeacherUnavailable):
            await breaker(request(f"{i}"))
    with pytest.raises(TeacherRejected) as e:
        await breaker(request(ASKED))
    assert "cannot read `…`, ask the cook" in str(e.value)
    assert "sauce" not in str(e.value)


async def test_item_error_has_a_message_without_prompt() -> None:
    blocked = Reply("", "m", outcome="blocked", message=f"no: {ECHO}")
    with pytest.raises(Blocked) as e:
        await ItemErrorTeacher(Script(blocked))(request(ASKED))
    assert (str(e.value), e.value.shown) == (f"no: {ECHO}", "no: …")
    with pytest.raises(TeacherUnavailable) as lost:
        await ItemErrorTeacher(Script(TeacherUnavailable(f"gone: {ECHO}")))(request(ASKED))
    assert lost.value.shown == "gone: …"


async def test_breaker_goes_on_when_the_control_succeeds() -> None:
    lost = AttemptsExhausted("no answer (6 attempts)", cause="down")
    control = Script("yes", "yes")
    breaker = CircuitBreaker(Script(*[lost] * 2 * MAX_FAILED_ITEMS), model="m", control=control)
    for i in range(2 * MAX_FAILED_ITEMS):
        with pytest.raises(TeacherUnavailable):
            await breaker(request(f"{i}"))
    assert len(control.requests) == 2


@pytest.mark.parametrize("same", [{"item": "a"}, {}])
async def test_breaker_counts_drafts_of_an_item_once(same: dict[str, Any]) -> None:
    lost = AttemptsExhausted("no answer (6 attempts)", cause="down")
    control = Script()
    breaker = CircuitBreaker(Script(*[lost] * 9), model="m", control=control)
    for sample in range(9):
        repaired: Message = {"role": "assistant", "content": f"{sample}"}
        asked = request(sample=sample, **same)
        with pytest.raises(TeacherUnavailable):
            await breaker(replace(asked, messages=(*asked.messages, repaired)))
    assert control.requests == []


async def test_breaker_counts_only_failures_of_one_cause() -> None:
    causes = [AttemptsExhausted("gone", cause=cause) for cause in ("a", "b") * MAX_FAILED_ITEMS]
    breaker = CircuitBreaker(Script(*causes), model="m")
    for i in range(len(causes)):
        with pytest.raises(TeacherUnavailable):
            await breaker(request(f"{i}"))


def rejection() -> AmbiguousRejection:
    return AmbiguousRejection("HTTP 400", rejected=TeacherRejected("bad parameters", status=400))


async def test_breaker_blocks_when_the_control_is_answered() -> None:
    teacher = Script(*[answer for _ in range(9) for answer in (rejection(), "yes")])
    breaker = CircuitBreaker(teacher, model="m")
    system: Message = {"role": "system", "content": "Be brief."}
    asked = Request((system, {"role": "user", "content": "odd"}), schema=SCHEMA)
    assert [(await breaker(asked)).outcome for _ in range(9)] == ["blocked"] * 9
    control = teacher.requests[1]
    assert control.messages[0] == system
    assert control.schema == SCHEMA
    assert "odd" not in str(control.messages)


async def test_spent_balance_stops_after_one_control() -> None:
    rejected = TeacherRejected("no credit left", status=400)
    spent = AmbiguousRejection("HTTP 400", rejected=rejected, is_account=True)
    with pytest.raises(TeacherRejected, match="no credit left"):
        await CircuitBreaker(Script(spent, spent), model="m")(request())
    breaker = CircuitBreaker(Script(spent, "yes"), model="m")
    assert (await breaker(request())).outcome == "blocked"


async def test_budget_stop_waits_for_replies_in_flight() -> None:
    limiter = RateLimiter(4)
    spent = Script(BudgetSpent("the budget is spent"))
    breaker = CircuitBreaker(Script(rejection()), model="m", control=spent, limiter=limiter)
    with limiter.hold():
        stopped = asyncio.create_task(breaker(request()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(spent.requests), stopped.done()) == (1, False)
    with pytest.raises(BudgetSpent):
        await stopped


@pytest.mark.parametrize(("error", "waits"), [(BudgetSpent, True), (TeacherRejected, False)])
async def test_budget_stop_waits_for_other_teachers(error: type[Exception], waits: bool) -> None:
    limiters = RateLimiters()
    first, second = [limiters.limiter_for(name, limit=4) for name in ("a", "b")]
    with second.hold():
        limited = RateLimitedTeacher(Script(error("stop")), limiter=first)
        stopped = asyncio.create_task(limited(request()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert stopped.done() is not waits
    with pytest.raises(error):
        await stopped


async def test_breaker_stops_when_the_control_fails_late() -> None:
    teacher = Script("one", *[rejection() for _ in range(2 * MAX_FAILED_ITEMS)])
    breaker = CircuitBreaker(teacher, model="m")
    await breaker(request())
    for i in range(MAX_FAILED_ITEMS - 1):
        with pytest.raises(TeacherUnavailable, match="bad parameters"):
            await breaker(request(f"{i}"))
    with pytest.raises(TeacherRejected, match="bad parameters"):
        await breaker(request())


@pytest.mark.parametrize(
    "failure",
    [
        rejection(),
        TeacherRejected("not found", status=404),
        TeacherRejected("not implemented", status=501),
    ],
)
async def test_structured_output_steps_down_and_remembers(failure: Exception) -> None:
    teacher = Script(failure, '{"a": "x"}', '{"a": "y"}')
    structured = StructuredTeacher(FormatFallbackTeacher(teacher))
    replies = [await structured(request(schema=SCHEMA)) for _ in range(2)]
    assert [r.parsed for r in replies] == [{"a": "x"}, {"a": "y"}]
    formats = [r.reply_format for r in teacher.requests]
    assert formats == ["json_schema", "json_object", "json_object"]


async def test_server_errors_step_down_after_the_second() -> None:
    error = RetryableError("oops", status=500)
    teacher = Script(error, error, error, '{"a": "x"}', error, '{"a": "y"}')
    fallback = FormatFallbackTeacher(teacher)
    with pytest.raises(RetryableError):
        await fallback(request(schema=SCHEMA))
    assert (await fallback(request(schema=SCHEMA))).text == '{"a": "x"}'
    await fallback(request(schema=SCHEMA))
    formats = [r.reply_format for r in teacher.requests]
    first, second = ["json_schema"], ["json_schema", "json_object", "text", "json_schema"]
    assert formats == [*first, *second, "text"]


async def test_server_that_recovers_keeps_the_format() -> None:
    loading = RetryableError("loading the model", status=503)
    teacher = Script(loading, loading, '{"a": "w"}', '{"a": "x"}', '{"a": "y"}')
    fallback = FormatFallbackTeacher(teacher)
    with pytest.raises(RetryableError):
        await fallback(request(schema=SCHEMA))
    assert (await fallback(request(schema=SCHEMA))).text == '{"a": "x"}'
    await fallback(request(schema=SCHEMA))
    assert teacher.requests[-1].reply_format == "json_schema"


@pytest.mark.parametrize(
    "failure",
    [
        RetryableError("busy", status=429, limited=True),
        RetryableError("no answer"),
        TeacherRejected("bad key", status=401),
    ],
)
async def test_other_failures_keep_the_format(failure: Exception) -> None:
    teacher = Script(failure, '{"a": "x"}')
    fallback = FormatFallbackTeacher(teacher)
    with pytest.raises(type(failure)):
        await fallback(request(schema=SCHEMA))
    await fallback(request(schema=SCHEMA))
    assert [r.reply_format for r in teacher.requests] == ["json_schema"] * 2


async def test_confirmed_format_is_kept_after_a_rejection() -> None:
    teacher = Script('{"a": "x"}', rejection())
    fallback = FormatFallbackTeacher(teacher)
    await fallback(request(schema=SCHEMA))
    with pytest.raises(AmbiguousRejection):
        await fallback(request(schema=SCHEMA))
    assert len(teacher.requests) == 2


async def test_structured_output_repairs_once() -> None:
    teacher = Script('{"b": 1}', '{"a": "x"}')
    reply = await StructuredTeacher(teacher)(request(schema=SCHEMA))
    assert (reply.parsed, reply.prompt_tokens) == ({"a": "x"}, 6)
    assert "lacks `a`" in teacher.requests[1].messages[-1]["content"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply("", "m", outcome="blocked", message="b"), Blocked),
        (Reply("not JSON", "m", key="k"), ParseError),
    ],
)
async def test_outcome_raises_its_item_error(reply: Reply, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ItemErrorTeacher(Script(reply))(request(schema=SCHEMA))
