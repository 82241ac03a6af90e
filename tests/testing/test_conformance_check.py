"""`check_validator` accepts a sound validator and names each breach of the contract."""

from __future__ import annotations

import doctest
import itertools
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from safegen.core.types import Draft, DraftContext, DraftValidator, Verdict
from safegen.testing import check_validator, conformance, endpoint, records

TEXTS = {"short": "No!!!!"}
Change = Callable[[Verdict, Draft], Verdict]


def no_shouting(
    *, most: int = 3, change: Change = lambda verdict, draft: verdict
) -> DraftValidator:
    """Pass a response with at most `most` exclamation marks."""

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        verdict = Verdict("no_shouting", "1", passed=None, score=None, reason="no response")
        if draft.response is not None:
            calm = draft.response.count("!") <= most
            reason = "calm" if calm else "shouts"
            verdict = replace(verdict, passed=calm, score=float(calm), reason=reason)
        return change(verdict, draft)

    return check


def test_sound_validator_passes_on_hostile_texts() -> None:
    check_validator(no_shouting)


def set_(**values: Any) -> Change:
    return lambda verdict, draft: replace(verdict, **values)


def judged_without_response(verdict: Verdict, draft: Draft) -> Verdict:
    return replace(verdict, passed=True, score=1.0)


def by_style(verdict: Verdict, draft: Draft) -> Verdict:
    judged = draft.response is not None
    return replace(verdict, reason=f"style {draft.style}".lower()) if judged else verdict


def by_mood() -> Change:
    numbers = itertools.count()

    def change(verdict: Verdict, draft: Draft) -> Verdict:
        counted = draft.response is not None
        return replace(verdict, reason=f"call {next(numbers)}") if counted else verdict

    return change


BREACHES: dict[str, tuple[Change, str]] = {
    "name": (set_(validator="other"), "names `other`"),
    "version": (set_(version=""), "no version"),
    "score alone": (set_(passed=None, score=0.5, threshold=None), "None together"),
    "score above 1": (set_(score=1.5), "not in"),
    "no reason": (set_(reason=""), "no reason"),
    "capital reason": (set_(reason="Shouts"), "lower case"),
    "long reason": (set_(reason="a" * 121), "more than 120"),
    "long evidence": (set_(evidence="a" * 161), "above 160"),
    "two lines": (set_(evidence="a\nb"), "more than one line"),
    "no response": (judged_without_response, "without response"),
    "style": (by_style, "`style`"),
    "two answers": (by_mood(), "two checks of one draft differ"),
}


@pytest.mark.parametrize(("change", "says"), BREACHES.values(), ids=BREACHES.keys())
def test_contract_breach_is_named(change: Change, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_validator(no_shouting, make=lambda: no_shouting(change=change), texts=TEXTS)


def test_exception_of_a_validator_is_raised() -> None:
    def broken(verdict: Verdict, draft: Draft) -> Verdict:
        raise ValueError("no marks")

    with pytest.raises(ValueError, match="no marks"):
        check_validator(no_shouting, make=lambda: no_shouting(change=broken), texts=TEXTS)


def test_undocumented_or_positional_factory_is_named() -> None:
    def positional(most: int = 3) -> DraftValidator:
        """Pass."""
        return no_shouting(most=most)

    def undocumented(*, most: int = 3) -> DraftValidator:
        return no_shouting(most=most)

    with pytest.raises(AssertionError, match="positional"):
        check_validator(positional, texts=TEXTS)
    with pytest.raises(AssertionError, match="no docstring"):
        check_validator(undocumented, texts=TEXTS)


@pytest.mark.parametrize("module", [conformance, endpoint, records], ids=lambda m: m.__name__)
def test_doctests_of_fakes_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
