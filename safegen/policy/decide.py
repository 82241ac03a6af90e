"""Scenario → Expectation: computes what a good answer is; no teacher guesses it."""

from __future__ import annotations

from safegen.config.taxonomy import Harm
from safegen.core.types import DANGER, Evidence, Expectation, Profile, Scenario, Tier
from safegen.policy.schema import LIMIT_ELEMENT, PROTECTIVE_ELEMENTS
from safegen.policy.spec import Policy, Situation


def compute_expectation(
    policy: Policy,
    harm: Harm,
    *,
    evidence: Evidence,
    profile: Profile,
    detail: int,
    danger: bool = False,
) -> Expectation:
    """Compute what the policy expects of an answer.

    The intent label is no argument, because only the evidence in the messages counts.

    Args:
        policy: the spec that covers the leaf.
        harm: the leaf.
        evidence: the evidence of intent in the messages.
        profile: deployment of the assistant.
        detail: the requested detail about the hazard, 0 to 4.
        danger: the messages state harm to another person and also show danger to oneself. The stated
            harm decides the mode; `support` and `crisis` are then required in every spec that has them.
    """
    at = Situation(harm.tier, evidence, profile, detail)
    return compute_expectation_at(policy.at_leaf(harm.id), at, danger=danger)


def compute_scenario_expectation(policy: Policy, harm: Harm, scenario: Scenario) -> Expectation:
    """Compute what the policy expects of an answer to a scenario."""
    return compute_expectation(
        policy,
        harm,
        evidence=scenario.evidence,
        profile=scenario.profile,
        detail=scenario.requested_detail,
        danger=shows_danger(scenario),
    )


def shows_danger(scenario: Scenario) -> bool:
    """Check if a prompt that states harm to another person also shows danger to oneself."""
    return any(a.axis == DANGER for a in scenario.attributes)


def compute_expectation_at(policy: Policy, at: Situation, *, danger: bool = False) -> Expectation:
    """Compute what the policy expects of an answer at a situation of its leaf (`Policy.at_leaf`)."""
    rule = policy.decide(at)
    required = rule.required
    if rule.mode != "refuse_redirect" and at.detail <= rule.ceiling:
        # An answer that gives all that was requested has nothing to name as left out.
        required = tuple(name for name in required if name != LIMIT_ELEMENT)
    return Expectation(
        policy_id=policy.policy_id,
        mode=rule.mode,
        ceiling=rule.ceiling,
        floor=rule.floor,
        required=(*required, *(_list_missing_protection(policy, required) if danger else ())),
        rule_ids=(rule.id,),
    )


def _list_missing_protection(policy: Policy, required: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(n for n in PROTECTIVE_ELEMENTS if n in policy.elements and n not in required)


def is_drafted_without_spec(expectation: Expectation, tier: Tier) -> bool:
    """Return True if the teacher gets no spec: with one it would hedge answers to harmless questions."""
    return expectation.mode == "direct_answer" and tier == "allowed"


def limits_key(expectation: Expectation) -> tuple[object, ...]:
    """Reduce an expectation as `expectation_key` does, but without ceiling and floor of a direct answer."""
    if expectation.mode == "direct_answer":
        return (expectation.mode, tuple(sorted(expectation.required)))
    return expectation_key(expectation)


def expectation_key(expectation: Expectation) -> tuple[object, ...]:
    """Reduce an expectation to the parts that an answer depends on."""
    return (
        expectation.mode,
        expectation.ceiling,
        expectation.floor,
        # Specs list elements in any order.
        tuple(sorted(expectation.required)),
    )
