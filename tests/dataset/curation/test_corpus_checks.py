from __future__ import annotations

import random
from collections.abc import Iterable

from safegen.core.types import INTENTS, MODES, Intent, Source
from safegen.dataset.curation import corpus_checks, near_duplicates
from safegen.dataset.curation.artifacts import ArtifactMeasure, UnmeasuredArtifacts
from safegen.dataset.curation.corpus_checks import CorpusPrompt, PromptSample

WORDS = [
    f"{a}{b}" for a in "ba be bi bo bu da de di do du".split() for b in "lon mir tas vek".split()
]
TAG = "curiously"


def text(seed: object, *, words: int = 24) -> str:
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) for _ in range(words))


def prompt(
    set_: str, intent: Intent, content: str, *, source: Source = "author", n: int = 0
) -> CorpusPrompt:
    mode = MODES[INTENTS.index(intent)]
    return CorpusPrompt(f"{set_}-{intent}-{n}", set_, f"goal-{set_}", source, intent, mode, content)


def matched(set_: str, *, source: Source = "author", tag: str = "") -> list[CorpusPrompt]:
    """Return a set of four prompts; the dual-use ones contain the tag."""
    made = [prompt(set_, intent, text((set_, intent)), source=source) for intent in INTENTS]
    made.append(prompt(set_, "dual_use", text((set_, "again")), source=source, n=1))
    return [p._replace(text=f"{p.text} {tag}") if p.intent == "dual_use" else p for p in made]


def sets(count: int, *, source: Source = "author", tag: str = "") -> list[CorpusPrompt]:
    return [
        p for n in range(count) for p in matched(f"{source}{tag}{n:03d}", source=source, tag=tag)
    ]


def gate(prompts: Iterable[CorpusPrompt]) -> corpus_checks.CorpusCheck:
    kept = list(prompts)
    return corpus_checks.check_corpus(lambda: iter(kept))


def test_near_duplicate_is_excluded_and_its_set_stays() -> None:
    one, two = matched("one"), matched("two")
    two[3] = two[3]._replace(text=one[0].text + " truly")
    left = gate([*one, *two])
    assert left.scenarios == {"two-dual_use-1": "near_duplicate"}
    assert [(c.id, c.original) for c in left.near_duplicates] == [
        ("two-dual_use-1", "one-benign-0")
    ]
    assert left.near_duplicates[0].similarity >= near_duplicates.THRESHOLD


def test_set_that_loses_an_intent_is_excluded() -> None:
    one, two = matched("one"), matched("two")
    two[0] = two[0]._replace(text=one[0].text)
    assert gate([*one, *two]).scenarios == excluded_ids(two)


def excluded_ids(set_: list[CorpusPrompt]) -> dict[str, str]:
    """Return the exclusions of a set whose first prompt is a copy."""
    return {p.scenario_id: "incomplete_set" if n else "near_duplicate" for n, p in enumerate(set_)}


def test_copy_of_an_excluded_prompt_stays() -> None:
    one, two, three = matched("one"), matched("two"), matched("three")
    two[0] = two[0]._replace(text=one[0].text)
    three[2] = three[2]._replace(text=two[2].text)
    left = gate([*one, *two, *three])
    assert left.scenarios == excluded_ids(two)
    assert [c.id for c in left.near_duplicates] == ["two-benign-0"]


def test_written_prompt_stays_before_authored_copies() -> None:
    author, written = matched("author"), matched("written", source="written")
    author[3] = author[3]._replace(text=written[0].text)
    assert gate([*author, *written]).scenarios == {"author-dual_use-1": "near_duplicate"}


def test_written_near_duplicates_are_counted_and_stay() -> None:
    one, two = matched("one", source="written"), matched("two", source="written")
    two[0] = two[0]._replace(text=one[0].text)
    left = gate([*one, *two, *matched("author")])
    assert (left.scenarios, left.written_near_duplicates) == ({}, 1)


def test_imported_near_duplicates_are_excluded() -> None:
    one = prompt("one", "benign", text(1), source="imported")
    two = prompt("two", "benign", text(1), source="imported")
    assert gate([one, two]).scenarios == {"two-benign-0": "near_duplicate"}


def test_sets_with_an_artifact_word_are_excluded() -> None:
    tagged = sets(45, tag=TAG)
    left = gate([*sets(35), *sets(20, tag="weakly"), *tagged])
    assert set(left.scenarios.values()) == {"lexical_artifact"}
    assert left.scenarios.keys() == {p.scenario_id for p in tagged}
    assert [w.word for w in left.words] == [TAG]


def test_artifact_word_in_written_sets_excludes_nothing() -> None:
    for source in ("written", "imported"):
        tagged = sets(56, source=source, tag=TAG)
        left = gate([*tagged, *sets(3)])
        assert (left.scenarios, left.words) == ({}, ())


def test_word_in_too_many_sets_excludes_nothing() -> None:
    assert gate([*sets(14), *sets(56, tag=TAG)]).scenarios == {}


def test_authored_sets_without_artifacts_stay() -> None:
    assert gate(sets(60)).scenarios == {}


def test_sample_is_bounded_and_holds_whole_goals() -> None:
    prompts = sets(1_500)
    sample = PromptSample(total=len(prompts))
    for p in prompts:
        sample.add(p)
    assert 0.8 * corpus_checks.SAMPLE_SIZE < len(sample.rows) < 1.2 * corpus_checks.SAMPLE_SIZE
    goals = [r.goal for r in sample.rows]
    assert {goals.count(g) for g in set(goals)} == {4}


def test_sample_measures_planted_word_or_is_unmeasured() -> None:
    few, many = PromptSample(total=40), PromptSample(total=240)
    for p in sets(9):
        few.add(p)
    for p in sets(60, tag=TAG):
        many.add(p)
    assert all(isinstance(r, UnmeasuredArtifacts) for r in few.measure().values())
    measured = many.measure()["dual_use"]
    assert isinstance(measured, ArtifactMeasure)
    assert measured.interval.low > corpus_checks.MAX_AUC
    assert measured.words[0].word == TAG
