"""Pseudo-random integers that are equal on every platform and Python version."""

from __future__ import annotations

from collections.abc import Sequence


class Xorshift:
    """A xorshift64* generator (Vigna 2016); `random` does not guarantee equal shuffles across versions."""

    def __init__(self, seed: int) -> None:
        # The generator never leaves the state 0, and near seeds must not give near states.
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) % (1 << 64) or 1

    def random_below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        x = self._state
        x ^= x >> 12
        x = (x ^ (x << 25)) % (1 << 64)
        self._state = x ^ (x >> 27)
        return ((self._state * 0x2545F4914F6CDD1D) % (1 << 64) >> 11) % n

    def shuffle(self, items: Sequence[int]) -> list[int]:
        """Return the items in random order (Fisher and Yates)."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = self.random_below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out
