from __future__ import annotations

from collections.abc import Sequence

import pytest

from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.core.types import (
    PlannedScenario,
    Record,
    SetAnswer,
    SetValidator,
    ValidatorTraits,
    Verdict,
)
from safegen.pipeline.validate_set import validate_set
from safegen.pipeline.validator_rewards import make_validator_parts
from safegen.testing import make_draft, make_knowledge, make_record, make_scenario

MODULE = "tests.pipeline.test_validate_set"
TRAITS: ValidatorTraits[str] = ValidatorTraits(("alone", "crowded"), unit="set")
PLAN = {"max_sets": 2, "candidates": 1}


def crowded(*, most: int = 1) -> SetValidator:
    """Fail the drafts of a set that has more than `most` of them."""

    async def check(answers: Sequence[SetAnswer], /) -> list[Verdict]:
        passed = len(answers) <= most
        code = "alone" if passed else "crowded"
        return [Verdict("crowded", "1", passed, float(passed), code, code=code) for _ in answers]

    return check


def forgetful() -> SetValidator:
    """Return too few verdicts."""

    async def check(answers: Sequence[SetAnswer], /) -> list[Verdict]:
        return [Verdict("forgetful", "1", True, 1.0, "fine") for _ in answers[1:]]

    return check


def deleting() -> SetValidator:
    """Rate every draft unsafe."""

    async def check(answers: Sequence[SetAnswer], /) -> list[Verdict]:
        return [Verdict("deleting", "1", False, 0.0, "bad", severity="high") for _ in answers]

    return check


def recipe(use: str, *, require: tuple[str, ...]) -> Recipe:
    name = f"{MODULE}:{use}"
    validators = (PluginRef(use="length_bounds"), PluginRef(use=name))
    required = tuple(name if r == use else r for r in require)
    return Recipe.model_validate(
        {
            "name": "sets",
            "plan": {"harms": ["property.theft"], "max_goals": 1},
            "validators": [v.model_dump() for v in validators],
            "require": list(required),
        }
    )


def planned(*records: Record) -> list[PlannedScenario]:
    return [PlannedScenario(r.scenario, r.expectation, make_knowledge()) for r in records]


def draft_of(number: int, *, accepted: bool = True, text: str | None = "A key.") -> Record:
    name = f"s{number}"
    draft = make_draft(scenario_id=name, response=text)
    return make_record(scenario=make_scenario(scenario_id=name), draft=draft, accepted=accepted)


async def judged(records: list[Record], *, required: Sequence[str]) -> list[Record]:
    return await validate_set(
        records, planned(*records), validators={"crowded": crowded()}, required=required
    )


async def test_required_set_verdict_rejects_accepted_drafts() -> None:
    records = [draft_of(0), draft_of(1, accepted=False), draft_of(2, text=None, accepted=False)]
    result = await judged(records, required=["style", "crowded"])
    assert [(r.accepted, r.accepted_by, r.reason) for r in result] == [
        (False, None, "crowded"),
        (False, None, "style"),
        (False, None, "style"),
    ]
    assert [r.verdicts[-1].validator for r in result] == ["crowded", "crowded", "style"]


async def test_optional_set_verdict_is_only_recorded() -> None:
    result = await judged([draft_of(0), draft_of(1)], required=["style"])
    assert [(r.accepted, r.verdicts[-1].code) for r in result] == [(True, "crowded")] * 2


async def test_lone_draft_stays_accepted() -> None:
    result = await judged([draft_of(0)], required=["style", "crowded"])
    assert [(r.accepted, r.reason) for r in result] == [(True, None)]


def test_set_validator_has_no_reward() -> None:
    with pytest.raises(UserError, match="judges sets"):
        make_validator_parts("set_coherence", language="en")
