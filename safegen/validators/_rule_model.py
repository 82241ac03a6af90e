"""Classifiers of faults that have no fixed wording, one output a fault, read in one pass.

Each output is linear over `_sentence_features`. The score of a text is that of its highest sentence,
which is the evidence. `benchmarks/fit_rules.py` writes the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from safegen.core.text_forms import MAX_READ_CHARS
from safegen.validators import _text
from safegen.validators._batch_reader import BatchReader
from safegen.validators._sentence_features import (
    SCALES,
    SentenceBatch,
    SentenceTable,
    extract_sentences,
    list_word_buckets,
    locate_sentence,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RuleFault = Literal[
    "leak",
    "instruction",
    "preaching",
    "judgement",
    "meta_commentary",
    "disclaimer",
    "praise",
    "restatement",
    "procedure",
]
FAULTS: tuple[RuleFault, ...] = get_args(RuleFault)
_FOLDER = Path(__file__).parent
_CHUNK = 64
"""Texts that are read together; more are not faster."""


class RuleReading(NamedTuple):
    """Scores of one text for each fault; a fault is found from 0."""

    text: str
    scores: Mapping[RuleFault, float]
    peaks: Mapping[RuleFault, int]
    """The number of the highest sentence."""

    def find(self, fault: RuleFault) -> str:
        """Return the sentence with a fault, or the empty string."""
        if self.scores[fault] < 0:
            return ""
        return locate_sentence(self.text, self.peaks[fault])


class Weights(NamedTuple):
    """Linear weights from features to outputs; each output is shifted so that it is found from 0."""

    buckets: Array
    """int8 of shape (2 ** BITS, outputs), in units of `bucket_scale`."""
    bucket_scale: Array
    classes: Array
    pairs: Array
    bias: Array

    def score(self, batch: SentenceBatch, vectors: Array) -> Array:
        """Return the scores of each sentence."""
        import numpy as np

        sums = np.add.reduceat(vectors, batch.sentences, axis=0)
        kinds = np.array(SCALES, np.float32)
        runs = self.buckets.take(batch.runs, axis=0)
        words = runs[:, 0] * kinds[0]
        tags = runs[:, 1].astype(np.int16) + runs[:, 2] + runs[:, 3]
        sums += np.add.reduceat(words, batch.sentences, axis=0) * self.bucket_scale
        tag_sums = np.add.reduceat(tags, batch.sentences, axis=0, dtype=np.int32)
        return (
            sums * batch.scales[:, None]
            + tag_sums * (batch.tag_scales[:, None] * (kinds[1] * self.bucket_scale))
            + batch.classes @ self.classes
            + batch.pairs @ self.pairs
            + self.bias
        )


# Compared by identity, so that a model can be the key of a cache.
@dataclass(slots=True, eq=False)
class RuleModel:
    """Weights with the scores of the tokens that occurred."""

    weights: Weights
    metadata: Mapping[str, Any]
    table: SentenceTable
    vectors: Array

    def read_many(self, texts: Sequence[str]) -> list[RuleReading]:
        """Score texts; several times as fast as one by one."""
        readings: list[RuleReading] = []
        for start in range(0, len(texts), _CHUNK):
            readings += self._read_chunk(texts[start : start + _CHUNK])
        return readings

    def _read_chunk(self, texts: Sequence[str]) -> list[RuleReading]:
        import numpy as np

        batch = extract_sentences(self.table, texts)
        scores = self.weights.score(batch, self._sum_tokens(batch.rows))
        firsts = np.searchsorted(batch.sentence_texts, np.arange(len(texts)))
        edges = [*firsts.tolist(), len(scores)]
        return [
            RuleReading(
                text,
                dict(zip(FAULTS, scores[start:end].max(axis=0).tolist(), strict=True)),
                dict(zip(FAULTS, scores[start:end].argmax(axis=0).tolist(), strict=True)),
            )
            for text, start, end in zip(texts, edges, edges[1:], strict=False)
        ]

    def _sum_tokens(self, rows: Array) -> Array:
        import numpy as np

        words = list(self.table.rows)
        # A table that was cleared has fewer tokens.
        if len(words) < len(self.vectors):
            self.vectors = self.vectors[:0]
        if len(words) > len(self.vectors):
            added = [self._sum_word(word) for word in words[len(self.vectors) :]]
            self.vectors = np.concatenate((self.vectors, np.array(added, np.float32)))
        return self.vectors[rows]

    def _sum_word(self, word: str) -> Array:
        import numpy as np

        buckets, weights = zip(*list_word_buckets(word), strict=True)
        units = np.array(weights) @ self.weights.buckets[list(buckets)]
        return units * self.weights.bucket_scale


def make_rule_model(weights: Weights, metadata: Mapping[str, Any]) -> RuleModel:
    """Build a model without tokens."""
    import numpy as np

    return RuleModel(weights, metadata, SentenceTable(), np.zeros((0, len(FAULTS)), np.float32))


def read_rule_model(path: Path) -> RuleModel:
    """Read a file that `write_rule_model` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    weights = Weights(
        arrays["buckets"],
        arrays["bucket_scale"],
        arrays["classes"].astype(np.float32),
        arrays["pairs"].astype(np.float32),
        arrays["bias"],
    )
    return make_rule_model(weights, json.loads(str(arrays["metadata"])))


def write_rule_model(path: Path, model: RuleModel) -> None:
    """Write a model; equal models give equal bytes."""
    import numpy as np

    weights = model.weights
    np.savez_compressed(
        path,
        buckets=weights.buckets,
        bucket_scale=weights.bucket_scale,
        classes=weights.classes.astype(np.float16),
        pairs=weights.pairs.astype(np.float16),
        bias=weights.bias,
        metadata=np.array(json.dumps(model.metadata, sort_keys=True)),
    )


@lru_cache(maxsize=4)
def load_rule_model(language: str) -> RuleModel | None:
    """Load the model of a language tag, or None if there is none."""
    path = _FOLDER / f"rule_model_{language.split('-')[0].lower()}.npz"
    return read_rule_model(path) if path.is_file() else None


@lru_cache(maxsize=4)
def _find_reader(model: RuleModel) -> BatchReader[str, RuleReading]:
    return BatchReader(model.read_many, size=_CHUNK)


async def read_faults(response: str, language: str) -> RuleReading | None:
    """Score the own words of a response; None without a model of the language.

    Validators that read the same response share one reading.
    """
    model = load_rule_model(language)
    if model is None:
        return None
    return await _find_reader(model).read(_text.own_words(response[:MAX_READ_CHARS]))


def warm_up(language: str) -> None:
    """Load the model of a language tag."""
    load_rule_model(language)
