"""Whether a response is in the language of its scenario. Offline; common languages only."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from itertools import islice
from typing import Protocol, cast

from safegen.types import Draft, DraftContext, DraftValidator, Verdict
from safegen.validators import _text

NAME = "language"
COMMON = ("de", "en", "es", "fr", "it", "nl", "pt")
"""Languages in Latin script that a response is told apart from."""
OTHER_SCRIPTS = ("ar", "el", "he", "hi", "ja", "ko", "ru", "th", "zh")
"""Languages that stand for other scripts, so that these are never taken for a common one."""
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|https?://\S+", re.DOTALL)
_READ = 8_000


def language(*, min_letters: int = 20) -> DraftValidator:
    """Check that a response reads as its scenario's language.

    Texts with fewer than `min_letters` letters pass: they are too short to tell. Code and
    addresses are not read. The score is the model's probability of the expected language. The
    model is read once per language, when the first response is checked.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        if draft.response is None:
            return _text.no_response(NAME)
        expected = context.scenario.language.split("-")[0].lower()
        prose = _NOT_PROSE.sub(" ", draft.response[: _text.READ])[:_READ]
        prose = prose.encode("utf-8", "replace").decode("utf-8")
        letters = sum(1 for _ in islice(filter(str.isalpha, prose), min_letters))
        if letters < min_letters:
            return _text.verdict(NAME, passed=True, reason="too short to tell")
        shares = _shares(prose, expected)
        if expected not in shares:
            return Verdict(
                validator=NAME,
                version="1",
                passed=None,
                score=None,
                reason="language not known to the model",
                evidence=_text.span(expected),
            )
        found = max(shares, key=lambda tag: shares[tag])
        score = round(min(1.0, max(0.0, shares[expected])), 4)
        if found == expected:
            return _text.verdict(
                NAME, passed=True, reason="expected language", evidence=found, score=score
            )
        return _text.verdict(
            NAME, passed=False, reason="another language", evidence=found, score=score
        )

    return check


class _Identifier(Protocol):
    """What is used of py3langid, which ships no types."""

    def set_languages(self, langs: list[str]) -> None:
        """Restrict the answers; raises ValueError for a language that the model lacks."""
        ...

    def rank(self, text: str) -> list[tuple[str, float]]:
        """Languages with their probabilities."""
        ...


@lru_cache(maxsize=8)
def _model(expected: str) -> _Identifier | None:
    """The model restricted to the common languages and the expected one, or None without it."""
    langid = importlib.import_module("py3langid.langid")
    loaded = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    model = cast(_Identifier, loaded)
    try:
        model.set_languages(sorted({*COMMON, *OTHER_SCRIPTS, expected}))
    except ValueError:
        return None
    return model


def _shares(text: str, expected: str) -> dict[str, float]:
    """Probability by language; empty where the model lacks the expected one."""
    model = _model(expected)
    return {tag: float(share) for tag, share in model.rank(text)} if model else {}
