"""The messages that a drafter reads, also for the estimate of their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from safegen.config.contacts import Contacts
from safegen.core.templates import PromptTemplate
from safegen.core.types import WRAPPER, Expectation, Message, Scenario, Tier
from safegen.policy.compile import render_instructions
from safegen.policy.decide import is_drafted_without_spec
from safegen.policy.spec import Policy
from safegen.scenarios.wrapper import Wrapper

SystemRenderer = Callable[[Expectation, str, str, str, str | None], str]
"""A function from expectation, harm, operator turn, style and region to the drafter's system turn."""
# Bounded, because each imported prompt may bring an operator turn of its own.
SYSTEM_TURNS = 1_024
"""System turns that a renderer keeps, of a few kB each."""


def choose_style(styles: Sequence[str], candidate: int, *, drafters: int) -> str:
    """Return the style of a candidate; empty without styles.

    Candidate i has drafter i modulo their number. Styles alternate too, and shift by one when both
    repeat together, so every drafter writes in every style: 2 drafters and 2 styles need 4 candidates.

    Example:
        >>> [choose_style(["calm", "brief"], i, drafters=2) for i in range(4)]
        ['calm', 'brief', 'brief', 'calm']
    """
    if not styles:
        return ""
    repeat = math.lcm(drafters, len(styles))
    shift = candidate // repeat % math.gcd(drafters, len(styles))
    return styles[(candidate + shift) % len(styles)]


def make_system_renderer(
    template: PromptTemplate, policies: Mapping[str, Policy], contacts: Contacts
) -> SystemRenderer:
    """Make a function that renders system turns and keeps the latest ones.

    Args:
        template: the draft prompt.
        policies: the specs by id.
        contacts: the registries, whose fitting entries an answer may quote.
    """

    # Many rows share these values, and rendering costs more than the rest of a draft's messages.
    @lru_cache(maxsize=SYSTEM_TURNS)
    def render(
        expectation: Expectation, harm: str, operator: str, style: str, region: str | None
    ) -> str:
        policy = policies[expectation.policy_id]
        return render_instructions(
            template,
            policy,
            expectation,
            harm=harm,
            operator=operator,
            style=style,
            contacts=contacts.list_fitting(region, harm=harm, required=expectation.required),
        )

    return render


def make_note(scenario: Scenario, wrappers: Mapping[str, Wrapper]) -> str:
    """Return what the drafter must know about the wrapper of a prompt; empty without one."""
    wrapper = wrappers.get(scenario.find_attribute(WRAPPER) or "")
    if wrapper is None:
        return ""
    if not scenario.has_hidden_words:
        return wrapper.note
    return f"{wrapper.note} In plain words the request is:\n\n{scenario.plain_request}"


def build_draft_messages(
    scenario: Scenario,
    expectation: Expectation,
    *,
    render: SystemRenderer,
    tiers: Mapping[str, Tier],
    style: str = "",
    note: str = "",
) -> tuple[Message, ...]:
    """Build the drafter's conversation, with the spec's instructions in place of system turns.

    Args:
        scenario: the prompt, with system turns of its operator.
        expectation: the decision of its spec.
        render: renders a system turn; from `make_system_renderer`.
        tiers: the tier of each leaf.
        style: a style of `plan.styles`.
        note: sentences about a wrapper of the prompt; from `make_note`.
    """
    if is_drafted_without_spec(expectation, tiers[scenario.harm]):
        extra = " ".join(filter(None, (f"Write it {style}." if style else "", note)))
        extra_turn = (Message(role="system", content=extra),) if extra else ()
        # With the operator's own turn, which the spec's instructions would replace.
        return (*extra_turn, *scenario.messages)
    operator = [m["content"] for m in scenario.messages if m["role"] == "system"]
    region = scenario.jurisdiction
    system = render(expectation, scenario.harm, "\n".join(operator), style, region)
    system = f"{system}\n\n{note}" if note else system
    # The instructions quote the operator's turn, and many endpoints accept one system turn.
    turns = [m for m in scenario.messages if m["role"] != "system"]
    return (Message(role="system", content=system), *turns)
