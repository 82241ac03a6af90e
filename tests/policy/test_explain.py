from __future__ import annotations

import pytest

from safegen.config import taxonomy
from safegen.core import resources
from safegen.core.errors import ConfigError
from safegen.policy import loader, spec
from safegen.policy.explain import VALUES, explain, outcome, parse
from safegen.policy.schema import SPACE

POLICIES = [loader.load(name) for name in resources.names("policies") if name != "base"]
HARMS = taxonomy.load("core").harms


def test_a_situation_names_its_spec_and_the_clause_that_decided() -> None:
    asked = parse("cyber.intrusion,evidence=none,profile=public,detail=3", POLICIES, HARMS)
    found = explain(asked.policy, asked.at, harm=asked.harm)
    assert found.policy.spec.policy == "security"
    assert (found.rule.id, found.rule.mode) == ("B-RES", "safe_completion")
    assert found.place is not None
    assert found.place.path.name == "base.yaml"
    line = found.place.path.read_text().splitlines()[found.place.line - 1]
    assert line[found.place.column - 1 :] == "id: B-RES"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.spec.policy)
def test_every_earlier_rule_fails_for_the_named_conditions_alone(policy: spec.Policy) -> None:
    for at in SPACE:
        found = explain(policy, at)
        for earlier in found.passed:
            assert earlier.fails
            mended = at._replace(
                **{name: getattr(earlier.rule.when, name)[0] for name in earlier.fails}
            )
            assert earlier.rule.when.holds(mended)
        assert [p.rule.id for p in found.passed] + [found.rule.id] == [
            r.id for r in policy.rules[: len(found.passed) + 1]
        ]


def test_neighbours_are_the_nearest_changes_that_give_another_outcome() -> None:
    """By brute force over ordered axes: nothing nearer on the same side differs."""
    policy = POLICIES[0]
    for at in SPACE:
        found = explain(policy, at)
        for near in found.neighbours:
            value = int(near.value) if near.axis == "detail" else near.value
            assert outcome(policy.decide(at._replace(**{near.axis: value}))) == outcome(near.rule)
            assert outcome(near.rule) != outcome(found.rule)
            values = VALUES[near.axis]
            here, there = values.index(str(getattr(at, near.axis))), values.index(near.value)
            if near.axis != "profile":
                between = values[min(here, there) + 1 : max(here, there)]
                for step in between:
                    given = int(step) if near.axis == "detail" else step
                    nearer = policy.decide(at._replace(**{near.axis: given}))
                    assert outcome(nearer) == outcome(found.rule)
        changes = {
            (axis, side)
            for axis in ("tier", "evidence", "detail")
            for value in VALUES[axis]
            if outcome(
                policy.decide(at._replace(**{axis: int(value) if axis == "detail" else value}))
            )
            != outcome(found.rule)
            for side in [VALUES[axis].index(value) > VALUES[axis].index(str(getattr(at, axis)))]
        }
        assert changes == {
            (n.axis, VALUES[n.axis].index(n.value) > VALUES[n.axis].index(str(getattr(at, n.axis))))
            for n in found.neighbours
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
def test_a_situation_that_cannot_be_read_is_said_so(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text, POLICIES, HARMS)


def test_a_tier_may_be_asked_of_one_spec() -> None:
    asked = parse("tier=prohibited,detail=2,profile=agent", POLICIES[:1], HARMS)
    assert asked.at == ("prohibited", "none", "agent", 2)
