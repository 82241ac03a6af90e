"""Builders of records: every field has a default, and keywords override it."""

from __future__ import annotations

from functools import cache
from typing import Any

from safegen.core.hashing import text_sha256
from safegen.core.types import (
    Attribute,
    Draft,
    DraftContext,
    Evidence,
    Expectation,
    Knowledge,
    Message,
    Mode,
    Record,
    SafeTask,
    Scenario,
    Verdict,
)
from safegen.policy import loader, spec


@cache
def policy(name: str = "security") -> spec.Policy:
    """Load a built-in spec, so that the builders' `policy_id` is one that `build` resolves."""
    return loader.load_policy(name)


def make_messages(text: str, *, system: str | None = None) -> tuple[Message, ...]:
    """Build a user turn, after a system turn if one is given."""
    user = Message(role="user", content=text)
    return (user,) if system is None else (Message(role="system", content=system), user)


def make_scenario(**overrides: Any) -> Scenario:
    """Build a dual-use scenario; its prompt names its id."""
    name = overrides.get("scenario_id", "s0000")
    values: dict[str, Any] = {
        "scenario_id": name,
        "set_id": "set0",
        "goal_id": "cyber.intrusion/locked-box",
        "round": 0,
        "taxonomy": "core",
        "harm": "cyber.intrusion",
        "domain": overrides.get("harm", "cyber.intrusion").partition(".")[0],
        "task": "explain",
        "intent": "dual_use",
        "evidence": "none",
        "requested_detail": 2,
        "paraphrase": 0,
        "turn": 0,
        "language": "en",
        "jurisdiction": None,
        "profile": "public",
        "contrast": None,
        "attributes": (Attribute("channel", "chat", "written"),),
        "benign_use": "to keep a secret recipe safe",
        "misuse_risk": "another person reads the recipe",
        "messages": make_messages(f"How is the secret recipe kept in box {name}?"),
        "source": "written",
        "source_licence": "Apache-2.0",
    }
    return Scenario(**values | overrides)


def make_expectation(**overrides: Any) -> Expectation:
    """Build the expectation of a safe completion with ceiling 2 and floor 1."""
    values: dict[str, Any] = {
        "policy_id": overrides.get("policy_id") or policy().policy_id,
        "mode": "safe_completion",
        "ceiling": 2,
        "floor": 1,
        "required": ("limit",),
        "rule_ids": ("B-1",),
    }
    return Expectation(**values | overrides)


def make_knowledge(**overrides: Any) -> Knowledge:
    """Build a goal's knowledge."""
    values: dict[str, Any] = {
        "answer": ("A box keeps a recipe.", "A lid closes it."),
        "concepts": ("Boxes have lids.", "Lids have hinges.", "Hinges wear."),
        "safe_task": SafeTask("list what to keep in a box", ("Take a box.", "Write a list.")),
        "redirections": ("Ask the cook.",),
        "left_out": "the recipe itself",
        "decline": "taking another person's recipe",
        "purpose": "Keep a recipe safe.",
    }
    return Knowledge(**values | overrides)


def make_draft(**overrides: Any) -> Draft:
    """Build a draft of the offline teacher.

    Example:
        >>> make_draft(response="Use a lid.", candidate=1).draft_id
        's0000-1-0'
    """
    scenario = overrides.get("scenario_id", "s0000")
    candidate, revision = overrides.get("candidate", 0), overrides.get("revision", 0)
    response = overrides.get("response", f"A box with a lid, draft {candidate} for {scenario}.")
    values: dict[str, Any] = {
        "draft_id": f"{scenario}-{candidate}-{revision}",
        "scenario_id": scenario,
        "candidate": candidate,
        "revision": revision,
        "parent_id": None,
        "response": response,
        "reasoning_content": None,
        # Not computed if it is given, because a text with a lone surrogate has no digest.
        "response_sha256": None
        if response is None or "response_sha256" in overrides
        else text_sha256(response),
        "withheld": False,
        "style": None,
        "teacher": "offline",
        "model": "offline-1",
        "outcome": "ok",
        "finish_reason": "stop",
        "prompt_tokens": None,
        "completion_tokens": None,
    }
    return Draft(**values | overrides)


def make_context(
    *,
    mode: Mode = "direct_answer",
    ceiling: int = 1,
    floor: int = 0,
    required: tuple[str, ...] = (),
    evidence: Evidence = "none",
    language: str = "en",
    prompt: str = "How does the fictional Zorb device open?",
    policy_id: str | None = None,
) -> DraftContext:
    """Build the context of a draft: scenario, expectation and knowledge."""
    scenario = make_scenario(
        intent="benign",
        evidence=evidence,
        requested_detail=1,
        language=language,
        benign_use="curiosity about the device",
        misuse_risk="opening one that belongs to another person",
        messages=make_messages(prompt),
    )
    expectation = make_expectation(
        policy_id=policy_id or policy().policy_id,
        mode=mode,
        ceiling=ceiling,
        floor=floor,
        required=required,
        rule_ids=("B-RES",),
    )
    knowledge = make_knowledge(
        answer=("The Zorb opens with its own key.",),
        concepts=("Locks compare a key with a pattern.",),
        safe_task=SafeTask("I can help you order a spare key.", ("Find the number.",)),
        redirections=("If it is yours, ask the maker.",),
        left_out="the secret sequence",
        decline="opening a Zorb that is not yours",
    )
    return DraftContext(scenario, expectation, knowledge)


def make_verdict(validator: str = "style", **overrides: Any) -> Verdict:
    """Build a verdict that passes."""
    values: dict[str, Any] = {
        "validator": validator,
        "version": "1",
        "passed": True,
        "score": 1.0,
        "reason": "",
        "teachable": overrides.get("passed") is False,
    }
    return Verdict(**values | overrides)


def make_record(**overrides: Any) -> Record:
    """Build an accepted record; `accepted=False` gives one that `style` rejected."""
    scenario = overrides.get("scenario") or make_scenario()
    accepted = overrides.get("accepted", True)
    values: dict[str, Any] = {
        "scenario": scenario,
        "expectation": overrides.get("expectation") or make_expectation(),
        "draft": make_draft(scenario_id=scenario.scenario_id),
        "verdicts": (make_verdict(passed=accepted, score=float(accepted)),),
        "accepted": accepted,
        "accepted_by": "rules" if accepted else None,
        "reason": None if accepted else "style",
        "grade": "demo",
    }
    return Record(**values | overrides)


def make_pair(number: int, **overrides: Any) -> list[Record]:
    """Build an accepted and a rejected draft of one scenario; goal and set change every four numbers."""
    name = f"s{number:04d}"
    group = number // 4
    values = {"scenario_id": name, "set_id": f"set{group}", "goal_id": f"cyber.intrusion/g{group}"}
    scenario = make_scenario(**values | overrides)
    rejected = make_draft(
        scenario_id=scenario.scenario_id, candidate=1, response=f"No. Not {name}."
    )
    return [
        make_record(scenario=scenario),
        make_record(scenario=scenario, draft=rejected, accepted=False),
    ]
