"""Whether a response has the required elements that a language pack can tell by their words."""

from __future__ import annotations

from collections.abc import Mapping

from safegen.locales import Locale
from safegen.types import Draft, DraftContext, DraftValidator, Verdict
from safegen.validators import _elements, _text

NAME = "required_elements"


def required_elements(*, locales: Mapping[str, Locale]) -> DraftValidator:
    """Check that each required element is there, in whatever words the language pack knows.

    A pack tells an element by its pattern `element_<name>`; English has `crisis`, `support`,
    `trusted_adult` and `blameless`. Elements without a pattern are not looked for: `limit`, `decline`
    and `redirection` are `refusal_form`'s. The score is the share of the elements looked for that are
    there.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        found = _text.heard(NAME, draft.response, locales, context.scenario.language)
        if isinstance(found, Verdict):
            return found
        response, locale = found
        known = _elements.patterns(locale)
        asked = [name for name in context.expectation.required if name in known]
        text = _text.spoken(response)
        missed = [name for name in asked if not _text.find(locale, known[name], text)]
        if not missed:
            reason = "has what is required" if asked else "nothing to look for"
            return _text.verdict(NAME, passed=True, reason=reason)
        told = ", ".join(missed).replace("_", " ")
        share = 1 - len(missed) / len(asked)
        return _text.verdict(NAME, passed=False, reason=f"lacks {told}"[:120], score=share)

    return check
