"""The written dialogues: they fit their goals, their kinds and what the policy computes turn by turn."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from safegen.config.taxonomy import Dialogue
from safegen.core.types import PRECEDENCE, TURN_STYLES, Evidence, Expectation, Profile, TurnStyle
from safegen.policy.decide import compute_expectation
from tests.taxonomies.written import core, dialogues, goals, policy_of, turns, widest_gap


class Step(NamedTuple):
    """What holds at one user turn."""

    evidence: Evidence
    """Of this turn and those before it."""
    profile: Profile
    expected: Expectation
    unverified: Expectation
    """The same, had the operator vouched for nobody."""


def steps(dialogue: Dialogue) -> list[Step]:
    harm = core().harms[dialogue.goal.split("/")[0]]
    policy = policy_of(harm.id)
    evidence: Evidence = "none"
    profile: Profile = "public"
    found: list[Step] = []
    for turn in dialogue.turns:
        evidence = PRECEDENCE[max(map(PRECEDENCE.index, (evidence, turn.evidence)))]
        profile = turn.verified or profile
        expected, unverified = (
            compute_expectation(policy, harm, evidence=evidence, profile=p, detail=turn.detail)
            for p in (profile, "public")
        )
        found.append(Step(evidence, profile, expected, unverified))
    return found


def name(dialogue: Dialogue) -> str:
    return f"{dialogue.kind} {dialogue.intent} {dialogue.goal}"


def of_kind(kind: TurnStyle, *intents: str) -> list[Dialogue]:
    return [d for d in dialogues() if d.kind == kind and (not intents or d.intent in intents)]


def test_every_dialogue_has_a_goal_of_its_own_taxonomy_that_is_no_probe() -> None:
    for dialogue in dialogues():
        assert dialogue.goal in goals(), name(dialogue)
        assert goals()[dialogue.goal].contrast is None, name(dialogue)


@pytest.mark.parametrize("kind", TURN_STYLES)
def test_every_kind_has_five_matched_sets_with_a_harmless_twin(kind: TurnStyle) -> None:
    sets: dict[str, list[str]] = {}
    for dialogue in of_kind(kind):
        sets.setdefault(dialogue.goal, []).append(dialogue.intent)
    assert len(sets) >= 5
    for goal, intents in sets.items():
        assert "benign" in intents, goal
        assert len(set(intents)) == len(intents) >= 2, goal


def test_the_dialogues_reach_twelve_domains_and_two_to_six_turns() -> None:
    assert len({d.goal.split(".")[0] for d in dialogues()}) >= 12
    assert {len(d.turns) for d in dialogues()} <= set(range(2, 7))


def test_the_detail_shrinks_only_where_a_harmless_turn_follows_or_the_operator_vouches() -> None:
    for dialogue in dialogues():
        for before, turn, step in zip(
            dialogue.turns, dialogue.turns[1:], steps(dialogue)[1:], strict=False
        ):
            if turn.detail < before.detail:
                assert step.expected.mode == "direct_answer", name(dialogue)
                assert turn.detail <= 1 or turn.verified, name(dialogue)


def test_every_turn_that_is_asked_says_what_a_good_answer_to_it_says() -> None:
    for dialogue in dialogues():
        for turn in dialogue.turns:
            assert bool(turn.answer) == (turn.reply is None), (name(dialogue), turn.text)
            assert len(turn.answer) <= 4, (name(dialogue), turn.text)


def test_what_is_declined_or_left_out_is_named_turn_by_turn() -> None:
    for dialogue in dialogues():
        for turn, step in zip(dialogue.turns, steps(dialogue), strict=True):
            mode = step.unverified.mode if step.evidence != "stated" else step.expected.mode
            assert (turn.decline is not None) == (mode == "refuse_redirect"), turn.text
            if turn.verified is None and step.profile == "public":
                assert (turn.left_out is not None) == (mode == "safe_completion"), turn.text


def test_ill_intent_shows_somewhere_in_a_malicious_dialogue_and_nowhere_in_a_benign_one() -> None:
    for dialogue in dialogues():
        strongest = steps(dialogue)[-1].evidence
        if dialogue.intent == "malicious":
            assert strongest != "none", name(dialogue)
        if dialogue.intent == "benign":
            assert strongest == "none", name(dialogue)


def test_a_benign_dialogue_is_answered_in_full_at_every_turn_and_never_closes() -> None:
    for dialogue in (d for d in dialogues() if d.intent == "benign"):
        assert {s.expected.mode for s in steps(dialogue)} == {"direct_answer"}, name(dialogue)
        assert not any(turn.closure for turn in dialogue.turns), name(dialogue)


def test_closure_stands_at_the_first_turn_that_is_not_answered_in_full() -> None:
    for dialogue in (d for d in dialogues() if d.intent != "benign" and d.kind != "benign_thread"):
        held_back = [s.expected.mode != "direct_answer" for s in steps(dialogue)]
        closing = [turn.closure for turn in dialogue.turns]
        assert True in held_back and closing.count(True) == 1, name(dialogue)
        assert closing.index(True) == held_back.index(True), name(dialogue)


def test_a_benign_thread_stays_harmless_whoever_writes_and_lasts_four_turns() -> None:
    for dialogue in of_kind("benign_thread"):
        assert {s.expected.mode for s in steps(dialogue)} == {"direct_answer"}, name(dialogue)
        assert len(dialogue.turns) >= 4, name(dialogue)


def test_escalation_and_decomposition_begin_harmless_and_add_up_to_more() -> None:
    for kind in ("escalation", "decomposition"):
        for dialogue in of_kind(kind, "dual_use", "malicious"):
            found = steps(dialogue)
            assert found[0].expected.mode == "direct_answer", name(dialogue)
            assert dialogue.turns[-1].detail - dialogue.turns[0].detail >= 1, name(dialogue)
            assert found[-1].expected.mode != "direct_answer", name(dialogue)


def test_a_late_reveal_changes_the_mode_at_the_turn_of_the_reveal() -> None:
    for dialogue in of_kind("late_reveal", "malicious"):
        found = steps(dialogue)
        reveal = [s.evidence for s in found].index("stated")
        assert reveal >= 2, name(dialogue)
        assert {s.expected.mode for s in found[:reveal]} == {"direct_answer"}, name(dialogue)
        assert {s.expected.mode for s in found[reveal:]} == {"refuse_redirect"}, name(dialogue)


def test_a_shift_of_context_starts_harmless_and_a_malicious_one_ends_declined() -> None:
    for dialogue in of_kind("context_shift"):
        assert steps(dialogue)[0].expected.mode == "direct_answer", name(dialogue)
    for dialogue in of_kind("context_shift", "malicious"):
        assert steps(dialogue)[-1].expected.mode == "refuse_redirect", name(dialogue)


def test_persistence_after_a_decline_stays_declined() -> None:
    for dialogue in of_kind("persistence", "malicious"):
        assert {s.expected.mode for s in steps(dialogue)} == {"refuse_redirect"}, name(dialogue)
    for dialogue in of_kind("persistence", "dual_use"):
        found = steps(dialogue)
        assert len({(s.expected.mode, s.expected.ceiling) for s in found}) == 1, name(dialogue)


def test_recovery_answers_a_harmless_question_after_a_mistaken_refusal() -> None:
    for dialogue in of_kind("recovery"):
        assert dialogue.turns[0].reply is not None, name(dialogue)
        assert steps(dialogue)[0].expected.mode == "direct_answer", name(dialogue)
        assert all(turn.reply is None for turn in dialogue.turns[1:]), name(dialogue)


def test_a_written_assistant_turn_stands_in_recovery_alone() -> None:
    replied = {d.kind for d in dialogues() if any(turn.reply for turn in d.turns)}
    assert replied == {"recovery"}


def test_the_operator_vouches_in_verified_context_alone_and_never_at_the_first_turn() -> None:
    for dialogue in dialogues():
        vouched = [turn.verified is not None for turn in dialogue.turns]
        assert (True in vouched) == (dialogue.kind == "verified_context"), name(dialogue)
        assert not vouched[0], name(dialogue)


def test_verified_context_lifts_the_ceiling_only_where_the_policy_says_so() -> None:
    lifted = set[bool]()
    for dialogue in of_kind("verified_context"):
        for step in steps(dialogue):
            assert step.expected.ceiling >= step.unverified.ceiling, name(dialogue)
            if step.evidence == "stated":
                assert step.expected.mode == "refuse_redirect", name(dialogue)
            if step.profile == "vetted_professional":
                lifted.add(step.expected.ceiling > step.unverified.ceiling)
    assert lifted == {True, False}


def test_no_single_word_tells_open_intent_from_harmless_turns() -> None:
    by_intent = {
        intent: [w.text for w in turns() if w.intent == intent] for intent in ("benign", "dual_use")
    }
    gap, word = widest_gap(by_intent)
    assert gap <= 0.2, word
