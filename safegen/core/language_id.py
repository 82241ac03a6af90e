"""Language identification of texts: offline, common languages only."""

from __future__ import annotations

import importlib
import threading
from functools import lru_cache
from typing import Protocol, cast

from safegen.core._language_model import load_language_model

COMMON_LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
"""Languages in Latin script that the model distinguishes."""
OTHER_SCRIPTS = ("ar", "el", "he", "hi", "ja", "ko", "ru", "th", "zh")
"""One or more languages for each other script, so that a text in it is never taken for a common language."""


_LOAD_LOCK = threading.Lock()


class _Identifier(Protocol):
    def rank(self, text: str) -> list[tuple[str, float]]:
        """Return languages with their probabilities."""
        ...


class _FullIdentifier(_Identifier, Protocol):
    """The used part of py3langid, which ships no types."""

    def set_languages(self, langs: list[str]) -> None:
        """Restrict the candidates; raises ValueError for a language that the model lacks."""
        ...


# Bounded, because a model takes about 60 MiB.
@lru_cache(maxsize=8)
def _cached_model(expected: str) -> _Identifier | None:
    # None if no model has the expected language.
    if expected in (*COMMON_LANGUAGES, *OTHER_SCRIPTS):
        return _common_model()
    return _load_full_model(expected)


@lru_cache(maxsize=1)
def _common_model() -> _Identifier:
    return load_language_model()


def _load_full_model(expected: str) -> _Identifier | None:
    # 139 languages take half a second to unpack, so they are read for a rare language only.
    langid = importlib.import_module("py3langid.langid")
    loaded = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    model = cast(_FullIdentifier, loaded)
    try:
        model.set_languages(sorted({*COMMON_LANGUAGES, *OTHER_SCRIPTS, expected}))
    except ValueError:
        return None
    return model


def preload_model(expected: str) -> None:
    """Load the model in a thread, so that the first text does not wait for it."""
    # A daemon, because a run that ends early must not wait for the model.
    threading.Thread(target=_load_model, args=(expected,), daemon=True).start()


def release_models() -> None:
    """Drop the loaded models, about 60 MiB each; the next text loads one again."""
    _cached_model.cache_clear()
    _common_model.cache_clear()


def _load_model(expected: str) -> _Identifier | None:
    # `lru_cache` would load the model twice if two threads asked for it at once.
    with _LOAD_LOCK:
        return _cached_model(expected)


def language_shares(text: str, expected: str) -> dict[str, float]:
    """Return the probability by language; empty if the model lacks the expected one."""
    model = _load_model(expected)
    return {tag: float(share) for tag, share in model.rank(text)} if model else {}
