"""Which language a text reads as. Offline; common languages only."""

from __future__ import annotations

import importlib
import threading
from functools import lru_cache
from typing import Protocol, cast

COMMON_LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
"""Languages in Latin script that a text is told apart from."""
OTHER_SCRIPTS = ("ar", "el", "he", "hi", "ja", "ko", "ru", "th", "zh")
"""Languages that stand for other scripts, so that these are never taken for a common one."""


_LOAD_LOCK = threading.Lock()


class _Identifier(Protocol):
    """What is used of py3langid, which ships no types."""

    def set_languages(self, langs: list[str]) -> None:
        """Restrict the answers; raises ValueError for a language that the model lacks."""
        ...

    def rank(self, text: str) -> list[tuple[str, float]]:
        """Languages with their probabilities."""
        ...


@lru_cache(maxsize=8)
def _cached_model(expected: str) -> _Identifier | None:
    """The model restricted to the common languages and the expected one, or None without it."""
    langid = importlib.import_module("py3langid.langid")
    loaded = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    model = cast(_Identifier, loaded)
    try:
        model.set_languages(sorted({*COMMON_LANGUAGES, *OTHER_SCRIPTS, expected}))
    except ValueError:
        return None
    return model


def preload_model(expected: str) -> None:
    """Read the model in a thread, so that it is there when the first text comes."""
    threading.Thread(target=_load_model, args=(expected,), daemon=True).start()


def _load_model(expected: str) -> _Identifier | None:
    with _LOAD_LOCK:
        return _cached_model(expected)


def language_shares(text: str, expected: str) -> dict[str, float]:
    """Probability by language; empty where the model lacks the expected one."""
    model = _load_model(expected)
    return {tag: float(share) for tag, share in model.rank(text)} if model else {}
