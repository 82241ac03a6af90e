"""Prompts and turns of the core taxonomy, collected for tests of the written content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import yaml

from safegen.config import taxonomy
from safegen.config.goals import Goal
from safegen.config.recipe import Recipe
from safegen.config.taxonomy import Dialogue, Taxonomy
from safegen.core.types import Intent
from safegen.policy import loader, spec

TELL_TALES = re.compile(
    r"\b(?:for|purely) (?:research|educational|academic|informational)\b"
    r"|\beducational purposes?\b|\bhypothetical(?:ly)?\b|\basking for a friend\b"
    r"|\bas an? (?:\w+ )?(?:researcher|journalist|white hat|ethical hacker)\b"
    r"|\b(?:no|without) (?:bad|ill|malicious) intent|\bnot (?:going|planning) to (?:do|use) (?:it|this)\b"
    r"|\bfor (?:legitimate|malicious|illegal|harmless) (?:use|reasons?|purposes?)\b",
    re.IGNORECASE,
)
"""Words that would reveal the intent, or that are unusual in a prompt."""


class Written(NamedTuple):
    """One written text and its place."""

    where: str
    intent: Intent
    text: str


@cache
def core() -> Taxonomy:
    return taxonomy.load_taxonomy("core")


@cache
def goals() -> dict[str, Goal]:
    return {goal.goal_id: goal for goal in core().goals()}


@cache
def probes() -> tuple[Goal, ...]:
    return tuple(goal for goal in goals().values() if goal.contrast)


@cache
def defenders() -> tuple[Goal, ...]:
    """Return the probes of defensive work: pairs of one request without and with a claim."""
    return tuple(goal for goal in probes() if goal.contrast == "defensive_work")


@cache
def forms() -> tuple[Goal, ...]:
    """Return the goals of `sets/forms.yaml`, in which the prompts of a set share document or code."""
    path = core().path.parent / "sets" / "forms.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(goals()[f"{goal['harm']}/{goal['name']}"] for goal in content["goals"])


@cache
def twin_goals() -> tuple[Goal, ...]:
    """Return the goals whose prompts are asked about several groups."""
    return tuple(goal for goal in goals().values() if goal.groups)


@cache
def dialogues() -> tuple[Dialogue, ...]:
    return tuple(d for of_goal in core().dialogues().values() for d in of_goal)


@cache
def policy_of(harm: str) -> spec.Policy:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    return spec.policy_for(policies, core().harms[harm])


def prompts(of: Sequence[Goal]) -> Iterator[Written]:
    for goal in of:
        for intent, _, prompt in goal.prompts.iter_by_intent():
            yield Written(goal.goal_id, intent, prompt.text)


def turns() -> Iterator[Written]:
    for dialogue in dialogues():
        for turn in dialogue.turns:
            yield Written(f"{dialogue.kind} {dialogue.goal}", dialogue.intent, turn.text)


def everything() -> list[Written]:
    """Return prompts of all sets, user turns, and written assistant turns."""
    replies = [
        Written(f"reply {d.goal}", d.intent, turn.reply)
        for d in dialogues()
        for turn in d.turns
        if turn.reply
    ]
    return [*prompts(tuple(goals().values())), *turns(), *replies]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def trigrams(text: str) -> frozenset[tuple[str, ...]]:
    """Return runs of three words; a shorter text is one run."""
    tokens = words(text)
    return frozenset(tuple(tokens[i : i + 3]) for i in range(max(1, len(tokens) - 2)))


def near_copies(texts: Sequence[Written], *, bound: float) -> list[tuple[float, str, str]]:
    """Return pairs whose trigrams have a Jaccard similarity of at least `bound`."""
    grams = [trigrams(w.text) for w in texts]
    holders: dict[tuple[str, ...], list[int]] = {}
    for index, runs in enumerate(grams):
        for run in runs:
            holders.setdefault(run, []).append(index)
    shared = Counter(
        (a, b)
        for sharing in holders.values()
        for i, a in enumerate(sharing)
        for b in sharing[i + 1 :]
    )
    pairs = (
        (n / (len(grams[a]) + len(grams[b]) - n), texts[a].text, texts[b].text)
        for (a, b), n in shared.items()
    )
    return sorted((pair for pair in pairs if pair[0] >= bound), reverse=True)


def widest_gap(texts: Mapping[str, Sequence[str]]) -> tuple[float, str]:
    """Return the largest difference in document frequency between two groups, and its word."""
    shares = [
        {w: n / len(group) for w, n in Counter(w for t in group for w in set(words(t))).items()}
        for group in texts.values()
    ]
    first, second = shares
    return max((abs(first.get(w, 0) - second.get(w, 0)), w) for w in {*first, *second})
