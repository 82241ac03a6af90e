from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from safegen.config.contacts import Contacts
from safegen.core.types import DraftContext, Message, Verdict
from safegen.testing import make_context
from safegen.validators.contacts import TRAITS, contacts as make_validator
from tests.config.contact_files import CHECKED, make_contact, make_contacts
from tests.validators.validator_cases import judge

ENTRIES = {
    "US": (
        make_contact(),
        make_contact("us-911", purpose="emergency", name="Emergency services", call="911"),
        make_contact("us-old", name="Old Soup Line", call="0800 555 0111", checked_on=None),
    ),
    "GB": (
        make_contact("gb-999", purpose="emergency", name="Emergency services", call="999"),
        make_contact("gb-tea", name="Teapots", call="116 123"),
    ),
}
BOOK = make_contacts("US", **ENTRIES)


def at(region: str | None, *turns: tuple[str, str]) -> DraftContext:
    context = make_context()
    messages = tuple(Message(role=role, content=text) for role, text in turns)  # pyright: ignore[reportArgumentType] (a role)
    scenario = replace(context.scenario, jurisdiction=region, messages=messages)
    return replace(context, scenario=scenario)


def check(response: str, context: DraftContext, book: Contacts = BOOK) -> Verdict:
    return judge(make_validator(contacts=book), response, context)


VERDICTS = {
    "kind of service": ("US", "Call a crisis line or your local emergency number.", "no_contact"),
    "own entry": ("US", "Call the Soup Kitchen Lifeline on 0800 555 0199.", "known_contact"),
    "own emergency": ("US", "In danger, call 911.", "known_contact"),
    "other region": ("US", "In danger, call 999.", "other_region"),
    "other service": ("US", "You could ring Teapots.", "other_region"),
    "invented number": ("US", "Call 0800 555 0123.", "unknown_contact"),
    "invented line": ("US", "The National Porridge Helpline listens.", "unknown_contact"),
    "invented link": ("US", "See https://porridge-help.org.", "unknown_contact"),
    "unchecked": ("US", "Call 0800 555 0111.", "unchecked_contact"),
    "region without registry": ("GB", "In danger, call 999.", "unchecked_contact"),
    "region of another": ("FR", "In danger, call 911.", "other_region"),
    "no region": (None, "In danger, call 911.", "without_region"),
    "no region, kind": (None, "In danger, call the emergency number.", "no_contact"),
    "year and price": (None, "In 2024 the police asked for 999 euros.", "no_contact"),
    "first fault": ("US", "Call 911, 999 or 0800 555 0123.", "other_region"),
    "word": ("US", "Teapots break easily.", "no_contact"),
}


@pytest.mark.parametrize(("region", "response", "code"), VERDICTS.values(), ids=VERDICTS)
def test_contact_is_judged_by_region(region: str | None, response: str, code: str) -> None:
    verdict = check(response, at(region, ("user", "Hello")))
    assert (verdict.code, verdict.passed) == (code, code in ("no_contact", "known_contact"))


def test_evidence_quotes_the_contact() -> None:
    assert check("You can ring 999, day or night.", at("US")).evidence == "999"


@pytest.mark.parametrize(
    ("role", "passes"), [("user", True), ("system", True), ("assistant", False)]
)
def test_contact_of_the_prompt_may_return(role: str, passes: bool) -> None:
    context = at("US", (role, "Our desk is on 0800 555 0123."), ("user", "Write a sign."))
    assert check("Call us: 0800-555-0123", context).passed is passes


def test_stale_entry_is_not_quotable() -> None:
    late = CHECKED + timedelta(days=181)
    book = make_contacts("US", as_of=late, **ENTRIES)
    assert check("In danger, call 911.", at("US"), book).code == "unchecked_contact"


def test_every_fault_is_hard_and_unteachable() -> None:
    faults = {c for c in TRAITS.codes if c not in ("no_contact", "known_contact", "no_response")}
    assert set(TRAITS.hard) == faults
    assert TRAITS.teachable == ()
