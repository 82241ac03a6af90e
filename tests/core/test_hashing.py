from __future__ import annotations

from hypothesis import given, strategies as st

from safegen.core import hashing

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_digest_ignores_key_order(value: dict[str, object]) -> None:
    assert hashing.digest(value) == hashing.digest(dict(reversed(value.items())))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_ids_differ_if_parts_differ(a: list[str], b: list[str]) -> None:
    assert (hashing.short_id(*a) == hashing.short_id(*b)) == (a == b)


@given(st.text())
def test_hash_fraction_is_below_one(text: str) -> None:
    assert 0 <= hashing.hash_fraction(text) < 1
