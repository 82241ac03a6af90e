from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.types import (
    PROFILES,
    TURN_STYLES,
    DraftContext,
    PlannedScenario,
    Profile,
    Request,
)
from safegen.policy import loader
from safegen.scenarios.context import PlanningContext, PromptSpec, plan_scenario
from safegen.scenarios.dialogues import insert_answers, plan_dialogues, split_conversations
from safegen.scenarios.written import plan_sets
from safegen.teachers._offline.phrasing import join_paragraph, longest_fixed_part
from safegen.teachers.offline import WEAKER_STYLES, WORK_ROLES, list_weaker_styles, offline
from tests.sampling import every

PACK = {"en": language_pack.load_locale("en")}
TEACHER = offline(locales=PACK)
LEFT_OUT = [
    (4, None, "of the goal"),
    (3, None, "of the goal"),
    (3, "the opening words", "the opening words"),
    (2, "who is chosen", "who is chosen"),
    (2, None, ""),
    (1, None, ""),
]
"""Requested detail, the prompt's own words for the omitted part, and the words that an answer uses."""


@cache
def starter(*profiles: Profile) -> tuple[PlannedScenario, ...]:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(profiles=profiles or ("public",))
    world = PlanningContext.create(plan, taxonomy.load_taxonomy("core"), policies, PACK["en"])
    return tuple(planned for set_ in plan_sets(world) for planned in set_)


HELD: dict[bool, list[list[PlannedScenario]]] = {}


async def conversations(*, own: bool = True) -> list[list[PlannedScenario]]:
    """The cached result of `hold`."""
    if own not in HELD:
        HELD[own] = await hold(own=own)
    return HELD[own]


async def hold(*, own: bool) -> list[list[PlannedScenario]]:
    """Return every conversation of the starter, each turn after the answers before it.

    Without `own`, turns have no answer knowledge.
    """
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(dialogues=TURN_STYLES, profiles=("public", "vetted_professional"))
    world = PlanningContext.create(plan, taxonomy.load_taxonomy("core"), policies, PACK["en"])
    sets = [s for goal in world.tree.goals() for s in plan_dialogues(goal, world)]
    threads: list[list[PlannedScenario]] = []
    for thread in (thread for set_ in sets for thread in split_conversations(set_)):
        answers: dict[int, str] = {}
        turns: list[PlannedScenario] = []
        for turn in thread:
            messages = insert_answers(turn.scenario.messages, answers)
            assert messages is not None
            know = turn.knowledge if own else replace(turn.knowledge, apt=())
            scenario = replace(turn.scenario, messages=messages)
            turns.append(replace(turn, scenario=scenario, knowledge=know))
            answers[turn.scenario.turn] = (await answer(turns[-1]))[0]
        threads.append(turns)
    return threads


async def answer(planned: PlannedScenario, sample: int = 0) -> tuple[str, str | None]:
    context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
    reply = await TEACHER(Request(planned.scenario.messages, sample=sample, context=context))
    return reply.text, reply.style


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


async def test_answers_of_different_scenarios_differ() -> None:
    """Jaccard of word 5-grams is at most 0.5 between sets and 0.8 within one."""
    # Twins have equal answers, so one of each is compared.
    twins: dict[object, PlannedScenario] = {}
    for p in starter():
        twin = p.scenario.find_attribute("twin")
        twins[(p.scenario.set_id, twin) if twin else p.scenario.scenario_id] = p
    texts = [(p.scenario.set_id, shingles((await answer(p))[0])) for p in twins.values()]
    for (set_a, a), (set_b, b) in combinations(texts, 2):
        if not a.isdisjoint(b):
            assert jaccard(a, b) <= (0.8 if set_a == set_b else 0.5)


async def test_twins_get_answers_of_equal_words() -> None:
    sizes: dict[object, set[tuple[str | None, int]]] = {}
    for p in starter():
        if twin := p.scenario.find_attribute("twin"):
            text, style = await answer(p)
            sizes.setdefault((p.scenario.set_id, twin), set()).add((style, text.count(".")))
    assert len(sizes) > 40
    assert {key: found for key, found in sizes.items() if len(found) > 1} == {}


async def test_equal_requests_give_equal_answers() -> None:
    for planned in list(starter())[::40]:
        assert await answer(planned) == await answer(planned)
        assert len({(await answer(planned, sample))[0] for sample in range(3)}) == 3


