"""Each planted fault is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import taxonomy
from safegen.core.errors import ConfigError
from safegen.policy import loader, spec
from safegen.policy.check import CheckReport, check_specs
from safegen.policy.schema import FIXED_ELEMENTS
from tests.policy.protection import ELEMENTS, SELF_RULE, protected

HEAD = """\
policy: tiny
version: 1.0.0
title: Tiny
inherits: base
harms: [cyber.*]
facilitation: steps
"""
BLOCKING = {
    "uncovered": (
        "inherits: base\n",
        "",
        "rules:\n  - {id: Z, says: all, when: {detail: [0]}, mode: direct_answer, ceiling: 1}\n",
        "rules:",
    ),
    "unreachable": (
        "inherits: base\n",
        "",
        protected(
            "rules:\n  - {id: Z, says: all, mode: safe_completion, ceiling: 1}\n"
            "  - {id: Y, says: no, when: {detail: [3]}, mode: safe_completion, ceiling: 0}\n"
        ),
        "id: Y",
    ),
    "unreachable precedent": (
        "",
        "",
        "rules:\n  - {id: Z, says: all, when: {evidence: [none, contextual, stated]},"
        " mode: refuse_redirect, ceiling: 0}\n"
        "precedents:\n  - {id: P, situation: a, answer: b, rule: B-RES}\n",
        "rule: B-RES",
    ),
    "non_monotone": (
        "inherits: base\n",
        "",
        protected(
            "rules:\n"
            "  - {id: Z, says: a, when: {evidence: [stated]}, mode: direct_answer, ceiling: 4}\n"
            "  - {id: Y, says: all, mode: safe_completion, ceiling: 1}\n"
        ),
        "id: Z",
    ),
    "unknown_element": (
        "",
        "",
        "rules:\n  - {id: Z, says: all, when: {evidence: [none, contextual, stated]},"
        " mode: refuse_redirect, ceiling: 0, required: [limmit]}\n",
        "id: Z",
    ),
    "unknown_rule": (
        "",
        "",
        "precedents:\n  - {id: P, situation: a, answer: b, rule: B-REZ}\n",
        "rule: B-REZ",
    ),
    "contradictory": (
        "",
        "",
        "may:\n  - {id: Y, says: Name the spice}\nmust_not:\n  - {id: N, says: name the spice.}\n",
        "id: Y",
    ),
    "contradictory element": (
        "",
        "",
        "must_not:\n  - {id: N, says: 'name a crisis line, a helpline or the local emergency number to turn to'}\n",
        "id: N",
    ),
    "contradictory style": (
        "",
        "",
        "clarify: allowed\nstyle: [preaching, intent_interrogation]\n",
        "style:",
    ),
    "duplicate": ("", "", "may:\n  - {id: B-M1, says: something}\n", "id: B-M1"),
    "authority": (
        "",
        "",
        "rules:\n  - {id: Z, says: all, when: {tier: [prohibited], evidence: [none, protective], detail: [0, 1]},"
        " mode: safe_completion, ceiling: 0}\n",
        "id: Z",
    ),
    "authority by profile": (
        "inherits: base\n",
        "",
        protected(
            "rules:\n  - {id: Z, says: pro, when: {profile: [vetted_professional]}, mode: safe_completion,"
            " ceiling: 2}\n  - {id: Y, says: all, mode: safe_completion, ceiling: 1, authority: system}\n"
        ),
        "id: Z",
    ),
    "case": (
        "",
        "",
        "cases:\n  - {tier: restricted, detail: 3, mode: direct_answer, ceiling: 4}\n",
        "{tier: restricted",
    ),
    "overridden by a refusal": (
        "",
        "",
        "rules:\n  - {id: Z, says: all, when: {detail: [4]}, mode: refuse_redirect, ceiling: 0, authority: root}\n",
        "id: Z",
    ),
    "overridden by a rule of its own kind": (
        "",
        "",
        "rules:\n  - {id: Z, says: a, when: {evidence: [self]}, mode: safe_completion, ceiling: 0,"
        " required: [support, redirection], authority: root}\n",
        "id: Z",
    ),
    "overridden by a lower authority": (
        "",
        "",
        "rules:\n  - {id: Z, says: a, when: {evidence: [self], profile: [minors]}, mode: safe_completion,"
        " ceiling: 0, required: [support, redirection, crisis, trusted_adult]}\n",
        "id: Z",
    ),
    "overridden by a reworded element": (
        "",
        "",
        "elements:\n  crisis: names a page about the subject\n",
        "crisis:",
    ),
    "overridden by an emptied adult": (
        "",
        "",
        "elements: {trusted_adult: mentions no adult}\n",
        "trusted_adult:",
    ),
    "overridden by an emptied element": ("", "", "elements: {support: answers}\n", "support:"),
    "unprotected without base": (
        "inherits: base\n",
        "",
        "rules:\n  - {id: Z, says: all, mode: refuse_redirect, ceiling: 0}\n",
        "id: Z",
    ),
    "unprotected by a weak rule of its own": (
        "inherits: base\n",
        "",
        ELEMENTS
        + "rules:\n  - {id: Z, says: a, when: {evidence: [self]}, mode: refuse_redirect, ceiling: 0,"
        " authority: root, required: [redirection, support, crisis, trusted_adult]}\n"
        "  - {id: Y, says: all, mode: refuse_redirect, ceiling: 0}\n",
        "id: Z",
    ),
    "unprotected in one profile": (
        "inherits: base\n",
        "",
        ELEMENTS
        + "rules:\n"
        + SELF_RULE.replace(", trusted_adult", "")
        + "  - {id: Y, says: all, mode: refuse_redirect, ceiling: 0}\n",
        "minors:",
    ),
    "unprotected outside one tier": (
        "inherits: base\n",
        "",
        ELEMENTS
        + "rules:\n"
        + SELF_RULE.replace("evidence: [self]", "evidence: [self], tier: [allowed, sensitive]")
        + "  - {id: Y, says: all, mode: refuse_redirect, ceiling: 0}\n",
        "id: Y",
    ),
    "missing": ("harms: [cyber.*]\n", "", "", "policy:"),
}
ADVICE = {
    "unused_element": ("", "", "elements:\n  cake: brings cake\n", "cake:"),
    "duplicate": ("", "", "may:\n  - {id: Y, says: stir}\n  - {id: X, says: Stir.}\n", "{id: X"),
    "duplicate precedent": (
        "",
        "",
        "precedents:\n  - {id: P, situation: a, answer: b, rule: B-RES}\n"
        "  - {id: Q, situation: A, answer: c, rule: B-RED}\n",
        "{id: Q",
    ),
    "over_long": (
        "facilitation: steps\n",
        "facilitation: " + "stir the pot " * 250 + "\n",
        "",
        "policy:",
    ),
    "unknown_harm": (
        "harms: [cyber.*]",
        "harms: [cyber.*, cyber.intrusoin]",
        "",
        "cyber.intrusoin",
    ),
    "unknown_harm of a clause": (
        "",
        "",
        "may:\n  - {id: Y, says: stir, harms: [drugs.use]}\n",
        "drugs.use",
    ),
    "case": (
        "",
        "",
        "cases:\n  - {harm: cyber.malware, detail: 3, mode: direct_answer, ceiling: 4}\n",
        "{harm: cyber.malware",
    ),
}


def planted(folder: Path, fault: tuple[str, str, str, str]) -> Path:
    old, new, more, _ = fault
    path = folder / "tiny.yaml"
    path.write_text((HEAD.replace(old, new) if old else HEAD) + more)
    return path


def lint(path: Path) -> CheckReport:
    return check_specs([str(path)], taxonomy.load_taxonomy("core"))


def shown_at(report: CheckReport) -> str:
    place = report.findings[0].place
    assert place is not None
    return place.path.read_text().splitlines()[place.line - 1][place.column - 1 :]


@pytest.mark.parametrize("name", [*BLOCKING])
def test_blocking_fault_is_named_with_place(tmp_path: Path, name: str) -> None:
    path = planted(tmp_path, BLOCKING[name])
    report = lint(path)
    assert {f.kind for f in report.findings if not f.warning} == {name.split()[0]}
    assert shown_at(report).startswith(BLOCKING[name][3])
    with pytest.raises(ConfigError, match=r"tiny\.yaml:\d+:\d+: "):
        loader.load_policy(str(path))


@pytest.mark.parametrize("name", [*ADVICE])
def test_advisory_fault_is_named_with_place(tmp_path: Path, name: str) -> None:
    path = planted(tmp_path, ADVICE[name])
    report = lint(path)
    assert {f.kind for f in report.findings} == {name.split()[0]}
    assert shown_at(report).startswith(ADVICE[name][3])
    loader.load_policy(str(path))


def test_invalid_spec_is_a_finding_with_place(tmp_path: Path) -> None:
    report = lint(
        planted(tmp_path, ("", "", "rules:\n  - {id: Z, says: x, mode: maybe, ceiling: 0}\n", ""))
    )
    assert [f.kind for f in report.findings] == ["invalid"]
    assert shown_at(report).startswith("mode: maybe")


def test_one_cause_is_reported_once(tmp_path: Path) -> None:
    """A `when` without a tier matches all tiers, but gives one finding per reason, none in base.yaml."""
    text = (
        "policy: mine\nversion: 1.0.0\ntitle: t\ninherits: base\nharms: [weapons.*]\nfacilitation: x\nrules:\n"
        "  - {id: M-1, says: s, when: {evidence: [none, protective], detail: [2, 3, 4]}, mode: safe_completion, ceiling: 1}\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    report = check_specs([str(path)], taxonomy.load_taxonomy("core"))
    faults = [f for f in report.findings if not f.warning]
    assert sorted(f.kind for f in faults) == ["authority", "non_monotone"]
    assert all(f.place and f.place.path == path and f.place.line == 8 for f in faults)
    assert any(f.warning for f in report.findings), (
        "refusals are reported together with blocking faults"
    )


def test_broken_spec_causes_no_uncovered_leaves(workdir: Path) -> None:
    folder = workdir / "prompts" / "policies"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("policy: [", encoding="utf-8")
    assert [f.kind for f in check_specs([], taxonomy.load_taxonomy("core")).findings] == ["invalid"]


def test_leaves_covered_twice_are_named(tmp_path: Path) -> None:
    path = planted(tmp_path, ("harms: [cyber.*]", "harms: [property.theft, cyber.*]", "", ""))
    report = check_specs(["security", str(path)], taxonomy.load_taxonomy("core"))
    assert {f.kind for f in report.findings} == {"covered_twice"}
    assert "are covered by `security` and `tiny`" in report.findings[0].message
    assert shown_at(report).startswith("cyber.*")


def test_leaf_pattern_outranks_domain_pattern(tmp_path: Path) -> None:
    path = planted(tmp_path, ("harms: [cyber.*]", "harms: [property.theft, cyber.malware]", "", ""))
    tree = taxonomy.load_taxonomy("core")
    assert check_specs(["security", str(path)], tree).findings == []
    policies = [loader.load_policy("security"), loader.load_policy(str(path))]
    taken = {
        h: spec.policy_for(policies, tree.harms[h]).spec.policy
        for h in ("cyber.malware", "cyber.intrusion")
    }
    assert taken == {"cyber.malware": "tiny", "cyber.intrusion": "security"}


def test_misspelled_leaf_gets_a_suggestion(tmp_path: Path) -> None:
    path = planted(tmp_path, ("harms: [cyber.*]", "harms: [cyber.malwear]", "", ""))
    report = check_specs([str(path)], taxonomy.load_taxonomy("core"))
    assert [f.kind for f in report.findings][:1] == ["unknown_harm"]
    assert "did you mean `cyber.malware`" in report.findings[0].message


def test_uncovered_leaf_is_named_with_place(workdir: Path) -> None:
    core = taxonomy.load_taxonomy("core")
    text = core.path.read_text().replace(
        "      - id: cyber.malware", "      - id: cyber.malware2", 1
    )
    head, rest = text.split("sets:\n", 1)
    text = head + rest[rest.index("domains:\n") :]
    (workdir / "taxonomy.yaml").write_text(
        text.replace("  - id: advice\n", "  - id: advices\n").replace("id: advice.", "id: advices.")
    )
    report = check_specs([], taxonomy.load_taxonomy(str(workdir / "taxonomy.yaml")))
    uncovered = [f for f in report.findings if f.kind == "uncovered_leaf"]
    assert [f.message.split("`")[1] for f in uncovered] == [
        "advices.medical",
        "advices.legal",
        "advices.financial",
    ]
    place = uncovered[0].place
    assert place is not None
    line = place.path.read_text().splitlines()[place.line - 1]
    assert line[place.column - 1 :] == "id: advices.medical"


def test_shipped_specs_have_no_findings() -> None:
    report = check_specs([], taxonomy.load_taxonomy("core"))
    assert [str(f) for f in report.findings] == []
    assert len(report.sizes) == 7


def test_spec_of_another_taxonomy_has_no_findings(tmp_path: Path) -> None:
    report = lint(planted(tmp_path, ("harms: [cyber.*]", "harms: [kitchen.*]", "", "")))
    assert report.findings == []
    assert report.sizes[0].foreign


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("profiles: {minors: {ceiling: 0, floor: 1}}", "`Z-MINORS`: floor 1 is above ceiling 0"),
        ("profiles: {minors: {mode: refuse_redirect}}", "a refusal cannot allow detail 2"),
        (
            "when: {profile: [agent]}, profiles: {minors: {ceiling: 0}}",
            "leaves out profile `minors`",
        ),
        ("profiles: {minors: {id: Z}}", "`Z` is defined twice"),
    ],
    ids=["floor", "refusal", "never", "duplicate"],
)
def test_invalid_override_is_refused(tmp_path: Path, rule: str, says: str) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        HEAD + f"rules:\n  - {{id: Z, says: x, mode: safe_completion, ceiling: 2, {rule}}}\n"
    )
    with pytest.raises(ConfigError, match=says):
        loader.load_policy(str(path))


def test_reworded_element_of_a_parent_is_named_there(workdir: Path) -> None:
    folder = workdir / "prompts" / "policies"
    folder.mkdir(parents=True)
    parent = HEAD.replace("tiny", "parent") + "elements:\n  crisis: names a page\n"
    (folder / "parent.yaml").write_text(parent)
    (folder / "tiny.yaml").write_text(HEAD.replace("inherits: base", "inherits: parent"))
    with pytest.raises(ConfigError, match=r"parent\.yaml:\d+:\d+: element `crisis`"):
        loader.load_policy("tiny")


def test_shipped_texts_of_protective_elements_are_the_fixed_ones() -> None:
    elements = loader.load_policy("base").elements
    assert FIXED_ELEMENTS.items() <= elements.items()
