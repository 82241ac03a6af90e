"""Golden expectations written independently of `safegen.policy.decide`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from safegen.config import taxonomy
from safegen.core import resources, yaml_source
from safegen.core.types import ILL_INTENT, MODES, Evidence, Mode, Profile
from safegen.policy import loader, spec
from safegen.policy.decide import compute_expectation

SHIPPED = [name for name in resources.list_names("policies") if name != "base"]


class Case(BaseModel):
    model_config = ConfigDict(extra="forbid")
    harm: str
    evidence: Evidence
    profile: Profile
    detail: int
    mode: Mode
    ceiling: int
    floor: int


class Golden(BaseModel):
    cases: list[Case]


CASES = yaml_source.load(Path(__file__).parent / "golden_expectations.yaml", Golden).cases


@pytest.fixture(scope="module")
def policies() -> list[spec.Policy]:
    return [loader.load_policy(name) for name in SHIPPED]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.harm}-{c.evidence}-{c.profile}-{c.detail}"
)
def test_shipped_specs_match_golden_expectations(case: Case, policies: list[spec.Policy]) -> None:
    harm = taxonomy.load_taxonomy("core").harms[case.harm]
    got = compute_expectation(
        spec.policy_for(policies, harm),
        harm,
        evidence=case.evidence,
        profile=case.profile,
        detail=case.detail,
    )
    assert (got.mode, got.ceiling, got.floor) == (case.mode, case.ceiling, case.floor)


def test_each_leaf_has_exactly_one_spec(policies: list[spec.Policy]) -> None:
    harms = taxonomy.load_taxonomy("core").harms
    assert {h: spec.policy_for(policies, harm).spec.policy for h, harm in harms.items()}


@pytest.mark.parametrize("name", [*SHIPPED, "base"])
def test_worse_evidence_is_never_more_permissive(name: str) -> None:
    policy = loader.load_policy(name)
    for at in spec.ALL_SITUATIONS:
        rule = policy.decide(at)
        assert rule.floor <= rule.ceiling
        # Evidence `self` is not ill intent.
        graded = at.evidence in ILL_INTENT
        for worse in ILL_INTENT[ILL_INTENT.index(at.evidence) :] if graded else ():
            other = policy.decide(at._replace(evidence=worse))
            assert other.ceiling <= rule.ceiling
            assert MODES.index(other.mode) >= MODES.index(rule.mode)
