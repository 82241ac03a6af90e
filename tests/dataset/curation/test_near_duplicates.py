from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from safegen.core import text_forms
from safegen.core.hashing import hash_fraction
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.near_duplicates import (
    CorpusText,
    NearDuplicate,
    choose_band_rows,
    find_near_duplicates,
)

WORDS = "box lid card cake flour oven baker street key lock bell door shelf spoon bowl milk".split()


def sentence(number: int, length: int = 20) -> str:
    """A text of invented words, different for every number."""
    return " ".join(
        f"{WORDS[int(hash_fraction(number, i) * 16)]}{number}x{i}" for i in range(length)
    )


def brute(texts: list[CorpusText], threshold: float) -> list[NearDuplicate]:
    """Compare every text with every earlier one that is kept."""
    runs = {t.id: text_forms.shingles(text_forms.words(t.text), size=3) for t in texts}
    kept: list[CorpusText] = []
    duplicates: list[NearDuplicate] = []
    for text in texts:
        rivals = [k for k in kept if not text.group or k.group != text.group]
        scored = ((k.id, text_forms.jaccard(runs[k.id], runs[text.id])) for k in rivals)
        hit = next(((k, a) for k, a in scored if a >= threshold), None)
        if hit is None:
            kept.append(text)
        else:
            duplicates.append(NearDuplicate(text.id, *hit))
    return duplicates


small = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS[:4]), max_size=8).map(" ".join),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=12,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(small, st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
def test_small_corpora_equal_brute_force(drawn: list[tuple[str, str]], threshold: float) -> None:
    texts = [CorpusText(str(i), text, group) for i, (text, group) in enumerate(drawn)]
    duplicates = find_near_duplicates(texts, threshold=threshold)
    assert duplicates == [
        c._replace(similarity=pytest.approx(c.similarity)) for c in brute(texts, threshold)
    ]


def planted(n: int) -> tuple[list[CorpusText], set[str]]:
    """Different texts, of which every tenth is followed, later, by one with a changed word."""
    texts = [CorpusText(f"t{i}", sentence(i)) for i in range(n)]
    copies = [
        CorpusText(f"c{i}", " ".join([*sentence(i).split()[:-1], "another"]))
        for i in range(0, n, 10)
    ]
    return [*texts, *copies], {c.id for c in copies}


def test_planted_copies_are_found_across_chunks() -> None:
    texts, copies = planted(3 * near_duplicates.CHUNK_SIZE)
    duplicates = find_near_duplicates(iter(texts))
    assert {c.id for c in duplicates} == copies
    assert all(c.original == "t" + c.id[1:] for c in duplicates)
    assert all(c.similarity == pytest.approx(17 / 19) for c in duplicates)


def test_first_text_stays_and_excluded_texts_match_nothing() -> None:
    words = sentence(0, 40).split()
    chain = [CorpusText(str(i), " ".join(words[i * 6 : i * 6 + 20])) for i in range(4)]
    assert [c.id for c in find_near_duplicates(chain, threshold=0.5)] == ["1", "3"]
    assert [c.original for c in find_near_duplicates(chain, threshold=0.5)] == ["0", "2"]
    assert [c.id for c in find_near_duplicates(chain[::-1], threshold=0.5)] == ["2", "0"]


def test_case_and_quotes_do_not_matter() -> None:
    texts, _ = planted(100)
    assert find_near_duplicates(texts) == find_near_duplicates(texts)
    pair = [
        CorpusText("a", "Don't open the “Zorb” box"),
        CorpusText("b", "don’t OPEN the *Zorb* box!"),
    ]
    assert find_near_duplicates(pair, threshold=1.0) == [NearDuplicate("b", "a", 1.0)]


def test_prompts_of_one_set_are_not_compared() -> None:
    same = [CorpusText("a", "Open the box", "s1"), CorpusText("b", "Open the box", "s1")]
    assert find_near_duplicates(same) == []
    assert find_near_duplicates([*same, CorpusText("c", "Open the box", "s2")]) == [
        NearDuplicate("c", "a", 1.0)
    ]


@pytest.mark.parametrize("texts", [[], ["?!", "..."], ["", "", "box"]], ids=str)
def test_texts_without_words_match_nothing(texts: list[str]) -> None:
    assert find_near_duplicates(CorpusText(str(i), t) for i, t in enumerate(texts)) == []


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        find_near_duplicates([], threshold=threshold)


def test_bands_miss_few_pairs_at_the_threshold() -> None:
    for threshold in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        rows = choose_band_rows(threshold)
        assert (1 - threshold**rows) ** (
            near_duplicates.PERMUTATIONS // rows
        ) <= near_duplicates.MISS_PROBABILITY
    assert all(
        choose_band_rows(a) <= choose_band_rows(b) for a, b in pairwise([0.3, 0.5, 0.7, 0.9, 1.0])
    )


def test_signatures_estimate_similarity_within_their_error() -> None:
    errors: list[float] = []
    for number in range(40):
        words = sentence(number, 60).split()
        one, other = words[: 40 - number % 20], words[number % 20 :]
        signed = near_duplicates.minhash_signatures(near_duplicates.hash_chunk([one, other], 3))
        truth = text_forms.jaccard(
            text_forms.shingles(one, size=3), text_forms.shingles(other, size=3)
        )
        errors.append(float((signed[0] == signed[1]).mean()) - truth)
    assert max(map(abs, errors)) < 0.18
    assert abs(sum(errors) / len(errors)) < 0.02


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS[:5]), max_size=9), min_size=1, max_size=8),
    st.integers(1, 4),
)
def test_chunk_hashes_equal_each_text_alone(texts: list[list[str]], size: int) -> None:
    together = near_duplicates.hash_chunk(texts, size)
    alone = [near_duplicates.hash_chunk([tokens], size) for tokens in texts]
    assert together.flat.tolist() == [h for chunk in alone for h in chunk.flat.tolist()]
    assert together.sizes.tolist() == [len(text_forms.shingles(t, size=size)) for t in texts]


def test_corpus_larger_than_memory_gives_equal_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, copies = planted(3 * near_duplicates.CHUNK_SIZE)
    in_memory = find_near_duplicates(texts)
    for name in ("SPOOL_BYTES", "PAIRS_AT_ONCE", "COMPARED_AT_ONCE", "GROUP_TEXTS"):
        monkeypatch.setattr(near_duplicates, name, 3)
    assert find_near_duplicates(texts) == in_memory
    assert len(in_memory) == len(copies)


def test_many_copies_of_a_text_match_the_first() -> None:
    texts = [CorpusText(str(i), sentence(i % 2, 25)) for i in range(700)]
    assert find_near_duplicates(texts) == [
        NearDuplicate(str(i), str(i % 2), 1.0) for i in range(2, 700)
    ]


def test_signature_of_a_long_text_is_that_of_its_parts() -> None:
    words = sentence(1, 3 * near_duplicates.BLOCK_SHINGLES).split()
    half = len(words) // 2
    parts = [words, words[: half + 2], words[half:], words[:4]]
    long, *halves, _ = near_duplicates.minhash_signatures(near_duplicates.hash_chunk(parts, 3))
    assert long.tolist() == [min(a, b) for a, b in zip(*(h.tolist() for h in halves), strict=True)]


@pytest.mark.parametrize("id_", ["a\nb", "\\n", "\ud800", "é", ""], ids=ascii)
def test_id_of_any_text_is_returned(id_: str) -> None:
    texts = [CorpusText(id_, "open the box"), CorpusText(f"{id_}2", "open the box")]
    assert find_near_duplicates(texts) == [NearDuplicate(f"{id_}2", id_, 1.0)]