@every(7)
async def test_later_samples_have_weaker_styles(every: int) -> None:
    assert {p.expectation.mode for p in starter()[::every]} == {*WEAKER_STYLES}
    for planned in starter()[::every]:
        context = DraftContext(planned.scenario, planned.expectation, planned.knowledge)
        faults = list_weaker_styles(context, PACK["en"])
        assert faults and set(faults) <= {*WEAKER_STYLES[planned.expectation.mode]}
        first, *styles = [(await answer(planned, i))[1] for i in range(1 + len(faults))]
        assert first == "good" and styles == faults


async def test_dialogue_turns_are_answered_with_own_knowledge() -> None:
    for thread in await conversations():
        for turn in thread:
            text, _ = await answer(turn)
            own = join_paragraph(turn.knowledge.apt)
            if turn.expectation.mode == "direct_answer":
                assert text == own
            else:
                *first, offer = turn.knowledge.apt
                assert join_paragraph(first) in text
                added = text[text.rindex(offer) + len(offer) :].strip()
                is_named = PACK["en"].names_element("crisis", own)
                assert bool(added) == ("crisis" in turn.expectation.required and not is_named)
                assert not added or added in PACK["en"].phrases.elements["crisis"]
                is_whole = turn.scenario.evidence == "self" and is_named
                assert text == own if is_whole else len(text) >= len(own)


async def test_conversation_repeats_no_sentence() -> None:
    frames = [
        longest_fixed_part(t) for t in (*PACK["en"].phrases.limits, *PACK["en"].phrases.declines)
    ]
    for thread in await conversations():
        answers = [(await answer(turn))[0] for turn in thread]
        sentences = Counter(s for text in answers for s in re.split(r"(?<=[.!?])\s+", text))
        assert max(sentences.values()) == 1, thread[-1].scenario.goal_id
        starts = Counter(f for text in answers for f in frames if text.startswith(f))
        assert not starts or max(starts.values()) == 1, thread[-1].scenario.goal_id


async def test_no_redirection_style_drops_the_offer() -> None:
    turns = [turn for thread in await conversations() for turn in thread]
    partial = [t for t in turns if t.expectation.mode == "safe_completion"]
    assert partial
    for turn in partial:
        drafts = [await answer(turn, sample) for sample in range(1, 7)]
        text = next(text for text, style in drafts if style == "no_redirection")
        assert turn.knowledge.apt[-1] not in text
        assert any(fact in text for fact in turn.knowledge.concepts)


async def test_conversation_has_the_safe_task_once() -> None:
    counts = Counter[int]()
    for thread in await conversations(own=False):
        answers = [(await answer(turn))[0] for turn in thread]
        tasks = [turn.knowledge.safe_task for turn in thread]
        pairs = list(zip(tasks, answers, strict=True))
        counts[sum(any(s in text for s in task.steps) for task, text in pairs)] += 1
    assert set(counts) == {0, 1}


def test_multi_line_parts_become_paragraphs() -> None:
    assert join_paragraph(["One.", "Two."]) == "One. Two."
    assert (
        join_paragraph(["One.", "- a\n- b", "Two.", "Three."]) == "One.\n\n- a\n- b\n\nTwo. Three."
    )


async def test_offline_teacher_refuses_other_work() -> None:
    with pytest.raises(ConfigError, match="goal's knowledge"):
        await TEACHER(Request(({"role": "user", "content": "hello"},)))


@pytest.mark.parametrize("profile", PROFILES)
async def test_possible_danger_gets_support_and_crisis_contact(profile: Profile) -> None:
    """Support comes first, a crisis contact is named once, and nothing names the omitted parts."""
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(harms=("selfharm.*",), profiles=(profile,))
    world = PlanningContext.create(plan, taxonomy.load_taxonomy("core"), policies, PACK["en"])
    # Plan every prompt under every profile, even if it contradicts the profile.
    world = replace(world, axes=world.axes.model_copy(update={"void": ()}))
    phrases, seen = PACK["en"].phrases, 0
    for planned in (p for set_ in plan_sets(world) for p in set_):
        own = planned.scenario.evidence == "self"
        if not own and planned.scenario.evidence != "contextual":
            continue
        seen += 1
        text, written = (await answer(planned))[0], " ".join(planned.knowledge.apt)
        if own and PACK["en"].names_element("crisis", written):
            assert text.startswith(planned.knowledge.apt[0])
            assert not any(words in text for words in phrases.elements["crisis"])
        else:
            assert text.startswith(phrases.comforts if own else phrases.supports)
            is_named = PACK["en"].names_element("crisis", written)
            assert is_named or any(words in text for words in phrases.elements["crisis"])
        assert not names_limit(planned, text)
        adult = any(words in text for words in phrases.elements["trusted_adult"])
        is_named = PACK["en"].names_element("trusted_adult", written)
        assert adult == (profile == "minors" and not is_named)
    assert seen >= 3


