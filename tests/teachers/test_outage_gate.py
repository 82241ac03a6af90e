from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from safegen.core.errors import TeacherRejected, TeacherUnavailable
from safegen.core.hashing import digest
from safegen.core.types import Message, Reply, Request, Teacher
from safegen.teachers._circuit_breaker import CONTROL_MESSAGE
from safegen.teachers._compose import ModelSource, compose
from safegen.teachers._errors import RetryableError
from safegen.teachers._outage_gate import PROBES, SUSPECT_FAILURES, OutageGate
from safegen.teachers._rate_limit import FIRST_WINDOW, RateLimiter

ATTEMPTS = 6
ITEMS = 200


class Server:
    """A transport that fails if a function of the request and its number says so."""

    def __init__(self, fails: Callable[[Request, int], bool]) -> None:
        self.fails = fails
        self.requests: list[Request] = []

    async def __call__(self, request: Request, /) -> Reply:
        self.requests.append(request)
        number = len(self.requests)
        await asyncio.sleep(0)
        if self.fails(request, number):
            raise RetryableError("no model is loaded", cause="no chat completion")
        return Reply("yes", "m")


def make_teacher(server: Server, *, limit: int = 64) -> Teacher:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    source = ModelSource(server, lambda r: digest([r.messages, r.sample]), "m")
    return compose(source, limiter=RateLimiter(limit), attempts=ATTEMPTS, sleep=sleep)


def request(number: int, *, item: str = "") -> Request:
    message: Message = {"role": "user", "content": f"question {number}"}
    return Request((message,), item=item)


async def ask_all(teacher: Teacher, requests: list[Request]) -> list[Reply | BaseException]:
    return await asyncio.gather(*map(teacher, requests), return_exceptions=True)


@pytest.mark.parametrize("limit", [1, 4, 64, 256])
async def test_outage_costs_few_requests(limit: int) -> None:
    server = Server(lambda request, number: True)
    results = await ask_all(make_teacher(server, limit=limit), [request(n) for n in range(ITEMS)])
    stops = [r for r in results if isinstance(r, TeacherRejected)]
    lost = [r for r in results if isinstance(r, TeacherUnavailable)]
    assert (len(lost), len(stops)) == (PROBES - 1, ITEMS - PROBES + 1)
    # The window is full again while the first failures are counted; then three requests go on.
    first = FIRST_WINDOW + SUSPECT_FAILURES
    assert len(server.requests) <= first + PROBES * (ATTEMPTS - 1) + 1
    controls = [r for r in server.requests if r.messages[-1] == CONTROL_MESSAGE]
    assert controls == server.requests[-1:]


async def test_answered_control_lets_all_pass() -> None:
    def fails(request: Request, number: int) -> bool:
        return request.messages[-1] != CONTROL_MESSAGE and number < 60

    server = Server(fails)
    results = await ask_all(make_teacher(server), [request(n) for n in range(ITEMS)])
    lost = [r for r in results if isinstance(r, TeacherUnavailable)]
    assert sum(isinstance(r, Reply) for r in results) == ITEMS - len(lost) > ITEMS / 2


async def test_few_items_do_not_wait_for_ever() -> None:
    server = Server(lambda request, number: True)
    drafts = [request(n, item=f"item {n % 2}") for n in range(30)]
    results = await ask_all(make_teacher(server), drafts)
    assert all(isinstance(r, TeacherUnavailable) for r in results)


@pytest.mark.parametrize("seed", range(5))
async def test_half_of_failures_at_random_stops_nothing(seed: int) -> None:
    chance = random.Random(seed)
    server = Server(lambda request, number: chance.random() < 0.5)
    results = await ask_all(make_teacher(server), [request(n) for n in range(ITEMS)])
    assert not any(isinstance(r, TeacherRejected) for r in results)
    assert sum(isinstance(r, Reply) for r in results) > 0.9 * ITEMS


async def test_cancelled_probes_give_their_places() -> None:
    gate, requests = OutageGate(), [request(n) for n in range(PROBES + 2)]
    for number in range(SUSPECT_FAILURES):
        gate.record_failure(request(number), "down")
    gate_items = requests[:PROBES]
    for probe in gate_items:
        await gate.enter(probe)
    waiting = asyncio.create_task(gate.enter(requests[-1]))
    for left, probe in enumerate(gate_items, start=1):
        gate.leave(probe)
        await asyncio.sleep(0)
        assert waiting.done() is (left == PROBES)
    await waiting
