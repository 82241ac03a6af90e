"""Languages by tag, locale and name."""

from __future__ import annotations

import pytest

from safegen.scenarios.user_prompts.languages import find_language_tag


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("en", "en"),
        ("pt-BR", "pt-BR"),
        ("sr-Latn-RS", "sr-Latn-RS"),
        ("de_AT", "de-AT"),
        ("it_IT.UTF-8", "it-IT"),
        ("ca_ES@valencia", "ca-ES"),
        ("GERMAN", "de"),
        (" Swahili ", "sw"),
        ("Norwegian  Bokmål", "nb"),
        ("Haitian Creole", "ht"),
        ("Chinese (Traditional)", "zh-Hant"),
        ("Spanish, Mexico", "es-MX"),
        ("English [UK]", "en-GB"),
        ("Deutsch", "de"),
        ("Franc\u0327ais", "fr"),
        ("Русский", "ru"),
        ("한국어", "ko"),
        ("Lao", "lo"),
    ],
)
def test_forms_of_a_language_give_its_tag(value: str, tag: str) -> None:
    assert find_language_tag(value) == tag


@pytest.mark.parametrize(
    "value", ["English!", "Elvish", "12", "German (Moon)", "", "en--US", "a b"]
)
def test_unknown_language_has_no_tag(value: str) -> None:
    assert find_language_tag(value) is None
