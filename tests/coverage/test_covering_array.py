from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import prod

import pytest
from allpairspy import AllPairs
from hypothesis import given, settings, strategies as st

from safegen.core.errors import ConfigError
from safegen.coverage.certificate import MAX_LISTED, certify
from safegen.coverage.covering_array import (
    CoverageModel,
    FactorGroup,
    Void,
    build_array,
)
from tests.coverage.bounds import lower_bound

Pairs = frozenset[tuple[str, str]]


def uniform(*sizes: int) -> dict[str, list[str]]:
    return {f"f{i}": [f"v{v}" for v in range(n)] for i, n in enumerate(sizes)}


def satisfies(row: Mapping[str, str], void: Sequence[Void]) -> bool:
    return not any(all(row.get(f) in values for f, values in v.when.items()) for v in void)


def full_rows(model: CoverageModel) -> Iterator[dict[str, str]]:
    for values in product(*model.factors.values()):
        row = dict(zip(model.factors, values, strict=True))
        if satisfies(row, model.void):
            yield row


def tuples_of(row: Mapping[str, str], factors: Sequence[str], t: int) -> set[Pairs]:
    held = [(f, row[f]) for f in factors if f in row]
    return {frozenset(c) for c in combinations(held, t)}


def reaches(model: CoverageModel) -> list[tuple[Sequence[str], int]]:
    whole = (list(model.factors), min(model.t, len(model.factors)))
    return [whole, *((g.factors, g.t) for g in model.groups)]


def combinations_of(model: CoverageModel) -> set[Pairs]:
    return {
        frozenset(zip(part, values, strict=True))
        for factors, t in reaches(model)
        for part in combinations(factors, t)
        for values in product(*(model.factors[f] for f in part))
    }


def covered(model: CoverageModel, rows: Sequence[Mapping[str, str]]) -> set[Pairs]:
    return {p for factors, t in reaches(model) for row in rows for p in tuples_of(row, factors, t)}


@st.composite
def models(draw: st.DrawFn) -> CoverageModel:
    factors = uniform(*draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    names = list(factors)
    some = st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=3)
    void: list[Void] = []
    for chosen in draw(st.lists(some, max_size=7)):
        values = {
            f: draw(st.lists(st.sampled_from(factors[f]), min_size=1, max_size=2, unique=True))
            for f in chosen
        }
        void.append(Void(values))
    groups = [FactorGroup(tuple(names), 3)] if len(names) >= 3 and draw(st.booleans()) else []
    if len(names) >= 4 and draw(st.booleans()):
        groups.append(FactorGroup((names[0], names[2], names[3]), 3))
    return CoverageModel(factors, t=draw(st.integers(1, 2)), groups=groups, void=void)


