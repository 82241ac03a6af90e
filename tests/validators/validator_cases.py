"""Shared helpers for tests of validators."""

from __future__ import annotations

from functools import cache

from safegen.config import language_pack
from safegen.config.language_pack import Locale
from safegen.core.types import Draft, DraftContext, DraftValidator, Verdict
from safegen.testing import judge as judge_draft, make_context as context, make_draft, policy

__all__ = ["context", "draft", "english", "judge", "policy"]


@cache
def english() -> Locale:
    return language_pack.load_locale("en")


def draft(response: str | None, *, style: str | None = None) -> Draft:
    outcome = "ok" if response is not None else "refused"
    # No digest: a lone surrogate has none.
    return make_draft(response=response, response_sha256=None, style=style, outcome=outcome)


def judge(validator: DraftValidator, response: str | None, at: DraftContext) -> Verdict:
    return judge_draft(validator, draft(response), at)
