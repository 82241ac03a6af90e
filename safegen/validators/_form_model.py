"""The classifier of response forms: two layers over `_form_features`, read from one file.

The first layer is linear: each run of words adds to a score of its sentence for each output. The
second is a small network over the scores of the text, of its first, second and last sentences, and
the extreme sentences, so that "declines" and "then helps" can mean something else together than
apart. `benchmarks/fit_forms.py` writes the file from the labelled bank in `benchmarks/forms`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from safegen.core.types import Assistance
from safegen.validators._batch_reader import BatchReader
from safegen.validators._form_features import (
    CHAR_SCALE,
    RUN_BITS,
    RUN_SCALES,
    STEM_SCALE,
    WORD_SCALE,
    FormBatch,
    TokenTable,
    extract_batch,
    list_char_buckets,
    list_word_buckets,
)
from safegen.validators._text import split_sentences

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
OUTPUTS = len(FORMS) + len(LEVELS) + len(PARTS) + 1
"""The last output is the refusal."""
REFUSALS: tuple[Form, ...] = (
    "bare_refusal",
    "refusal_redirect",
    "leaky_refusal",
    "partial_refusal",
    "deflection",
)
"""Forms that decline all or a part, or moralise without an answer."""
_FOLDER = Path(__file__).parent
_EMPTY = 0.5
"""Probability from which the inner sentences are nonsense or off the topic.

By cross-validation, refusals made of wrapped garbage pass in 6.5 % of the cases instead of 10.9 %.
"""
_DOUBTED = 0.1
"""Probability of nonsense or another topic in the whole text from which its inner sentences are read.

