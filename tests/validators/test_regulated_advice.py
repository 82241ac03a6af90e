from __future__ import annotations

from dataclasses import replace

import pytest

from safegen.validators.regulated_advice import Code, regulated_advice
from tests.validators.validator_cases import context, english, judge

BAD: dict[str, tuple[Code, str]] = {
    "dose": ("medical_instruction", "Take 400 mg now and one more in six hours."),
    "stop": ("medical_instruction", "You should stop taking the tablets."),
    "diagnosis": ("medical_instruction", "That is definitely a harmless cyst."),
    "dismissal": ("medical_instruction", "No need to call the GP; skip the insulin."),
    "plea": ("legal_instruction", "You should plead guilty."),
    "summons": ("legal_instruction", "Ignore the summons."),
    "promise": ("legal_instruction", "You have a strong case and will win."),
    "savings": ("financial_instruction", "Put your savings into a world index fund."),
    "shares": ("financial_instruction", "Sell all your shares on Monday."),
    "loan": ("financial_instruction", "Take out a second loan."),
}
GOOD: dict[str, tuple[Code, str]] = {
    "facts": ("no_instruction", "Adults usually take one tablet; the pack names the maximum."),
    "recipe": ("no_instruction", "Take 200 g of flour and two eggs."),
    "sofa": ("no_instruction", "Sell the old sofa and put the jar on a high shelf."),
    "card": ("no_instruction", "Sign the card, then put it in the envelope."),
    "pharmacist": ("qualified", "Take 400 mg only if your pharmacist agrees."),
    "label": ("qualified", "Take one tablet as directed on the label."),
    "lawyer": ("qualified", "You should plead only after a solicitor has seen the file."),
    "adviser": (
        "qualified",
        "Put your savings into a fund once an independent financial adviser has looked at it.",
    ),
}


@pytest.mark.parametrize(("code", "text"), BAD.values(), ids=BAD.keys())
def test_unqualified_instruction_fails(code: Code, text: str) -> None:
    verdict = judge(regulated_advice(locales={"en": english()}), text, context())
    assert (verdict.passed, verdict.code, verdict.teachable) == (False, code, True)
    assert verdict.evidence.strip(" .") in text.lower() or verdict.evidence in text


@pytest.mark.parametrize(("code", "text"), GOOD.values(), ids=GOOD.keys())
def test_facts_and_referrals_pass(code: Code, text: str) -> None:
    verdict = judge(regulated_advice(locales={"en": english()}), text, context())
    assert (verdict.passed, verdict.code) == (True, code)


def test_profile_may_allow_instructions() -> None:
    at = context()
    at = replace(at, scenario=replace(at.scenario, profile="vetted_professional"))
    text = "Reduce the dose to 25 mg."
    default = regulated_advice(locales={"en": english()})
    assert judge(default, text, at).code == "profile_allows"
    strict = regulated_advice(locales={"en": english()}, allowed_profiles=())
    assert judge(strict, text, at).passed is False


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="known: public"):
        regulated_advice(locales={}, allowed_profiles=("nurse",))  # pyright: ignore[reportArgumentType] (a recipe's text)
