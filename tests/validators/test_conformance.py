from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from safegen.config.contacts import load_contacts
from safegen.core import plugins
from safegen.core.errors import ConfigError
from safegen.core.types import (
    INTENTS,
    MODES,
    DraftContext,
    Mode,
    SetAnswer,
    Severity,
    ValidatorTraits,
    Verdict,
)
from safegen.testing import (
    HOSTILE_TEXTS,
    check_factory,
    check_verdict,
    judge_set,
    make_expectation,
    make_knowledge,
    make_scenario,
)
from tests.validators.validator_cases import context, draft, english, judge, policy

ALL_NAMES = plugins.list_names("validators")
NAMES = [n for n in ALL_NAMES if plugins.validator_traits(n).unit == "draft"]
SET_NAMES = [n for n in ALL_NAMES if plugins.validator_traits(n).unit == "set"]
REQUIRED = ("limit", "redirection", *english().elements)


def build(name: str) -> Any:
    made: Any = plugins.make_plugin(
        "validators",
        name,
        {},
        locales={"en": english()},
        contacts=load_contacts(),
        policies={policy().policy_id: policy()},
    )
    return made


def well_formed(verdict: Verdict, name: str) -> None:
    check_verdict(verdict, name=name)
    traits = plugins.validator_traits(name)
    assert verdict.version == traits.version
    assert verdict.code in traits.codes
    assert verdict.teachable == (verdict.code in traits.teachable)
    assert verdict.reason == verdict.reason.lower()


@pytest.mark.parametrize("name", ALL_NAMES)
def test_factory_is_documented_and_keyword_only(name: str) -> None:
    check_factory(plugins.find_factory("validators", name))


@pytest.mark.parametrize("name", ALL_NAMES)
def test_traits_list_each_code_once(name: str) -> None:
    traits = plugins.validator_traits(name)
    assert len(set(traits.codes)) == len(traits.codes) >= 3
    assert all(code.isidentifier() and code == code.lower() for code in traits.codes)
    assert set(traits.teachable) <= set(traits.codes)


def test_validator_without_traits_is_not_teachable() -> None:
    traits = plugins.validator_traits(
        "tests.validators.sentinel:finds_sentinel", trusted=["tests.validators.sentinel"]
    )
    assert traits == ValidatorTraits()
    own = plugins.validator_traits(
        "tests.validators.user_validator:shouting", trusted=["tests.validators.user_validator"]
    )
    assert own.teachable == ("shouts",)
    with pytest.raises(ConfigError, match="allow it with `--plugin"):
        plugins.validator_traits("tests.validators.sentinel:finds_sentinel")


@pytest.mark.parametrize(
    ("passed", "severity", "code", "teachable"),
    [
        (False, None, "failed", True),
        (False, "low", "failed", True),
        (False, "moderate", "failed", False),
        (False, "high", "failed", False),
        (True, None, "passed", False),
        (None, None, "unscored", False),
    ],
)
def test_verdict_defaults_its_code_and_teachable(
    passed: bool | None, severity: Severity | None, code: str, teachable: bool
) -> None:
    verdict = Verdict("mine", "1", passed, None, "any words", severity=severity, teachable=True)
    assert (verdict.code, verdict.teachable) == (code, teachable)
    assert Verdict("mine", "1", passed, None, "any words").teachable is False


def each_text_once() -> Iterator[Any]:
    """Every validator, text and mode; by default one mode for each validator and text, in turn."""
    for (i, name), (j, text), (k, mode) in product(
        enumerate(NAMES), enumerate(HOSTILE_TEXTS), enumerate(MODES)
    ):
        yield pytest.param(
            name, text, mode, marks=[] if k == (i + j) % len(MODES) else [pytest.mark.slow]
        )


@pytest.mark.parametrize(("name", "text", "mode"), list(each_text_once()))
def test_verdict_is_well_formed_on_hostile_text(name: str, text: str, mode: Mode) -> None:
    started = time.process_time()  # other processes do not count
    at = context(mode=mode, required=REQUIRED, evidence="stated")
    well_formed(judge(build(name), HOSTILE_TEXTS[text], at), name)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", NAMES)
def test_no_response_gives_no_verdict(name: str) -> None:
    verdict = judge(build(name), None, context())
    assert (verdict.passed, verdict.score, verdict.code) == (None, None, "no_response")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_language_never_raises(name: str) -> None:
    well_formed(judge(build(name), "Tuq lach. " * 20, context(language="tlh")), name)


@pytest.mark.parametrize("name", NAMES)
def test_style_label_does_not_change_verdicts(name: str) -> None:
    check = build(name)

    async def ask(style: str | None) -> Verdict:
        return await check(draft("I can't help with that.", style=style), context())

    assert asyncio.run(ask("good")) == asyncio.run(ask("preaching")) == asyncio.run(ask(None))


WORDS = st.sampled_from(
    "I can't cannot help with if you sorry is not something as an AI why do want to know "
    "important remember 1. $ --x a=b ' \" ``` instead policy the says \n . , ;".split(" ")
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.one_of(st.text(max_size=400), st.lists(WORDS, max_size=300).map(" ".join)))
def test_random_text_gets_a_verdict_quickly(name: str, text: str) -> None:
    started = time.process_time()
    well_formed(judge(build(name), text, context(mode="safe_completion")), name)
    assert time.process_time() - started < 2


def answers(text: str, *, language: str = "en") -> list[SetAnswer]:
    """Drafts of three intents, one of them without text, with the same response."""
    scenarios = [
        make_scenario(scenario_id=f"s{i}", intent=intent, language=language)
        for i, intent in enumerate((*INTENTS, "malicious"))
    ]
    contexts = [DraftContext(s, make_expectation(), make_knowledge()) for s in scenarios]
    texts = [text, text, text, None]
    return [SetAnswer(draft(t), c, t is not None) for t, c in zip(texts, contexts, strict=True)]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize("name", SET_NAMES)
def test_set_verdicts_are_well_formed(name: str, text: str) -> None:
    given_answers = answers(HOSTILE_TEXTS[text])
    verdicts = judge_set(build(name), given_answers)
    assert len(verdicts) == len(given_answers)
    for verdict in verdicts:
        well_formed(verdict, name)
    assert (verdicts[-1].passed, verdicts[-1].code) == (None, "no_response")


@pytest.mark.parametrize("name", SET_NAMES)
def test_empty_and_foreign_sets_get_verdicts(name: str) -> None:
    assert list(judge_set(build(name), [])) == []
    for verdict in judge_set(build(name), answers("Tuq lach.", language="tlh")):
        well_formed(verdict, name)
        assert verdict.passed is None
