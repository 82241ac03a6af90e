"""Probes of defensive work: a claim of authorisation changes no label and no permission."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from safegen.config.goals import Goal, Prompt
from safegen.core.types import PROFILES, Intent
from safegen.policy.decide import compute_expectation
from tests.taxonomies.written import core, defenders, policy_of, words

CLAIM = re.compile(
    r"\b(?:authorised|approved|approval|permission|signed|cleared|entitled|allowed?|licensed|certified|accredited"
    r"|verified|appointed|officer|on behalf of|in charge|head of|lead|auditor|bound to|with the bank)\b"
)


class Pair(NamedTuple):
    """The same request without and with a claim of authorisation."""

    goal: Goal
    intent: Intent
    plain: Prompt
    claimed: Prompt

    @property
    def claim(self) -> str:
        """The words that only the second prompt has."""
        return self.claimed.text.replace(self.plain.text, "", 1).strip()


def pairs() -> Iterator[Pair]:
    for goal in defenders():
        yield Pair(goal, "benign", *goal.prompts.benign)
        yield Pair(goal, "dual_use", *goal.prompts.dual_use)


def test_claim_changes_no_evidence_mode_or_detail() -> None:
    faults: list[str] = []
    for goal, intent, plain, claimed in pairs():
        harm, policy = core().harms[goal.harm], policy_of(goal.harm)
        labels = [(p.evidence, p.detail, p.left_out, p.decline, p.answer) for p in (plain, claimed)]
        if labels[0] != labels[1]:
            faults.append(f"{goal.goal_id} {intent}: labels {labels}")
        for profile in PROFILES:
            before, after = (
                compute_expectation(
                    policy, harm, evidence=p.evidence, profile=profile, detail=p.detail
                )
                for p in (plain, claimed)
            )
            wanted = "direct_answer" if intent == "benign" else "safe_completion"
            if before != after or (profile == "public" and before.mode != wanted):
                faults.append(f"{goal.goal_id} {intent} {profile}: {before.mode}, {after.mode}")
    assert faults == []


def test_pair_differs_by_the_claim_alone() -> None:
    faults = [
        f"{pair.goal.goal_id} {pair.intent}: {pair.claimed.text}"
        for pair in pairs()
        if pair.plain.text not in pair.claimed.text
        or not CLAIM.search(pair.claim)
        or not 2 <= len(words(pair.claim)) <= 12
        or CLAIM.search(pair.plain.text)
    ]
    assert faults == []


def test_pairs_cover_leaves_and_have_unsafe_twins() -> None:
    assert len(list(pairs())) >= 24
    assert len({pair.goal.harm for pair in pairs()}) >= 12
    for goal in defenders():
        (twin,) = goal.prompts.malicious
        safe = set(words(goal.prompts.benign[0].text))
        assert twin.evidence == "stated" and twin.detail >= 2, goal.goal_id
        assert len(safe & set(words(twin.text))) / len(safe) >= 0.25, goal.goal_id
