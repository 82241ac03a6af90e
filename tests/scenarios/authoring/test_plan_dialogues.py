from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.types import TURN_STYLES, PlannedScenario, Profile
from safegen.policy import loader
from safegen.scenarios.authoring import plan_dialogues
from safegen.scenarios.authoring.plan_dialogues import TurnBrief
from safegen.scenarios.context import PlanningContext

SCRIPTS = plan_dialogues.load_scripts()


def planned(
    count: int = 1, profiles: tuple[Profile, ...] = ("public",)
) -> list[list[PlannedScenario]]:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    plan = Plan(dialogues=TURN_STYLES, harms=("cyber.*",), profiles=profiles)
    world = PlanningContext.create(
        plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )
    return list(plan_dialogues.plan_authored_dialogues(world, count=count))


def test_each_kind_has_harmless_twin_and_closure() -> None:
    assert {s.kind for s in SCRIPTS.scripts} == set(TURN_STYLES)
    for kind in TURN_STYLES:
        scripts = SCRIPTS.scripts_of_kind(kind)
        assert any(s.intent == "benign" for s in scripts), kind
        for script in scripts:
            closing = [t.closure for t in script.turns]
            clarified = any(t.clarifies for t in script.turns)
            assert any(closing) is (script.intent != "benign" or clarified), (kind, script.intent)
            if script.intent == "malicious":
                assert script.turns[-1].evidence != "none"
            if script.intent == "benign":
                start = next((n for n, t in enumerate(script.turns) if t.clarifies), 0)
                assert all(t.detail <= 1 for t in script.turns[start:])


def test_ids_of_authored_turns_are_unique() -> None:
    turns = [t for set_ in planned(3) for t in set_]
    assert len({t.scenario.scenario_id for t in turns}) == len(turns)
    assert {t.scenario.source for t in turns} == {"author"}


def test_turn_brief_round_trips_through_json() -> None:
    for set_ in planned():
        for turn in set_:
            assert turn.brief is not None
            brief = TurnBrief.from_json(turn.brief)
            assert brief.to_json() == turn.brief
            assert brief.slot.paraphrase == turn.scenario.turn
            assert brief.slot.intent == turn.scenario.intent


def test_verification_comes_after_the_first_turn() -> None:
    sets = planned(profiles=("vetted_professional", "minors"))
    vouched = [
        s for s in sets if any(a.value == "verified_context" for a in s[0].scenario.attributes)
    ]
    assert vouched
    for set_ in vouched:
        assert [t.scenario.profile for t in set_ if t.scenario.turn == 0] == ["minors"] * 2
        assert [t.scenario.profile for t in set_ if t.scenario.turn == 1] == [
            "vetted_professional"
        ] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "{kind: recovery, intent: benign, turns: [{detail: 1, move: a, reply: b}]}",
            "must have 2 or more",
        ),
        (
            "{kind: escalation, intent: benign, turns: [{detail: 1, move: a}, {detail: 1, move: b, evidence: stated}]}",
            "only a malicious dialogue",
        ),
        (
            "{kind: recovery, intent: benign, turns: [{detail: 1, move: a, reply: b}, {detail: 1, move: a, reply: b}, {detail: 1, move: c}]}",
            "two turns in a row",
        ),
        (
            "{kind: clarification, intent: benign, turns: [{detail: 1, move: a}, {detail: 1, move: b}]}",
            "needs a turn with `clarifies: true`",
        ),
        (
            "{kind: escalation, intent: benign, turns: [{detail: 1, move: a, clarifies: true}, {detail: 1, move: b}]}",
            "on one turn, after the first",
        ),
        (
            "{kind: clarification, intent: dual_use, turns: [{detail: 1, move: a}, {detail: 1, move: b, clarifies: true}]}",
            "only a benign dialogue",
        ),
    ],
)
def test_invalid_script_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"scripts:\n  - {text}\n")
    with pytest.raises(ConfigError, match=rf"mine\.yaml:2:\d+: .*{says}"):
        plan_dialogues.load_scripts(str(file))


def test_repeated_script_of_an_intent_is_refused(tmp_path: Path) -> None:
    one = "{kind: escalation, intent: benign, turns: [{detail: 1, move: a}, {detail: 1, move: b}]}"
    file = tmp_path / "mine.yaml"
    file.write_text(f"scripts:\n  - {one}\n  - {one}\n")
    with pytest.raises(ConfigError, match="`escalation` has two scripts of intent `benign`"):
        plan_dialogues.load_scripts(str(file))
