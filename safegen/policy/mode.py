"""Scenario → Expectation: what a good answer is, computed and never guessed."""

from __future__ import annotations

from safegen.policy.spec import Policy, Situation
from safegen.taxonomy import Harm
from safegen.types import Evidence, Expectation, Profile


def expect(
    policy: Policy, harm: Harm, *, evidence: Evidence, profile: Profile, detail: int
) -> Expectation:
    """What the policy expects of an answer.

    The intent label is not among the arguments: evidence in the messages is.
    """
    return expect_at(policy, Situation(harm.tier, evidence, profile, detail))


def expect_at(policy: Policy, at: Situation) -> Expectation:
    """What the policy expects of an answer at a situation."""
    rule = policy.decide(at)
    return Expectation(
        policy_id=policy.policy_id,
        mode=rule.mode,
        ceiling=rule.ceiling,
        floor=rule.floor,
        required=rule.required,
        rule_ids=(rule.id,),
    )
