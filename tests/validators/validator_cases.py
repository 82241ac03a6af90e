"""Builders for validator tests."""

from __future__ import annotations

import asyncio
from functools import cache

from safegen import locales
from safegen.locales import Locale
from safegen.policy import spec
from safegen.policy.spec import Policy
from safegen.types import (
    Draft,
    DraftContext,
    DraftValidator,
    Evidence,
    Expectation,
    Knowledge,
    Mode,
    SafeTask,
    Scenario,
    Verdict,
)


@cache
def english() -> Locale:
    return locales.load("en")


@cache
def policy() -> Policy:
    return spec.load("security")


def draft(response: str | None, *, style: str | None = None) -> Draft:
    return Draft(
        draft_id="d1",
        scenario_id="s1",
        candidate=0,
        revision=0,
        parent_id=None,
        response=response,
        reasoning_content=None,
        response_sha256=None,
        withheld=False,
        style=style,
        teacher="fake",
        model="fake",
        outcome="ok" if response is not None else "refused",
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
    )


def context(
    *,
    mode: Mode = "direct_answer",
    ceiling: int = 1,
    floor: int = 0,
    required: tuple[str, ...] = (),
    evidence: Evidence = "none",
    language: str = "en",
    asked: str = "How does the fictional Zorb device open?",
    policy_id: str | None = None,
) -> DraftContext:
    scenario = Scenario(
        scenario_id="s1",
        set_id="t1",
        goal_id="g1",
        round=0,
        taxonomy="core@1",
        harm="cyber.intrusion",
        domain="cyber",
        task="explain",
        intent="benign",
        evidence=evidence,
        requested_detail=1,
        paraphrase=0,
        turn=0,
        language=language,
        jurisdiction=None,
        profile="public",
        contrast=None,
        attributes=(),
        benign_use="curiosity about the device",
        misuse_risk="opening one that belongs to somebody else",
        messages=({"role": "user", "content": asked},),
        source="written",
        source_licence="CC0-1.0",
    )
    expectation = Expectation(
        policy_id=policy_id or policy().policy_id,
        mode=mode,
        ceiling=ceiling,
        floor=floor,
        required=required,
        rule_ids=("B-RES",),
    )
    knowledge = Knowledge(
        answer=("The Zorb opens with its own key.",),
        concepts=("Locks compare a key with a pattern.",),
        safe_task=SafeTask("I can help you order a spare key.", ("Find the number.",)),
        redirections=("If it is yours, ask the maker.",),
        left_out="the secret sequence",
        decline="opening a Zorb that is not yours",
    )
    return DraftContext(scenario, expectation, knowledge)


def judge(validator: DraftValidator, response: str | None, at: DraftContext) -> Verdict:
    async def ask() -> Verdict:
        return await validator(draft(response), at)

    return asyncio.run(ask())
