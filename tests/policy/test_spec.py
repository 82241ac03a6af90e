from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import taxonomy
from safegen.core.errors import ConfigError
from safegen.policy import compile as compiled, loader, spec
from safegen.policy.check import check_specs
from safegen.policy.decide import compute_expectation_at
from safegen.policy.schema import STYLE_WORDS
from tests.policy.protection import protected

HEAD = """\
policy: tiny
version: 1.0.0
title: Tiny
harms: [a.*]
facilitation: steps
"""


def load(folder: Path, rules: str) -> spec.Policy:
    path = folder / "tiny.yaml"
    path.write_text(HEAD + rules)
    return loader.load_policy(str(path))


def test_spec_with_a_gap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rule decides"):
        load(
            tmp_path,
            "rules:\n  - {id: A, says: a, when: {detail: [0]}, mode: direct_answer, ceiling: 1}\n",
        )


def test_unreachable_rule_is_named(tmp_path: Path) -> None:
    rules = """\
rules:
  - {id: A, says: a, mode: refuse_redirect, ceiling: 0}
  - {id: B, says: b, when: {detail: [3]}, mode: refuse_redirect, ceiling: 0}
"""
    with pytest.raises(ConfigError, match="`B` never decides"):
        load(tmp_path, rules)


@pytest.mark.parametrize(
    "when",
    ["evidence: [stated]", "tier: [prohibited]", "profile: [minors]"],
    ids=["evidence", "tier", "profile"],
)
def test_spec_that_rewards_stricter_situations_is_refused(tmp_path: Path, when: str) -> None:
    rules = f"""\
rules:
  - {{id: A, says: a, when: {{{when}}}, mode: direct_answer, ceiling: 3}}
  - {{id: B, says: b, mode: safe_completion, ceiling: 1}}
"""
    with pytest.raises(ConfigError, match="more permissive"):
        load(tmp_path, rules)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            "{id: A, says: a, mode: safe_completion, ceiling: 1, floor: 2}",
            "floor 2 is above ceiling 1",
        ),
        ("{id: A, says: a, mode: refuse_redirect, ceiling: 2}", "cannot allow detail 2"),
        ("{id: a b, says: a, mode: safe_completion, ceiling: 1}", "must be capitals"),
        ("{id: A, says: a, mode: safe_completion, ceiling: 9}", "less than or equal to 4"),
        (
            "{id: A, says: a, mode: safe_completion, ceiling: 1, required: [cake]}",
            "not in `elements`",
        ),
    ],
    ids=["floor", "refusal", "id", "detail", "element"],
)
def test_contradicting_rules_are_named(tmp_path: Path, rule: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, f"rules:\n  - {rule}\n")


def test_circular_inheritance_is_named(workdir: Path) -> None:
    folder = workdir / "prompts" / "policies"
    folder.mkdir(parents=True)
    for name, parent in (("one", "two"), ("two", "one")):
        (folder / f"{name}.yaml").write_text(HEAD.replace("tiny", name) + f"inherits: {parent}\n")
    with pytest.raises(ConfigError, match="is circular"):
        loader.load_policy("one")


def test_changed_clause_changes_the_policy_id(tmp_path: Path) -> None:
    rule = "rules:\n  - {{id: A, says: {}, mode: direct_answer, ceiling: 1}}\n"
    ids = {load(tmp_path, protected(rule.format(words))).policy_id for words in ("a", "b")}
    assert len(ids) == 2


def test_spec_in_the_docs_passes_the_check(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/howto/write-a-policy.md"
    example = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "kitchen.yaml"
    path.write_text(example, encoding="utf-8")
    assert (
        loader.load_policy(str(path))
        .decide(spec.Situation("restricted", "none", "minors", 3))
        .ceiling
        == 0
    )
    assert check_specs([str(path)], taxonomy.load_taxonomy("core")).findings == []


def test_spec_by_path_inherits_its_neighbours(tmp_path: Path, workdir: Path) -> None:
    base = loader.load_policy("base").path.read_text(encoding="utf-8")
    own = "policy: own\nversion: 1.0.0\ntitle: Own\ninherits: base\nharms: [property.theft]\nfacilitation: a\n"
    ids: list[str] = []
    for name, title in (("one", "Write plainly."), ("two", "Write plainly and kindly.")):
        (tmp_path / name).mkdir()
        edited = base.replace("Write plainly and kindly.", title)
        (tmp_path / name / "base.yaml").write_text(edited, encoding="utf-8")
        (tmp_path / name / "own.yaml").write_text(own, encoding="utf-8")
        policy = loader.load_policy(str(tmp_path / name / "own.yaml"))
        assert policy.chain[1].path == tmp_path / name / "base.yaml"
        ids.append(policy.policy_id)
    assert ids[0] != ids[1]
    alone = tmp_path / "alone.yaml"
    alone.write_text(own, encoding="utf-8")
    assert loader.load_policy(str(alone)).chain[1].path == loader.load_policy("base").path


@pytest.mark.parametrize(
    ("head", "may_ask"),
    [
        ("inherits: base\nclarify: allowed\n", True),
        ("inherits: base\n", False),
        ("inherits: base\nclarify: allowed\nstyle: [preaching]\n", True),
    ],
)
def test_permitted_question_is_never_forbidden_by_style(
    tmp_path: Path, head: str, may_ask: bool
) -> None:
    path = tmp_path / "asking.yaml"
    path.write_text(
        f"policy: asking\nversion: 1.0.0\ntitle: t\nharms: [soup.*]\nfacilitation: f\n{head}"
    )
    policy = loader.load_policy(str(path))
    assert ("intent_interrogation" in policy.style) != may_ask
    assert "preaching" in policy.style
    at = spec.Situation("restricted", "none", "public", 3)
    expected = compute_expectation_at(policy, at)
    template = compiled.load_instructions_prompt()
    text = compiled.render_instructions(template, policy, expected, harm="soup.hot")
    assert not may_ask or STYLE_WORDS["intent_interrogation"] not in text
    assert (compiled.CLARIFY_WORDS["allowed"] in text) == may_ask
    assert (compiled.CLARIFY_WORDS["forbidden"] in text) != may_ask
    ids = {q.id for q in compiled.compile_rubric(policy, expected).questions}
    assert ("style.intent_interrogation" in ids) != may_ask
