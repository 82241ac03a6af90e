from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError, RunError, UserError
from safegen.core.plugin_checks import PluginSource, guard_set_validator
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


def checked(validator: SetValidator, name: str) -> SetValidator:
    return guard_set_validator(validator, PluginSource(f"{MODULE}:{name}", "mine.py"))


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


async def test_sound_verdicts_of_a_user_pass_the_guard() -> None:
    records = [draft_of(0), draft_of(1)]
    result = await validate_set(
        records,
        planned(*records),
        validators={"crowded": checked(crowded(most=2), "crowded")},
        required=["crowded"],
    )
    assert [(r.accepted, r.verdicts[-1].code) for r in result] == [(True, "alone")] * 2


@pytest.mark.parametrize(
    ("validator", "name", "problem"),
    [
        (forgetful(), "forgetful", "returned 1 verdicts for 2 answers"),
        (deleting(), "deleting", "rated a draft of a set `high`"),
        (crowded(), "other", "made a `Verdict` of `crowded`, not of `other`"),
    ],
    ids=["too-few", "unsafe", "other-name"],
)
async def test_wrong_set_verdicts_stop_the_run(
    validator: SetValidator, name: str, problem: str
) -> None:
    records = [draft_of(0), draft_of(1)]
    with pytest.raises(RunError, match=f"mine.py: plug-in `{MODULE}:{name}` {problem}"):
        await validate_set(
            records, planned(*records), validators={"a": checked(validator, name)}, required=[]
        )


def test_object_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an async function from a list of `SetAnswer`"):
        guard_set_validator("text", PluginSource("mine:text"))


async def test_run_stores_verdicts_of_both_units(tmp_path: Path) -> None:
    name = f"{MODULE}:crowded"
    recipe = Recipe.model_validate(
        {
            "name": "sets",
            "plan": {"harms": ["property.copyright"], "sets_per_harm": 1},
            "validators": ["length_bounds", "set_coherence", name],
        }
    )
    run = await safegen.agenerate(recipe, output=tmp_path, plugins=[MODULE], until="validate")
    records = [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]
    names = {tuple(v.validator for v in record.verdicts) for record in records}
    assert names == {("length_bounds", "set_coherence", "crowded")}
    # `require` names the plug-in as the recipe does, and its verdict has the name of the factory.
    assert {(record.accepted, record.reason) for record in records} == {(False, "crowded")}
