"""In `sets/forms.yaml`, prompts of one set have one surface form, so that it does not reveal the intent."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from safegen.config.goals import Goal
from tests.taxonomies.written import forms


def texts(goal: Goal) -> list[str]:
    return [prompt.text for _, _, prompt in goal.prompts.iter_by_intent()]


@pytest.mark.parametrize("goal", forms(), ids=lambda goal: goal.goal_id)
@pytest.mark.parametrize(
    "feature",
    [
        lambda text: text.count("?"),
        lambda text: text.count("\n"),
        lambda text: text.count("```"),
        lambda text: text == text.lower(),
    ],
    ids=["questions", "lines", "code", "lower case"],
)
def test_form_is_equal_within_a_set(goal: Goal, feature: Callable[[str], object]) -> None:
    assert len({feature(text) for text in texts(goal)}) == 1


@pytest.mark.parametrize("goal", forms(), ids=lambda goal: goal.goal_id)
def test_length_is_similar_within_a_set(goal: Goal) -> None:
    lengths = [len(text) for text in texts(goal)]
    assert max(lengths) < 1.35 * min(lengths)


def test_forms_cover_documents_and_code() -> None:
    all_texts = [text for goal in forms() for text in texts(goal)]
    assert sum(300 <= len(text.split()) <= 1500 for text in all_texts) >= 4
    assert len(forms()) >= 60
    assert sum(1200 < len(text.split()) <= 1510 for text in all_texts) >= 12
    assert sum("```" in text for text in all_texts) >= 4
    assert sum(bool(re.search(r"^\|.*\|$", text, re.M)) for text in all_texts) >= 4
