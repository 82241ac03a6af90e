from __future__ import annotations

from collections.abc import Sequence

import pytest

from safegen.config import taxonomy
from safegen.core import resources
from safegen.core.errors import ConfigError
from safegen.policy import loader, spec
from safegen.policy.explain import AXIS_VALUES, explain_situation, parse_situation, rule_outcome
from safegen.policy.schema import ALL_SITUATIONS, Situation

POLICIES = [loader.load_policy(name) for name in resources.list_names("policies") if name != "base"]
HARMS = taxonomy.load_taxonomy("core").harms
SITUATIONS = [
    # 11 is prime to the size of each axis, so the sample has each value of each axis.
    pytest.param(ALL_SITUATIONS[::11], id="sample"),
    pytest.param(ALL_SITUATIONS, id="all", marks=pytest.mark.slow),
]


def test_explanation_names_spec_and_deciding_clause() -> None:
    parsed = parse_situation(
        "cyber.intrusion,evidence=none,profile=public,detail=3", POLICIES, HARMS
    )
    explanation = explain_situation(parsed.policy, parsed.situation, harm=parsed.harm)
    assert explanation.policy.spec.policy == "security"
    assert (explanation.rule.id, explanation.rule.mode) == ("B-RES", "safe_completion")
    assert explanation.place is not None
    assert explanation.place.path.name == "base.yaml"
    line = explanation.place.path.read_text().splitlines()[explanation.place.line - 1]
    assert line[explanation.place.column - 1 :] == "id: B-RES"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.spec.policy)
@pytest.mark.parametrize("situations", SITUATIONS)
def test_skipped_rules_name_their_failed_conditions(
    situations: Sequence[Situation], policy: spec.Policy
) -> None:
    for at in situations:
        explanation = explain_situation(policy, at)
        for earlier in explanation.skipped:
            assert earlier.failed_conditions
            repaired = at._replace(
                **{
                    name: getattr(earlier.rule.when, name)[0]
                    for name in earlier.failed_conditions
                    if name != "harm"
                }
            )
            is_other_leaf = not earlier.rule.applies_to(policy.example_leaf)
            assert ("harm" in earlier.failed_conditions) == is_other_leaf
            assert earlier.rule.when.holds(repaired)
        assert [p.rule.id for p in explanation.skipped] + [explanation.rule.id] == [
            r.id for r in policy.rules[: len(explanation.skipped) + 1]
        ]


@pytest.mark.parametrize("situations", SITUATIONS)
def test_neighbours_are_the_nearest_outcome_changes(situations: Sequence[Situation]) -> None:
    """Brute force over ordered axes finds no nearer outcome change on the same side."""
    policy = POLICIES[0]
    for at in situations:
        explanation = explain_situation(policy, at)
        for near in explanation.neighbours:
            value = int(near.value) if near.axis == "detail" else near.value
            assert rule_outcome(policy.decide(at._replace(**{near.axis: value}))) == rule_outcome(
                near.rule
            )
            assert rule_outcome(near.rule) != rule_outcome(explanation.rule)
            values = AXIS_VALUES[near.axis]
            start, end = values.index(str(getattr(at, near.axis))), values.index(near.value)
            if near.axis != "profile":
                between = values[min(start, end) + 1 : max(start, end)]
                for step in between:
                    candidate = int(step) if near.axis == "detail" else step
                    nearer = policy.decide(at._replace(**{near.axis: candidate}))
                    assert rule_outcome(nearer) == rule_outcome(explanation.rule)
        changes = {
            (axis, side)
            for axis in ("tier", "evidence", "detail")
            for value in AXIS_VALUES[axis]
            if rule_outcome(
                policy.decide(at._replace(**{axis: int(value) if axis == "detail" else value}))
            )
            != rule_outcome(explanation.rule)
            for side in [
                AXIS_VALUES[axis].index(value) > AXIS_VALUES[axis].index(str(getattr(at, axis)))
            ]
        }
        assert changes == {
            (
                n.axis,
                AXIS_VALUES[n.axis].index(n.value)
                > AXIS_VALUES[n.axis].index(str(getattr(at, n.axis))),
            )
            for n in explanation.neighbours
            if n.axis != "profile"
        }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cyber.intrusoin,detail=1", "did you mean `cyber.intrusion`"),
        ("cyber.intrusion", "lacks `detail=…`.*such as `cyber.intrusion,detail=3`"),
        ("tier=sensitive", "lacks `detail=…`.*such as `tier=sensitive,detail=3`"),
        ("detail=2", "lacks a leaf or `tier=…`, such as `cyber.intrusion,detail=2`"),
        ("profile=public", "lacks a leaf or `tier=…` and `detail=…`"),
        (
            "harm=cyber.malware,harm=cyber.intrusion,detail=1",
            "names a leaf twice .`cyber.malware` and `cyber.intrusion`.; keep one",
        ),
        ("cyber.malware,cyber.malware,detail=1", "names a leaf twice"),
        ("cyber.malware,detail=1,detail=3", "names `detail` twice .`1` and `3`.; keep one"),
        ("cyber.intrusion,detail=9", "`detail` is `9`"),
        ("cyber.intrusion,profil=public,detail=1", "no key `profil`; did you mean `profile`"),
        ("tier=restricted,detail=1", "name it with `--policy`"),
        ("cyber.intrusion,tier=restricted,detail=1", "names a leaf and a tier; keep one"),
    ],
)
def test_invalid_situation_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_situation(text, POLICIES, HARMS)


def test_tier_is_accepted_for_one_spec() -> None:
    parsed = parse_situation("tier=prohibited,detail=2,profile=agent", POLICIES[:1], HARMS)
    assert parsed.situation == ("prohibited", "none", "agent", 2)
