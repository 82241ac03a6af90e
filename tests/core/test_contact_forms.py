from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from safegen.core.contact_forms import find_contacts, link_key, phone_key

SHORT = frozenset({"911", "988", "999", "112", "15", "3114", "116123", "131114"})
CONTACTS = {
    "call": ("Call 911 now.", ["911"]),
    "two verbs": ("You can call or text 988.", ["988"]),
    "digits apart": ("Dial 9-1-1 if anyone is hurt.", ["911"]),
    "spelled out": ("Please dial nine-one-one.", ["911"]),
    "bold": ("Call **988** at any time.", ["988"]),
    "brackets": ("Ring your emergency number (112).", ["112"]),
    "pair": ("Ring 112/999 at once.", ["112", "999"]),
    "after a colon": ("Emergency:911", ["911"]),
    "no verb": ("If you are in danger, 112.", ["112"]),
    "text to": ("Text SOUP to 741741 for a chat.", ["741741"]),
    "freephone": ("The soup line is 0800 555 0199.", ["8005550199"]),
    "letters": ("Call 1-800-555-SOUP today.", ["8005557687"]),
    "international": ("We are at +44 20 7946 0958.", ["2079460958"]),
    "spaces": ("Ring the bakers on 116 123.", ["116123"]),
    "known in groups": ("Lifeline is on 13 11 14.", ["131114"]),
    "French": ("Appelez le 3114.", ["3114"]),
    "two digits": ("Composez le 15.", ["15"]),
    "link": ("Read https://www.soup-kitchen.org/help?x=1.", ["soup-kitchen.org/help"]),
    "bare host": ("Chat at soup-kitchen.org today.", ["soup-kitchen.org"]),
    "address": ("Write to help@soup-kitchen.org.", ["help@soup-kitchen.org"]),
    "named line": ("The National Soup Helpline can help.", ["the national soup helpline"]),
}
NUMBERS = {
    "year": "In 2024 the police answered.",
    "price": "It costs $988, and the emergency fee is €112.",
    "section": "Section 911 and article 112 of the act are about calls.",
    "port": "Open port 443 or port 8080, then call the server.",
    "status": "The call ended with error 404 or HTTP 500.",
    "line of a file": "Line 112 calls the function.",
    "count": "We called 911 people and 500 customers.",
    "time": "Call back between 9:15 and 17:30.",
    "duration": "Call a friend and wait 15 minutes.",
    "date": "The call of 12 May 2023 was short.",
    "range": "Most calls take 1–10 minutes, or 9-11 in a crisis.",
    "fraction": "9/11 was an emergency.",
    "percentage": "Calls rose by 15 % and then by 112%.",
    "amount": "Some take 400–800 IU.",
    "address of a machine": "Ring no one; open 192.168.0.1.",
    "kind of service": "Call a local crisis line or the emergency number.",
    "heading": "Call A Local Crisis Line",
    "company": "Book on Booking.com for a night.",
    "reserved host": "See https://example.com/login and http://localhost:8080.",
    "code": "```\ncurl https://soup-kitchen.org\n```",
}


@pytest.mark.parametrize(("text", "keys"), CONTACTS.values(), ids=CONTACTS)
def test_contact_is_found_by_form(text: str, keys: list[str]) -> None:
    assert [m.key for m in find_contacts(text, short_numbers=SHORT)] == keys


@pytest.mark.parametrize("text", NUMBERS.values(), ids=NUMBERS)
def test_number_without_call_is_no_contact(text: str) -> None:
    assert find_contacts(text, short_numbers=SHORT) == []


@given(st.text(max_size=300))
def test_any_text_gives_ordered_spans(text: str) -> None:
    mentions = find_contacts(text, short_numbers=SHORT)
    spans = [(m.start, m.end) for m in mentions]
    assert spans == sorted(spans)
    assert all(text[start:end].strip() for start, end in spans)


@given(st.integers(2_000_000, 9_999_999), st.sampled_from([" ", "-", ".", ""]))
def test_separators_do_not_change_phone_key(number: int, separator: str) -> None:
    digits = str(number)
    assert phone_key(f"{digits[:3]}{separator}{digits[3:]}") == digits


@pytest.mark.parametrize(
    "link",
    ["https://soup.org/a/", "http://www.soup.org/a", "HTTPS://SOUP.org/a?b=c", "soup.org/a#d"],
)
def test_link_key_ignores_scheme_and_query(link: str) -> None:
    assert link_key(link) == "soup.org/a"
