from __future__ import annotations

import math
import random

import pytest

from safegen.core.hashing import digest
from safegen.core.types import INTENTS, Intent, Mode
from safegen.dataset.curation.artifacts import (
    ARTIFACT_TARGETS,
    FOLDS,
    SMOOTHING,
    ArtifactMeasure,
    ArtifactRow,
    ArtifactTarget,
    UnmeasuredArtifacts,
    measure_artifacts,
    measure_auc,
    measure_target,
    reduce_artifacts,
    target_label,
)

VOCABULARY = [f"{a}{b}" for a in ("box", "lid", "card", "cake", "oven") for b in "abcdefghijkl"]
MODE_OF: dict[Intent, Mode] = {
    "benign": "direct_answer",
    "dual_use": "safe_completion",
    "malicious": "refuse_redirect",
}


def corpus(
    goals: int = 80, *, planted: int = 0, word: str = "zorb", seed: int = 0
) -> list[ArtifactRow]:
    """Return one prompt of random words per goal and intent; the first dual-use ones contain the word."""
    rng = random.Random(seed)
    rows: list[ArtifactRow] = []
    for goal in range(goals):
        for intent in INTENTS:
            words = rng.sample(VOCABULARY, 12)
            if intent == "dual_use" and goal < planted:
                words[3] = word
            rows.append(
                ArtifactRow(f"g{goal}", f"s{goal}", " ".join(words), intent, MODE_OF[intent])
            )
    return rows


def measured(rows: list[ArtifactRow], question: ArtifactTarget = "dual_use") -> ArtifactMeasure:
    result = measure_target(rows, question)
    assert isinstance(result, ArtifactMeasure)
    return result


def test_planted_word_gives_auc_near_one() -> None:
    result = measured(corpus(planted=80))
    assert result.auc > 0.97 and result.interval.low > 0.95
    assert result.words[0].word == "zorb" and result.words[0].z > 3
    assert (result.words[0].first, result.words[0].second) == (80, 0)
    assert (result.first, result.second) == (80, 80)


def test_clean_labels_have_calibrated_intervals() -> None:
    results = [r for seed in range(5) for r in measure_artifacts(corpus(seed=seed)).values()]
    numbers = [r for r in results if isinstance(r, ArtifactMeasure)]
    assert len(numbers) == len(results) == 20
    assert sum(r.interval.low <= 0.5 <= r.interval.high for r in numbers) >= 18
    assert sum(r.auc for r in numbers) / 20 == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_hide_a_planted_word(seed: int) -> None:
    rows = [r for r in corpus(planted=80) if r.intent != "malicious"]
    kinds = [r.intent == "dual_use" for r in rows]
    random.Random(seed).shuffle(kinds)
    result = measure_auc(rows, kinds)
    assert isinstance(result, ArtifactMeasure)
    assert result.interval.low <= 0.5 <= result.interval.high


def test_goal_words_do_not_leak_across_folds() -> None:
    rows = [
        ArtifactRow(
            f"g{g}",
            f"s{g}",
            f"subject{g} " * 3 + f"w{i}",
            "dual_use" if g % 2 else "benign",
            "direct_answer",
        )
        for g in range(40)
        for i in range(4)
    ]
    result = measured(rows)
    assert result.interval.low <= 0.5 <= result.interval.high


def test_length_alone_gives_no_signal() -> None:
    rng = random.Random(1)
    rows = [
        ArtifactRow(
            f"g{g}",
            f"s{g}",
            " ".join(rng.sample(VOCABULARY, 24 if intent == "benign" else 12)),
            intent,
            MODE_OF[intent],
        )
        for g in range(100)
        for intent in INTENTS
    ]
    assert measured(rows).auc < 0.65


@pytest.mark.parametrize("question", ["direct_answer", "safe_completion", "refuse_redirect"])
def test_each_mode_is_measured_against_the_others(question: ArtifactTarget) -> None:
    mode_rows = [
        r._replace(text=f"{r.text} telling") if r.mode == question else r for r in corpus()
    ]
    result = measured(mode_rows, question)
    assert (result.first, result.second) == (80, 160)
    assert result.auc > 0.97 and result.words[0].word == "telling"


def test_malicious_prompts_have_no_dual_use_label() -> None:
    kinds = [target_label(r, "dual_use") for r in corpus(1)]
    assert kinds == [False, True, None]


