"""Known arrays of strength 2 for k factors of v values, as starts of the greedy search.

Linear arrays over a field (Bush 1952), their doubling to q² + q + 1 columns (after Stevens and
Mendelsohn 1999), the binary optimum (Kleitman and Spencer 1973), and arrays developed from few
base rows over the integers modulo v, found greedily.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import comb

from safegen.coverage._prng import Xorshift

Table = list[tuple[int, ...]]
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
REDUCTION = {4: (2, (1, 1)), 8: (2, (1, 1, 0)), 9: (3, (2, 0)), 16: (2, (1, 1, 0, 0))}
"""Order → characteristic and x^n as a polynomial, lowest term first, from an irreducible one."""
ORDERS = sorted({*PRIMES, *REDUCTION})
MAX_DEVELOPED_WORK = 60_000
"""Bound on k² · v, the work of one developed base row; beyond it that template is left out."""


def iter_tables(columns: int, sizes: Sequence[int], dice: Xorshift) -> Iterator[Table]:
    """Iterate over known tables for factors of these sizes, largest first; some have fewer columns."""
    wanted = sorted({sizes[0], sizes[1]})
    nearest = (min((q for q in ORDERS if q >= size), default=0) for size in wanted)
    for order in sorted({q for q in nearest if q}):
        yield linear_table(order, min(columns, order + 1))
        if columns > order + 1:
            yield doubled_table(order, min(columns, order * order + order + 1))
    for size in wanted:
        if size > 2 and size not in ORDERS:
            yield latin_square_table(size, min(columns, 4))
    if sizes[0] == 2:
        yield binary_table(columns)
    for size in wanted:
        if size > 2 and columns * columns * size <= MAX_DEVELOPED_WORK:
            yield min((developed_table(columns, size, dice) for _ in range(8)), key=len)


def linear_table(q: int, k: int) -> Table:
    """The lines of a plane over a field of q elements: q² rows, up to q + 1 columns."""
    add, times = field_tables(q)
    rows = [(*(add[times[i][c]][j] for c in range(q)), i) for i, j in product(range(q), range(q))]
    return [row[:k] if k <= q else row for row in rows]


def doubled_table(q: int, k: int) -> Table:
    """Two linear arrays, one over the other: 2q² - q rows, up to q² + q + 1 columns."""
    plane = linear_table(q, q + 1)
    top = [(*(row[c] for c in range(q + 1) for _ in range(q)), 0) for row in plane]
    # The rows with slope 0 are constant, and the upper half holds their pairs already.
    low = [(*(row[d] for _ in range(q + 1) for d in range(q)), row[q]) for row in plane[q:]]
    return [row[:k] if k < len(row) else row for row in [*top, *low]]


def latin_square_table(v: int, k: int) -> Table:
    """Two Latin squares that are nearly orthogonal for even v (v pairs short), fully for odd v."""
    second = [2 * j + int(v % 2 == 0 and 2 * j >= v) for j in range(v)]
    rows = [(i, j, (i + j) % v, (i + second[j]) % v) for i, j in product(range(v), range(v))]
    return [row[:k] for row in rows]


def binary_table(k: int) -> Table:
    """The smallest array of two-valued columns: the words of n bits with n/2 ones, the first a 0."""
    n = next(n for n in range(4, 64) if comb(n - 1, (n + 1) // 2) >= k)
    words = combinations(range(1, n), (n + 1) // 2)
    columns = [set(word) for word, _ in zip(words, range(k), strict=False)]
    return [tuple(int(row in word) for word in columns) for row in range(n)]


def field_tables(q: int) -> tuple[list[list[int]], list[list[int]]]:
    """Tables of addition and multiplication of the field with q elements."""
    if q in PRIMES:
        span = range(q)
        return [[(a + b) % q for b in span] for a in span], [
            [a * b % q for b in span] for a in span
        ]
    p, reduction = REDUCTION[q]
    n = len(reduction)
    digits = [tuple(a // p**i % p for i in range(n)) for a in range(q)]
    number = {d: a for a, d in enumerate(digits)}
    add = [
        [number[tuple((x + y) % p for x, y in zip(a, b, strict=True))] for b in digits]
        for a in digits
    ]

    def product_of(a: tuple[int, ...], b: tuple[int, ...]) -> int:
        terms = [0] * (2 * n - 1)
        for (i, x), (j, y) in product(enumerate(a), enumerate(b)):
            terms[i + j] += x * y
        for high in range(2 * n - 2, n - 1, -1):
            for i, c in enumerate(reduction):
                terms[high - n + i] += terms[high] * c
        return number[tuple(term % p for term in terms[:n])]

    return add, [[product_of(a, b) for b in digits] for a in digits]


def developed_table(k: int, v: int, dice: Xorshift) -> Table:
    """Base rows whose differences between any two columns are all of 0 … v-1, each with its v shifts."""
    open_ = [[(1 << v) - 1] * k for _ in range(k)]
    left = v * k * (k - 1) // 2
    rows: Table = []
    while left:
        row = max(
            (_find_base_row(open_, v, dice) for _ in range(8)), key=lambda r: _closes(open_, r, v)
        )
        closed = _closes(open_, row, v)
        for a, b in combinations(range(k), 2):
            open_[a][b] &= ~(1 << (row[b] - row[a]) % v)
            open_[b][a] &= ~(1 << (row[a] - row[b]) % v)
        left -= closed
        if closed:
            rows += [tuple((x + shift) % v for x in row) for shift in range(v)]
    return rows


def _closes(open_: Sequence[Sequence[int]], row: Sequence[int], v: int) -> int:
    pairs = combinations(range(len(row)), 2)
    return sum(open_[a][b] >> (row[b] - row[a]) % v & 1 for a, b in pairs)


def _find_base_row(open_: Sequence[Sequence[int]], v: int, dice: Xorshift) -> list[int]:
    """Fill the columns in a random order, each with the value that closes most differences."""
    row = [0] * len(open_)
    done: list[int] = []
    for column in dice.shuffle(range(len(open_))):
        scores = [0] * v
        for other in done:
            for d in range(v):
                scores[(row[other] + d) % v] += open_[other][column] >> d & 1
        turn = dice.random_below(v)
        row[column] = max(range(v), key=lambda x: (scores[x], (x + turn) % v))
        done.append(column)
    return row
