"""The classifier of response forms: logistic regressions over `_form_features`, read from one file.

`benchmarks/fit_forms.py` writes the file from the labelled bank in `benchmarks/forms`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from safegen.core.types import Assistance
from safegen.validators._form_features import CHAR_SCALE, extract_features, list_char_buckets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Form = Literal[
    "answer",
    "safe_completion",
    "partial_refusal",
    "refusal_redirect",
    "bare_refusal",
    "leaky_refusal",
    "deflection",
    "hedged_answer",
    "clarification",
    "off_topic",
    "garbage",
]
Part = Literal["limit", "redirection", "sermon"]
FORMS: tuple[Form, ...] = get_args(Form)
LEVELS: tuple[Assistance, ...] = get_args(Assistance)
PARTS: tuple[Part, ...] = get_args(Part)
OUTPUTS = len(FORMS) + len(LEVELS) + len(PARTS)
REFUSALS: tuple[Form, ...] = (
    "bare_refusal",
    "refusal_redirect",
    "leaky_refusal",
    "partial_refusal",
    "deflection",
)
"""Forms that decline all or a part, or moralise without an answer."""
_FOLDER = Path(__file__).parent
_CACHED_WORDS = 1 << 15


class FormReading(NamedTuple):
    """Probabilities of form, assistance level and parts of one response."""

    forms: Mapping[Form, float]
    levels: Mapping[Assistance, float]
    parts: Mapping[Part, float]

    @property
    def form(self) -> Form:
        """The most probable form."""
        return max(self.forms, key=lambda form: self.forms[form])

    @property
    def level(self) -> Assistance:
        """The most probable assistance level."""
        return max(self.levels, key=lambda level: self.levels[level])

    @property
    def refusal(self) -> float:
        """The probability that the response refuses, in full or in part, or deflects."""
        return sum(self.forms[form] for form in REFUSALS)


class CharWeights:
    """Weights of character sequences, with the sums of the words that occurred."""

    def __init__(self, table: Array) -> None:
        """Take float32 weights of shape (buckets, outputs)."""
        self.table = table
        self._clear()

    def _clear(self) -> None:
        import numpy as np

        self._rows: dict[str, int] = {}
        # The last column counts the sequences.
        self._sums = np.zeros((_CACHED_WORDS, self.table.shape[1] + 1), dtype=np.float32)

    def sum_words(self, words: Sequence[str]) -> Array:
        """Return the sum of the weights of all sequences of words, over the root of their number."""
        try:
            rows = [self._rows[word] for word in words]
        except KeyError:
            rows = self._add_words(words)
        total = self._sums[rows].sum(axis=0)
        return total[:-1] * (CHAR_SCALE / max(float(total[-1]), 1.0) ** 0.5)

    def _add_words(self, words: Sequence[str]) -> list[int]:
        new = [word for word in words if word not in self._rows]
        if len(self._rows) + len(new) > _CACHED_WORDS:
            self._clear()
            new = list(words[:_CACHED_WORDS])
        for word in new:
            buckets = list_char_buckets(word)
            row = len(self._rows)
            self._sums[row, :-1] = self.table[list(buckets)].sum(axis=0)
            self._sums[row, -1] = len(buckets)
            self._rows[word] = row
        return [self._rows[word] for word in words]


@dataclass(frozen=True, slots=True)
class FormModel:
    """Weights of the classifier."""

    hashes: Array
    """Sorted uint32 hashes of the known runs of words."""
    runs: Array
    """float32 of shape (runs, outputs)."""
    chars: CharWeights
    dense: Array
    """float32 of shape (measures, outputs)."""
    bias: Array
    metadata: Mapping[str, Any]

    def read(self, prompt: str, response: str) -> FormReading:
        """Classify a response; the same texts always give the same probabilities."""
        logits: list[float] = self.compute_logits(prompt, response).tolist()
        edge = len(FORMS) + len(LEVELS)
        return FormReading(
            dict(zip(FORMS, _softmax(logits[: len(FORMS)]), strict=True)),
            dict(zip(LEVELS, _softmax(logits[len(FORMS) : edge]), strict=True)),
            dict(zip(PARTS, _sigmoid(logits[edge:]), strict=True)),
        )

    def compute_logits(self, prompt: str, response: str) -> Array:
        """Return the logits of forms, levels and parts, in this order."""
        import numpy as np

        features = extract_features(prompt, response)
        places = np.searchsorted(self.hashes, features.hashes)
        places[places == len(self.hashes)] = 0
        known = self.hashes[places] == features.hashes
        logits = self.bias + features.dense @ self.dense
        logits += features.scales[known] @ self.runs[places[known]]
        return logits + self.chars.sum_words(features.words)


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    shares = [exp(logit - highest) for logit in logits]
    total = sum(shares)
    return [share / total for share in shares]


def _sigmoid(logits: Sequence[float]) -> list[float]:
    # The bound keeps `exp` finite.
    return [1 / (1 + exp(-max(logit, -700.0))) for logit in logits]


def find_model_file(language: str) -> Path | None:
    """Return the file of a language tag's model, or None."""
    path = _FOLDER / f"form_model_{language.split('-')[0].lower()}.npz"
    return path if path.is_file() else None


@lru_cache(maxsize=4)
def load_form_model(language: str) -> FormModel | None:
    """Load the model of a language tag, or None if there is none."""
    path = find_model_file(language)
    return read_model(path) if path else None


def read_model(path: Path) -> FormModel:
    """Read a file that `write_model` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        scales = arrays["scales"].astype(np.float32)
        return FormModel(
            arrays["hashes"],
            arrays["runs"].astype(np.float32) * scales[0],
            CharWeights(arrays["chars"].astype(np.float32) * scales[1]),
            arrays["dense"].astype(np.float32),
            arrays["bias"].astype(np.float32),
            json.loads(str(arrays["metadata"])),
        )


def write_model(path: Path, model: FormModel) -> None:
    """Write a model with weights of 8 bits; equal models give equal bytes."""
    import numpy as np

    tables: list[Array] = [model.runs, model.chars.table]
    scales: list[Array] = [np.abs(table).max(axis=0) / 127 + 1e-12 for table in tables]
    weights: list[Array] = [
        np.round(table / scale).astype(np.int8) for table, scale in zip(tables, scales, strict=True)
    ]
    np.savez_compressed(
        path,
        hashes=model.hashes,
        runs=weights[0],
        chars=weights[1],
        scales=np.array(scales, dtype=np.float32),
        dense=model.dense.astype(np.float32),
        bias=model.bias.astype(np.float32),
        metadata=np.array(json.dumps(model.metadata, sort_keys=True)),
    )
