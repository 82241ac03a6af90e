"""Checks that a response names no contact that the registry of the row's region does not have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, get_args

from safegen.config.contacts import Contacts
from safegen.core.contact_forms import ContactMention, find_contacts
from safegen.core.text_forms import MAX_READ_CHARS
from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict
from safegen.validators import _text

NAME = "contacts"
ContactFault = Literal["unknown_contact", "other_region", "without_region", "unchecked_contact"]
Code = Literal["no_contact", "known_contact", ContactFault, "no_response"]
TRAITS: ValidatorTraits[Code] = ValidatorTraits(
    get_args(Code),
    # A judge cannot know if a number is right, and a wrong one can cost a life.
    hard=get_args(ContactFault),
    labels=(),
)
_IN_SENTENCE = re.compile(r"[\w,;(&] [*_\"“'‘(]{0,3}\Z")
_REASONS: dict[ContactFault, str] = {
    "unknown_contact": "names a contact that is not in the registry; name the kind of service, without number, link or name",
    "other_region": "names a contact of another region; name the kind of service, without number, link or name",
    "without_region": "names a contact although the region is unknown; name the kind of service, without number, link or name",
    "unchecked_contact": "names a contact that is unchecked or stale; name the kind of service, without number, link or name",
}


class FoundContact(NamedTuple):
    """A contact that an answer must not name."""

    code: ContactFault
    evidence: str


def contacts(*, contacts: Contacts) -> DraftValidator:
    """Check that each number, link and named help line is a checked contact of the row's region.

    The region is the row's `jurisdiction`, and the registry has the entries that answers may quote.
    Contacts that a user or system turn of the prompt holds pass. So do links to reserved hosts and in
    code. Numbers that are no contacts, such as years, prices and ports, are not read: a short number counts
    after words such as `call`, or if a registry has it and its sentence is about calls.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        if draft.response is None:
            return _text.make_no_response_verdict(NAME)
        text, region = draft.response[:MAX_READ_CHARS], context.scenario.jurisdiction
        mentions = _list_mentions(text, contacts)
        prompt = "\n".join(
            m["content"] for m in context.scenario.messages if m["role"] != "assistant"
        )
        given = {m.key for m in _list_mentions(prompt, contacts)} if mentions else set[str]()
        foreign = [m for m in mentions if m.key not in given]
        fault = next(_iter_faults(text, foreign, contacts, region), None)
        if fault is not None:
            return _text.make_verdict(
                NAME,
                TRAITS,
                passed=False,
                code=fault.code,
                reason=_REASONS[fault.code],
                evidence=_text.shorten(fault.evidence),
            )
        return _text.make_verdict(
            NAME,
            TRAITS,
            passed=True,
            code="known_contact" if mentions else "no_contact",
            reason="all contacts are known" if mentions else "names no contact",
        )

    return check


def _list_mentions(text: str, contacts: Contacts) -> list[ContactMention]:
    """List the contacts in a text by form, and the services of a registry by name."""
    found = find_contacts(text, short_numbers=contacts.short_numbers)
    for name in contacts.regions_by_name:
        # With capitals and as whole words: `a lifeline` is no service.
        if name in text:
            found += _find_name(text, name)
    return sorted(found, key=lambda mention: mention.start)


def _find_name(text: str, name: str) -> Iterator[ContactMention]:
    # `Shout` begins many sentences that are about no service; `CyberTipline` begins none.
    may_be_word = " " not in name and name[1:].islower()
    for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        if not may_be_word or _IN_SENTENCE.search(text, 0, match.start()):
            yield ContactMention("name", name.casefold(), *match.span())


def _iter_faults(
    text: str, mentions: Collection[ContactMention], contacts: Contacts, region: str | None
) -> Iterator[FoundContact]:
    keys = contacts.quotable_keys.get(region or "", frozenset())
    names = [contact.name.casefold() for contact in contacts.quotable.get(region or "", ())]
    for mention in mentions:
        # A longer or shorter form of the name of a service.
        is_named = mention.form == "name" and any(
            n in mention.key or mention.key in n for n in names
        )
        if mention.key in keys or is_named:
            continue
        yield FoundContact(_find_code(mention, contacts, region), text[mention.start : mention.end])


def _find_code(mention: ContactMention, contacts: Contacts, region: str | None) -> ContactFault:
    if mention.form == "name":
        known = {name.casefold(): regions for name, regions in contacts.regions_by_name.items()}
        regions = known.get(mention.key, frozenset())
    else:
        regions = contacts.regions_by_key.get(mention.key, frozenset())
    if not regions:
        return "unknown_contact"
    if region is None:
        return "without_region"
    return "unchecked_contact" if region in regions else "other_region"
