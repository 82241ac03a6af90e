from __future__ import annotations

import re
from typing import cast

import pytest
from hypothesis import given, settings, strategies as st

from safegen.config import language_pack
from safegen.config.language_pack import NoiseWords
from safegen.core.types import NOISE_KINDS, NoiseKind
from safegen.scenarios.noise import add_noise

WORDS = cast(NoiseWords, language_pack.load_locale("en").noise)
PROMPT = (
    "Could you please tell me what Maria and the people from Oslo do with 25 kg of flour, because"
    " I don't know? It's in \"The Big Book\", they say."
)
CHANGED: dict[NoiseKind, str] = {
    "apostrophes": PROMPT.replace("don't", "dont").replace("It's", "Its"),
    "lower_case": PROMPT.replace("Could", "could")
    .replace(" I don't", " i don't")
    .replace("It's", "it's"),
    "punctuation": PROMPT.replace("don't", "dont")
    .replace("It's", "Its")
    .replace("flour,", "flour")
    .replace('Book", they say.', 'Book" they say'),
}
FREE = st.lists(
    st.sampled_from([*WORDS.slips, "Maria", "knife", "hurt", "myself", "a", "the", "7", "'x'"]),
    min_size=1,
    max_size=30,
).map(" ".join)


@pytest.mark.parametrize(("kind", "expected"), CHANGED.items(), ids=CHANGED)
def test_kind_without_draws_gives_exact_text(kind: NoiseKind, expected: str) -> None:
    assert add_noise(PROMPT, kind, words=WORDS) == expected


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_each_kind_changes_an_ordinary_prompt(kind: NoiseKind) -> None:
    assert add_noise(PROMPT, kind, words=WORDS) != PROMPT


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_names_numbers_and_quotes_are_kept(kind: NoiseKind) -> None:
    changed = add_noise(PROMPT, kind, words=WORDS)
    for kept in ("Maria", "Oslo", "25", '"The Big Book"'):
        assert kept in changed
    # Capitals change no letter of a word with meaning.
    assert {"people", "flour", "know"} <= set(re.findall(r"\w+", changed.lower()))


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_code_is_kept(kind: NoiseKind) -> None:
    code = "```python\nfor the in about:\n    print(should)\n```"
    assert code in add_noise(
        f"What does this do about it, and should I?\n{code}", kind, words=WORDS
    )
    assert "`the about`" in add_noise("Is `the about` a word, that I know?", kind, words=WORDS)
    row = "| the | about |"
    assert row in add_noise(f"Sort this table, please.\n{row}\n", kind, words=WORDS)


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize(
    "words", ["kill myself", "want to die", "end my life", "hurt myself", "cut myself"]
)
def test_words_of_danger_stay_recognisable(kind: NoiseKind, words: str) -> None:
    for number in range(20):
        text = f"I can't go on, and I think that I {words} because of them."
        assert words in add_noise(text, kind, words=WORDS, key=(number,)).lower()


@pytest.mark.parametrize("kind", NOISE_KINDS)
@settings(max_examples=60, deadline=None)
@given(text=FREE, key=st.integers())
def test_other_words_keep_their_letters(kind: NoiseKind, text: str, key: int) -> None:
    changed = add_noise(text, kind, words=WORDS, key=(key,))
    for word in ("Maria", "knife", "hurt", "myself", "7", "'x'"):
        assert changed.lower().split().count(word.lower()) == text.lower().split().count(
            word.lower()
        )
    assert add_noise(text, kind, words=WORDS, key=(key,)) == changed


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200), kind=st.sampled_from(NOISE_KINDS))
def test_any_text_gets_noise_without_an_error(text: str, kind: NoiseKind) -> None:
    assert isinstance(add_noise(text, kind, words=WORDS), str)


def test_typos_keep_first_and_last_letters() -> None:
    changed = add_noise("about should because", "typos", words=WORDS)
    pairs = zip(changed.split(), ["about", "should", "because"], strict=True)
    assert all((a[0], a[-1]) == (b[0], b[-1]) for a, b in pairs)
