"""A validator that finds a stand-in secret; recipes name it as `tests.validators.sentinel:finds_sentinel`."""

from __future__ import annotations

from safegen.core.types import Draft, DraftContext, DraftValidator, Verdict

SENTINEL = "the-forbidden-cake-recipe"


def finds_sentinel() -> DraftValidator:
    """Rate a response that holds the stand-in secret as `high`."""

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        bad = SENTINEL in (draft.response or "")
        return Verdict(
            validator="finds_sentinel",
            version="1",
            passed=not bad,
            score=float(not bad),
            code="holds_secret" if bad else "no_secret",
            reason="holds the secret" if bad else "",
            evidence=(draft.response or "") if bad else "",
            severity="high" if bad else "none",
        )

    return check
