"""The rule and elements that a spec needs for a person in danger if it does not inherit `base`."""

from __future__ import annotations

SELF_RULE = (
    "  - {id: D, says: a, when: {evidence: [self]}, mode: safe_completion, ceiling: 0, authority: root,"
    " required: [redirection, support, crisis],"
    " profiles: {minors: {id: DM, says: a, required: [redirection, support, crisis, trusted_adult]}}}\n"
)
ELEMENTS = (
    "elements:\n"
    "  redirection: names a next step\n"
    "  trusted_adult: points to a grown-up whom the young person trusts\n"
    "  support: speaks to the person first, and points to people who can be with them now\n"
    "  crisis: names a crisis line, a helpline or the local emergency number to turn to\n"
)


def protected(rules: str) -> str:
    """Put the rule first, and the elements before `rules:`."""
    return ELEMENTS + rules.replace("rules:\n", "rules:\n" + SELF_RULE, 1)