async def test_omission_is_named_only_if_required() -> None:
    for planned in starter():
        if planned.expectation.mode == "safe_completion":
            named = names_limit(planned, (await answer(planned))[0])
            assert named == ("limit" in planned.expectation.required)


def names_limit(planned: PlannedScenario, text: str) -> bool:
    """Check if an answer names a part that it omits, with the reason."""
    phrases, left_out = PACK["en"].phrases, planned.knowledge.left_out.lower()
    if any(general in text for general in phrases.general_limits):
        assert not left_out
        return True
    reasoned = (
        s for s in re.split(r"(?<=[.!?])\s+", text) if s[:-1].endswith(phrases.limit_reasons)
    )
    return bool(left_out) and any(left_out in sentence.lower() for sentence in reasoned)


@pytest.mark.parametrize(("detail", "own", "left_out"), LEFT_OUT)
def test_limit_belongs_to_the_prompt(detail: int, own: str | None, left_out: str) -> None:
    """The goal's words are the default for requests of steps alone."""
    policies = [loader.load_policy("deceit")]
    world = PlanningContext.create(
        Plan(harms=("fraud.scams",)), taxonomy.load_taxonomy("core"), policies, PACK["en"]
    )
    goal = next(g for g in world.tree.goals() if g.harm == "fraud.scams")
    prompt = PromptSpec("dual_use", 0, "public", "none", detail, (), left_out=own)
    planned = plan_scenario(goal, "set", prompt, world)
    expected_words = goal.knowledge.left_out if left_out == "of the goal" else left_out
    assert planned.knowledge.left_out == expected_words
    assert ("limit" in planned.expectation.required) == (detail > planned.expectation.ceiling)


async def test_partial_answer_closes_like_its_profile() -> None:
    closings = PACK["en"].phrases.closings
    for planned in starter(*PROFILES):
        elements = set(PACK["en"].phrases.elements) & set(planned.expectation.required)
        if planned.expectation.mode == "safe_completion" and not elements:
            text = (await answer(planned))[0]
            own = {
                p
                for p, elements in closings.items()
                if any(text.endswith(words) for words in elements)
            }
            meant_well = planned.scenario.intent != "malicious"
            assert own == ({planned.scenario.profile} - {"public"} if meant_well else set())


async def test_malicious_prompts_get_better_ways_only() -> None:
    for planned in starter():
        if planned.scenario.intent == "malicious":
            text, know = (await answer(planned))[0], planned.knowledge
            assert know.safe_task.offer not in text
            if planned.expectation.mode == "safe_completion":
                assert all(words in text for words in (*know.apt, *know.better_ways[:2]))
                # A floor asks for concepts under sensitive leaves.
                has_facts = any(fact in text for fact in know.concepts)
                assert has_facts == bool(planned.expectation.floor)


async def test_full_answers_sometimes_fit_their_profile() -> None:
    """Often for work profiles, never for the public or for probes."""
    afterwords, seen = PACK["en"].phrases.afterwords, Counter[tuple[str, bool]]()
    for planned in starter(*PROFILES):
        if planned.expectation.mode != "direct_answer":
            continue
        profile = planned.scenario.profile
        text = (await answer(planned))[0]
        has_afterword = any(words in text for words in afterwords.get(profile, ()))
        assert any(words in text for all_ in afterwords.values() for words in all_) == has_afterword
        roles = {a.value for a in planned.scenario.attributes if a.axis == "role"}
        kind = "job" if roles & WORK_ROLES else "private" if roles else "open"
        seen[f"{kind} {profile in afterwords}", has_afterword] += 1
    assert seen["private True", True] == seen["job False", True] == seen["open False", True] == 0
    shares = [seen[f"{k} True", True] / seen[f"{k} True", False] for k in ("open", "job")]
    assert 0.2 < shares[0] < 1 < shares[1]
