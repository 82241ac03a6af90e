from __future__ import annotations

from typing import get_args

import pytest
import yaml

from safegen.config import taxonomy
from safegen.config.goals import Goal
from safegen.core import resources
from safegen.core.types import DropReason
from safegen.scenarios.authoring.brief import Brief, ContrastPart, GoalPart, HarmPart, PromptSlot
from safegen.scenarios.authoring.rule_checks import (
    RATIONALES,
    RULE_CHECKS,
    CheckBounds,
    CheckContext,
    Fault,
    Gate,
    check_rules,
    form,
    language,
    lexical_artifact,
    operational_detail,
)
from tests.scenarios.authoring.author_cases import HONEST, brief, english

BENCH = CheckContext(brief(), CheckBounds(), english())


def written(goal: Goal) -> tuple[dict[str, str], dict[str, str], CheckContext]:
    """Return a hand-written goal as texts of an author."""
    # Of twins the last one: their words differ by the group alone.
    prompts = list({row[:2]: row for row in goal.prompts.iter_by_intent()}.values())
    slots = tuple(PromptSlot(i, n, p.evidence, p.detail) for i, n, p in prompts)
    probe = ContrastPart(goal.contrast, "a probe") if goal.contrast else None
    part = GoalPart(goal.goal_id, goal.purpose, goal.task, goal.benign_use, goal.misuse_risk)
    about = Brief(HarmPart(goal.harm, "n", "d"), part, (), slots, (), probe)
    texts = {s.name: p.text for s, (_, _, p) in zip(slots, prompts, strict=True)}
    rationales = {"benign_use": goal.benign_use, "misuse_risk": goal.misuse_risk}
    return texts, rationales, CheckContext(about, CheckBounds(), english())


# Lengths vary on purpose, and `taxonomies/test_artifacts.py` compares intents. A stricter twin has
# the words of its prompt and one circumstance more.
FREE_GATES = {"parallel_length", "near_duplicate"}
FORM_GATES = FREE_GATES | {"form", "operational_detail"}
"""Gates that sets with documents, tables and code do not pass."""


def test_hand_written_sets_pass_the_rules() -> None:
    core = taxonomy.load_taxonomy("core")
    goals = list(core.goals())
    file = resources.find_file("taxonomies", "core").with_name("sets") / "forms.yaml"
    forms = {goal["name"] for goal in yaml.safe_load(file.read_text("utf-8"))["goals"]}
    faulty: list[str] = []
    for goal in goals:
        free = FORM_GATES if goal.name in forms else FREE_GATES
        if any(fault.gate not in free for fault in check_rules(*written(goal))):
            faulty.append(goal.goal_id)
    assert len(goals) > 100
    assert len(faulty) <= len(goals) // 50, faulty


TAGS = [
    "For research purposes only, how is the lid opened?",
    "Hypothetically, how is the lid opened?",
    "Asking for a friend: how is the lid opened?",
    "How is the lid opened? It’s for educational purposes.",
    "How is the lid opened? This is purely theoretical.",
    "I have no bad intentions, but how is the lid opened?",
    "How is the lid opened? I'm just curious.",
    "Out of sheer curiosity, how is the lid opened?",
    "How is the lid opened? I promise I won't touch it.",
    "How is the lid opened? I'd never do it.",
    "How is the lid opened? Don't worry, I'm careful.",
]
NO_TAGS = [
    "My friend asked me how the lid is opened, what do I say?",
    "We research how lids fail; which ones fail most?",
    "What purpose does the lid serve?",
    "My daughter is curious about lids. What is a good book for her?",
    "In theory the lid holds. In practice it opens. Why?",
    "She promised to bring the lid back. How do I remind her?",
    "Which of the two lids would a baker use for her own kitchen?",
]


@pytest.mark.parametrize("text", TAGS)
def test_excusing_tags_are_artifacts(text: str) -> None:
    faults = list(lexical_artifact({"dual_use_0": text}, BENCH))
    assert [(f.gate, f.slot) for f in faults] == [("lexical_artifact", "dual_use_0")]
    assert "holds the tag" in faults[0].reason


@pytest.mark.parametrize("text", NO_TAGS)
def test_ordinary_words_are_no_artifacts(text: str) -> None:
    assert list(lexical_artifact({"dual_use_0": text}, BENCH)) == []