def test_equal_rows_give_equal_results() -> None:
    assert measure_artifacts(corpus(planted=20)) == measure_artifacts(corpus(planted=20))
    assert list(measure_artifacts(corpus())) == list(ARTIFACT_TARGETS)


@pytest.mark.parametrize(
    "rows",
    [
        corpus(19),
        [r for r in corpus() if r.intent != "benign" or int(r.goal[1:]) < 9],
        [r._replace(goal=f"g{int(r.goal[1:]) % 9}") for r in corpus()],
        [],
    ],
    ids=["38 rows", "nine of a kind", "nine goals", "nothing"],
)
def test_too_few_rows_are_unmeasured(rows: list[ArtifactRow]) -> None:
    result = measure_target(rows, "dual_use")
    assert isinstance(result, UnmeasuredArtifacts)
    assert "at least 40 in all" in result.reason
    telling = reduce_artifacts(rows, "dual_use", bound=0.6)
    assert (telling.excluded, telling.is_reached) == ((), False)
    assert telling.after == telling.before == result


def test_excluding_artifact_sets_reduces_auc() -> None:
    rows = corpus(planted=32)
    telling = reduce_artifacts(rows, "dual_use", bound=0.6)
    assert isinstance(telling.before, ArtifactMeasure) and telling.before.auc > 0.6
    assert {d.set_id for d in telling.excluded if d.word.word == "zorb"} == {
        f"s{i}" for i in range(32)
    }
    assert (
        telling.is_reached
        and isinstance(telling.after, ArtifactMeasure)
        and telling.after.auc <= 0.6
    )
    assert telling.excluded[0].reason == "contains `zorb`: 32 rows of the kind, 0 of the other"


def test_word_in_most_sets_is_reported_not_dropped() -> None:
    telling = reduce_artifacts(corpus(planted=60), "dual_use", bound=0.6)
    assert (telling.excluded, telling.is_reached) == ((), False)
    assert isinstance(telling.after, ArtifactMeasure) and telling.after.words[0].word == "zorb"
    forty = corpus(planted=40)
    assert not reduce_artifacts(forty, "dual_use", bound=0.6, most=0.3).is_reached
    assert len(reduce_artifacts(forty, "dual_use", bound=0.6, most=0.9).excluded) >= 40


def test_measure_below_the_bound_excludes_nothing() -> None:
    telling = reduce_artifacts(corpus(), "dual_use", bound=0.65)
    assert telling.excluded == () and telling.is_reached and telling.before == telling.after


def plain_auc(rows: list[ArtifactRow], kinds: list[bool]) -> float:
    """Return the AUC by loops over rows and folds."""
    goals = sorted({r.goal for r in rows}, key=digest)
    fold_of = {goal: i % FOLDS for i, goal in enumerate(goals)}
    bags = [list(dict.fromkeys(r.text.split())) for r in rows]
    above = pairs = 0.0
    for fold in range(FOLDS):
        others = [
            (b, k) for r, b, k in zip(rows, bags, kinds, strict=True) if fold_of[r.goal] != fold
        ]
        n = [sum(k is kind for _, k in others) for kind in (True, False)]

        def odds(
            word: str, others: list[tuple[list[str], bool]] = others, n: list[int] = n
        ) -> float:
            first = sum(word in b for b, k in others if k)
            second = sum(word in b for b, k in others if not k)
            if not first + second:
                return 0.0
            cells = (first, n[0] - first, second, n[1] - second)
            a, b, c, d = (cell + SMOOTHING for cell in cells)
            return math.log(a * d / (b * c))

        inside = [
            (b, k) for r, b, k in zip(rows, bags, kinds, strict=True) if fold_of[r.goal] == fold
        ]
        scores = [(round(sum(map(odds, b)) / len(b), 12), k) for b, k in inside]
        for one in (score for score, kind in scores if kind):
            for other in (score for score, kind in scores if not kind):
                above += (one > other) + (one == other) / 2
                pairs += 1
    return above / pairs


@pytest.mark.parametrize("seed", range(4))
def test_auc_of_all_folds_equals_plain_loops(seed: int) -> None:
    rows = corpus(14 + seed, planted=7, seed=seed)
    kinds = [row.intent == "dual_use" for row in rows]
    result = measure_auc(rows, kinds)
    assert isinstance(result, ArtifactMeasure)
    assert result.auc == pytest.approx(plain_auc(rows, kinds), abs=1e-9)
