from __future__ import annotations

import pytest

from safegen.teachers._offline.question import question_clause


def clause_of(prompt: str, *, language: str = "en") -> str:
    return question_clause(prompt, language=language)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("It is new. How do I open my Zorb?", "how to open your Zorb"),
        ("so what do we do with our Zorbs, and me?", "what to do with your Zorbs, and you"),
        ("What do I need for my Zorb?", "what you need for your Zorb"),
        ("Where should I put it, I'm new here?", "where you should put it, you're new here"),
        ("How does a Zorb open at night?", ""),
        ("How do I tell you about it?", ""),
        ("What do I do, and how long?", ""),
        ("Which one is the best of all? Well?", ""),
        ("Tell me where a Zorb lives.", ""),
        ("It is new. Tell me where a Zorb lives.", ""),
        ('Is this one "really" a Zorb then?', ""),
        ("It fell. What do we do?", "what to do"),
        ("Zorbs?", ""),
    ],
)
def test_question_becomes_a_clause(prompt: str, words: str) -> None:
    assert clause_of(prompt) == words


def test_long_question_is_not_repeated() -> None:
    assert clause_of(f"Is it {'very ' * 30}new?") == ""


def test_other_languages_have_no_clause() -> None:
    assert clause_of("How do I open my Zorb?", language="de") == ""
