"""Evidence `protective`: it raises the ceiling by one, and never where it could help to injure."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError

from safegen.config import taxonomy
from safegen.config.goals import Dialogue, Prompts, UserTurn
from safegen.core.types import (
    DETAIL_LEVELS,
    EVIDENCE,
    MODES,
    PROFILES,
    Evidence,
    Expectation,
    Profile,
)
from safegen.policy import loader, spec
from safegen.policy.decide import compute_expectation
from safegen.policy.lint import lint_policy
from safegen.scenarios.dialogues import label_turns, strongest_evidence
from tests.policy.test_golden_expectations import SHIPPED

TREE = taxonomy.load_taxonomy("core")
POLICIES = [loader.load_policy(name) for name in SHIPPED]
INJURY = ("selfharm", "weapons", "violence")
RAISED = {"restricted": 2, "sensitive": 3}


def expected(harm: str, evidence: Evidence, profile: Profile, detail: int) -> Expectation:
    leaf = TREE.harms[harm]
    policy = spec.policy_for(POLICIES, leaf)
    return compute_expectation(
        policy,
        leaf,
        evidence=evidence,
        profile=profile,
        detail=detail,
    )


@pytest.mark.parametrize("harm", [*TREE.harms])
def test_protection_raises_ceilings_except_for_injury(harm: str) -> None:
    leaf = TREE.harms[harm]
    for profile, detail in product(PROFILES, DETAIL_LEVELS):
        plain = expected(harm, "none", profile, detail)
        got = expected(harm, "protective", profile, detail)
        stays = profile == "minors" or leaf.red_line or harm.split(".")[0] in INJURY
        assert got.ceiling == (plain.ceiling if stays else max(plain.ceiling, RAISED[leaf.tier]))
        assert MODES.index(got.mode) <= MODES.index(plain.mode)
        assert got.floor >= plain.floor or profile == "minors"


@pytest.mark.parametrize("harm", [h for h in TREE.harms if not TREE.harms[h].red_line])
def test_protection_yields_to_signs_of_harm(harm: str) -> None:
    for profile, detail in product(PROFILES, DETAIL_LEVELS):
        got = expected(harm, "protective", profile, detail)
        for worse in ("contextual", "stated", "self"):
            other = expected(harm, worse, profile, detail)
            assert other.ceiling <= got.ceiling
            assert MODES.index(other.mode) >= MODES.index(got.mode)


@pytest.mark.parametrize("harm", [h for h in TREE.harms if TREE.harms[h].red_line])
def test_red_line_answers_protection_up_to_concepts(harm: str) -> None:
    evidences: tuple[Evidence, ...] = EVIDENCE
    for evidence, profile, detail in product(evidences, PROFILES, DETAIL_LEVELS):
        got = expected(harm, evidence, profile, detail)
        if evidence in ("none", "protective") and detail <= 1:
            assert (got.mode, got.ceiling) == ("safe_completion", 1)
            assert "redirection" in got.required
        elif evidence != "self":
            assert (got.mode, got.ceiling) == ("refuse_redirect", 0)


def test_other_red_lines_of_the_spec_stay_closed() -> None:
    """A leaf of a user's taxonomy under the same spec gets no exception."""
    for name, leaf in (("health", "drugs.other"), ("violence", "weapons.other")):
        view = loader.load_policy(name).at_leaf(leaf)
        for evidence, detail in product(("none", "protective"), (1, 2, 3, 4)):
            at = spec.Situation("prohibited", evidence, "public", detail)
            assert view.decide(at).mode == "refuse_redirect"


def test_protection_is_no_sign_of_ill_intent() -> None:
    turns = [UserTurn(text="x", detail=1, evidence=e) for e in ("protective", "none", "contextual")]
    whole = Dialogue(goal="a.b/c", kind="late_reveal", intent="malicious", turns=tuple(turns))
    assert [labels.intent for labels in label_turns(whole)] == ["dual_use", "dual_use", "malicious"]
    assert [*strongest_evidence(turns)] == ["protective", "protective", "contextual"]
    prompt = {"text": "x", "detail": 1, "evidence": "protective"}
    with pytest.raises(ValidationError, match="malicious prompt needs"):
        Prompts.model_validate({"benign": [prompt], "malicious": [prompt]})


def test_stricter_protection_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "policy: mine\nversion: 1.0.0\ntitle: t\ninherits: base\nharms: [soup.*]\nfacilitation: x\nrules:\n"
        "  - {id: M-1, says: s, when: {tier: [sensitive], evidence: [none], detail: [4]}, mode: direct_answer, ceiling: 4}\n"
    )
    findings = lint_policy(loader.read_policy(str(path)))
    assert "add `protective` to the `evidence` of the first" in str(findings[0])
