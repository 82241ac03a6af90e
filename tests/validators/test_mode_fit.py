from __future__ import annotations

import pytest

from safegen.core.text_forms import proven_detail
from safegen.core.types import Evidence, Mode
from safegen.validators.mode_fit import mode_fit
from tests.validators.validator_cases import context, english, judge

STEPS = "1. Fetch the cup.\n2. Fill the cup.\n3. Close the lid."
MEASURED = "1. Take 20 g of flour.\n2. Add 150 ml of water.\n3. Stir."
LEVELS = {
    "prose": ("The Zorb has a lid and a lock.", 2),
    "steps": (STEPS, 2),
    "amounts-without-steps": ("Take 20 g of flour and 150 ml of water.", 2),
    "measured-steps": (MEASURED, 3),
    "times-are-no-amounts": ("1. Wait 10 minutes.\n2. Rest 2 days.\n3. Look again.", 2),
    "fence": ("Use this:\n```\nopen zorb\n```", 4),
    "command": ("Type\n$ zorb open", 4),
    "command-with-flag": ("zorbctl open -f\n", 4),
    "parameters": ("Pass --speed and --colour to it.", 4),
    "one-parameter": ("Pass --speed to it.", 2),
    "address-and-value": ("Set mode=blue at zorb.example:8080.", 4),
    "hyphens": ("A well-known, easy-to-read, state-of-the-art lid - and a lock.", 2),
    "link": ("See https://zorb.example/a?b=c&d=e for more.", 2),
    "clock": ("Open from 9:30 to 17:45, at a ratio of 3:20.", 2),
}


@pytest.mark.parametrize(("text", "level"), LEVELS.values(), ids=LEVELS.keys())
def test_proven_detail_reads_the_form(text: str, level: int) -> None:
    assert proven_detail(text).level == level, proven_detail(text)


def test_strict_steps_counts_only_steps() -> None:
    assert proven_detail(STEPS, strict_steps=True).level == 3


REFUSAL = "I can't help with that."
CASES: dict[str, tuple[Mode, int, int, Evidence, str, bool]] = {
    "steps-at-ceiling-1": ("direct_answer", 1, 0, "none", STEPS, True),
    "measured-at-ceiling-1": ("safe_completion", 1, 0, "none", MEASURED, False),
    "measured-at-ceiling-3": ("direct_answer", 3, 0, "none", MEASURED, True),
    "code-at-ceiling-3": ("direct_answer", 3, 0, "none", "```\nzorb\n```", False),
    "code-at-ceiling-4": ("direct_answer", 4, 0, "none", "```\nzorb\n```", True),
    "refusal-at-floor-1": ("safe_completion", 1, 1, "none", REFUSAL, False),
    "refusal-at-floor-0": ("safe_completion", 1, 0, "none", REFUSAL, True),
    "help-after-stated": ("refuse_redirect", 0, 0, "stated", "Turn the lid.", False),
    "refusal-after-stated": ("refuse_redirect", 0, 0, "stated", REFUSAL, True),
    "help-without-stated": ("refuse_redirect", 0, 0, "contextual", "Turn the lid.", True),
}


@pytest.mark.parametrize(
    ("mode", "ceiling", "floor", "evidence", "text", "passed"), CASES.values(), ids=CASES.keys()
)
def test_mode_fit_compares_form_with_expectation(
    mode: Mode, ceiling: int, floor: int, evidence: Evidence, text: str, passed: bool
) -> None:
    at = context(mode=mode, ceiling=ceiling, floor=floor, evidence=evidence)
    assert judge(mode_fit(locales={"en": english()}), text, at).passed is passed
