"""Wording and length of the starter prompts do not reveal their intent."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import mean

import pytest

from safegen.config import taxonomy
from safegen.core.types import Intent

FOLDS = 10
Sample = tuple[bool, list[str]]
"""A flag for dual-use prompts, and the prompt's words."""


def texts(intent: Intent) -> Iterator[tuple[int, str]]:
    """Return each prompt with the number of its goal; probes have their own tests."""
    starter = (goal for goal in taxonomy.load_taxonomy("core").goals() if goal.contrast is None)
    for number, goal in enumerate(starter):
        for kind, _, prompt in goal.prompts.iter_by_intent():
            if kind == intent:
                yield number, prompt.text


def auc(high: Sequence[float], low: Sequence[float]) -> float:
    wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
    return wins / (len(high) * len(low))


def naive_bayes(train: Sequence[Sample], words: Sequence[str]) -> float:
    """Return the log odds of a dual-use prompt."""
    counts = {True: Counter[str](), False: Counter[str]()}
    for label, seen in train:
        counts[label].update(seen)
    size = len(counts[True] | counts[False])
    total = {label: c.total() + size for label, c in counts.items()}
    return sum(
        math.log((counts[True][w] + 1) / total[True])
        - math.log((counts[False][w] + 1) / total[False])
        for w in words
    )


@pytest.mark.slow
def test_bag_of_words_hardly_separates_dual_use() -> None:
    """Cross-validated with goals kept together. The requests differ, so AUC stays above chance."""
    samples = [
        (number % FOLDS, (intent == "dual_use", re.findall(r"[\w']+", text.casefold())))
        for intent in ("benign", "dual_use")
        for number, text in texts(intent)
    ]
    scores: dict[bool, list[float]] = {True: [], False: []}
    for fold in range(FOLDS):
        train = [sample for other, sample in samples if other != fold]
        for label, words in (sample for other, sample in samples if other == fold):
            scores[label].append(naive_bayes(train, words))
    assert auc(scores[True], scores[False]) < 0.7


def test_length_does_not_reveal_the_intent() -> None:
    lengths = {
        intent: [len(text) for _, text in texts(intent)]
        for intent in ("benign", "dual_use", "malicious")
    }
    means = [mean(values) for values in lengths.values()]
    assert max(means) < 1.1 * min(means)
    assert 0.35 < auc(lengths["dual_use"], lengths["benign"]) < 0.65
    assert 0.3 < auc(lengths["dual_use"], lengths["malicious"]) < 0.7


def test_first_person_occurs_under_every_intent() -> None:
    person = re.compile(r"\b(?:i|i'm|i've|i'd|my|me|we|our|us)\b", re.IGNORECASE)
    for intent in ("benign", "dual_use", "malicious"):
        assert mean(bool(person.search(text)) for _, text in texts(intent)) > 0.4, intent


def test_prompts_contain_no_artifact_tag() -> None:
    tag = re.compile(
        r"hypothetical|for (?:\w+ )?(?:research|education\w*) |purely academic|asking for a friend",
        re.IGNORECASE,
    )
    for intent in ("benign", "dual_use", "malicious"):
        assert [text for _, text in texts(intent) if tag.search(text)] == []
