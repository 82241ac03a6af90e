from __future__ import annotations

from hypothesis import given, strategies as st

from safegen.dataset.curation.exact_duplicates import (
    DuplicateFilter,
    DuplicateKey,
    ExpectationIndex,
    digest_64,
    message_key,
    normalise,
)
from safegen.testing import make_expectation, make_messages

texts = st.text(max_size=12)


def test_case_width_and_space_are_normalised() -> None:
    kept = DuplicateFilter()
    assert kept.check(DuplicateKey.of(make_messages("How is the Box closed?"), "one")) is None
    assert (
        kept.check(DuplicateKey.of(make_messages(" how is\nthe ＢＯＸ closed? "), "two"))
        == "duplicate_prompt"
    )


def test_equal_responses_are_duplicates() -> None:
    kept = DuplicateFilter()
    assert kept.check(DuplicateKey.of(make_messages("one"), "A box.")) is None
    assert kept.check(DuplicateKey.of(make_messages("two"), "a  box.")) == "duplicate_response"


def test_twins_may_share_an_answer() -> None:
    kept = DuplicateFilter()
    for question, reason in ((("goal", "twin"), None), (("goal", "other"), "duplicate_response")):
        for group in ("Finns", "Danes"):
            messages = make_messages(f"How do {group} {question[1]} a box?")
            key = DuplicateKey.of(messages, "A box.", question=question)
            assert kept.check(key) == reason


def test_system_turn_makes_a_prompt_distinct() -> None:
    kept = DuplicateFilter()
    assert kept.check(DuplicateKey.of(make_messages("one"), "a")) is None
    assert (
        kept.check(DuplicateKey.of(make_messages("one", system="You serve a kitchen."), "b"))
        is None
    )


def test_excluded_rows_exclude_no_later_row() -> None:
    kept = DuplicateFilter()
    kept.check(DuplicateKey.of(make_messages("one"), "a"))
    assert kept.check(DuplicateKey.of(make_messages("two"), "a")) == "duplicate_response"
    assert kept.check(DuplicateKey.of(make_messages("two"), "b")) is None


@given(texts)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.lists(st.tuples(texts, texts), max_size=20))
def test_kept_rows_have_no_duplicates(rows: list[tuple[str, str]]) -> None:
    first, again = DuplicateFilter(), DuplicateFilter()
    kept = [r for r in rows if first.check(DuplicateKey.of(make_messages(r[0]), r[1])) is None]
    assert len({normalise(p) for p, _ in kept}) == len(kept)
    assert len({normalise(a) for _, a in kept}) == len(kept)
    assert all(again.check(DuplicateKey.of(make_messages(p), a)) is None for p, a in kept)
    assert rows[:1] == kept[:1]


def test_equal_messages_with_other_expectations_contradict() -> None:
    seen = ExpectationIndex()
    prompt, other = (digest_64(message_key(make_messages(text))) for text in ("one", "One"))
    assert not seen.contradicts(prompt, make_expectation(ceiling=2))
    assert not seen.contradicts(prompt, make_expectation(ceiling=2, rule_ids=("OTHER",)))
    assert not seen.contradicts(other, make_expectation(ceiling=3))
    assert seen.contradicts(prompt, make_expectation(ceiling=3))
    assert seen.contradicts(prompt, make_expectation(required=()))
