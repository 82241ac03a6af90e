"""Over-refusal findings: one planted fault each, and a clean twin with one difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import taxonomy
from safegen.policy import loader
from safegen.policy.check import CheckReport, check_specs
from tests.policy.protection import ELEMENTS, SELF_RULE

HEAD = """\
policy: tiny
version: 1.0.0
title: Tiny
{inherits}harms: [{harm}]
facilitation: steps
"""
STATED = "  - {id: S, says: a, when: {evidence: [stated]}, mode: refuse_redirect, ceiling: 0}\n"
RED = "  - {id: R, says: a, when: {tier: [prohibited]}, mode: refuse_redirect, ceiling: 0}\n"
HINTED = (
    "  - {id: C, says: a, when: {tier: [restricted], evidence: [contextual], detail: [2, 3, 4]},"
    " mode: refuse_redirect, ceiling: 0}\n"
)
LADDER = ELEMENTS + "rules:\n" + SELF_RULE + STATED + RED
CASE = "cases:\n  - {tier: restricted, detail: 3, mode: safe_completion, ceiling: 0}\n"
STRICT = (
    "rules:\n  - {id: Z, says: a, when: {tier: [restricted], evidence: [none], detail: [2, 3, 4]},"
    " mode: safe_completion, ceiling: 0, authority: system}\n"
)
YOUNG = (
    "rules:\n  - id: Z\n    says: a\n    when: {tier: [restricted], evidence: [none], detail: [2, 3, 4]}\n"
    "    mode: safe_completion\n    ceiling: 1\n    floor: 1\n    authority: system\n    profiles:\n"
    "      minors: {ceiling: 0}\n"
)
VETTED_CASE = (
    "cases:\n  - {tier: restricted, detail: 2, profile: vetted_professional, mode: safe_completion,"
    " ceiling: 1, floor: 1}\n"
)
YOUNG_CASE = (
    "  - {tier: restricted, detail: 3, profile: minors, mode: safe_completion, ceiling: 0}\n"
)


def rule(mode: str, ceiling: int, when: str = "", id_: str = "Z") -> str:
    return f"  - {{id: {id_}, says: a, {when}mode: {mode}, ceiling: {ceiling}}}\n"


ANSWER = rule("direct_answer", 1, id_="Y")
OPEN = rule("direct_answer", 1, "when: {evidence: [none, protective]}, ", "Y")
PART = rule("safe_completion", 0, "when: {evidence: [contextual]}, ")
LOW = "when: {tier: [restricted], evidence: [contextual], detail: [1, 2, 3, 4]}, "
HARD = "when: {tier: [restricted], detail: [3, 4]}, "
AWARE = "when: {tier: [restricted, sensitive, allowed], detail: [0]}, "
TWINS: dict[str, tuple[bool, str, str, str, str]] = {
    # inherits base, the leaf, the fault, its clean twin, the place of the fault
    "needless_refusal": (
        False,
        "cyber.malware",
        LADDER + rule("refuse_redirect", 0, HARD) + ANSWER,
        LADDER + rule("safe_completion", 0, HARD) + ANSWER,
        "id: Z",
    ),
    "needless_refusal of a hint below restricted": (
        False,
        "drugs.use",
        LADDER + rule("refuse_redirect", 0, "when: {evidence: [contextual]}, ") + OPEN,
        LADDER + HINTED + PART + OPEN,
        "id: Z",
    ),
    "needless_refusal of a concept": (
        False,
        "cyber.malware",
        LADDER + rule("refuse_redirect", 0, LOW) + PART.replace("Z", "X") + OPEN,
        LADDER + rule("refuse_redirect", 0, LOW.replace("1, ", "")) + PART.replace("Z", "X") + OPEN,
        "id: Z",
    ),
    "zero_ceiling": (
        False,
        "drugs.use",
        LADDER + HINTED + PART + rule("direct_answer", 0, id_="Y"),
        LADDER + HINTED + PART + ANSWER,
        "id: Y",
    ),
    "untested_strictness": (True, "cyber.malware", STRICT, STRICT + CASE, "id: Z"),
    "untested_strictness of an override": (
        True,
        "cyber.malware",
        YOUNG + VETTED_CASE,
        YOUNG + VETTED_CASE + YOUNG_CASE,
        "minors: {ceiling: 0}",
    ),
    "never_answered": (
        False,
        "cyber.malware",
        LADDER + rule("safe_completion", 1),
        LADDER + rule("direct_answer", 1, AWARE, "Y") + rule("safe_completion", 1),
        "cyber.malware]",
    ),
}


def looked(folder: Path, base: bool, harm: str, more: str) -> tuple[Path, CheckReport]:
    path = folder / "tiny.yaml"
    path.write_text(HEAD.format(inherits="inherits: base\n" if base else "", harm=harm) + more)
    return path, check_specs([str(path)], taxonomy.load_taxonomy("core"))


@pytest.mark.parametrize("name", [*TWINS])
def test_over_refusal_is_a_warning_with_place(tmp_path: Path, name: str) -> None:
    base, harm, fault, _, place = TWINS[name]
    path, report = looked(tmp_path, base, harm, fault)
    assert [f.kind for f in report.findings] == [name.split()[0]]
    finding = report.findings[0]
    assert finding.warning
    assert "; " in finding.message
    assert finding.place is not None
    line = path.read_text().splitlines()[finding.place.line - 1]
    assert place in line
    loader.load_policy(str(path))


@pytest.mark.parametrize("name", [*TWINS])
def test_clean_twin_has_no_finding(tmp_path: Path, name: str) -> None:
    base, harm, _, clean, _ = TWINS[name]
    assert looked(tmp_path, base, harm, clean)[1].findings == []


def test_red_line_may_refuse_everything(tmp_path: Path) -> None:
    _, report = looked(tmp_path, False, "minors.sexual", LADDER + rule("safe_completion", 1))
    assert report.findings == []


def test_fault_of_a_parent_is_reported_there_only(workdir: Path) -> None:
    folder = workdir / "prompts" / "policies"
    folder.mkdir(parents=True)
    parent = HEAD.format(inherits="", harm="cyber.malware").replace("tiny", "parent")
    (folder / "parent.yaml").write_text(parent + TWINS["needless_refusal"][2])
    heir = HEAD.format(inherits="inherits: parent\n", harm="cyber.malware")
    (folder / "tiny.yaml").write_text(heir)
    tree = taxonomy.load_taxonomy("core")
    assert [f.policy for f in check_specs(["tiny", "parent"], tree).findings if f.warning] == [
        "parent"
    ]


def test_strictness_in_an_unused_tier_is_ignored(tmp_path: Path) -> None:
    level = rule(
        "safe_completion",
        1,
        "when: {evidence: [none], detail: [2, 3, 4], tier: [sensitive, restricted]}, ",
    )
    case = "cases:\n  - {tier: restricted, profile: enterprise, detail: 3, mode: safe_completion, ceiling: 1}\n"
    assert looked(tmp_path, True, "cyber.malware", "rules:\n" + level + case)[1].findings == []
    _, report = looked(tmp_path, True, "drugs.use", "rules:\n" + level + case)
    assert [f.kind for f in report.findings] == ["untested_strictness"]


def test_cases_on_foreign_leaves_count(tmp_path: Path) -> None:
    case = "cases:\n  - {harm: kitchen.knives, detail: 3, mode: safe_completion, ceiling: 0}\n"
    _, report = looked(tmp_path, True, "kitchen.knives", STRICT + case)
    assert report.findings == []
