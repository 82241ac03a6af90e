from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from safegen.core.errors import TeacherRejected
from safegen.core.types import Reply, Request
from safegen.teachers._errors import RetryableError
from safegen.teachers._quota import Quota
from safegen.teachers._rate_limit import (
    Permit,
    RateLimitedTeacher,
    RateLimiter,
    Throttle,
    shorten_wait,
)
from safegen.teachers._retry import RetryingTeacher
from safegen.teachers.openai_chat import openai_chat
from safegen.testing import FakeEndpoint
from tests.sampling import sampled
from tests.teachers.test_openai_chat import request_of


class Skipping(selectors.SelectSelector):
    """A selector that records its timeouts instead of waiting."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.skipped += timeout or 0.0
        return super().select(0)


class FakeTime(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self.skipping = Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.skipped


def in_fake_time(work: Coroutine[Any, Any, None]) -> float:
    """Run the coroutine and return the fake seconds that it took."""
    loop = FakeTime()
    try:
        loop.run_until_complete(work)
        return loop.time()
    finally:
        loop.close()


class Bucket:
    """An endpoint that accepts `most` requests in any `span` seconds."""

    def __init__(self, most: int, span: float, latency: float) -> None:
        self.most, self.span, self.latency = most, span, latency
        self.passed: deque[float] = deque()
        self.limited = 0

    async def __call__(self) -> float | None:
        """None for an answer, else seconds to wait."""
        now = asyncio.get_running_loop().time()
        while self.passed and self.passed[0] <= now - self.span:
            self.passed.popleft()
        wait = None
        if len(self.passed) >= self.most:
            wait = self.passed[0] + self.span - now
            self.limited += 1
        else:
            self.passed.append(now)
        await asyncio.sleep(self.latency)
        return wait


async def drive(limiter: RateLimiter, bucket: Bucket, count: int) -> None:
    async def one() -> None:
        while True:
            async with limiter as permit:
                wait = await bucket()
                if wait is None:
                    limiter.record_success()
                    return
                limiter.record_throttle(wait, permit=permit)

    await asyncio.gather(*(one() for _ in range(count)))


class Moody:
    """An endpoint that limits a share of requests at random, at once or after its latency."""

    def __init__(self, share: float, latency: float, *, at_once: bool, seed: int) -> None:
        self.share, self.latency, self.at_once = share, latency, at_once
        self.random = random.Random(seed)
        self.limited = 0

    async def __call__(self) -> bool:
        limited = self.random.random() < self.share
        self.limited += limited
        await asyncio.sleep(0 if limited and self.at_once else self.latency)
        return limited


async def drive_patiently(
    limiter: RateLimiter, moody: Moody, count: int, after_s: float | None
) -> None:
    """Send requests with retries: each waits for itself, and the limiter pauses all if needed."""
    jitter = random.Random(1)

    async def one() -> None:
        wait = 0.5
        while True:
            async with limiter as permit:
                if not await moody():
                    limiter.record_success()
                    return
                limiter.record_throttle(after_s, permit=permit)
            await asyncio.sleep(jitter.uniform(0, wait) if after_s is None else after_s)
            wait *= 2

    await asyncio.gather(*(one() for _ in range(count)))


def seconds_with(share: float, latency: float, concurrency: int, **how: Any) -> float:
    count, after_s = how.pop("count"), how.pop("after_s")
    moody = Moody(share, latency, **how)

    async def work() -> None:
        limiter = RateLimiter(concurrency, clock=asyncio.get_running_loop().time)
        await drive_patiently(limiter, moody, count, after_s)

    return in_fake_time(work())


RANDOM_429S = list(
    itertools.product([0.01, 0.05, 0.1], [0.05, 0.3, 2.0], [4, 64], [True, False], [None, 1.0])
)


def test_sampled_429s_have_each_pair_of_values() -> None:
    def pairs(cases: list[Any]) -> set[Any]:
        return {pair for case in cases for pair in itertools.combinations(enumerate(case), 2)}

    assert pairs(RANDOM_429S[::7]) == pairs(RANDOM_429S)


@pytest.mark.parametrize(
    ("share", "latency", "concurrency", "at_once", "after_s"), sampled(RANDOM_429S, every=7)
)
def test_random_429s_keep_most_of_the_throughput(
    share: float, latency: float, concurrency: int, at_once: bool, after_s: float | None
) -> None:
    how: dict[str, Any] = {
        "at_once": at_once,
        "count": min(round(12 * concurrency / latency), 3000),
    }
    free = seconds_with(0, latency, concurrency, seed=0, after_s=after_s, **how)
    taken = [
        seconds_with(share, latency, concurrency, seed=seed, after_s=after_s, **how)
        for seed in range(2)
    ]
    tail = 3.0  # seconds that the last requests wait for themselves
    assert max(taken) < 2.5 * free + tail


@pytest.mark.parametrize("latency", [0.001, 0.01, 0.1, 0.5])
def test_rate_limit_costs_few_429s_and_time(latency: float) -> None:
    bucket = Bucket(20, 2.0, latency)

    async def work() -> None:
        limiter = RateLimiter(64, clock=asyncio.get_running_loop().time)
        await drive(limiter, bucket, 100)

    seconds = in_fake_time(work())
    assert bucket.limited < 20
    assert seconds < 16  # 8 s and the latency is the least that the bucket allows


def test_long_run_stays_near_the_allowed_rate() -> None:
    bucket = Bucket(20, 2.0, 0.05)

    async def work() -> None:
        await drive(RateLimiter(64, clock=asyncio.get_running_loop().time), bucket, 1000)

    assert in_fake_time(work()) < 130  # 98 s is the least
    assert bucket.limited < 200


def test_slow_start_costs_less_than_a_tenth() -> None:
    bucket = Bucket(10**9, 1.0, 0.1)

    async def work() -> None:
        await drive(RateLimiter(100, clock=asyncio.get_running_loop().time), bucket, 5000)

    assert in_fake_time(work()) < 5.5


def test_passing_429_slows_only_briefly() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(32, clock=loop.time)
        await drive(limiter, Bucket(10**9, 1.0, 0.1), 500)
        async with limiter as permit:
            limiter.record_throttle(0.5, permit=permit)
        await drive(limiter, Bucket(10**9, 1.0, 0.1), 3000)
        assert limiter.rate is None
        assert limiter.window == 32

    assert in_fake_time(work()) < 30


def test_burst_of_429s_halves_the_window_once() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(8, clock=loop.time)
        starts = [await limiter.__aenter__() for _ in range(8)]
        for i, permit in enumerate(starts):
            limiter.record_throttle(1.0 + i, permit=permit)
            await limiter.__aexit__()
        assert limiter.window == 4
        async with limiter as permit:
            assert permit.at >= 8.0

    in_fake_time(work())


@pytest.mark.parametrize("nths", [(2, 4, 6, 8), (3, 1, 2), (1, 2, 3, 5)])
def test_few_429s_of_a_burst_pause_nothing(nths: tuple[int, ...]) -> None:
    async def work() -> None:
        limiter = RateLimiter(8, clock=asyncio.get_running_loop().time)
        permits = {permit.nth: permit for permit in [await limiter.__aenter__() for _ in range(8)]}
        for nth in nths:
            limiter.record_throttle(9.0, permit=permits.pop(nth))
            await limiter.__aexit__()
        for _ in permits:
            await limiter.__aexit__()
        async with limiter as permit:
            assert permit.at == 0
        assert (limiter.window, limiter.rate) == (8, None)

    in_fake_time(work())


def test_useless_pace_is_dropped() -> None:
    async def work() -> None:
        limiter = RateLimiter(16, clock=asyncio.get_running_loop().time)
        await drive(limiter, Bucket(20, 2.0, 0.1), 60)
        assert limiter.rate is not None
        half = Moody(0.5, 0.1, at_once=False, seed=3)
        while limiter.rate is not None:
            await drive_patiently(limiter, half, 20, 0.1)

    assert in_fake_time(work()) < 120


def test_late_429_of_old_request_is_ignored() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(8, clock=loop.time)
        limiter.record_throttle(1.0, permit=await limiter.__aenter__())
        window, early = limiter.window, Permit(0.0, 1)
        await asyncio.sleep(5)
        limiter.record_throttle(1.0, permit=early)
        assert limiter.window == window

    in_fake_time(work())


def test_429_without_retry_after_pauses_longer() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(4, clock=loop.time)
        times: list[float] = []
        for _ in range(4):
            async with limiter as permit:
                times.append(permit.at)
                limiter.record_throttle(None, permit=permit)
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps == pytest.approx([1, 2, 4], rel=0.01)

    in_fake_time(work())


def test_rejection_wakes_all_waiting_requests() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        limiter = RateLimiter(1, clock=loop.time)

        async def wait() -> None:
            async with limiter:
                raise AssertionError("no request may start")

        permit = await limiter.__aenter__()
        waiting = [asyncio.create_task(wait()) for _ in range(5)]
        limiter.record_throttle(500, permit=permit)
        await asyncio.sleep(1)
        limiter.fail_waiters(TeacherRejected("no"))
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(r, TeacherRejected) for r in results)

    assert in_fake_time(work()) < 2


def test_cancelled_waiter_leaves_the_limiter_usable() -> None:
    async def work() -> None:
        limiter = RateLimiter(1, clock=asyncio.get_running_loop().time)
        await limiter.__aenter__()
        task = asyncio.create_task(limiter.__aenter__())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await limiter.__aexit__()
        async with limiter:
            assert limiter.active == 1

    in_fake_time(work())


@pytest.mark.slow
async def test_limiter_meets_few_429s_at_real_bucket() -> None:
    """Without the limiter, 80 of the 100 get a 429, and most of them again at each retry."""
    with FakeEndpoint(bucket=(20, 0.5)) as fake:
        teacher = openai_chat(base_url=fake.url, model="m")
        replies = await asyncio.gather(*(teacher(request_of(str(i))) for i in range(100)))
        await teacher.aclose()
    assert all(r.outcome == "ok" for r in replies)
    assert fake.statuses[429] < 60


def answer_all(count: int, limit: Callable[[], float | None], *, latency: float = 0.05) -> float:
    """Answer requests by the limiter with retries; return fake seconds. `limit` gives a Retry-After."""

    async def send(_: Request) -> Reply:
        after_s = limit()
        await asyncio.sleep(latency)
        if after_s is not None:
            raise RetryableError("busy", limited=True, after_s=after_s)
        return Reply("soup", "m")

    async def work() -> None:
        limiter = RateLimiter(64, clock=asyncio.get_running_loop().time)
        teacher = RetryingTeacher(RateLimitedTeacher(send, limiter=limiter), attempts=3)
        await asyncio.gather(*(teacher(request_of(str(n))) for n in range(count)))

    return in_fake_time(work())


@pytest.mark.parametrize(("count", "after_s", "extra_s"), [(900, 0.0, 0.2), (344, 1.0, 10.0)])
@pytest.mark.parametrize(
    "seed", sampled(zip([7, 0, 1, 2, 3, 4, 95, 5, 6, 13, 25, 30, 37, 42]), every=6)
)
def test_half_random_429s_cost_little_time(
    count: int, after_s: float, extra_s: float, seed: int
) -> None:
    """With whole waits, the runs of 7, 13, 25, 30, 37 and 42 take longer; that of 95 began with a pause."""
    draw = random.Random(seed)
    seconds = answer_all(count, lambda: after_s if draw.random() < 0.5 else None)
    assert seconds < 3 * answer_all(count, lambda: None) + extra_s


@pytest.mark.parametrize(
    ("earlier", "waits"), [(0, 8.0), (3, 8.0), (4, 4.0), (5, 2.0), (9, 2.0), (5_000, 2.0)]
)
def test_unlucky_request_waits_less_later(earlier: int, waits: float) -> None:
    assert shorten_wait(8.0, earlier) == waits


async def test_shortened_wait_is_shown_and_used() -> None:
    limiter, waited = RateLimiter(8, clock=lambda: 0.0), list[float]()

    async def send(request: Request) -> Reply:
        if request.limited == 6 or not request.item:
            return Reply("soup", "m")
        raise RetryableError("busy", limited=True, after_s=40.0)

    async def sleep(seconds: float) -> None:
        wait = limiter.wait
        assert wait is not None
        waited.append(seconds)
        limiter._waits.clear()
        assert wait.seconds == seconds
        await limited(request_of())

    limited = RateLimitedTeacher(send, limiter=limiter)
    await limited(request_of())
    teacher = RetryingTeacher(limited, attempts=3, sleep=sleep)
    await teacher(replace(request_of(), item="unlucky"))
    assert waited == [40.0, 40.0, 40.0, 40.0, 20.0, 10.0]


async def test_waits_at_a_rate_limit_stay_whole() -> None:
    limiter = RateLimiter(1, clock=lambda: 0.0)
    throttles = [
        limiter.record_throttle(40.0, permit=Permit(0.0, nth), limited=9) for nth in range(1, 6)
    ]
    assert throttles[-1] == Throttle(is_rate_limit=True, wait_s=40.0)


class TokenBucket:
    """An endpoint that refills tokens evenly, and names the time until the next one."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self.rate, self.burst, self.tokens, self.clock = rate, burst, burst, clock
        self.last = clock()
        self.limited = 0

    def __call__(self) -> float | None:
        now = self.clock()
        self.tokens = min(self.burst, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens < 1:
            self.limited += 1
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return None


@pytest.mark.parametrize("latency", [0.02, 0.06, 0.4])
def test_dropped_pace_is_measured_again(latency: float) -> None:
    """Old 429s without their answers explained every row of 429s: thousands for 100 requests."""
    buckets: list[TokenBucket] = []

    def limit() -> float | None:
        if not buckets:
            buckets.append(TokenBucket(10, 10, asyncio.get_running_loop().time))
        return buckets[0]()

    seconds = answer_all(100, limit, latency=latency)
    assert seconds < 100 / (0.6 * 10)
    assert buckets[0].limited < 150


@pytest.mark.parametrize("latency", [0.02, 0.06, 0.4])
@pytest.mark.parametrize("concurrency", [16, 64, 256])
def test_limited_rate_is_used_with_few_429s(latency: float, concurrency: int) -> None:
    bucket = Bucket(10, 1.0, latency)

    async def work() -> None:
        limiter = RateLimiter(concurrency, clock=asyncio.get_running_loop().time)
        await drive(limiter, bucket, 100)

    assert in_fake_time(work()) < 100 / (0.7 * 10)
    assert bucket.limited < 20


def test_retry_after_lowers_concurrency_without_pause() -> None:
    async def work() -> None:
        limiter = RateLimiter(8, clock=asyncio.get_running_loop().time)
        permits = [await limiter.__aenter__() for _ in range(8)]
        limiter.record_throttle(40.0, permit=permits[2])
        for _ in permits:
            await limiter.__aexit__()
        for _ in range(7):
            await limiter.__aenter__()
        assert limiter._wait_s() == 0
        wait = limiter.wait
        assert wait is not None
        assert (wait.seconds, wait.limited, wait.paused) == (40.0, 1, False)

    assert in_fake_time(work()) == 0


def test_empty_quota_pauses_until_its_reset(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        limiter = RateLimiter(8, clock=asyncio.get_running_loop().time)
        limiter.record_quota(Quota(0, 90.0))
        wait = limiter.wait
        assert wait is not None
        assert (wait.seconds, wait.paused) == (90.0, True)
        async with limiter as permit:
            assert permit.at >= 90.0
        assert limiter.wait is None

    in_fake_time(work())
    assert "quota used up (by the endpoint's headers): the next attempt is in 90 s" in caplog.text


def test_wait_of_several_requests_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        limiter = RateLimiter(8, clock=asyncio.get_running_loop().time)
        permits = [await limiter.__aenter__() for _ in range(8)]
        for permit in permits:
            limiter.record_throttle(60.0, permit=permit)
            await asyncio.sleep(0.5)

    in_fake_time(work())
    assert [r.getMessage() for r in caplog.records] == [
        "rate limit (HTTP 429): the next attempt is in 60 s"
    ]


def test_small_quota_bounds_requests_in_flight() -> None:
    async def work() -> None:
        limiter = RateLimiter(8, clock=asyncio.get_running_loop().time)
        limiter.record_quota(Quota(2, 5.0))
        await limiter.__aenter__()
        await limiter.__aenter__()
        assert limiter._wait_s() == 0

    in_fake_time(work())


async def test_limited_attempts_among_answers_are_uncounted() -> None:
    """Five 429s exceed three attempts, but the other requests are answered."""
    fault: Any = lambda body, nth: "429" if "unlucky" in str(body) and nth < 5 else None  # noqa: E731
    with FakeEndpoint(fault=fault, retry_after="0", latency_s=0.004) as fake:
        teacher = openai_chat(base_url=fake.url, model="m", attempts=3, concurrency=4)
        texts = [f"lucky {i}" for i in range(300)]
        texts.insert(20, "unlucky")
        replies = await asyncio.gather(*(teacher(request_of(t)) for t in texts))
        await teacher.aclose()
    assert {r.outcome for r in replies} == {"ok"}


async def test_wait_shows_the_words_of_the_server() -> None:
    limiter = RateLimiter(1)
    words = "the kitchen serves " + "two soups a minute, " * 9
    failure = RetryableError("busy", limited=True, after_s=40.0, words=words)

    async def send(_: Request) -> Reply:
        raise failure

    with pytest.raises(RetryableError):
        await RateLimitedTeacher(send, limiter=limiter)(request_of())
    assert limiter.wait is not None
    assert limiter.wait.reason == f"rate limit (HTTP 429): {words[:80]}"


async def test_wait_hides_words_of_the_prompt() -> None:
    limiter = RateLimiter(1)
    prompt = "Which spice goes into the soup of the house?"
    words = f"slow down ({prompt.upper()}) and wait"

    async def send(_: Request) -> Reply:
        raise RetryableError("busy", limited=True, after_s=40.0, words=words)

    with pytest.raises(RetryableError):
        await RateLimitedTeacher(send, limiter=limiter)(request_of(prompt))
    assert limiter.wait is not None
    assert limiter.wait.reason == "rate limit (HTTP 429): slow down (…?) and wait"
