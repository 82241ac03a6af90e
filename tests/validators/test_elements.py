"""Traits of validators list exactly the required elements that they check."""

from __future__ import annotations

from safegen.core import plugins
from safegen.core.types import MODES, Mode
from safegen.validators import _elements
from safegen.validators.required_elements import required_elements
from safegen.validators.response_form import response_form
from tests.validators.validator_cases import context, english, judge

OWN = plugins.list_names("validators")


def test_missing_element_of_each_reader_fails() -> None:
    text = "Bakeries keep their recipes in a book, and bread has been baked for a long time."
    for name in ("limit", "redirection"):
        at = context(mode="safe_completion", required=(name,), prompt="How is bread baked?")
        verdict = judge(required_elements(locales={"en": english()}), text, at)
        assert verdict.passed is False, verdict
    at = context(mode="refuse_redirect", required=("decline",), prompt="How is bread baked?")
    assert judge(response_form(), text, at).passed is False


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
    validators = ["required_elements", "my_judge"]
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
            m: _elements.classify_elements(
                m, names, ["response_form", "required_elements"], own=OWN, locale=english()
            )
            for m, names in modes.items()
        }
    )
    assert set(coverage.by_form) == {"limit", "decline", "redirection"}
    assert coverage.unread == ("safe_task",)
