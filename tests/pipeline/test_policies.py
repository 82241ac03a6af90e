from __future__ import annotations

from pathlib import Path

import pytest

from safegen.core.errors import AssetNotFound, UserError
from safegen.pipeline.api import agenerate
from safegen.pipeline.policies import (
    check_policies,
    compare_policies,
    compile_policy,
    explain_scenario,
)
from safegen.store import plan
from tests.cli.harness import write_recipe


@pytest.fixture
async def planned(workdir: Path) -> Path:
    run = await agenerate(str(write_recipe(workdir)), output="out", until="expand")
    return run.output


def test_shipped_policies_have_no_errors() -> None:
    assert [f for f in check_policies().findings if not f.warning] == []


def test_rubric_defaults_to_the_first_leaf() -> None:
    compiled = compile_policy("security", "rubric")
    assert compiled.at == "cyber.intrusion,evidence=none,profile=public,detail=3"
    assert 0 < compiled.tokens < len(compiled.text)
    assert "questions" in compiled.values


def test_classifier_has_a_profile_as_situation() -> None:
    assert compile_policy("security", "classifier").at == "profile=public"
    assert compile_policy("security", "classifier", at="profile=minors").at == "profile=minors"


async def test_planned_scenario_is_explained_by_its_run(planned: Path) -> None:
    item = next(iter(plan.iter_scenarios(planned / "run/plan/0.parquet")))
    report = explain_scenario(item.scenario.scenario_id[:12], run=planned)
    assert report.planned == item
    assert report.explanation.rule.id in item.expectation.rule_ids
    assert report.differing_expectation is None


async def test_unknown_scenario_is_an_error(planned: Path) -> None:
    with pytest.raises(AssetNotFound, match="starts with `zzz`"):
        explain_scenario("zzz", run=planned)


async def test_run_excludes_a_taxonomy(planned: Path) -> None:
    with pytest.raises(UserError, match="drop `--taxonomy`"):
        explain_scenario("x", run=planned, taxonomy="core")


async def test_equal_policies_affect_no_row(planned: Path) -> None:
    comparison = compare_policies("security", "security", run=planned)
    assert comparison.difference.situations == ()
    assert comparison.run is not None
    assert comparison.run.affected.rows == ()
    assert comparison.run.prompts == comparison.run.under_policy > 0
    assert comparison.run.unfinished_shards == 1
