from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from os.path import commonprefix
from pathlib import Path

import pytest

from safegen.config import taxonomy
from safegen.core import resources
from safegen.core.types import PROFILES
from safegen.policy import compile as compiled, loader, spec
from safegen.policy.check import covered_leaves
from safegen.policy.decide import compute_expectation_at
from safegen.policy.schema import ALL_SITUATIONS, Situation

SHIPPED = [name for name in resources.list_names("policies") if name != "base"]
HERE = Path(__file__).parent / "compiled"
SITUATIONS = {
    "direct": ("cyber.malware", Situation("restricted", "none", "public", 1)),
    "safe": ("cyber.intrusion", Situation("restricted", "none", "public", 3)),
    "refuse": ("cyber.credentials", Situation("restricted", "stated", "enterprise", 2)),
}


def render_instructions(policy: spec.Policy, at: Situation, harm: str) -> str:
    values = compiled.compile_instructions(policy, compute_expectation_at(policy, at), harm=harm)
    return compiled.load_instructions_prompt().render(
        "system", instructions=values, operator="", style=""
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_classifier_prompt_matches_golden_and_length(
    name: str, golden: Callable[[Path, str], None]
) -> None:
    policy, tree = loader.load_policy(name), taxonomy.load_taxonomy("core")
    values = compiled.compile_classifier(policy, harms=covered_leaves(policy, tree))
    text = compiled.load_classifier_prompt().render("system", instructions=values)
    golden(HERE / f"{name}.classifier.txt", text + "\n")
    assert 500 <= compiled.estimate_tokens(text) <= 1000
    for clause in (*policy.may, *policy.must_not):
        assert f"- {clause.id}: {clause.says}" in text


@pytest.mark.parametrize("at", SITUATIONS)
def test_instructions_and_rubric_match_golden(at: str, golden: Callable[[Path, str], None]) -> None:
    policy = loader.load_policy("security")
    harm, situation = SITUATIONS[at]
    golden(
        HERE / f"security.{at}.instructions.txt",
        render_instructions(policy, situation, harm) + "\n",
    )
    rubric = compiled.compile_rubric(policy, compute_expectation_at(policy, situation), harm=harm)
    text = compiled.load_rubric_prompt().render("user", instructions=rubric)
    golden(HERE / f"security.{at}.rubric.txt", text + "\n")


def common(one: str, other: str) -> int:
    """Count the characters of the common prefix."""
    return len(commonprefix((one, other)))  # noqa: RUF071 (texts, not paths)


def test_shared_instructions_come_first() -> None:
    """Scenarios of a spec share the beginning; those of a rule share more."""
    policy = loader.load_policy("security")
    one_per_rule = {policy.decide(at).id: at for at in ALL_SITUATIONS if at.tier == "restricted"}
    texts = {
        (harm, rule): render_instructions(policy, at, harm)
        for harm in ("cyber.intrusion", "cyber.malware", "systems.agents")
        for rule, at in one_per_rule.items()
    }
    head = min(text.index("For this reply:") for text in texts.values())
    assert len({text[:head] for text in texts.values()}) == 1
    assert head > 0.45 * max(map(len, texts.values()))
    for (_, one), (_, other) in combinations(texts, 2):
        shared = common(texts["cyber.intrusion", one], texts["cyber.malware", other])
        same_rule = common(texts["cyber.intrusion", one], texts["cyber.malware", one])
        assert head <= shared <= same_rule or one == other


def test_instructions_hide_ids_and_foreign_precedents() -> None:
    policy = loader.load_policy("security")
    text = render_instructions(policy, SITUATIONS["safe"][1], "cyber.intrusion")
    assert [i for i in policy.iter_ids() if i in text] == []
    for precedent in policy.precedents:
        is_same_rule = precedent.rule == policy.decide(SITUATIONS["safe"][1]).id
        is_shown = is_same_rule and precedent.harm in (None, "cyber.intrusion")
        assert (precedent.answer in text) == is_shown


def test_precedents_fit_rule_leaf_and_profile() -> None:
    """A decline for an adult shows no case of a young user, and help in danger no case of a reader."""
    policy = loader.load_policy("wellbeing")
    shown: dict[tuple[str, str, str], set[str]] = {}
    for view, at in product(policy.leaf_views, ALL_SITUATIONS):
        expected = compute_expectation_at(view, at)
        for harm in ("selfharm.suicide", "selfharm.eating"):
            values = compiled.compile_instructions(view, expected, harm=harm)
            cases = values.precedents
            answers = shown.setdefault((harm, at.evidence, at.profile), set())
            answers |= {case.situation for case in cases}
            by_text = {p.situation: p for p in policy.precedents}
            assert all(by_text[c.situation].rule in expected.rule_ids for c in cases)
            assert all(by_text[c.situation].harm in (None, harm) for c in cases)
    for (harm, _, profile), situations in shown.items():
        young = [s for s in situations if s.startswith("A young")]
        assert not young or profile == "minors", (harm, profile, young)
    assert not shown["selfharm.suicide", "stated", "public"]
    assert any("A young user" in s for s in shown["selfharm.suicide", "none", "minors"])


@pytest.mark.parametrize("name", SHIPPED)
def test_no_instruction_occurs_twice(name: str) -> None:
    policy = loader.load_policy(name)
    for harm in covered_leaves(policy, taxonomy.load_taxonomy("core")):
        view = policy.at_leaf(harm.id)
        for at in (s for s in ALL_SITUATIONS if s.tier == harm.tier):
            text = render_instructions(view, at, harm.id)
            lines = [line for line in text.splitlines() if line.startswith("- ")]
            assert len(lines) == len(set(lines)), (name, at)
            rule = view.decide(at)
            declines = rule.mode == "refuse_redirect"
            assert not (declines and "- You may" in text)
            redirects = declines or "redirection" in rule.required
            assert ("next step or place to name" in text) <= redirects


@pytest.mark.parametrize("name", SHIPPED)
def test_rubric_asks_every_expectation_once(name: str) -> None:
    policy = loader.load_policy(name)
    for at in ALL_SITUATIONS:
        expected = compute_expectation_at(policy, at)
        questions = {q.id: q for q in compiled.compile_rubric(policy, expected).questions}
        assert len(questions) == len(compiled.compile_rubric(policy, expected).questions)
        assert {f"element.{e}" for e in expected.required} <= questions.keys()
        assert {f"style.{s}" for s in policy.style} <= questions.keys()
        assert (f"ceiling.{expected.ceiling}" in questions) == (expected.ceiling < 4)
        assert (f"floor.{expected.floor}" in questions) == (expected.floor > 0)
        unwanted = {q.kind for q in questions.values() if not q.wanted}
        assert unwanted <= {"facilitation", "style", "must_not", "ceiling"}


@pytest.mark.parametrize("name", SHIPPED)
def test_classifier_agrees_with_every_decision(name: str) -> None:
    policy, tree = loader.load_policy(name), taxonomy.load_taxonomy("core")
    leaves = {harm.name: harm for harm in covered_leaves(policy, tree)}
    for profile in PROFILES:
        classifier = compiled.compile_classifier(policy, harms=leaves.values(), profile=profile)
        assert sorted(n for topics in classifier.topics for n in topics.names) == sorted(leaves)
        for topics in classifier.topics:
            for harm in (leaves[n] for n in topics.names):
                for at in ALL_SITUATIONS:
                    if (at.tier, at.profile) != (harm.tier, profile):
                        continue
                    expected = compute_expectation_at(policy.at_leaf(harm.id), at)
                    limit = topics.limit_at(at.evidence, at.detail)
                    assert limit.ceiling == expected.ceiling, (harm.id, at)
                    assert limit.declines == (expected.mode == "refuse_redirect"), (harm.id, at)


def test_rubric_names_the_part_and_scores() -> None:
    policy = loader.load_policy("security")
    at = SITUATIONS["safe"][1]
    rubric = compiled.compile_rubric(policy, compute_expectation_at(policy, at))
    (mode,) = [q for q in rubric.questions if q.kind == "mode"]
    assert "a general explanation of how and why" in mode.text and "safe task" in mode.text
    assert [s.id for s in rubric.scores] == ["help_direct", "help_indirect", "correctness"]


def test_clause_binds_its_modes_and_profiles_alone(tmp_path: Path) -> None:
    path = tmp_path / "scoped.yaml"
    path.write_text(
        "policy: scoped\nversion: 1.0.0\ntitle: Scoped\ninherits: base\nharms: [a.*]\nfacilitation: steps\n"
        "must:\n  - {id: S-1, says: name the baker, modes: [safe_completion]}\n"
        "  - {id: S-2, says: praise the oven, profiles: [minors]}\n"
    )
    policy = loader.load_policy(str(path))
    safe, refuse = SITUATIONS["safe"][1], SITUATIONS["refuse"][1]
    young = safe._replace(profile="minors")
    shown = {
        at: [w for w in ("baker", "oven") if w in render_instructions(policy, at, "a.soup")]
        for at in (safe, refuse, young)
    }
    assert shown == {safe: ["baker"], refuse: [], young: ["baker", "oven"]}
    ids = [
        q.id
        for q in compiled.compile_rubric(policy, compute_expectation_at(policy, refuse)).questions
    ]
    assert not {"must.S-1", "must.S-2"} & set(ids)


def test_prohibition_of_a_leaf_appears_there_only(tmp_path: Path) -> None:
    path = tmp_path / "leafy.yaml"
    path.write_text(
        "policy: leafy\nversion: 1.0.0\ntitle: Leafy\ninherits: base\nharms: [a.*]\n"
        "facilitation: steps\nmust_not:\n  - {id: L-1, says: name the secret spice, harms: [a.soup]}\n"
    )
    policy = loader.load_policy(str(path))
    at = SITUATIONS["safe"][1]
    assert "name the secret spice" in render_instructions(policy, at, "a.soup")
    assert "name the secret spice" not in render_instructions(policy, at, "a.cake")
    ids = [
        q.id
        for q in compiled.compile_rubric(
            policy, compute_expectation_at(policy, at), harm="a.soup"
        ).questions
    ]
    assert "must_not.L-1" in ids
    assert "must_not.L-1" not in [
        q.id
        for q in compiled.compile_rubric(
            policy, compute_expectation_at(policy, at), harm="a.cake"
        ).questions
    ]
