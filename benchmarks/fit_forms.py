"""Fit the classifier of response forms: python benchmarks/fit_forms.py [--check].

Reads `benchmarks/forms/dev.jsonl` and writes `safegen/validators/form_model_en.npz`. The blocks of
the bank differ in author, topic and style, so each block is predicted by a model of the others; the
figures and the thresholds of the validator come from these predictions. `--check` writes nothing.

The first layer is a ridge regression in the space of texts: with fewer texts than features, only the
products of texts are needed. The second layer is fitted to scores of blocks that the first layer has
not seen. Everything is deterministic.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bank import FormRow, choose_element_thresholds, measure, name_block, read_bank
from _samples import Sample, make_samples
from scipy import sparse

from safegen.validators._form_features import (
    CHAR_BUCKETS,
    CHAR_SCALE,
    RUN_BITS,
    RUN_SCALES,
    STEM_SCALE,
    WORD_SCALE,
    FormBatch,
    TokenTable,
    digest_features,
    extract_batch,
    list_char_buckets,
    list_word_buckets,
)
from safegen.validators._form_model import (
    FORMS,
    LEVELS,
    OUTPUTS,
    FirstLayer,
    FormModel,
    FormReading,
    SecondLayer,
    make_model,
    place_runs,
    quantise,
    read_model,
    read_responses,
    standardise,
    summarise_scores,
    write_model,
)

BANK = Path(__file__).parent / "forms" / "dev.jsonl"
MODEL = Path(__file__).parents[1] / "safegen" / "validators" / "form_model_en.npz"
RIDGE = 0.1
PAIR_SCALE = MEASURE_SCALE = 1.0
"""Norms of the pairs of classes and of the measures, on the scale of the runs."""
MAX_RUNS = 34_000
"""Runs with the largest weights, so that the file stays below 1 MB."""
HIDDEN, NETWORKS, EPOCHS, DECAY, RATE = 48, 3, 50, 0.07, 0.001
Array = np.ndarray[Any, Any]


class Design(NamedTuple):
    """Features of all samples."""

    batch: FormBatch
    sentence_runs: sparse.csr_matrix
    """Counts by the length of the text, of shape (sentences, buckets)."""
    sentence_chars: sparse.csr_matrix
    runs: sparse.csr_matrix
    """Scaled counts of shape (samples, buckets)."""
    run_scale: Array
    """Factor of each bucket."""
    chars: sparse.csr_matrix
    char_scale: Array
    pairs: Array
    pair_mean: Array
    pair_scale: Array
    measures: Array
    measure_mean: Array
    measure_scale: Array

    @property
    def products(self) -> Array:
        """The product of each two samples."""
        total = (self.runs @ self.runs.T + self.chars @ self.chars.T).toarray()
        return total + self.pairs @ self.pairs.T + self.measures @ self.measures.T


def build_design(samples: list[Sample]) -> Design:
    """Compute the features of samples."""
    table = TokenTable()
    batch = extract_batch(table, [(s.prompt, s.response) for s in samples])
    words = list(table.rows)
    count = len(batch.sentences)
    sizes = np.diff(np.append(batch.sentences, len(batch.rows)))
    sentences = np.repeat(np.arange(count), sizes)
    scale = (batch.lengths**-0.5)[batch.sentence_texts][sentences]
    places = np.array([list_word_buckets(word) for word in words])[batch.rows]
    columns = [places[:, 0], places[:, 1], *batch.runs]
    values = [scale * s for s in (WORD_SCALE, STEM_SCALE, *RUN_SCALES)]
    sentence_runs = sparse.csr_matrix(
        (
            np.concatenate(values),
            (np.tile(sentences, len(columns)), np.concatenate(columns)),
        ),
        shape=(count, 1 << RUN_BITS),
    )
    chars = [list_char_buckets(word) for word in words]
    by_word = sparse.csr_matrix(
        (
            np.repeat([CHAR_SCALE * len(c) ** -0.5 for c in chars], [len(c) for c in chars]),
            np.concatenate(chars),
            np.cumsum([0, *(len(c) for c in chars)]),
        ),
        shape=(len(words), CHAR_BUCKETS),
    )
    counts = sparse.csr_matrix((scale, (sentences, batch.rows)), shape=(count, len(words)))
    sentence_chars = counts @ by_word
    by_text = sparse.csr_matrix(
        (np.ones(count), (batch.sentence_texts, np.arange(count))), shape=(len(samples), count)
    )
    runs, chars_by_text = by_text @ sentence_runs, by_text @ sentence_chars
    run_scale, char_scale = damp(runs), damp(chars_by_text)
    pair_mean, pair_scale = standard(batch.pairs, PAIR_SCALE)
    measure_mean, measure_scale = standard(batch.measures, MEASURE_SCALE)
    return Design(
        batch,
        sentence_runs,
        sentence_chars,
        runs @ sparse.diags(run_scale),
        run_scale,
        chars_by_text @ sparse.diags(char_scale),
        char_scale,
        (batch.pairs - pair_mean) * pair_scale,
        pair_mean,
        pair_scale,
        (batch.measures - measure_mean) * measure_scale,
        measure_mean,
        measure_scale,
    )


def damp(matrix: sparse.csr_matrix) -> Array:
    """Return the factor of each column that gives texts with it the same mean square as others.

    Otherwise the most frequent words, which occur many times in a text, dominate the products.
    """
    present = np.maximum(np.asarray(matrix.astype(bool).sum(axis=0)).ravel(), 1)
    total = np.asarray(matrix.sum(axis=0)).ravel()
    square = np.asarray(matrix.power(2).sum(axis=0)).ravel() / present
    usual = np.median(matrix.data)
    return np.where(total > 0, np.minimum(1, usual / np.sqrt(square + 1e-12)), 1)


def standard(values: Array, scale: float) -> tuple[Array, Array]:
    """Return the mean and the factor that give all columns together a norm of `scale`."""
    values = values.astype(np.float64)
    deviation = values.std(axis=0) + 1e-2
    return values.mean(axis=0), scale / deviation / values.shape[1] ** 0.5


class _Group(NamedTuple):
    """Outputs with equal weights, and the inverse of their regularised products."""

    outputs: list[int]
    known: Array
    """Indices of the samples whose targets of these outputs are known."""
    weights: Array
    inverse: Array


class Solver:
    """Ridge regressions with and without some samples; each inverse is computed once.

    The solution without samples B follows from the inverse G of all samples and the targets r, which
    are 0 in B: G r - G[:, B] inverse(G[B, B]) (G r)[B]. A solution of its own for each pair of blocks
    needs fifty times the time.
    """

    def __init__(self, products: Array, targets: Array, weights: Array) -> None:
        """Compute the inverses."""
        self._targets = targets
        groups: dict[bytes, list[int]] = {}
        for k in range(OUTPUTS):
            groups.setdefault(weights[:, k].tobytes(), []).append(k)
        penalty = RIDGE * np.trace(products) / len(products)
        self._groups: list[_Group] = []
        for outputs in groups.values():
            weight = weights[:, outputs[0]]
            known = np.flatnonzero(weight > 0)
            matrix = products[np.ix_(known, known)] + np.diag(penalty / weight[known])
            self._groups.append(_Group(outputs, known, weight[known], np.linalg.inv(matrix)))

    def solve(self, left_out: Array) -> tuple[Array, Array]:
        """Return the coefficients of samples (0 for those left out) and the bias of each output."""
        coefficients, bias = np.zeros_like(self._targets), np.zeros(OUTPUTS)
        for outputs, known, weights, inverse in self._groups:
            out = left_out[known]
            targets = self._targets[np.ix_(known, np.asarray(outputs))]
            mean = np.average(targets[~out], axis=0, weights=weights[~out])
            centred = np.where(out[:, None], 0, targets - mean)
            solution = inverse @ centred
            if out.any():
                part = np.linalg.solve(inverse[np.ix_(out, out)], solution[out])
                solution -= inverse[:, out] @ part
                solution[out] = 0
            coefficients[np.ix_(known, np.asarray(outputs))] = solution
            bias[outputs] = mean
        return coefficients, bias


def build_first(design: Design, indices: Array, coefficients: Array, bias: Array) -> FirstLayer:
    """Turn coefficients of samples into weights of features; keep the most useful runs."""
    runs = np.asarray(design.runs[indices].T @ coefficients) * design.run_scale[:, None]
    # A run that occurs often changes more outputs.
    use = np.asarray(design.runs[indices].power(2).sum(axis=0)).ravel() ** 0.5
    use *= np.abs(runs).max(axis=1)
    kept = np.sort(np.argsort(-use, kind="stable")[:MAX_RUNS])
    kept = kept[use[kept] > 0]
    weights, run_scale = quantise(runs[kept])
    pairs = (design.pairs[indices].T @ coefficients) * design.pair_scale[:, None]
    measures = (design.measures[indices].T @ coefficients) * design.measure_scale[:, None]
    return FirstLayer(
        place_runs(kept),
        np.concatenate((np.zeros_like(weights[:1]), weights)),
        run_scale,
        (np.asarray(design.chars[indices].T @ coefficients) * design.char_scale[:, None]).astype(
            np.float32
        ),
        pairs.astype(np.float32),
        measures.astype(np.float32),
        (bias - design.pair_mean @ pairs - design.measure_mean @ measures).astype(np.float32),
    )


def summarise(first: FirstLayer, design: Design, is_chosen: Array) -> Array:
    """Return the inputs of the second layer for chosen samples."""
    batch, inside = design.batch, is_chosen[design.batch.sentence_texts]
    sentences = design.sentence_runs[inside] @ (first.runs * first.run_scale)[first.places]
    sentences += design.sentence_chars[inside] @ first.chars
    numbers = np.cumsum(is_chosen)[batch.sentence_texts[inside]] - 1
    part = batch._replace(
        sentence_texts=numbers,
        texts=np.arange(is_chosen.sum()),
        measures=batch.measures[is_chosen],
    )
    texts = np.add.reduceat(sentences, np.searchsorted(numbers, part.texts), axis=0)
    texts += batch.pairs[is_chosen] @ first.pairs + part.measures @ first.measures + first.bias
    return summarise_scores(part, texts, sentences)


def fit_second(inputs: Array, targets: Array, weights: Array) -> SecondLayer:
    """Fit the networks by Adam (Kingma and Ba 2015) with decay of the weights."""
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    inputs = standardise(inputs, mean, deviation)
    networks = [fit_network(inputs, targets, weights, seed) for seed in range(NETWORKS)]
    inner, inner_bias, outer, outer_bias = zip(*networks, strict=True)
    return SecondLayer(
        mean.astype(np.float32),
        deviation.astype(np.float32),
        np.concatenate(inner, axis=1),
        np.concatenate(inner_bias),
        np.concatenate(outer) / NETWORKS,
        np.sum(outer_bias, axis=0) / NETWORKS,
    )


def fit_network(
    inputs: Array, targets: Array, weights: Array, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Fit one network with one hidden layer."""
    rng = np.random.default_rng(seed)
    count, width = inputs.shape
    sizes = ((width, HIDDEN), (HIDDEN,), (HIDDEN, OUTPUTS), (OUTPUTS,))
    values = [
        (rng.uniform(-1, 1, size) * (6 / sum(size)) ** 0.5 * (len(size) > 1)).astype(np.float32)
        for size in sizes
    ]
    first = [np.zeros_like(v) for v in values]
    second = [np.zeros_like(v) for v in values]
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        for start in range(0, count, 64):
            rows = order[start : start + 64]
            x = inputs[rows]
            hidden = np.maximum(x @ values[0] + values[1], 0)
            errors = (compute_shares(hidden @ values[2] + values[3]) - targets[rows]) * weights[
                rows
            ]
            errors = (errors / len(rows)).astype(np.float32)
            inner = (errors @ values[2].T) * (hidden > 0)
            gradients = [
                x.T @ inner + DECAY * values[0],
                inner.sum(axis=0),
                hidden.T @ errors + DECAY * values[2],
                errors.sum(axis=0),
            ]
            step += 1
            for i, g in enumerate(gradients):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g * g
                move = first[i] / (1 - 0.9**step)
                values[i] = values[i] - RATE * move / (
                    np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8
                )
    return tuple(values)  # type: ignore[return-value]


