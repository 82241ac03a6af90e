"""Checks the length of a response."""

from __future__ import annotations

from typing import Literal, get_args

from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict
from safegen.validators import _text

NAME = "length_bounds"
Code = Literal[
    "within_bounds",
    "empty",
    "too_short",
    "too_long",
    "no_response",
]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(get_args(Code), labels=(), hard=("empty",))


def length_bounds(*, min_chars: int = 60, max_chars: int = 12_000) -> DraftValidator:
    """Check that a response has between `min_chars` and `max_chars` characters, both included.

    White space at the ends is not counted.

    Raises:
        ValueError: a bound is below 0, or the bounds are in the wrong order.
    """
    if not 0 <= min_chars <= max_chars:
        raise ValueError(
            f"`min_chars` is `{min_chars}` and `max_chars` `{max_chars}`; use 0 <= min <= max"
        )

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        if draft.response is None:
            return _text.make_no_response_verdict(NAME)
        size = len(draft.response.strip())
        if size < min_chars:
            return _text.make_verdict(
                NAME,
                TRAITS,
                passed=False,
                code="too_short" if size else "empty",
                reason="too short" if size else "empty",
                evidence=f"{size} characters",
            )
        if size > max_chars:
            return _text.make_verdict(
                NAME,
                TRAITS,
                passed=False,
                code="too_long",
                reason="too long",
                evidence=f"{size} characters",
            )
        return _text.make_verdict(
            NAME,
            TRAITS,
            passed=True,
            code="within_bounds",
            reason="within bounds",
            evidence=f"{size} characters",
        )

    return check
