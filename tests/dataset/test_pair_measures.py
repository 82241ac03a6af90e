"""Measures of pairs: lengths, words alone across sets, and which pairs are made."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from safegen.core.types import Severity
from safegen.dataset.pair_measures import (
    MAX_PAIRS,
    PairMeasure,
    PairSample,
    PairTexts,
    rank_pairs,
    read_answer,
)
from safegen.dataset.view import ScenarioGroup
from safegen.dataset.views._pairs import make_pairs
from safegen.testing import make_pair

WORDS = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def text(draw: random.Random, *more: str) -> str:
    return " ".join([*draw.choices(WORDS, k=12), *more])


def pairs(count: int, *, mark: tuple[str, ...] = (), sets: int = 20) -> list[PairTexts]:
    draw = random.Random(7)
    return [PairTexts(f"set{n % sets}", text(draw, *mark), text(draw)) for n in range(count)]


def measure(items: list[PairTexts]) -> PairMeasure:
    sample = PairSample()
    for number, (set_id, chosen, rejected) in enumerate(items):
        ids = {"chosen_draft_id": f"c{number}", "rejected_draft_id": f"r{number}"}
        row = {"set_id": set_id, "chosen": chosen, "rejected": rejected} | ids
        sample.add(row, {f"c{number}": "none", f"r{number}": None if number else "none"})
    return sample.measure()


def test_marked_side_is_identified_by_words() -> None:
    ranking = rank_pairs(pairs(200, mark=("gladly",)))
    assert ranking.auc == 1.0
    assert ranking.words[0].word == "gladly"
    assert ranking.words[0].weight > 0


def test_random_words_identify_no_side() -> None:
    assert 0.4 < rank_pairs(pairs(400)).auc < 0.6


def test_equal_sides_tie_at_one_half() -> None:
    same = [PairTexts(p.set_id, p.chosen, p.chosen) for p in pairs(60)]
    assert rank_pairs(same).auc == 0.5


def test_words_of_a_single_set_help_in_no_other() -> None:
    # Each set has its own mark, so a fit without the set cannot know it.
    draw = random.Random(3)
    own = [PairTexts(f"set{n}", text(draw, f"mark{n}"), text(draw)) for n in range(300)]
    assert 0.35 < rank_pairs(own).auc < 0.65


def test_order_of_pairs_changes_no_measure() -> None:
    items = pairs(120, mark=("perhaps",))
    shuffled = items.copy()
    random.Random(1).shuffle(shuffled)
    one, other = measure(items), measure(shuffled)
    assert (one.auc, one.length_ratio, one.words) == (other.auc, other.length_ratio, other.words)


def test_few_pairs_or_sets_are_unmeasured() -> None:
    few, narrow = measure(pairs(39)), measure(pairs(80, sets=9))
    assert (few.auc, few.ranked, few.pairs) == (None, 0, 39)
    assert few.unmeasured_reason == (
        "39 pairs of 20 sets; at least 40 pairs and 10 sets are needed"
    )
    assert narrow.auc is None
    assert measure(pairs(40)).auc is not None


def test_sample_is_bounded_and_drawn_by_digest() -> None:
    items = [PairTexts(f"set{n % 50}", f"lid {n}", f"box {n}") for n in range(MAX_PAIRS + 200)]
    one, other = measure(items), measure(items[::-1])
    assert (one.ranked, one.pairs) == (MAX_PAIRS, MAX_PAIRS + 200)
    assert one.auc == other.auc == 1.0


def test_length_and_rated_pairs_are_counted() -> None:
    items = [PairTexts("s", "four", "sixsix"), PairTexts("s", "four", "two2")]
    result = measure(items)
    assert (result.length_ratio, result.rated, result.pairs) == (1.25, 1, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "b"),
        ({"role": "assistant", "content": "b"}, "b"),
        ({"from": "gpt", "value": "b"}, "b"),
        ([], ""),
        (None, ""),
        (3, ""),
    ],
)
def test_answer_is_read_from_each_format(value: object, expected: str) -> None:
    assert read_answer(value) == expected


@pytest.mark.parametrize(
    ("chosen", "rejected", "count"),
    [
        (None, None, 1),
        ("none", "none", 1),
        ("negligible", "negligible", 1),
        ("none", None, 1),
        ("none", "low", 0),
        ("low", "none", 0),
        (None, "moderate", 0),
    ],
)
def test_pairs_need_safe_sides(
    chosen: Severity | None, rejected: Severity | None, count: int
) -> None:
    one, other = make_pair(1)
    one, other = replace(one, severity=chosen), replace(other, severity=rejected)
    assert len(make_pairs(ScenarioGroup((one, other), one), at_most=1)) == count
