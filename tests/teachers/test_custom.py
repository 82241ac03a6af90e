from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from safegen.core.errors import BudgetSpent, TeacherUnavailable
from safegen.core.types import Message, Reply, Request
from safegen.store.journal import Journal
from safegen.teachers._custom import CustomTeacher
from safegen.teachers._meter import Meter
from safegen.teachers._rate_limit import RateLimiters


class Echo:
    """A user's teacher that names its identity."""

    identity = "echo@1"
    concurrency = 2
    attempts = 2

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = self.active = self.most = 0

    async def __call__(self, request: Request, /) -> Reply:
        self.calls += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop(0)
            return Reply(request.messages[-1]["content"].upper(), "echo")
        finally:
            self.active -= 1


def request(text: str) -> Request:
    message: Message = {"role": "user", "content": text}
    return Request((message,))


def layered(teacher: Echo, journal: Journal | None, meter: Meter | None = None) -> CustomTeacher:
    meter = meter or Meter()
    return CustomTeacher(
        teacher,
        name="drafter",
        journal=journal,
        meter=meter,
        limiters=RateLimiters(),
        sleep=no_sleep,
    )


async def no_sleep(_: float) -> None: ...


async def test_identity_enables_the_cache(tmp_path: Path) -> None:
    journal, teacher = Journal(tmp_path / "j.sqlite"), Echo()
    for _ in range(2):
        assert (await layered(teacher, journal)(request("a"))).text == "A"
    assert teacher.calls == 1
    teacher.identity = "echo@2"
    await layered(teacher, journal)(request("a"))
    assert teacher.calls == 2
    await journal.aclose()


async def test_concurrency_bounds_calls_in_flight() -> None:
    teacher = Echo()
    custom = layered(teacher, None)
    await asyncio.gather(*(custom(request(str(n))) for n in range(20)))
    assert (teacher.calls, teacher.most) == (20, 2)


async def test_budget_bounds_calls() -> None:
    custom = layered(Echo(), None, Meter(requests=1))
    await custom(request("a"))
    with pytest.raises(BudgetSpent):
        await custom(request("b"))


async def test_connection_errors_are_retried() -> None:
    teacher = Echo(ConnectionError())
    assert (await layered(teacher, None)(request("a"))).text == "A"
    lost = Echo(TimeoutError(), TimeoutError())
    with pytest.raises(TeacherUnavailable, match="2 attempts"):
        await layered(lost, None)(request("a"))


async def test_without_identity_requests_are_only_counted(tmp_path: Path) -> None:
    journal, meter = Journal(tmp_path / "j.sqlite"), Meter()
    calls: list[Request] = []

    async def plain(request: Request, /) -> Reply:
        calls.append(request)
        return Reply("x", "m")

    custom = CustomTeacher(
        plain, name="drafter", journal=journal, meter=meter, limiters=RateLimiters()
    )
    for _ in range(2):
        await custom(request("a"))
    assert (len(calls), len(journal), meter.usage().requests) == (2, 0, 2)
    await journal.aclose()
