"""Whether a response has the elements that its rule requires, as far as a language pack has words for them."""

from __future__ import annotations

from collections.abc import Mapping

from safegen.locales import Locale, folded
from safegen.types import Draft, DraftContext, DraftValidator, Verdict
from safegen.validators import _text

NAME = "required_elements"


def required_elements(*, locales: Mapping[str, Locale]) -> DraftValidator:
    """Check that each required element is named, in any mode.

    Reads the elements that the language pack has patterns for under `elements`, such as `crisis` (a
    crisis contact), `trusted_adult` and `support`; of others it says nothing. Form only: that the words
    are there, not that they fit. The score is the share of these elements that were found.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        heard = _text.heard(NAME, draft.response, locales, context.scenario.language)
        if isinstance(heard, Verdict):
            return heard
        response, locale = heard
        wanted = [name for name in context.expectation.required if name in locale.elements]
        if not wanted:
            return _text.verdict(NAME, passed=True, reason="requires nothing that is read here")
        found = {name: named(response, locale, name) for name in wanted}
        missing = [name for name, words in found.items() if not words]
        if missing:
            return _text.verdict(
                NAME,
                passed=False,
                reason=f"lacks {', '.join(missing).replace('_', ' ')}",
                score=round(1 - len(missing) / len(wanted), 4),
            )
        return _text.verdict(
            NAME,
            passed=True,
            reason="names what is required",
            evidence="; ".join(found.values()),
        )

    return check


def named(text: str, locale: Locale, element: str) -> str:
    """The words that show an element of the pack, or the empty string."""
    shows, unless = locale.elements[element].compiled
    own = _text.spoken(text)
    low = folded(own)
    if unless:
        low = unless.sub(lambda m: " " * len(m[0]), low)
    place = shows.search(low)
    return _text.span(own[slice(*place.span())], limit=50) if place else ""
