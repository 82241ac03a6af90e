"""Counts with their noun."""

from __future__ import annotations

import pytest

from safegen.core.plural import format_plural


@pytest.mark.parametrize(
    ("count", "forms", "expected"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1_200, ("row",), "1,200 rows"),
        (1, ("retry", "retries"), "1 retry"),
        (2, ("retry", "retries"), "2 retries"),
    ],
)
def test_count_has_the_form_of_its_noun(count: int, forms: tuple[str, ...], expected: str) -> None:
    assert format_plural(count, *forms) == expected