def compute_shares(logits: Array) -> Array:
    """Return the probabilities of the outputs."""
    shares = np.empty_like(logits)
    start = 0
    for size in (len(FORMS), len(LEVELS)):
        part = logits[:, start : start + size]
        part = np.exp(part - part.max(axis=1, keepdims=True))
        shares[:, start : start + size] = part / part.sum(axis=1, keepdims=True)
        start += size
    shares[:, start:] = 1 / (1 + np.exp(-logits[:, start:]))
    return shares


class Fitter:
    """Fits models to subsets of the blocks; each first layer is fitted once."""

    def __init__(self, samples: list[Sample]) -> None:
        """Compute the features of all samples."""
        self.samples = samples
        self.design = build_design(samples)
        self.block = np.array([s.block for s in samples])
        self.blocks = list(dict.fromkeys(s.block for s in samples))
        self.targets = np.array([s.targets for s in samples])
        self.weights = np.array([s.weights for s in samples])
        self._solver = Solver(self.design.products, self.targets, self.weights)
        self._inputs: dict[frozenset[str], Array] = {}
        self._firsts: dict[frozenset[str], FirstLayer] = {}
        self._models: dict[str | None, FormModel] = {}

    def fit_first(self, left_out: frozenset[str]) -> FirstLayer:
        """Fit the first layer without some blocks."""
        if left_out not in self._firsts:
            is_out = np.isin(self.block, list(left_out))
            coefficients, bias = self._solver.solve(is_out)
            indices = np.flatnonzero(~is_out)
            self._firsts[left_out] = build_first(self.design, indices, coefficients[indices], bias)
        return self._firsts[left_out]

    def find_inputs(self, left_out: frozenset[str]) -> Array:
        """Return the inputs of the second layer for the blocks that a first layer has not seen."""
        if left_out not in self._inputs:
            is_chosen = np.isin(self.block, list(left_out))
            self._inputs[left_out] = summarise(self.fit_first(left_out), self.design, is_chosen)
        return self._inputs[left_out]

    def fit(self, left_out: str | None = None) -> FormModel:
        """Fit both layers to all samples, or without a block."""
        if left_out not in self._models:
            self._models[left_out] = self._fit(left_out)
        return self._models[left_out]

    def _fit(self, left_out: str | None) -> FormModel:
        chosen: list[Array] = []
        inputs: list[Array] = []
        for block in self.blocks:
            if block == left_out:
                continue
            unseen = frozenset(b for b in (block, left_out) if b)
            rows = np.flatnonzero(np.isin(self.block, list(unseen)))
            is_own = self.block[rows] == block
            chosen.append(rows[is_own])
            inputs.append(self.find_inputs(unseen)[is_own])
        rows = np.concatenate(chosen)
        second = fit_second(np.concatenate(inputs), self.targets[rows], self.weights[rows])
        first = self.fit_first(frozenset([left_out] if left_out else []))
        return make_model(first, second, {})


