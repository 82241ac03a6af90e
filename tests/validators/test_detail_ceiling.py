from __future__ import annotations

import pytest

from safegen.core.text_forms import proven_detail
from safegen.validators.detail_ceiling import detail_ceiling
from tests.validators.validator_cases import context, judge

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
    assert proven_detail(text)[0] == level, proven_detail(text)


def test_strict_steps_counts_only_steps() -> None:
    assert proven_detail(STEPS, strict_steps=True)[0] == 3


CASES: dict[str, tuple[int, str, bool]] = {
    "steps-at-ceiling-1": (1, STEPS, True),
    "measured-at-ceiling-1": (1, MEASURED, False),
    "measured-at-ceiling-3": (3, MEASURED, True),
    "code-at-ceiling-3": (3, "```\nzorb\n```", False),
    "code-at-ceiling-4": (4, "```\nzorb\n```", True),
    "refusal-at-ceiling-0": (0, "I can't help with that.", True),
}


@pytest.mark.parametrize(("ceiling", "text", "passed"), CASES.values(), ids=CASES.keys())
def test_detail_is_compared_with_the_ceiling(ceiling: int, text: str, passed: bool) -> None:
    assert judge(detail_ceiling(), text, context(ceiling=ceiling)).passed is passed
