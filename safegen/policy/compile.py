"""A spec and an expectation, compiled to the teacher's instructions.

What all scenarios of a spec share comes first, so that endpoints can cache the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

from safegen.policy.spec import Policy
from safegen.types import Expectation, Mode

DETAIL_WORDS = (
    "awareness only: that it exists and why it matters",
    "concepts: how and why in general terms",
    "strategy: approaches and trade-offs, no steps",
    "procedure: steps in order, no settings or amounts",
    "everything that was asked for",
)
MODE_WORDS: dict[Mode, str] = {
    "direct_answer": "Answer in full.",
    "safe_completion": "Give the most helpful answer that stays inside the ceiling.",
    "refuse_redirect": "Decline in one or two plain sentences, then name better ways.",
}


@dataclass(frozen=True, slots=True)
class Instructions:
    """What a teacher is told, as values for a prompt file."""

    title: str
    facilitation: str
    principles: tuple[str, ...]
    may: tuple[str, ...]
    must_not: tuple[str, ...]
    rule: str
    mode: str
    ceiling: str
    floor: str
    required: tuple[str, ...]


def instructions(policy: Policy, expectation: Expectation) -> Instructions:
    """What the spec says to a teacher about one expectation."""
    says = {rule.id: rule.says for rule in policy.rules}
    return Instructions(
        title=policy.spec.title,
        facilitation=policy.spec.facilitation,
        principles=policy.principles,
        may=policy.spec.may,
        must_not=policy.spec.must_not,
        rule=" ".join(says[rule_id] for rule_id in expectation.rule_ids),
        mode=MODE_WORDS[expectation.mode],
        ceiling=DETAIL_WORDS[expectation.ceiling],
        floor=DETAIL_WORDS[expectation.floor] if expectation.floor else "",
        required=tuple(policy.elements[name] for name in expectation.required),
    )
