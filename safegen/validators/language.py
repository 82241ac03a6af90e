"""Checks that a response is in the language of its scenario: offline, common languages only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal, get_args

from safegen.core import language_id
from safegen.core.function_words import has_function_words
from safegen.core.text_forms import MAX_READ_CHARS
from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict
from safegen.validators import _text

NAME = "language"
Code = Literal[
    "too_short",
    "expected_language",
    "other_language",
    "unknown_language",
    "no_response",
]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(
    get_args(Code),
    hard=("other_language",),
    labels=(),
    warm_up=lambda tag: language_id.preload_model(tag.split("-")[0]),
    release=language_id.release_models,
)
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|https?://\S+", re.DOTALL)
_END = 120
"""Characters read at either end: as accurate as 300, at half the time, if the ends are read apart."""
_SURE = 0.95
"""Probability from which another language at one end shows that the answer changes its language."""


def language(*, min_letters: int = 20) -> DraftValidator:
    """Check that a response is in the language of its scenario.

    A text with fewer than `min_letters` letters passes, because it is too short to identify. Code
    and URLs are not read. A long text is read at its start and end; it fails if one of them is
    certainly in another language. The score is 1 if the function words decide, and the model's mean
    probability of the expected language otherwise. The model is loaded once per language.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        if draft.response is None:
            return _text.make_no_response_verdict(NAME)
        expected = context.scenario.language.split("-")[0].lower()
        prose = draft.response[:MAX_READ_CHARS]
        if "`" in prose or "://" in prose:
            prose = _NOT_PROSE.sub(" ", prose)
        # The model encodes its text as UTF-8, which fails on lone surrogates.
        prose = prose.encode("utf-8", "replace").decode("utf-8")
        letters = sum(1 for _ in islice(filter(str.isalpha, prose), min_letters))
        if letters < min_letters:
            return _text.make_verdict(
                NAME, TRAITS, passed=True, code="too_short", reason="too short to identify"
            )
        ends = (prose[:_END], prose[-_END:]) if len(prose) > 2 * _END else (prose,)
        if all(has_function_words(end, expected) for end in ends):
            return _make_expected_verdict(expected, score=1.0)
        shares = [language_id.language_shares(end, expected) for end in ends]
        # A language without a model is no fault of the answer.
        if expected not in shares[0]:
            return _text.unscored(
                NAME,
                code="unknown_language",
                reason="language not known to the model",
                evidence=_text.shorten(expected),
            )
        best = _decide_language(shares, expected)
        # A probability may leave [0, 1] by rounding.
        mean = sum(share[expected] for share in shares) / len(shares)
        score = round(min(1.0, max(0.0, mean)), 4)
        if best == expected:
            return _make_expected_verdict(expected, score=score)
        return _text.make_verdict(
            NAME,
            TRAITS,
            passed=False,
            code="other_language",
            reason="another language",
            evidence=best,
            score=score,
        )

    return check


def _make_expected_verdict(language: str, *, score: float) -> Verdict:
    return _text.make_verdict(
        NAME,
        TRAITS,
        passed=True,
        code="expected_language",
        reason="expected language",
        evidence=language,
        score=score,
    )


def _decide_language(shares: Sequence[Mapping[str, float]], expected: str) -> str:
    for share in shares:
        best = max(share, key=share.__getitem__)
        if best != expected and share[best] >= _SURE:
            return best
    return max(shares[0], key=lambda tag: sum(share[tag] for share in shares))
