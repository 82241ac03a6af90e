"""A validator of a user, which describes itself; recipes name it as `tests.validators.user_validator:shouting`."""

from __future__ import annotations

from typing import Literal, get_args

from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict

Code = Literal["calm", "shouts"]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(get_args(Code), teachable=("shouts",))


def shouting(*, most: int = 3) -> DraftValidator:
    """Pass a response with at most `most` exclamation marks."""

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        ok = (draft.response or "").count("!") <= most
        code: Code = "calm" if ok else "shouts"
        return Verdict(
            "shouting",
            "1",
            passed=ok,
            score=float(ok),
            reason=code,
            code=code,
            teachable=code in TRAITS.teachable,
        )

    return check
