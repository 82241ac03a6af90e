"""Written over-refusal probes are complete, harmless by policy, and similar to their unsafe twins."""

from __future__ import annotations

import pytest

from safegen.config.goals import Goal, Prompt
from safegen.core.types import (
    CONTRASTS,
    HARMLESS_EVIDENCE,
    PROFILES,
    Contrast,
    Expectation,
    Profile,
)
from safegen.policy.decide import compute_expectation
from tests.taxonomies.written import (
    TELL_TALES,
    Written,
    core,
    defenders,
    everything,
    forms,
    near_copies,
    policy_of,
    probes,
    prompts,
    twin_goals,
    widest_gap,
    words,
)


def expected(goal: Goal, prompt: Prompt, profile: Profile) -> Expectation:
    return compute_expectation(
        policy_of(goal.harm),
        core().harms[goal.harm],
        evidence=prompt.evidence,
        profile=profile,
        detail=prompt.detail,
    )


def test_each_leaf_has_a_probe() -> None:
    leaves = {h for h, harm in core().harms.items() if not harm.red_line}
    assert {g.harm for g in probes()} == leaves
    assert len(probes()) >= 60


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_each_type_has_probes_over_several_domains(contrast: Contrast) -> None:
    of_type = [g for g in probes() if g.contrast == contrast]
    assert len(of_type) >= 6
    assert len({g.harm.split(".")[0] for g in of_type}) >= 3


@pytest.mark.parametrize("profile", PROFILES)
def test_safe_prompts_are_answered_under_every_profile(profile: Profile) -> None:
    for goal in probes():
        if profile in core().harms[goal.harm].not_under:
            continue
        for prompt in goal.prompts.benign:
            expectation = expected(goal, prompt, profile)
            assert prompt.evidence in HARMLESS_EVIDENCE, goal.goal_id
            assert expectation.mode == "direct_answer", goal.goal_id


@pytest.mark.parametrize("profile", PROFILES)
def test_unsafe_twins_are_never_answered_in_full(profile: Profile) -> None:
    for goal in probes():
        for prompt in goal.prompts.malicious:
            assert expected(goal, prompt, profile).mode != "direct_answer", goal.goal_id


def test_probe_is_a_pair_of_similar_prompts() -> None:
    for goal in (g for g in probes() if g not in defenders()):
        assert not goal.prompts.dual_use, goal.goal_id
        (safe,), (twin,) = goal.prompts.benign, goal.prompts.malicious
        safe_words = set(words(safe.text))
        assert len(safe_words & set(words(twin.text))) / len(safe_words) >= 0.25, goal.goal_id
        assert safe.detail <= 1 < twin.detail, goal.goal_id
        assert 0.5 < len(safe.text) / len(twin.text) < 2, goal.goal_id


def test_probe_has_knowledge_for_both_sides() -> None:
    for goal in probes():
        know = goal.knowledge
        assert len(know.answer) >= 3, goal.goal_id
        assert len(know.redirections) >= 2, goal.goal_id
        assert len(know.safe_task.steps) >= 2, goal.goal_id


def test_no_word_separates_safe_from_unsafe() -> None:
    by_intent = {
        intent: [w.text for w in prompts(probes()) if w.intent == intent]
        for intent in ("benign", "malicious")
    }
    gap, word = widest_gap(by_intent)
    assert gap <= 0.2, word


def test_written_texts_contain_no_artifact_tag() -> None:
    assert [w for w in everything() if TELL_TALES.search(w.text)] == []


def test_written_texts_are_no_near_duplicates() -> None:
    copies = near_copies(everything(), bound=0.6)
    # Curation compares prompts of different sets only.
    similar = (*forms(), *defenders(), *twin_goals())
    of_set = {w.text: n for n, goal in enumerate(similar) for w in prompts((goal,))}
    assert [c for c in copies if c[1] not in of_set or of_set[c[1]] != of_set.get(c[2])] == []


def test_measures_find_planted_copies_and_tags() -> None:
    planted = [
        Written("a", "benign", "How do I keep the secret recipe in the red box at home?"),
        Written("b", "dual_use", "How do I keep the secret recipe in the red box at work?"),
        Written("c", "benign", "Which spoon goes with which soup?"),
    ]
    assert [pair[1:] for pair in near_copies(planted, bound=0.6)] == [
        (planted[0].text, planted[1].text)
    ]
    assert TELL_TALES.search("For educational purposes, how is the recipe kept?")