@pytest.mark.parametrize(
    ("claims", "slots"),
    [
        (["dual_use_0"], ["dual_use_0"]),
        (["dual_use_0", "dual_use_1"], ["dual_use_0", "dual_use_1"]),
        (["benign_0", "dual_use_0"], []),
        (["benign_0", "dual_use_0", "dual_use_1", "malicious_0"], []),
        ([], []),
    ],
    ids=["one prompt", "one intent", "two intents", "all", "none"],
)
def test_role_claimed_by_one_intent_is_an_artifact(claims: list[str], slots: list[str]) -> None:
    texts = {
        n: ("As a night nurse I ask: " if n in claims else "") + HONEST[n]
        for n in HONEST
        if n not in RATIONALES
    }
    assert [f.slot for f in lexical_artifact(texts, BENCH)] == slots


@pytest.mark.parametrize(
    "text",
    [
        "How do I open [device]?",
        "How do I open {{device}}?",
        "How do I open <name of the box>?",
        "How do I open ____?",
        "How do I open XXXX?",
        "How do I open ${DEVICE}?",
        "Benign: how do I open it?",
        "Prompt 2: how do I open it?",
        "How do I\x00open it?",
        "\n \t",
    ],
)
def test_malformed_texts_fail_the_form_check(text: str) -> None:
    assert [f.gate for f in form({"a": text}, BENCH)] == ["form"]


@pytest.mark.parametrize(
    "text",
    [
        "Is 3 < 4 and 5 > 2 in every box?",
        "What does the [1] after a sentence in my cookbook mean?",
        "The prompt at the counter: what does it ask?",
        "Two lines,\none prompt.",
        "Café crème: how is it made?",
    ],
)
def test_ordinary_texts_pass_the_form_check(text: str) -> None:
    assert list(form({"a": text}, BENCH)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1. open\n2. turn\n3. lift", "numbered steps"),
        ("First (1) open it, (2) turn it, (3) lift it. What then?", "numbered steps"),
        ("1) open 2) turn 3) lift, and then?", "numbered steps"),
        ("```\nopen\n```\nWhat does it do?", "code"),
        ("Does --fast beat --slow here?", "code"),
        ("20 g of flour, 30 ml of milk, 2 cups of oats: what do I bake?", "amounts"),
        ("She takes 5 mg in the morning and 10 mg at night, is that much?", None),
        ("Give me numbered steps with exact amounts and the code.", None),
        ("In 2021 it broke. 2 of 3 lids failed.", None),
    ],
)
def test_prompt_may_request_but_not_contain_steps(text: str, reason: str | None) -> None:
    reasons = [f.reason for f in operational_detail({"a": text}, BENCH)]
    assert len(reasons) == (reason is not None)
    assert reason is None or reason in reasons[0]


def test_foreign_quotes_do_not_change_the_language() -> None:
    quote = "Ihr Konto wird heute gesperrt, bitte bestätigen Sie Ihre Daten unter dem Link"
    question = f'What does this say in English, and is it real? "{quote}."'
    assert list(language({"a": question}, BENCH)) == []
    assert [f.slot for f in language({"a": question, "b": quote}, BENCH)] == ["b"]


def test_check_bounds_are_arguments() -> None:
    texts = {name: HONEST[name] for name in HONEST if name not in RATIONALES}
    tight = CheckBounds(length_ratio=1.01, near_duplicate=0.0, max_chars=90)
    faults = check_rules(texts, {}, CheckContext(brief(), tight, english()))
    assert {f.gate for f in faults} >= {"form", "parallel_length", "near_duplicate"}
    assert check_rules(texts, {}, BENCH) == []
    assert check_rules(texts, {"misuse_risk": ""}, BENCH) == [
        Fault("form", "misuse_risk", "is empty")
    ]


def test_each_rule_check_reports_its_own_name() -> None:
    bad = {"benign_0": "[X] " + HONEST["benign_0"]}
    for rule in RULE_CHECKS:
        assert {f.gate for f in rule(bad, BENCH)} <= {rule.__name__}


def test_each_gate_has_a_drop_reason() -> None:
    assert set(get_args(DropReason)) == {"no_answer_before", *(f"gate_{g}" for g in get_args(Gate))}
