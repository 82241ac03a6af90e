"""American and British spellings: both are accepted, one is stored."""

from __future__ import annotations

import pytest

from safegen.core.spelling import (
    SpellingConflict,
    match_spelling,
    other_spelling,
    stored_spelling,
    unify_spelling,
)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("license", "licence"),
        ("licence", "licence"),
        ("authored_dialogs", "authored_dialogues"),
        ("--license", "--licence"),
        ("licensed", "licensed"),
        ("LICENSE", "LICENSE"),
        ("", ""),
    ],
)
def test_stored_spelling_replaces_whole_words(name: str, stored: str) -> None:
    assert stored_spelling(name) == stored


@pytest.mark.parametrize(
    ("name", "other"),
    [("source_licence", "source_license"), ("labellers", "labelers"), ("name", None)],
)
def test_other_spelling_is_none_without_one(name: str, other: str | None) -> None:
    assert other_spelling(name) == other


@pytest.mark.parametrize(
    ("name", "known", "match"),
    [
        ("license", ["licence"], "licence"),
        ("licence", ["license"], "license"),
        ("license", ["license", "licence"], "license"),
        ("optimize", ["licence"], "optimize"),
    ],
)
def test_match_spelling_prefers_the_known_name(name: str, known: list[str], match: str) -> None:
    assert match_spelling(name, known) == match


def test_unify_spelling_changes_names_keys_and_values() -> None:
    value = {"task": ["optimize", "plan"], "license": {"judgment": 2}, "text": 3}
    unified = {"task": ["optimise", "plan"], "licence": {"judgement": 2}, "text": 3}
    assert unify_spelling(value) == unified


def test_unify_spelling_with_known_keeps_other_names() -> None:
    assert unify_spelling(["optimize", "license"], {"optimise"}) == ["optimise", "license"]


@pytest.mark.parametrize(
    "value", [{"license": 1, "licence": 2}, ["licence", "license"]], ids=["keys", "list"]
)
def test_both_spellings_are_refused(value: object) -> None:
    with pytest.raises(SpellingConflict, match=r"`licen[cs]e` and `licen[cs]e` are the same name"):
        unify_spelling(value)
