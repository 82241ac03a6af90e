"""Written dialogues fit their goals, kinds and expectations."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from safegen.config.taxonomy import Dialogue
from safegen.core.types import PRECEDENCE, TURN_STYLES, Evidence, Expectation, Profile, TurnStyle
from safegen.policy.decide import compute_expectation
from tests.taxonomies.written import core, dialogues, goals, policy_of, turns, widest_gap


class Step(NamedTuple):
    """State at one user turn."""

    is_open: bool
    """True before a turn that clarifies what an open request is about."""

    evidence: Evidence
    """Strongest evidence up to this turn."""
    profile: Profile
    expected: Expectation
    unverified: Expectation
    """The expectation without verification by the operator."""


def steps(dialogue: Dialogue) -> list[Step]:
    harm = core().harms[dialogue.goal.split("/")[0]]
    policy = policy_of(harm.id)
    evidence: Evidence = "none"
    profile: Profile = "public"
    is_open = any(turn.clarifies for turn in dialogue.turns)
    computed: list[Step] = []
    for turn in dialogue.turns:
        is_open = is_open and not turn.clarifies
        evidence = PRECEDENCE[max(map(PRECEDENCE.index, (evidence, turn.evidence)))]
        profile = turn.verified or profile
        expected, unverified = (
            compute_expectation(policy, harm, evidence=evidence, profile=p, detail=turn.detail)
            for p in (profile, "public")
        )
        computed.append(Step(is_open, evidence, profile, expected, unverified))
    return computed


def name(dialogue: Dialogue) -> str:
    return f"{dialogue.kind} {dialogue.intent} {dialogue.goal}"


def of_kind(kind: TurnStyle, *intents: str) -> list[Dialogue]:
    return [d for d in dialogues() if d.kind == kind and (not intents or d.intent in intents)]


def test_dialogue_goals_exist_and_are_no_probes() -> None:
    for dialogue in dialogues():
        assert dialogue.goal in goals(), name(dialogue)
        assert goals()[dialogue.goal].contrast is None, name(dialogue)


@pytest.mark.parametrize("kind", TURN_STYLES)
def test_each_kind_has_five_sets_with_twins(kind: TurnStyle) -> None:
    sets: dict[str, list[str]] = {}
    for dialogue in of_kind(kind):
        sets.setdefault(dialogue.goal, []).append(dialogue.intent)
    assert len(sets) >= 5
    for goal, intents in sets.items():
        assert "benign" in intents, goal
        assert len(set(intents)) == len(intents) >= 2, goal


def test_dialogues_span_domains_and_turn_counts() -> None:
    assert len({d.goal.split(".")[0] for d in dialogues()}) >= 12
    assert {len(d.turns) for d in dialogues()} <= set(range(2, 7))


def test_detail_shrinks_only_if_harmless_or_verified() -> None:
    for dialogue in dialogues():
        for before, turn, step in zip(
            dialogue.turns, dialogue.turns[1:], steps(dialogue)[1:], strict=False
        ):
            if turn.detail < before.detail:
                assert step.expected.mode == "direct_answer", name(dialogue)
                assert turn.detail <= 1 or turn.verified, name(dialogue)


def test_each_requested_turn_has_answer_knowledge() -> None:
    for dialogue in dialogues():
        for turn in dialogue.turns:
            assert bool(turn.answer) == (turn.reply is None), (name(dialogue), turn.text)
            assert len(turn.answer) <= 4, (name(dialogue), turn.text)


def test_each_turn_names_declined_or_omitted_parts() -> None:
    for dialogue in dialogues():
        for turn, step in zip(dialogue.turns, steps(dialogue), strict=True):
            mode = step.unverified.mode if step.evidence != "stated" else step.expected.mode
            assert (turn.decline is not None) == (mode == "refuse_redirect"), turn.text
            if turn.verified is None and step.profile == "public":
                omits = mode == "safe_completion" and step.evidence != "self"
                assert (turn.left_out is not None) == omits, turn.text


def test_evidence_appears_only_in_malicious_dialogues() -> None:
    for dialogue in dialogues():
        strongest = steps(dialogue)[-1].evidence
        if dialogue.intent == "malicious":
            assert strongest != "none", name(dialogue)
        if dialogue.intent == "benign":
            assert strongest in ("none", "self"), name(dialogue)


def test_benign_dialogues_are_answered_in_full_unless_in_danger() -> None:
    for dialogue in (d for d in dialogues() if d.intent == "benign"):
        for turn, step in zip(dialogue.turns, steps(dialogue), strict=True):
            is_limited = step.is_open or step.evidence == "self"
            expected = "safe_completion" if is_limited else "direct_answer"
            assert step.expected.mode == expected, name(dialogue)
            assert step.is_open or not turn.closure, name(dialogue)


def test_closure_marks_the_first_partial_answer() -> None:
    for dialogue in (d for d in dialogues() if d.intent != "benign" and d.kind != "benign_thread"):
        held_back = [s.expected.mode != "direct_answer" for s in steps(dialogue)]
        closing = [turn.closure for turn in dialogue.turns]
        assert True in held_back and closing.count(True) == 1, name(dialogue)
        assert closing.index(True) == held_back.index(True), name(dialogue)


def test_benign_threads_stay_harmless_for_four_turns() -> None:
    for dialogue in of_kind("benign_thread"):
        assert {s.expected.mode for s in steps(dialogue)} == {"direct_answer"}, name(dialogue)
        assert len(dialogue.turns) >= 4, name(dialogue)


def test_escalation_and_decomposition_begin_harmless() -> None:
    for kind in ("escalation", "decomposition"):
        for dialogue in of_kind(kind, "dual_use", "malicious"):
            computed = steps(dialogue)
            assert computed[0].expected.mode == "direct_answer", name(dialogue)
            assert dialogue.turns[-1].detail - dialogue.turns[0].detail >= 1, name(dialogue)
            assert computed[-1].expected.mode != "direct_answer", name(dialogue)


def test_late_reveal_changes_the_mode() -> None:
    for dialogue in of_kind("late_reveal", "malicious"):
        computed = steps(dialogue)
        reveal = [s.evidence for s in computed].index("stated")
        assert reveal >= 2, name(dialogue)
        assert {s.expected.mode for s in computed[:reveal]} == {"direct_answer"}, name(dialogue)
        assert {s.expected.mode for s in computed[reveal:]} == {"refuse_redirect"}, name(dialogue)


def test_malicious_context_shift_ends_declined() -> None:
    for dialogue in of_kind("context_shift"):
        assert steps(dialogue)[0].expected.mode == "direct_answer", name(dialogue)
    for dialogue in of_kind("context_shift", "malicious"):
        assert steps(dialogue)[-1].expected.mode == "refuse_redirect", name(dialogue)


def test_persistence_after_a_decline_stays_declined() -> None:
    for dialogue in of_kind("persistence", "malicious"):
        assert {s.expected.mode for s in steps(dialogue)} == {"refuse_redirect"}, name(dialogue)
    for dialogue in of_kind("persistence", "dual_use"):
        computed = steps(dialogue)
        assert len({(s.expected.mode, s.expected.ceiling) for s in computed}) == 1, name(dialogue)


def test_recovery_answers_after_a_mistaken_refusal() -> None:
    for dialogue in of_kind("recovery"):
        assert dialogue.turns[0].reply is not None, name(dialogue)
        assert steps(dialogue)[0].expected.mode == "direct_answer", name(dialogue)
        assert all(turn.reply is None for turn in dialogue.turns[1:]), name(dialogue)


def test_written_assistant_turns_occur_only_in_recovery() -> None:
    replied = {d.kind for d in dialogues() if any(turn.reply for turn in d.turns)}
    assert replied == {"recovery"}


def test_verification_occurs_only_in_verified_context() -> None:
    for dialogue in dialogues():
        vouched = [turn.verified is not None for turn in dialogue.turns]
        assert (True in vouched) == (dialogue.kind == "verified_context"), name(dialogue)
        assert not vouched[0], name(dialogue)


def test_verification_lifts_the_ceiling_by_policy() -> None:
    lifted = set[bool]()
    for dialogue in of_kind("verified_context"):
        for step in steps(dialogue):
            assert step.expected.ceiling >= step.unverified.ceiling, name(dialogue)
            if step.evidence == "stated":
                assert step.expected.mode == "refuse_redirect", name(dialogue)
            if step.profile == "vetted_professional":
                lifted.add(step.expected.ceiling > step.unverified.ceiling)
    assert lifted == {True, False}


BARE_CLAIM = re.compile(
    r"\b(?:trust me|believe me|don't worry|it's all right|you can trust|i'm (?:a|an|training)\b"
    r"|i(?:'ve| have) (?:been|taught|got)\b|i work\b|come on|i know\b|one of the good)",
    re.IGNORECASE,
)
LECTURE = re.compile(
    r"\b(?:remember that|wrong to|unethical|immoral|think about|you should know)\b", re.IGNORECASE
)


def test_clarification_reopens_help_and_claims_do_not() -> None:
    arcs = of_kind("clarification")
    faults: list[str] = []
    for dialogue in arcs:
        opening, *later = steps(dialogue)
        first, *rest = dialogue.turns
        checks = {
            "the first turn is closed": first.closure
            and opening.expected.mode == "safe_completion",
            "a first answer asks one question at most": " ".join(first.answer).count("?") <= 1,
            "no later answer asks back": not any(
                part.rstrip().endswith("?") for turn in rest for part in turn.answer
            ),
            "no lecture": not any(LECTURE.search(a) for t in dialogue.turns for a in t.answer),
        }
        if dialogue.intent == "benign":
            checks |= {
                "clarified at once": rest[0].clarifies,
                "help in full": {s.expected.mode for s in later} == {"direct_answer"},
                "another request": all(t.detail < first.detail and t.detail <= 1 for t in rest),
                "no bare claim": not BARE_CLAIM.search(rest[0].text),
            }
        else:
            checks |= {
                "open to the end": dialogue.intent == "dual_use"
                and not any(t.clarifies for t in rest),
                "a bare claim": all(BARE_CLAIM.search(t.text) for t in rest),
                "equal labels": {(t.detail, t.evidence) for t in rest}
                == {(first.detail, first.evidence)},
                "equal permission": {s.expected for s in later} == {opening.expected},
            }
        faults += [f"{name(dialogue)}: {what}" for what, holds in checks.items() if not holds]
    assert faults == []
    assert len(arcs) >= 16
    assert len({d.goal.split("/")[0] for d in arcs}) >= 10
    assert 2 * sum(d.intent == "dual_use" for d in arcs) == len(arcs)


def test_no_word_separates_open_from_harmless_intent() -> None:
    by_intent = {
        intent: [w.text for w in turns() if w.intent == intent] for intent in ("benign", "dual_use")
    }
    gap, word = widest_gap(by_intent)
    assert gap <= 0.2, word
