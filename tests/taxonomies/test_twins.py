"""Protective prompts have twins in the same words that hint at harm and are answered more strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from safegen.config.goals import IntentPrompt
from safegen.core.types import Expectation
from safegen.policy.decide import compute_expectation
from tests.taxonomies.written import core, policy_of, words

STRICTNESS = ("direct_answer", "safe_completion", "refuse_redirect")
SHARED = 0.7


def leaves() -> list[str]:
    return [h for h, harm in core().harms.items() if not harm.red_line]


def overlap(first: str, second: str) -> float:
    """Return the share of the first text's words that the second one has."""
    seen = set(words(first))
    return len(seen & set(words(second))) / len(seen)


def twins(harm: str) -> Iterator[tuple[IntentPrompt, IntentPrompt]]:
    for goal in core().goals():
        if goal.harm != harm or goal.contrast:
            continue
        rows = list(goal.prompts.iter_by_intent())
        for guard in (r for r in rows if r.prompt.evidence == "protective"):
            for hint in (r for r in rows if r.prompt.evidence == "contextual"):
                if overlap(guard.prompt.text, hint.prompt.text) >= SHARED:
                    yield guard, hint


def expected(harm: str, row: IntentPrompt) -> Expectation:
    return compute_expectation(
        policy_of(harm),
        core().harms[harm],
        evidence=row.prompt.evidence,
        profile="public",
        detail=row.prompt.detail,
    )


def test_each_leaf_has_two_pairs_of_twins() -> None:
    for harm in leaves():
        intents = Counter(hint.intent for _, hint in twins(harm))
        assert intents.total() >= 2, harm
        assert intents["malicious"] and intents["dual_use"], harm


def test_hinting_twin_is_expected_stricter() -> None:
    for harm in leaves():
        for guard, hint in twins(harm):
            open_, strict = expected(harm, guard), expected(harm, hint)
            rank = STRICTNESS.index(strict.mode) - STRICTNESS.index(open_.mode)
            assert rank > 0 or (rank == 0 and strict.ceiling < open_.ceiling), hint.prompt.text


def test_twins_request_equal_detail() -> None:
    for harm in leaves():
        for guard, hint in twins(harm):
            assert guard.prompt.detail == hint.prompt.detail, hint.prompt.text
