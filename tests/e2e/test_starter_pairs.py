"""The starter's pairs and answers have no artifacts that a trainer could learn."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from safegen.store import parquet

STYLES = {
    *("needless_refusal", "needless_limit", "needless_contact", "too_general", "deflection"),
    *("preaching", "no_redirection", "no_limit"),
}


class Pair(NamedTuple):
    """A pair's texts and the style of its weaker side."""

    chosen: str
    rejected: str
    style: str


@pytest.fixture(scope="module")
def made(starter: Path) -> Path:
    return starter


def rows(made: Path, view: str) -> list[dict[str, Any]]:
    return [
        row
        for p in sorted((made / "data" / view).glob("*/*.parquet"))
        for row in parquet.read_rows(p)
    ]


@pytest.fixture(scope="module")
def pairs(made: Path) -> list[Pair]:
    paths = sorted((made / "run" / "records").glob("*.parquet"))
    styles = {row["draft_id"]: row["style"] for path in paths for row in parquet.read_rows(path)}
    return [
        Pair(
            row["chosen"][-1]["content"],
            row["rejected"][-1]["content"],
            styles[row["rejected_draft_id"]],
        )
        for row in rows(made, "preference")
    ]


def sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if s]


def auc(chosen: Sequence[int], rejected: Sequence[int]) -> float:
    """Return the probability that a chosen text is longer than a rejected one; 0.5 is no signal."""
    wins = sum((c > r) + (c == r) / 2 for c in chosen for r in rejected)
    return wins / (len(chosen) * len(rejected))


def test_validators_reject_every_weaker_draft(made: Path) -> None:
    paths = sorted((made / "run" / "records").glob("*.parquet"))
    drafts = [row for path in paths for row in parquet.read_rows(path)]
    assert {row["style"] for row in drafts} == {"good", *STYLES}
    assert not [r["response"] for r in drafts if r["accepted"] != (r["style"] == "good")]


def test_no_pair_side_contains_the_other(pairs: list[Pair]) -> None:
    for pair in pairs:
        chosen, rejected = set(sentences(pair.chosen)), set(sentences(pair.rejected))
        assert not chosen <= rejected and not rejected <= chosen, pair.rejected


def test_weaker_answers_share_few_words(pairs: list[Pair]) -> None:
    shared = defaultdict[str, list[float]](list)
    for pair in pairs:
        both = set(sentences(pair.chosen)) & set(sentences(pair.rejected))
        shared[pair.style].append(sum(map(len, both)) / len(pair.chosen))
    assert set(shared) == STYLES
    assert all(sum(shares) / len(shares) < 0.45 for shares in shared.values())


def test_length_does_not_reveal_the_chosen_side(pairs: list[Pair]) -> None:
    assert 0.45 < auc([len(p.chosen) for p in pairs], [len(p.rejected) for p in pairs]) < 0.6
    for style in STYLES:
        ratios = [len(p.rejected) / len(p.chosen) for p in pairs if p.style == style]
        assert len(ratios) >= 15, style
        assert 0.75 < median(ratios) < 1.3, style
        assert min(ratios) < 0.8 and max(ratios) > 1.25, style


def test_form_does_not_reveal_the_chosen_side(pairs: list[Pair]) -> None:
    def auc_of(count: Callable[[str], int]) -> float:
        return auc([count(p.chosen) for p in pairs], [count(p.rejected) for p in pairs])

    assert 0.4 < auc_of(lambda text: text.count("\n\n")) < 0.6
    assert 0.4 < auc_of(lambda text: len(sentences(text))) < 0.6
    assert 0.4 < auc_of(lambda text: len(text) // len(sentences(text))) < 0.69


def test_weaker_answers_are_distinct_and_specific(made: Path, pairs: list[Pair]) -> None:
    # Twins have equal facts, so short drafts of two of them may be equal.
    assert len({pair.rejected for pair in pairs}) >= 0.99 * len(pairs)
    refusals = [pair.rejected for pair in pairs if pair.style == "needless_refusal"]
    general = [text for text in refusals if "I can't help with that" in text]
    assert len(general) <= len(refusals) // 10
    closing = Counter(sentences(pair.rejected)[-1] for pair in pairs)
    assert max(closing.values()) <= len(pairs) // 20


def test_good_answers_vary_openings_and_closings(made: Path) -> None:
    for mode, share in (
        ("safe_completion", 0.05),
        ("direct_answer", 0.03),
        ("refuse_redirect", 0.08),
    ):
        texts = [r["messages"][-1]["content"] for r in rows(made, "sft") if r["mode"] == mode]
        openings = Counter(" ".join(text.split()[:4]) for text in texts)
        closings = Counter(sentences(text)[-1] for text in texts)
        assert max(openings.values()) <= share * len(texts), openings.most_common(3)
        assert max(closings.values()) <= 0.04 * len(texts), closings.most_common(3)
