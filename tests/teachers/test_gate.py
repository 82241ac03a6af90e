from __future__ import annotations

import asyncio
import itertools
import selectors
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

import pytest

from safegen.errors import TeacherRejected
from safegen.teachers._gate import Gate
from safegen.teachers.openai_chat import openai_chat
from tests.fake_endpoint import FakeEndpoint
from tests.teachers.test_openai_chat import asked


class Skipping(selectors.SelectSelector):
    """A selector that does not wait but says for how long it would have."""

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
    """Run to the end; the fake seconds that it took."""
    loop = FakeTime()
    try:
        loop.run_until_complete(work)
        return loop.time()
    finally:
        loop.close()


class Bucket:
    """An endpoint that lets `most` requests through in any `span` seconds."""

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


async def drive(gate: Gate, bucket: Bucket, count: int) -> None:
    async def one() -> None:
        while True:
            async with gate as started:
                wait = await bucket()
                if wait is None:
                    gate.succeeded()
                    return
                gate.throttled(wait, started=started)

    await asyncio.gather(*(one() for _ in range(count)))


@pytest.mark.parametrize("latency", [0.001, 0.01, 0.1, 0.5])
def test_a_rate_limit_costs_few_429s_and_little_time(latency: float) -> None:
    bucket = Bucket(20, 2.0, latency)

    async def work() -> None:
        gate = Gate(64, clock=asyncio.get_running_loop().time)
        await drive(gate, bucket, 100)

    seconds = in_fake_time(work())
    assert bucket.limited < 20
    assert seconds < 16  # 8 s and the latency is the least that the bucket allows


def test_a_long_run_keeps_near_the_allowed_rate() -> None:
    bucket = Bucket(20, 2.0, 0.05)

    async def work() -> None:
        await drive(Gate(64, clock=asyncio.get_running_loop().time), bucket, 1000)

    assert in_fake_time(work()) < 130  # 98 s is the least
    assert bucket.limited < 200


def test_slow_start_costs_less_than_a_tenth() -> None:
    bucket = Bucket(10**9, 1.0, 0.1)

    async def work() -> None:
        await drive(Gate(100, clock=asyncio.get_running_loop().time), bucket, 5000)

    assert in_fake_time(work()) < 5.5


def test_a_passing_429_does_not_slow_the_rest_for_long() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(32, clock=loop.time)
        await drive(gate, Bucket(10**9, 1.0, 0.1), 500)
        async with gate as started:
            gate.throttled(0.5, started=started)
        await drive(gate, Bucket(10**9, 1.0, 0.1), 3000)
        assert gate.rate is None
        assert gate.window == 32

    assert in_fake_time(work()) < 30


def test_many_429s_of_one_burst_halve_the_window_once_and_pause_for_the_longest() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(8, clock=loop.time)
        starts = [await gate.__aenter__() for _ in range(8)]
        for i, started in enumerate(starts):
            gate.throttled(1.0 + i, started=started)
            await gate.__aexit__()
        assert gate.window == 4
        async with gate as started:
            assert started >= 8.0

    in_fake_time(work())


def test_a_late_429_of_an_early_request_teaches_nothing_new() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(8, clock=loop.time)
        gate.throttled(1.0, started=await gate.__aenter__())
        window, early = gate.window, 0.0
        await asyncio.sleep(5)
        gate.throttled(1.0, started=early)
        assert gate.window == window

    in_fake_time(work())


def test_a_429_without_a_time_pauses_longer_and_longer() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(4, clock=loop.time)
        times: list[float] = []
        for _ in range(4):
            async with gate as started:
                times.append(started)
                gate.throttled(None, started=started)
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps == pytest.approx([1, 2, 4], rel=0.01)

    in_fake_time(work())


def test_a_rejection_wakes_those_who_wait_in_a_pause_and_for_room() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(1, clock=loop.time)

        async def wait() -> None:
            async with gate:
                raise AssertionError("nobody may start")

        started = await gate.__aenter__()
        waiting = [asyncio.create_task(wait()) for _ in range(5)]
        gate.throttled(500, started=started)
        await asyncio.sleep(1)
        gate.reject(TeacherRejected("no"))
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(r, TeacherRejected) for r in results)

    assert in_fake_time(work()) < 2


def test_a_cancelled_waiter_leaves_the_gate_usable() -> None:
    async def work() -> None:
        gate = Gate(1, clock=asyncio.get_running_loop().time)
        await gate.__aenter__()
        task = asyncio.create_task(gate.__aenter__())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await gate.__aexit__()
        async with gate:
            assert gate.active == 1

    in_fake_time(work())


async def test_a_hundred_requests_pass_a_real_bucket_with_few_429s() -> None:
    with FakeEndpoint(bucket=(20, 0.5)) as fake:
        teacher = openai_chat(base_url=fake.url, model="m")
        begun = time.monotonic()
        replies = await asyncio.gather(*(teacher(asked(str(i))) for i in range(100)))
        await teacher.aclose()
    assert all(r.outcome == "ok" for r in replies)
    assert fake.statuses[429] < 20
    assert time.monotonic() - begun < 10
