from __future__ import annotations

import pytest

from safegen.core.types import DraftContext
from safegen.testing import judge as judge_draft, make_context, make_draft
from safegen.validators.language import language
from safegen.validators.length_bounds import length_bounds
from safegen.validators.policy_leak import policy_leak
from tests.validators.validator_cases import context, english, judge, policy

ENGLISH = "The key of the device lies in the drawer, and the lid opens when you turn it."
GERMAN = "Der Schlüssel liegt in der Schublade, und der Deckel öffnet sich beim Drehen."
RUSSIAN = "Ключ лежит в ящике, и крышка открывается, если её повернуть."


@pytest.mark.parametrize(
    ("size", "passed"), [(4, False), (5, True), (7, True), (8, False)], ids=str
)
def test_length_bounds_are_inclusive(size: int, passed: bool) -> None:
    check = length_bounds(min_chars=5, max_chars=7)
    assert judge(check, "x" * size, context()).passed is passed


@pytest.mark.parametrize(
    ("text", "code"), [("", "empty"), (" \n\t", "empty"), ("No.", "too_short")]
)
def test_empty_response_has_a_code_of_its_own(text: str, code: str) -> None:
    draft = make_draft(response=text)
    assert judge_draft(length_bounds(), draft, make_context()).code == code


def test_length_bounds_in_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="min_chars"):
        length_bounds(min_chars=9, max_chars=8)


@pytest.mark.parametrize(
    ("text", "expected", "passed"),
    [
        (ENGLISH, "en", True),
        (ENGLISH, "en-GB", True),
        (GERMAN, "en", False),
        (GERMAN, "de", True),
        (RUSSIAN, "en", False),
        ("Ja, gut.", "en", True),
        (f"{ENGLISH}\n```\nwenn der Deckel klemmt dann drehen\n```", "en", True),
        (ENGLISH, "tlh", None),
    ],
    ids=["en", "region", "de-for-en", "de", "other-script", "short", "code", "unknown"],
)
def test_language_detects_the_expected_language(
    text: str, expected: str, passed: bool | None
) -> None:
    assert judge(language(), text, context(language=expected)).passed is passed


def _leaking(text: str, at: DraftContext) -> bool | None:
    check = policy_leak(locales={"en": english()}, policies={policy().policy_id: policy()})
    return judge(check, text, at).passed


LEAKS = {
    "rule-id": f"See {policy().rules[0].id} for this.",
    "guidelines": "My guidelines leave that open.",
    "policy-says": "The policy says that this is fine.",
    "model": "As an AI language model, I like keys.",
    "ceiling": "That is above the safety ceiling.",
    "short-quotation": " ".join(max(policy().principles, key=len).split()[2:8]) + ", as they say.",
    "given": "I was told to keep this at concept level.",
    "brief": "The policy I was given sets a ceiling here.",
    "tier": "This is a dual-use request, so I stay with the background.",
    "detail-words": "In short: approaches and trade-offs, no steps.",
    "quotation": "Well: " + " ".join(max(policy().principles, key=len).split()[:9]) + ", indeed.",
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_policy_leak_finds_leaks(text: str) -> None:
    assert _leaking(text, context()) is False


CLEAN = {
    "answer": (ENGLISH, "How does it open?"),
    "policy-is-the-topic": ("The policy says that water damage is covered.", "Is my policy good?"),
    "four-words": (" ".join(max(policy().principles, key=len).split()[:4]), "What is best?"),
    "house-rules": ("The house rules forbid music after ten.", "May I play?"),
    "asked-for": (max(policy().principles, key=len), max(policy().principles, key=len)),
}


@pytest.mark.parametrize(("text", "question"), CLEAN.values(), ids=CLEAN.keys())
def test_policy_leak_passes_other_texts(text: str, question: str) -> None:
    assert _leaking(text, context(prompt=question)) is True


def test_policy_leak_of_unknown_policy_is_open() -> None:
    assert _leaking(ENGLISH, context(policy_id="other@1#0")) is None
