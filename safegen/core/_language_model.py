"""A naive Bayes model of byte sequences that identifies languages, read from a small file.

The file is a part of py3langid's model (see `language_model.LICENSE`): the columns of the common
languages, and the automaton as a trie, from which the transitions are computed in a few milliseconds.
Shares equal those of py3langid restricted to the same languages.
"""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

FILE = Path(__file__).with_name("language_model.npz")


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """Log-probabilities of byte sequences by language, and the automaton that finds the sequences."""

    languages: list[str]
    transitions: array[int]
    """Next state by row and byte."""
    row_starts: array[int]
    """Index of the state's row in `transitions`."""
    features: array[int]
    """Number of the longest known sequence that ends in the state, or -1."""
    weights: np.ndarray[Any, Any]
    """float32 of shape (features, languages)."""
    priors: np.ndarray[Any, Any]

    def rank(self, text: str) -> list[tuple[str, float]]:
        """Return the probability of each language."""
        import numpy as np

        data = _encode(text)
        scores = self._score(data)
        # Long texts have more features; the root of the length keeps probabilities comparable.
        scores *= 1.0 / math.sqrt(len(data) or 1)
        np.exp(scores - scores.max(), out=scores)
        scores /= scores.sum()
        return list(zip(self.languages, scores.tolist(), strict=True))

    def _score(self, data: bytes) -> np.ndarray[Any, Any]:
        import numpy as np

        state, transitions, starts = 0, self.transitions, self.row_starts
        states = [state := transitions[starts[state] + byte] for byte in data]
        counts = Counter(map(self.features.__getitem__, states))
        counts.pop(-1, None)
        if not counts:
            return np.zeros(len(self.languages), dtype=np.float32)
        index = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
        values = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        return np.log1p(values) @ self.weights.take(index, axis=0) + self.priors


def load_language_model(path: Path = FILE) -> LanguageModel:
    """Load the model of the common languages."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        # Many sequences have equal weights, so the file stores each row once.
        weights = arrays["weights"].T[arrays["weight_rows"]].astype(np.float32)
        automaton = _build_automaton(arrays["bytes"], arrays["children"], arrays["is_feature"])
        return LanguageModel(arrays["languages"].tolist(), *automaton, weights, arrays["priors"])


def _encode(text: str) -> bytes:
    # As py3langid does; otherwise the shares of such texts would differ.
    lower = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", lower).encode("utf-8", "surrogatepass")


class _Automaton(NamedTuple):
    transitions: array[int]
    row_starts: array[int]
    features: array[int]


def _build_automaton(
    last_bytes: np.ndarray[Any, Any],
    children: np.ndarray[Any, Any],
    is_feature: np.ndarray[Any, Any],
) -> _Automaton:
    """Build the automaton of Aho and Corasick (1975) from a trie, level by level.

    Args:
        last_bytes: last byte of each state's sequence; states are in order of their length.
        children: number of longer sequences by state.
        is_feature: True for a state whose sequence is a feature.
    """
    import numpy as np

    size = len(children)
    parents = np.zeros(size, dtype=np.intp)
    parents[1:] = np.repeat(np.arange(size), children)
    inner = children > 0
    rows = np.where(inner, np.cumsum(inner) - 1, 0)
    features = np.where(is_feature, np.cumsum(is_feature) - 1, -1)
    buffer = array("I", [0]) * (int(inner.sum()) * 256)
    table = np.frombuffer(buffer, dtype=np.uint32).reshape(-1, 256)
    # The state of the longest known suffix: its row and feature hold unless the trie has an own one.
    suffixes = np.zeros(size, dtype=np.intp)
    start, end = 1, 1 + int(children[0])
    table[0, last_bytes[start:end]] = np.arange(start, end)
    while start < end:
        level = slice(start, end)
        suffix, is_inner = suffixes[level], inner[level]
        own_rows = rows[level][is_inner]
        rows[level] = np.where(is_inner, rows[level], rows[suffix])
        features[level] = np.where(is_feature[level], features[level], features[suffix])
        below = slice(end, end + int(children[level].sum()))
        if len(own_rows):
            copies = table[own_rows[0] : own_rows[-1] + 1]
            np.take(table, rows[suffix[is_inner]], axis=0, out=copies, mode="clip")
        parent, letters = parents[below], last_bytes[below]
        table[rows[parent], letters] = np.arange(below.start, below.stop)
        suffixes[below] = table[rows[suffixes[parent]], letters]
        start, end = below.start, below.stop
    # Arrays, because lists of numbers take 36 bytes each and miss the processor's cache twice.
    starts, numbers = array("I"), array("i")
    starts.frombytes((rows << 8).astype(np.uint32).tobytes())
    numbers.frombytes(features.astype(np.int32).tobytes())
    return _Automaton(buffer, starts, numbers)
