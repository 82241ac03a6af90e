from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from safegen import locales, taxonomy
from safegen.errors import ConfigError
from safegen.policy import spec
from safegen.recipe import Plan, Recipe
from safegen.scenarios.sets import plan_sets
from safegen.scenarios.world import World
from safegen.teachers.offline import WEAKER, offline
from safegen.types import DraftContext, Planned, Request

PACK = {"en": locales.load("en")}
TEACHER = offline(locales=PACK)


def starter() -> Iterator[Planned]:
    policies = [spec.load(name) for name in Recipe(name="t").policies]
    world = World.of(Plan(), taxonomy.load("core"), policies, PACK["en"])
    for set_ in plan_sets(world):
        yield from set_


async def answer(planned: Planned, sample: int = 0) -> tuple[str, str | None]:
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    reply = await TEACHER(Request(planned.scenario.messages, sample=sample, context=context))
    return reply.text, reply.style


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


async def test_answers_of_different_scenarios_differ() -> None:
    """At most 0.5 Jaccard of word 5-grams between sets and 0.8 within one."""
    texts = [(p.scenario.set_id, shingles((await answer(p))[0])) for p in starter()]
    for (set_a, a), (set_b, b) in combinations(texts, 2):
        assert jaccard(a, b) <= (0.8 if set_a == set_b else 0.5)


async def test_the_same_request_gives_the_same_answer_and_samples_differ() -> None:
    for planned in list(starter())[::40]:
        assert await answer(planned) == await answer(planned)
        assert len({(await answer(planned, sample))[0] for sample in range(3)}) == 3


async def test_later_samples_are_labelled_weaker_styles() -> None:
    for planned in starter():
        mode = planned.expectation.mode
        styles = [(await answer(planned, i))[1] for i in range(1 + len(WEAKER[mode]))]
        assert styles == ["good", *WEAKER[mode]]


async def test_it_says_that_it_cannot_do_other_work() -> None:
    with pytest.raises(ConfigError, match="goal's knowledge"):
        await TEACHER(Request(({"role": "user", "content": "hello"},)))