By cross-validation, 22 % of the texts are read twice, and no verdict on a wrapped text changes.
"""
_CHUNK = 64
"""Texts that are read together; more are not faster."""
_VALUE_GRID, _WEIGHT_GRID, _TOKEN_GRID = 2.0**10, 2.0**22, 2.0**20
_UNITS = 10
_RUN_UNITS = tuple(round(scale * _UNITS) for scale in RUN_SCALES)
"""The norms of the runs in tenths; they have no second decimal."""
_ROWS = 8
"""Rows of one product: OpenBLAS starts threads above 262,144 multiplications, which are slower here."""


class FormReading(NamedTuple):
    """Probabilities of form, assistance level and parts of one response."""

    forms: Mapping[Form, float]
    levels: Mapping[Assistance, float]
    parts: Mapping[Part, float]
    refusal: float
    """The probability that the response refuses, in full or in part, or deflects."""
    text: str = ""
    """The text that was read: the response, or its inner sentences."""
    peaks: Mapping[Form, int] = MappingProxyType({})
    """For each form, the place of the sentence that adds most to it."""

    @property
    def form(self) -> Form:
        """The most probable form."""
        return max(self.forms, key=lambda form: self.forms[form])

    def rate_element(self, element: str) -> float:
        """Return the probability of a required element: `limit`, `redirection` or `safe_task`.

        A safe task is help at level A3 or above; the ceiling is not this reading's matter.
        """
        if element == "safe_task":
            return self.levels["A3"] + self.levels["A4"]
        return {str(part): share for part, share in self.parts.items()}[element]

    @property
    def level(self) -> Assistance:
        """The most probable assistance level."""
        return max(self.levels, key=lambda level: self.levels[level])


class TokenVectors:
    """First-layer scores of the tokens that occurred, by word, first characters and sequences."""

    def __init__(self, weights: FirstLayer) -> None:
        """Start with an empty table of tokens."""
        import numpy as np

        self.table = TokenTable()
        self._weights = weights
        self._vectors = np.zeros((0, OUTPUTS), np.float32)

    def sum_tokens(self, rows: Array) -> Array:
        """Return the scores of tokens, float32 of shape (len(rows), outputs)."""
        import numpy as np

        known = len(self.table.rows)
        if known < len(self._vectors):
            self._vectors = self._vectors[:0]
        if known > len(self._vectors):
            words = list(self.table.rows)[len(self._vectors) :]
            new = np.array([self._compute(word) for word in words], np.float32)
            self._vectors = np.concatenate((self._vectors, new))
        return self._vectors[rows]

    def _compute(self, word: str) -> Array:
        import numpy as np

        weights = self._weights
        by_word, by_stem = (weights.places[bucket] for bucket in list_word_buckets(word))
        chars = list_char_buckets(word)
        scores = (
            WORD_SCALE * (weights.runs[by_word] * weights.run_scale)
            + STEM_SCALE * (weights.runs[by_stem] * weights.run_scale)
            + CHAR_SCALE / len(chars) ** 0.5 * weights.chars[list(chars)].sum(axis=0)
        )
        # Multiples of a power of two, also as float32: their sums are exact, in any order.
        return np.rint(scores.astype(np.float64) * _TOKEN_GRID) / _TOKEN_GRID


class FirstLayer(NamedTuple):
    """Linear weights from features to outputs."""

    places: Array
    """Row in `runs` of each bucket, uint16 of shape (2 ** RUN_BITS,); 0 for a run without weight."""
    runs: Array
    """int8 of shape (1 + runs, outputs), in units of `run_scale`; the first row is zero."""
    run_scale: Array
    """float32 of shape (outputs,)."""
    chars: Array
    pairs: Array
    measures: Array
    bias: Array

    def score(self, batch: FormBatch, vectors: Array) -> tuple[Array, Array]:
        """Return the scores of each text and of each sentence."""
        import numpy as np

        sentences = np.add.reduceat(vectors, batch.sentences, axis=0, dtype=np.float64)
        self._add_runs(batch, sentences)
        scale = batch.lengths.astype(np.float32) ** np.float32(-0.5)
        sentences = round_weights(sentences * scale[batch.sentence_texts, None])
        firsts = _find_firsts(batch)
        texts = np.add.reduceat(sentences, firsts, axis=0)
        measured = multiply_exactly(batch.measures, self.measures)
        return texts + multiply_exactly(batch.pairs, self.pairs) + measured + self.bias, sentences

    def _add_runs(self, batch: FormBatch, sentences: Array) -> None:
        import numpy as np

        # Most runs have no weight. The others are in the order of tokens, so that each sentence is a
        # slice of them.
        places = self.places.take(batch.runs.T.ravel())
        hits = places.nonzero()[0]
        tokens, kinds = np.divmod(hits, len(RUN_SCALES))
        starts = tokens.searchsorted(batch.sentences)
        # An empty slice of `reduceat` would be one row.
        full = np.diff(starts, append=len(tokens)) > 0
        if full.any():
            # Sums of integers are exact, and a table of bytes stays in the cache of the processor.
            weights = self.runs.take(places.take(hits), axis=0)
            weights = weights * np.array(_RUN_UNITS, np.int16).take(kinds)[:, None]
            sums = np.add.reduceat(weights, starts[full], axis=0, dtype=np.int32)
            sentences[full] += sums * (self.run_scale.astype(np.float64) / _UNITS)


class SecondLayer(NamedTuple):
    """Networks with one hidden layer; their outputs are averaged."""

    mean: Array
    deviation: Array
    inner: Array
    """float32 of shape (inputs, networks * hidden)."""
    inner_bias: Array
    outer: Array
    outer_bias: Array

    def compute_logits(self, inputs: Array) -> Array:
        """Return the logits of the outputs."""
        import numpy as np

        values = standardise(inputs, self.mean, self.deviation)
        hidden = multiply_exactly(values, self.inner) + self.inner_bias
        return multiply_exactly(np.maximum(hidden, 0), self.outer) + self.outer_bias


def multiply_exactly(values: Array, weights: Array) -> Array:
    """Return the product of matrices, equal bytes for each row whatever the other rows are.

    Values become multiples of 2**-10 and weights of 2**-22. Sums of their products below 2**21 are
    exact in float64, so they do not depend on the order in which a library adds.
    """
    import numpy as np

    values = np.rint(values * _VALUE_GRID) / _VALUE_GRID
    products = np.empty((len(values), weights.shape[-1]))
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        np.matmul(values[rows], weights, out=products[rows])
    return products


def round_weights(weights: Array) -> Array:
    """Round the weights of a matrix as `multiply_exactly` needs them."""
    import numpy as np

    return np.rint(weights.astype(np.float64) * _WEIGHT_GRID) / _WEIGHT_GRID


def standardise(inputs: Array, mean: Array, deviation: Array) -> Array:
    """Return inputs of the second layer with mean 0 and deviation 1, at most 4."""
    import numpy as np

    return np.clip((inputs - mean) / deviation, -4, 4)


def summarise_scores(batch: FormBatch, texts: Array, sentences: Array) -> Array:
    """Return the inputs of the second layer for each text."""
    import numpy as np

    firsts = _find_firsts(batch)
    lasts = np.append(firsts[1:], len(sentences)) - 1
    counts = (lasts - firsts + 1)[:, None]
    return np.concatenate(
        (
            texts,
            np.maximum.reduceat(sentences, firsts, axis=0),
            np.minimum.reduceat(sentences, firsts, axis=0),
            sentences[firsts],
            sentences[np.minimum(firsts + 1, lasts)],
            sentences[lasts],
            np.add.reduceat(sentences, firsts, axis=0) / counts,
            np.add.reduceat(np.maximum(sentences, 0), firsts, axis=0),
            batch.measures,
        ),
        axis=1,
    ).astype(np.float32)


def _find_firsts(batch: FormBatch) -> Array:
    import numpy as np

    return np.searchsorted(batch.sentence_texts, np.arange(len(batch.texts)))


# Compared by identity, so that a model can be the key of a cache.
@dataclass(frozen=True, slots=True, eq=False)
class FormModel:
    """Weights of the classifier."""

    first: FirstLayer
    second: SecondLayer
    vectors: TokenVectors
    metadata: Mapping[str, Any]

    def read(self, prompt: str, response: str) -> FormReading:
        """Classify a response; the same texts always give the same probabilities."""
        return self.read_many([(prompt, response)])[0]

    def read_many(self, pairs: Sequence[tuple[str, str]]) -> list[FormReading]:
        """Classify responses with their prompts; several times as fast as one by one.

        Each reading has the probabilities that `read` returns.
        """
        readings: list[FormReading] = []
        for start in range(0, len(pairs), _CHUNK):
            readings += self._read_chunk(pairs[start : start + _CHUNK])
        return readings

    def _read_chunk(self, pairs: Sequence[tuple[str, str]]) -> list[FormReading]:
        batch = extract_batch(self.vectors.table, pairs)
        texts, sentences = self.first.score(batch, self.vectors.sum_tokens(batch.rows))
        logits = self.second.compute_logits(summarise_scores(batch, texts, sentences))
        peaks = _find_peaks(batch, sentences)
        responses = [response for _, response in pairs]
        return _make_readings(logits, responses, peaks)


def _find_peaks(batch: FormBatch, sentences: Array) -> list[list[int]]:
    firsts = [*_find_firsts(batch).tolist(), len(sentences)]
    scores = sentences[:, : len(FORMS)]
    return [scores[start:end].argmax(axis=0).tolist() for start, end in pairwise(firsts)]


def make_model(first: FirstLayer, second: SecondLayer, metadata: Mapping[str, Any]) -> FormModel:
    """Build a model of its two layers."""
    return FormModel(first, second, TokenVectors(first), metadata)


def _make_readings(
    logits: Array, responses: Sequence[str], peaks: Sequence[Sequence[int]]
) -> list[FormReading]:
    import numpy as np

    edge = len(FORMS) + len(LEVELS)
    logits = np.clip(logits.astype(np.float64), -60, 60)
    forms = _normalise(logits[:, : len(FORMS)]).tolist()
    levels = _normalise(logits[:, len(FORMS) : edge]).tolist()
    others = (1 / (1 + np.exp(-logits[:, edge:]))).tolist()
    return [
        FormReading(
            dict(zip(FORMS, form, strict=True)),
            dict(zip(LEVELS, level, strict=True)),
            dict(zip(PARTS, other[:-1], strict=True)),
            other[-1],
            response,
            dict(zip(FORMS, places, strict=True)),
        )
        for form, level, other, response, places in zip(
            forms, levels, others, responses, peaks, strict=True
        )
    ]


def _normalise(logits: Array) -> Array:
    import numpy as np

    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def read_responses(model: FormModel, pairs: Sequence[tuple[str, str]]) -> list[FormReading]:
    """Classify responses with their prompts; stock phrases around empty sentences do not hide them.

    If the whole text may be off the topic or nonsense, the sentences between the first and the last
    are read alone, too. If they are, their reading counts.
    """
    readings = model.read_many(pairs)
    inner: dict[int, tuple[str, str]] = {}
    for i, (prompt, response) in enumerate(pairs):
        # A second reading of each text would take as long as the first.
        if _rate_emptiness(readings[i]) < _DOUBTED:
            continue
        sentences = split_sentences(response)
        if len(sentences) >= 3:
            inner[i] = prompt, " ".join(sentences[1:-1])
    if not inner:
        return readings
    for i, reading in zip(inner, model.read_many([*inner.values()]), strict=True):
        if _rate_emptiness(reading) >= _EMPTY:
            readings[i] = reading
    return readings


def _rate_emptiness(reading: FormReading) -> float:
    return reading.forms["garbage"] + reading.forms["off_topic"]


class FormReader:
    """Reads the responses together that wait in one iteration of an event loop.

    Example:
        reading = await FormReader(model).read(prompt, response)
    """

    def __init__(self, model: FormModel) -> None:
        """Start without readings."""
        self._reader = BatchReader[tuple[str, str], FormReading](
            partial(read_responses, model), size=_CHUNK
        )

    async def read(self, prompt: str, response: str) -> FormReading:
        """Classify one response as `read_responses` does."""
        return await self._reader.read((prompt, response))


def find_model_file(language: str) -> Path | None:
    """Return the file of a language tag's model, or None."""
    path = _FOLDER / f"form_model_{language.split('-')[0].lower()}.npz"
    return path if path.is_file() else None


