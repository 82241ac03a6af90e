"""Codes of tokens: each token that occurs gets a row of some arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_FIRST_SIZE = 1 << 10
_MAX_TOKENS = 1 << 16


class TokenRows:
    """Rows of the tokens that occurred; a subclass names the columns and computes their values.

    Each column is an attribute: an array with a value for each row.
    """

    COLUMNS: ClassVar[Mapping[str, str]]
    """NumPy type by column."""

    def __init__(self) -> None:
        """Start empty."""
        self.clear()

    def encode(self, token: str) -> Sequence[int]:
        """Return the values of a token, in the order of `COLUMNS`."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forget all tokens."""
        import numpy as np

        self.rows: dict[str, int] = {}
        self._size = _FIRST_SIZE
        for name, dtype in self.COLUMNS.items():
            setattr(self, name, np.zeros(self._size, dtype))

    def find_rows(self, tokens: Sequence[str]) -> Array:
        """Return the row of each token; new tokens get rows."""
        import numpy as np

        try:
            return np.fromiter(map(self.rows.__getitem__, tokens), np.int32, len(tokens))
        except KeyError:
            for token in dict.fromkeys(tokens):
                if token not in self.rows:
                    self._add(token)
        return np.fromiter(map(self.rows.__getitem__, tokens), np.int32, len(tokens))

    def _add(self, token: str) -> None:
        import numpy as np

        row = len(self.rows)
        if row == self._size:
            self._size *= 2
            for name in self.COLUMNS:
                old = getattr(self, name)
                setattr(self, name, np.concatenate((old, np.zeros_like(old))))
        for name, value in zip(self.COLUMNS, self.encode(token), strict=True):
            getattr(self, name)[row] = value
        self.rows[token] = row

    @property
    def is_full(self) -> bool:
        """True if there are so many tokens that the rows should be cleared."""
        return len(self.rows) > _MAX_TOKENS
