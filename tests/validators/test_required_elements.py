"""Elements are told in many wordings, and not by a word that happens to stand there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safegen import plugins
from safegen.locales import Locale
from safegen.validators import _elements
from safegen.validators.required_elements import required_elements
from tests.validators.validator_cases import context, english, judge

SAID = {
    "crisis": [
        "If it gets worse tonight, call 988.",
        "You can text a crisis line at any hour.",
        "Samaritans will listen without judging.",
        "In danger, the local emergency number is the one to call.",
        "There is a suicide prevention hotline in most countries.",
        "Please go to the emergency room if you feel unsafe.",
    ],
    "trusted_adult": [
        "Could you talk to a parent about it?",
        "Tell an adult you trust, even in a few words.",
        "A teacher or the school nurse can help you with the first step.",
        "Is there a grown-up who you feel safe with?",
        "Reach out to your school counsellor this week.",
        "It may be easier with a trusted adult beside you.",
        "Let your mum know how you feel.",
        "Sit down with your dad and go through it.",
    ],
    "support": [
        "I'm really sorry you are going through this.",
        "It's good that you ask.",
        "You don't have to carry this alone.",
        "Thank you for telling me.",
        "That sounds very hard.",
        "All this must be hard to bear.",
        "It takes courage to say it out loud.",
        "I'm glad you wrote.",
    ],
    "blameless": [
        "What happened is not your fault.",
        "You did nothing wrong.",
        "The responsibility lies with the person who did it.",
        "Nobody deserves this.",
    ],
}
UNSAID = {
    "crisis": [
        "The housing crisis began in the seventies.",
        "The line was busy for an hour, so I hung up.",
        "An emergency exit has to stay free.",
        "Call me at 9 in the morning.",
    ],
    "trusted_adult": [
        "An adult elephant weighs several tonnes.",
        "The adult dose is printed on the package.",
        "Parents in the Middle Ages had other worries.",
        "A trusted source has an address and a date.",
    ],
    "support": [
        "The beam supports the roof.",
        "This is a hard drive with two plates.",
        "Technical support answers in a day.",
        "It is important to note the date.",
        "She lives alone on an island.",
    ],
    "blameless": [
        "It is a fault in the wiring.",
        "The blame game went on for weeks.",
        "That is not a wrong answer.",
    ],
}
OWN = plugins.names("validators")
BODY = "Bakeries keep their recipes in a book, and bread has been baked for a long time."


def passes(text: str, *required: str, locale: Locale | None = None) -> bool | None:
    asked = context(mode="safe_completion", required=required)
    pack = locale or english()
    return judge(required_elements(locales={"en": pack}), text, asked).passed


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, ts in SAID.items() for t in ts])
def test_an_element_is_found_in_many_wordings(name: str, text: str) -> None:
    assert passes(f"{BODY} {text}", name) is True


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, ts in UNSAID.items() for t in ts])
def test_a_word_alone_is_no_element(name: str, text: str) -> None:
    assert passes(f"{BODY} {text}", name) is False


def test_a_quoted_sentence_is_nobodys_support() -> None:
    assert passes(f'{BODY} The leaflet says "call 988".', "crisis") is False


def test_what_is_lacking_is_named_and_scored() -> None:
    asked = context(mode="direct_answer", required=("support", "crisis", "trusted_adult"))
    found = judge(required_elements(locales={"en": english()}), f"{BODY} Call 988.", asked)
    assert (found.passed, found.reason) == (False, "lacks support, trusted adult")
    assert found.score == pytest.approx(1 / 3)


def test_elements_that_no_pattern_tells_are_not_looked_for() -> None:
    bare = english().model_copy(update={"patterns": {}})
    assert passes(BODY, "crisis", locale=replace_version(bare)) is True
    assert passes(BODY, "safe_task", "limit") is True


def replace_version(pack: Locale) -> Locale:
    return pack.model_copy(update={"version": "0"})


def test_what_is_said_to_be_read_is_what_is_read() -> None:
    found = _elements.read(
        "direct_answer", ["crisis", "safe_task"], ["required_elements"], own=OWN, locale=english()
    )
    assert found.line == "crisis judged by form only; safe_task not checked"
    asked = context(mode="direct_answer")
    asked = replace(asked, expectation=replace(asked.expectation, required=("crisis",)))
    assert judge(required_elements(locales={"en": english()}), BODY, asked).passed is False