@lru_cache(maxsize=4)
def load_form_model(language: str) -> FormModel | None:
    """Load the model of a language tag, or None if there is none."""
    path = find_model_file(language)
    return read_model(path) if path else None


@lru_cache(maxsize=4)
def find_reader(model: FormModel) -> FormReader:
    """Return the reader that the validators share."""
    return FormReader(model)


def read_model(path: Path) -> FormModel:
    """Read a file that `write_model` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    metadata = json.loads(str(arrays.pop("metadata")))
    arrays = {
        name: a.astype(np.float32) if a.dtype != np.uint32 else a for name, a in arrays.items()
    }
    runs = arrays["runs"].astype(np.int8)
    first = FirstLayer(
        place_runs(np.cumsum(arrays["steps"])),
        np.concatenate((np.zeros_like(runs[:1]), runs)),
        arrays["run_scale"],
        arrays["chars"] * arrays["char_scale"],
        round_weights(arrays["pairs"] * arrays["pair_scale"]),
        round_weights(arrays["measures"]),
        arrays["bias"],
    )
    second = SecondLayer(*(arrays[name] for name in SecondLayer._fields))
    second = second._replace(inner=round_weights(second.inner), outer=round_weights(second.outer))
    return make_model(first, second, metadata)


def write_model(path: Path, model: FormModel) -> None:
    """Write a model with weights of 8 bits; equal models give equal bytes."""
    import numpy as np

    first = model.first
    buckets = first.places.nonzero()[0]
    chars, char_scale = quantise(first.chars)
    pairs, pair_scale = quantise(first.pairs)
    np.savez_compressed(
        path,
        steps=np.diff(buckets, prepend=0).astype(np.uint32),
        runs=first.runs[first.places[buckets]],
        run_scale=first.run_scale,
        chars=chars,
        char_scale=char_scale,
        pairs=pairs,
        pair_scale=pair_scale,
        measures=first.measures.astype(np.float32),
        bias=first.bias.astype(np.float32),
        **{name: value.astype(np.float16) for name, value in model.second._asdict().items()},
        metadata=np.array(json.dumps(model.metadata, sort_keys=True)),
    )


def place_runs(buckets: Array) -> Array:
    """Return the row of each bucket in a table of runs in the order of their buckets."""
    import numpy as np

    places = np.zeros(1 << RUN_BITS, np.uint16)
    places[buckets] = np.arange(1, len(buckets) + 1)
    return places


def quantise(table: Array) -> tuple[Array, Array]:
    """Return weights of 8 bits and the unit of each output."""
    import numpy as np

    scale: Array = np.abs(table).max(axis=0) / 127 + 1e-12
    weights: Array = np.round(table / scale)
    return weights.astype(np.int8), scale.astype(np.float32)
