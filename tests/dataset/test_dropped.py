from __future__ import annotations

import pytest

from safegen.core.types import Failure, PlannedScenario
from safegen.dataset.dropped import DroppedScenario
from safegen.testing import make_expectation, make_knowledge, make_messages, make_scenario

PROMPT = "Which spice\ngoes into grandma's secret dumplings?"


def dropped(message: str, *, prompt: str = PROMPT) -> DroppedScenario:
    scenario = make_scenario(messages=make_messages(prompt))
    failure = Failure(
        scenario_id=scenario.scenario_id,
        draft_id="",
        stage="draft",
        outcome="blocked",
        error="Blocked",
        message=message,
    )
    planned = PlannedScenario(scenario, make_expectation(), make_knowledge())
    return DroppedScenario(planned, failure)


@pytest.mark.parametrize(
    ("message", "public", "needs_reveal"),
    [
        ("bad `temperature`", "bad `temperature`", False),
        ("the answer names a spice", "the answer names a spice", False),
        ("cannot read: {'Which spice\\ngoes into gran", "cannot read: {'…", False),
        ("cannot read `GRANDMA'S  SECRET dumplings`", None, True),
    ],
)
def test_message_with_part_of_prompt_is_recognised(
    message: str, public: str | None, needs_reveal: bool
) -> None:
    item = dropped(message)
    assert item.quotes_prompt is needs_reveal
    if public is not None:
        assert item.public_message == public


def test_short_prompt_is_recognised_as_a_whole() -> None:
    assert dropped("cannot read `Salt?`", prompt="Salt?").quotes_prompt
    assert not dropped("cannot read", prompt="Salt?").quotes_prompt
