from __future__ import annotations

from itertools import combinations

import pytest

from safegen.coverage import _known_arrays as known
from safegen.coverage._prng import Xorshift


def missing(table: known.Table, values: int) -> int:
    """Pairs of values of two columns that no row holds."""
    columns = range(len(table[0]))
    return sum(
        values * values - len({(row[a], row[b]) for row in table})
        for a, b in combinations(columns, 2)
    )


@pytest.mark.parametrize("q", known.ORDERS)
def test_linear_array_covers_pairs_in_q_squared_rows(q: int) -> None:
    table = known.linear_table(q, min(q + 1, 12))
    assert (len(table), missing(table, q)) == (q * q, 0)


@pytest.mark.parametrize("q", [2, 3, 4, 5])
def test_doubled_array_covers_every_pair(q: int) -> None:
    table = known.doubled_table(q, q * q + q + 1)
    assert (len(table), len(table[0]), missing(table, q)) == (2 * q * q - q, q * q + q + 1, 0)


@pytest.mark.parametrize(("k", "n"), [(2, 4), (3, 4), (4, 5), (10, 6), (15, 7), (35, 8), (126, 10)])
def test_binary_array_has_optimal_size(k: int, n: int) -> None:
    table = known.binary_table(k)
    assert (len(table), missing(table, 2)) == (n, 0)


@pytest.mark.parametrize(("v", "short"), [(6, 6), (10, 10), (12, 12), (15, 0)])
def test_latin_squares_are_orthogonal_except_v_pairs(v: int, short: int) -> None:
    table = known.latin_square_table(v, 4)
    assert (len(table), missing(table, v)) == (v * v, short)
    assert missing(known.latin_square_table(v, 3), v) == 0


@pytest.mark.parametrize(("k", "v"), [(4, 3), (10, 4), (7, 6), (10, 10)])
def test_developed_array_covers_every_pair(k: int, v: int) -> None:
    table = known.developed_table(k, v, Xorshift(0))
    assert len(table) % v == 0
    assert missing(table, v) == 0