@given(model=models(), seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_array_covers_all_possible_combinations(model: CoverageModel, seed: int) -> None:
    possible = covered(model, list(full_rows(model)))
    if not any(True for _ in full_rows(model)):
        with pytest.raises(ConfigError, match="exclude every row"):
            build_array(model, seed=seed)
        return
    rows = build_array(model, seed=seed)
    assert all(list(row) == list(model.factors) for row in rows)
    assert all(satisfies(row, model.void) for row in rows)
    assert covered(model, rows) == possible
    proof = certify(model, rows)
    assert (proof.counts.total, proof.counts.void) == (
        len(combinations_of(model)),
        len(combinations_of(model) - possible),
    )
    assert (proof.counts.covered, proof.counts.missing, proof.missing) == (len(possible), 0, ())
    assert (proof.rows, proof.invalid_rows) == (len(rows), 0)
    assert lower_bound(model) <= len(rows)


@given(model=models(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_certificate_counts_equal_brute_force(model: CoverageModel, data: st.DataObject) -> None:
    names = list(model.factors)
    parts = st.fixed_dictionaries(
        {}, optional={f: st.sampled_from([*model.factors[f], "unknown"]) for f in names}
    )
    rows = data.draw(st.lists(parts, max_size=8))
    possible = covered(model, list(full_rows(model)))
    proof = certify(model, iter(rows))
    want = possible & covered(model, rows)
    assert proof.counts.covered == len(want)
    assert proof.counts.missing == len(possible - want)
    listed = {frozenset(m.items()) for m in proof.missing}
    assert listed <= possible - want
    assert len(proof.missing) == len(listed) == min(MAX_LISTED, len(possible - want))
    for (factors, t), group in zip(reaches(model), proof.groups, strict=True):
        alone = CoverageModel(
            model.factors, t=1, void=model.void, groups=[FactorGroup(tuple(factors), t)]
        )
        exact = {p for row in rows for p in tuples_of(row, factors, t)} & covered(
            alone, list(full_rows(model))
        )
        assert (group.t, group.counts.covered) == (t, len(exact))


def test_invalid_row_is_counted_and_covers_nothing_void() -> None:
    model = CoverageModel(uniform(2, 2, 2), void=[Void({"f0": ["v0"], "f1": ["v0"]})])
    proof = certify(model, [{"f0": "v0", "f1": "v0", "f2": "v0", "other": "x"}])
    assert (proof.invalid_rows, proof.counts.covered, proof.counts.void) == (1, 2, 1)


def test_combination_forbidden_by_several_constraints_is_void() -> None:
    factors = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "y"]}
    void = [Void({"a": ["x"], "c": ["x"]}), Void({"b": ["x"], "c": ["y"]})]
    proof = certify(
        CoverageModel(factors, void=void), build_array(CoverageModel(factors, void=void))
    )
    assert (proof.counts.total, proof.counts.void, proof.counts.missing) == (12, 3, 0)


def test_missing_combinations_are_listed_up_to_a_limit() -> None:
    proof = certify(CoverageModel(uniform(10, 10, 10)), [])
    assert (proof.counts.missing, len(proof.missing)) == (300, MAX_LISTED)


SIZES = {
    "3^4": [3] * 4,
    "3^13": [3] * 13,
    "4^10": [4] * 10,
    "5^6": [5] * 6,
    "2^20": [2] * 20,
    "10^4": [10] * 4,
    "6^6": [6] * 6,
    "6^3": [6] * 3,
    "8^4": [8] * 4,
    "12^4": [12] * 4,
    "4^20": [4] * 20,
    "10^10": [10] * 10,
    "mixed": [7, 7, 6, 6, 5, 5, 3, 2, 2],
    "steep": [9, 9, 8, 7, 3],
    "small": [3, 2, 2, 2, 2],
    "flat": [4, 4, 3, 3, 3, 2, 2, 2, 2],
}


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_pairwise_arrays_are_near_allpairspy_size(sizes: list[int]) -> None:
    model = CoverageModel(uniform(*sizes))
    rows = build_array(model)
    assert certify(model, rows).counts.missing == 0
    assert len(rows) <= 1.2 * len(list(AllPairs(list(model.factors.values()))))
    assert lower_bound(model) == prod(sorted(sizes)[-2:]) <= len(rows)


def test_higher_strength_group_covers_triples() -> None:
    model = CoverageModel(uniform(4, 4, 4, 3, 3, 3, 2), groups=[FactorGroup(("f0", "f1", "f2"), 3)])
    rows = build_array(model)
    whole, triples = certify(model, rows).groups
    assert (whole.t, triples.t, triples.counts.total) == (2, 3, 64)
    assert whole.counts.missing == triples.counts.missing == 0
    assert len(rows) == lower_bound(model) == 64


def test_seed_rows_come_first_and_count_as_covered() -> None:
    model = CoverageModel(uniform(3, 3, 3), void=[Void({"f0": ["v0"], "f1": ["v0"]})])
    first = {"f0": "v1", "f1": "v1", "f2": "v1"}
    with_seeds = CoverageModel(model.factors, void=model.void, seeds=[first, {"f2": "v2"}])
    rows = build_array(with_seeds)
    assert rows[0] == first
    assert rows[1]["f2"] == "v2"
    assert all(satisfies(row, model.void) for row in rows)
    assert certify(model, rows).counts.missing == 0
    assert len(rows) <= len(build_array(model)) + 2


def test_preferred_values_occur_more_often() -> None:
    def share(weights: Mapping[str, Mapping[str, float]]) -> Counter[str]:
        rows = build_array(CoverageModel(uniform(6, 6, 3), weights=weights))
        return Counter(row["f2"] for row in rows)

    even, tilted = share({}), share({"f2": {"v0": 8, "v1": 1, "v2": 0}})
    assert max(even.values()) - min(even.values()) <= 2
    assert tilted["v0"] > 2 * max(tilted["v1"], tilted["v2"])
    assert min(tilted.values()) >= 6


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (CoverageModel({}), "one axis"),
        (CoverageModel({"a": []}), "one value"),
        (CoverageModel({"a": ["x", "x"]}), "each once"),
        (CoverageModel(uniform(2, 2), t=0), "strength `0`"),
        (CoverageModel(uniform(2, 2), void=[Void({"f00": ["v0"]})]), "did you mean `f0`"),
        (CoverageModel(uniform(2, 2), void=[Void({"f0": ["v7"]})]), "`f0` has no value `v7`"),
        (CoverageModel(uniform(2, 2), void=[Void({})]), "names no axis"),
        (CoverageModel(uniform(2, 2), groups=[FactorGroup(("f0", "f1"), 3)]), "strength `3`"),
        (CoverageModel(uniform(2, 2), groups=[FactorGroup(("f0", "f0"), 2)]), "each named once"),
        (CoverageModel(uniform(2, 2), seeds=[{"f0": "v9"}]), "row: `f0` has no value"),
        (CoverageModel(uniform(2, 2), weights={"f0": {"v0": -1}}), "0 or more"),
        (CoverageModel(uniform(2, 2), weights={"f0": {"v5": 1}}), "weights: `f0` has no value"),
    ],
)
def test_invalid_model_is_refused_with_the_reason(model: CoverageModel, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_array(model)


def test_contradicting_constraints_are_named() -> None:
    void = [
        Void({"f1": ["v0"]}, "never that"),
        Void({"f0": ["v0"], "f2": ["v1"]}, "innocent"),
        Void({"f1": ["v1"]}, "nor this"),
    ]
    with pytest.raises(ConfigError, match=r"never that.*nor this") as e:
        build_array(CoverageModel(uniform(2, 2, 2), void=void))
    assert "innocent" not in str(e.value)


def test_invalid_seed_row_names_its_constraint() -> None:
    void = [Void({"f0": ["v0"], "f1": ["v0"]}, "they exclude each other")]
    with pytest.raises(ConfigError, match=r"row f0=v0, f1=v0 .*exclude each other"):
        build_array(CoverageModel(uniform(2, 2), void=void, seeds=[{"f0": "v0", "f1": "v0"}]))


def test_equal_model_and_seed_give_equal_rows() -> None:
    code = (
        "import json; from safegen.coverage.covering_array import *;"
        "f={f'f{i}':[f'v{v}' for v in range(n)] for i,n in enumerate([5,4,4,3,2])};"
        "m=CoverageModel(f,void=[Void({'f0':['v0','v1'],'f3':['v2']})],groups=[FactorGroup(('f0','f1','f4'),3)]);"
        "print(json.dumps(build_array(m,seed=7)))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }
    model = CoverageModel(
        uniform(5, 4, 4, 3, 2),
        void=[Void({"f0": ["v0", "v1"], "f3": ["v2"]})],
        groups=[FactorGroup(("f0", "f1", "f4"), 3)],
    )
    assert [json.loads(a) for a in answers] == [build_array(model, seed=7)]
    assert build_array(model, seed=8) != build_array(model, seed=7)