def store_and_read(model: FormModel) -> FormModel:
    """Return a model as it is read from its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        write_model(path, model)
        return read_model(path)


def cross_validate(rows: list[FormRow], fitter: Fitter) -> list[FormReading]:
    """Return the reading of each row by a model that has not seen its block."""
    readings: dict[str, FormReading] = {}
    for block in fitter.blocks:
        model = store_and_read(fitter.fit(block))
        chosen = [row for row in rows if name_block(row) == block]
        texts = [(row["prompt"], row["response"]) for row in chosen]
        for row, reading in zip(chosen, read_responses(model, texts), strict=True):
            readings[row["id"]] = reading
    return [readings[row["id"]] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the figures; write nothing")
    args = parser.parse_args()
    started = time.perf_counter()
    rows = read_bank(BANK)
    fitter = Fitter(make_samples(rows))
    readings = cross_validate(rows, fitter)
    report = measure(rows, readings)
    print(report.format())
    if not args.check:
        metadata = {
            "bank": hashlib.sha256(BANK.read_bytes()).hexdigest(),
            "features": digest_features([(r["prompt"], r["response"]) for r in rows]),
            "rows": len(rows),
            "thresholds": report.thresholds,
            "elements": choose_element_thresholds(rows, readings),
            "cross_validation": report.figures,
        }
        model = replace(fitter.fit(), metadata=json.loads(json.dumps(metadata)))
        write_model(MODEL, model)
        kept = len(model.first.runs) - 1
        print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes, {kept:,} runs")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
