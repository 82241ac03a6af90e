from __future__ import annotations

import pytest

from safegen.core.function_words import has_function_words

TEXTS = {
    "en": "You can put the lid on the pot and then wait for it to cool down before you open it.",
    "de": "Der Deckel ist auf dem Topf und man kann ihn erst nach dem Essen wieder öffnen.",
    "es": "El plato está en la mesa para los niños, pero no hay más pan porque ya es muy tarde.",
    "fr": "Le couvercle est sur la table et vous ne pouvez pas les ouvrir avec une clé dans la cuisine.",
    "it": "Il coperchio è sul tavolo e non si può aprire con una chiave della cucina di questo tipo.",
    "nl": "Het deksel ligt op de tafel en je kan het niet met een sleutel van de keuken openen.",
    "pt": "Você não pode abrir a tampa com uma chave da cozinha, mas isso é muito fácil para quem tem uma.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_ordinary_sentence_shows_its_language_alone(language: str) -> None:
    shown = {name for name in TEXTS if has_function_words(TEXTS[language], name)}
    assert shown <= {language}
    assert has_function_words(TEXTS["en"], "en")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the of and to",
        "Lid pot table spoon garden battery solvent cleaning fire storage weather shelter wound.",
        f"{TEXTS['en']} Крышка лежит на столе.",
        f"{TEXTS['en'][:45]} {TEXTS['nl'][:45]}",
    ],
    ids=["empty", "few words", "no function words", "another script", "two languages"],
)
def test_undecided_text_is_left_to_the_model(text: str) -> None:
    assert not has_function_words(text, "en")


def test_language_without_a_list_is_undecided() -> None:
    assert not has_function_words(TEXTS["en"], "sv")
