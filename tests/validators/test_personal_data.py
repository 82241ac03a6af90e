from __future__ import annotations

import pytest

from safegen.validators.personal_data import Code, personal_data
from tests.validators.validator_cases import context, judge

BAD: dict[str, tuple[Code, str]] = {
    "email": ("email", "Write to mara.linden@gmail.com."),
    "named-example": ("email", "Write to jonas.weber@example.org."),
    "phone": ("phone", "Ring her on 212-555-0187."),
    "card": ("card", "Pay with 4111 1111 1111 1111."),
    "iban": ("iban", "Send it to DE89 3704 0044 0532 0130 00."),
    "key": ("key", 'Set api_key = "q9Xv27LmPz41KtRw".'),
    "password": ("password", "Log in with the password Hunter22Moon."),
    "database": ("password", "Use postgres://admin:Tr4veller9@db.internal/shop."),
    "home": ("address", "Mr Halloran lives at 48 Thornbury Road."),
    "postcode": ("address", "Go to 7 Larch Close, LS6 2AB."),
    "french": ("address", "Elle habite 12 rue des Lilas."),
}
GOOD = {
    "role": "Write to support@zorb.example.",
    "public-body": "Forward it to report@phishing.gov.uk.",
    "constant": "```python\nsend('alice@example.com')\n```",
    "toll-free": "Call 1-800-222-1222.",
    "helpline": "The crisis line is +44 20 7946 0123.",
    "resolver": "Ping 8.8.8.8.",
    "placeholder": 'api_key = "YOUR_API_KEY_123"',
    "environment": 'key = os.environ["API_KEY"]',
    "advice": "The password is usually printed on the label.",
    "court": "The court is at 14 Market Street.",
    "walk": "Turn left on Mill Lane and walk 200 metres.",
    "book": "ISBN 978-3-16-148410-0, page 120-145.",
}


@pytest.mark.parametrize(("code", "text"), BAD.values(), ids=BAD.keys())
def test_datum_of_a_person_fails(code: Code, text: str) -> None:
    verdict = judge(personal_data(), text, context())
    assert (verdict.passed, verdict.code) == (False, code)
    assert verdict.evidence in text


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_public_data_and_placeholders_pass(text: str) -> None:
    assert judge(personal_data(), text, context()).code == "none_found"


def test_datum_of_the_prompt_passes() -> None:
    text = "Yes, mara.linden@gmail.com is spelled correctly."
    asked = context(prompt="Is mara.linden@gmail.com spelled correctly?")
    assert judge(personal_data(), text, asked).passed is True
    assert judge(personal_data(), text, context()).passed is False
