"""Traits of validators list exactly the required elements that they check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safegen.core import plugins
from safegen.core.types import MODES, Mode
from safegen.validators import _elements
from safegen.validators.refusal_form import refusal_form
from tests.validators.validator_cases import context, english, judge

WITH = {
    "limit": "I'll leave out the secret recipe, but here is what is useful to know.",
    "decline": "I can't help with the secret recipe.",
    "redirection": "If you want, I can help you write down what to ask the guild.",
    "safe_task": "Write down who bakes which part first.",
    "support": "I am sorry that you are going through this.",
}
BODY = "Bakeries keep their recipes in a book, and bread has been baked for a long time."
OWN = plugins.list_names("validators")


def passes(mode: Mode, elements: list[str], required: tuple[str, ...]) -> bool | None:
    text = " ".join([*(WITH[name] for name in elements), BODY])
    draft_context = context(mode=mode)
    draft_context = replace(
        draft_context, expectation=replace(draft_context.expectation, required=required)
    )
    return judge(refusal_form(locales={"en": english()}), text, draft_context).passed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("element", WITH)
def test_missing_readable_element_fails(mode: Mode, element: str) -> None:
    whole = {
        "direct_answer": [],
        "safe_completion": ["limit", "redirection"],
        "refuse_redirect": ["decline", "redirection"],
    }[mode]
    assert passes(mode, whole, tuple(whole))
    without = [name for name in whole if name != element]
    required = (*without, element)
    missed = passes(mode, without, required) is False
    reading = _elements.classify_elements(
        mode, [element], ["refusal_form"], own=OWN, locale=english()
    )
    assert missed == (reading.by_form == (element,))
    assert missed == (not reading.unread)


def test_element_without_reader_is_not_checked() -> None:
    coverage = _elements.classify_elements(
        "safe_completion", ["limit"], ["style"], own=OWN, locale=english()
    )
    assert coverage.line == "limit (no validator checks it)"


def test_elements_of_language_pack_are_always_read() -> None:
    wanted = ["crisis", "support", "trusted_adult", "safe_task"]
    silent = english().model_copy(update={"elements": {}})
    for mode in MODES:
        coverage = _elements.classify_elements(
            mode, wanted, ["required_elements"], own=OWN, locale=english()
        )
        assert coverage.line == (
            f"crisis, trusted_adult ({_elements.BY_FORM_NOTE});"
            " support, safe_task (no validator checks it)"
        )
        coverage = _elements.classify_elements(
            mode, wanted, ["required_elements"], own=OWN, locale=silent
        )
        assert coverage.line == "crisis, support, trusted_adult, safe_task (no validator checks it)"


def test_foreign_validator_may_read_other_elements() -> None:
    validators = ["refusal_form", "my_judge"]
    coverage = _elements.classify_elements(
        "safe_completion", ["limit", "support"], validators, own=OWN, locale=english()
    )
    assert coverage.line == (
        f"limit ({_elements.BY_FORM_NOTE}); support (no validator of safegen checks it,"
        " perhaps `my_judge` does)"
    )


def test_partly_read_element_names_other_modes() -> None:
    modes: dict[Mode, list[str]] = {
        "direct_answer": ["redirection"],
        "safe_completion": ["limit", "safe_task"],
        "refuse_redirect": ["decline", "redirection"],
    }
    coverage = _elements.merge_coverage(
        {
            m: _elements.classify_elements(m, names, ["refusal_form"], own=OWN, locale=english())
            for m, names in modes.items()
        }
    )
    assert set(coverage.by_form) == {"limit", "decline", "redirection"}
    assert coverage.unread == ("redirection in direct_answer", "safe_task")
