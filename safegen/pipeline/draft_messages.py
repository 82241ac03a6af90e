"""The messages that a drafter reads, also for the estimate of their size."""

from __future__ import annotations

from collections.abc import Mapping

from safegen.core.templates import PromptTemplate
from safegen.core.types import Expectation, Message, Scenario, Tier
from safegen.policy.compile import render_instructions
from safegen.policy.spec import Policy


def is_drafted_without_spec(expectation: Expectation, tier: Tier) -> bool:
    """Return True if the teacher gets no spec: with one it would hedge answers to harmless questions."""
    return expectation.mode == "direct_answer" and tier == "allowed"


def build_draft_messages(
    scenario: Scenario,
    expectation: Expectation,
    *,
    template: PromptTemplate,
    policies: Mapping[str, Policy],
    tiers: Mapping[str, Tier],
    style: str = "",
) -> tuple[Message, ...]:
    """Build the drafter's conversation, with the spec's instructions in place of system turns.

    Args:
        scenario: the prompt, with system turns of its operator.
        expectation: the decision of its spec.
        template: the draft prompt.
        policies: the specs by id.
        tiers: the tier of each leaf.
        style: a style of `plan.styles`.
    """
    if is_drafted_without_spec(expectation, tiers[scenario.harm]):
        style_turn = (Message(role="system", content=f"Write it {style}."),) if style else ()
        return (*style_turn, *scenario.messages)
    operator = [m["content"] for m in scenario.messages if m["role"] == "system"]
    system = render_instructions(
        template,
        policies[expectation.policy_id],
        expectation,
        harm=scenario.harm,
        operator="\n".join(operator),
        style=style,
    )
    turns = [m for m in scenario.messages if m["role"] != "system"]
    return (Message(role="system", content=system), *turns)
