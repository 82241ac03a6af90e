"""Fit the classifier of response forms: python benchmarks/fit_forms.py [--check].

Reads `benchmarks/forms/dev.jsonl` and writes `safegen/validators/form_model_en.npz`. The blocks of
the bank differ in author, topic and style, so each block is predicted by a model of the others; the
figures and the thresholds of the validator come from these predictions. `--check` writes nothing.

The regressions are fitted in the space of texts: with fewer texts than features, the weights are a
sum of the texts' features, and only the products of texts are needed. Everything is deterministic.
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
from _bank import FormRow, measure, read_bank, split_blocks

from safegen.validators._form_features import (
    CHAR_BUCKETS,
    CHAR_SCALE,
    DENSE_SCALE,
    FormFeatures,
    digest_features,
    extract_features,
    list_char_buckets,
)
from safegen.validators._form_model import (
    FORMS,
    LEVELS,
    OUTPUTS,
    PARTS,
    CharWeights,
    FormModel,
    FormReading,
    read_model,
    write_model,
)
from safegen.validators.response_form import read_response

BANK = Path(__file__).parent / "forms" / "dev.jsonl"
MODEL = Path(__file__).parents[1] / "safegen" / "validators" / "form_model_en.npz"
STRENGTH = 0.5
"""Inverse of the L2 penalty; 0.1 and 1 are worse by cross-validation."""
ITERATIONS = 250
LEAST_TEXTS = 2
"""Texts in which a run of words occurs at least."""
MAX_RUNS = 34_000
"""Runs with the largest weights, so that the file stays below 1 MB."""
WRAPPED = 200
"""Garbage and off-topic texts that are added between the first and last sentences of others."""
Array = np.ndarray[Any, Any]


class Sample(NamedTuple):
    """A text with its targets; a weight of 0 hides an unknown target."""

    prompt: str
    response: str
    targets: Array
    weights: Array


def encode_targets(row: FormRow) -> Array:
    """Return the target of each output."""
    return np.array(
        [
            *(row["form"] == form for form in FORMS),
            *(row["level"] == level for level in LEVELS),
            *(row[part] for part in PARTS),
        ],
        dtype=np.float64,
    )


def make_samples(rows: list[FormRow]) -> list[Sample]:
    """Return the rows and, made of them, nonsense that is wrapped in stock phrases."""
    rng = np.random.default_rng(11)
    samples = [
        Sample(r["prompt"], r["response"], encode_targets(r), np.ones(OUTPUTS)) for r in rows
    ]
    empty = [r for r in rows if r["form"] in ("garbage", "off_topic")]
    polite = [r for r in rows if r["limit"] and r["redirection"]]
    for one, other in rng.integers(0, [len(empty), len(polite)], (WRAPPED, 2)):
        sentences = split_ends(polite[other]["response"])
        text = f"{sentences[0]} {empty[one]['response']} {sentences[1]}"
        # The parts of a made text are unknown.
        weights = np.array([0.5] * (len(FORMS) + len(LEVELS)) + [0.0] * len(PARTS))
        samples.append(Sample(empty[one]["prompt"], text, encode_targets(empty[one]), weights))
    return samples


def split_ends(text: str) -> tuple[str, str]:
    """Return the first and the last sentence of a text."""
    sentences = [s for s in text.replace("\n", ". ").split(". ") if s.strip()]
    return sentences[0] + ".", sentences[-1]


class Design(NamedTuple):
    """Features of all samples as one matrix, in three blocks."""

    hashes: Array
    runs: Array
    """float32 of shape (samples, runs)."""
    chars: Array
    dense: Array
    mean: Array
    deviation: Array


def build_design(features: list[FormFeatures]) -> Design:
    """Build the matrices of features."""
    counts = np.unique(np.concatenate([np.unique(f.hashes) for f in features]), return_counts=True)
    hashes = counts[0][counts[1] >= LEAST_TEXTS]
    runs = np.zeros((len(features), len(hashes)), dtype=np.float32)
    chars = np.zeros((len(features), CHAR_BUCKETS), dtype=np.float32)
    for i, f in enumerate(features):
        places = np.minimum(np.searchsorted(hashes, f.hashes), len(hashes) - 1)
        known = hashes[places] == f.hashes
        np.add.at(runs[i], places[known], f.scales[known])
        buckets = [bucket for word in f.words for bucket in list_char_buckets(word)]
        np.add.at(chars[i], buckets, CHAR_SCALE / max(len(buckets), 1) ** 0.5)
    dense = np.array([f.dense for f in features])
    mean, deviation = dense.mean(axis=0), dense.std(axis=0) + 1e-6
    return Design(hashes, runs, chars, (dense - mean) / deviation * DENSE_SCALE, mean, deviation)


def multiply_texts(design: Design) -> Array:
    """Return the product of each two samples."""
    return sum(
        (block @ block.T for block in (design.runs, design.chars, design.dense)),
        np.zeros((len(design.dense), len(design.dense)), dtype=np.float32),
    )


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


def fit(products: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
    """Return coefficients (samples, outputs) and bias by accelerated gradient steps (Nesterov 1983)."""
    count = len(products)
    vector = np.ones(count)
    norm = 1.0
    for _ in range(20):
        vector = products @ vector
        norm = float(np.linalg.norm(vector))
        vector /= norm
    step, bias_step = 1 / (0.5 * norm + 1 / STRENGTH), 2 / count
    old = ahead = np.zeros((count, OUTPUTS))
    old_bias = ahead_bias = np.log((targets * weights).sum(axis=0) / weights.sum(axis=0) + 1e-3)
    momentum = 1.0
    for _ in range(ITERATIONS):
        errors = (compute_shares(products @ ahead + ahead_bias) - targets) * weights
        new = ahead - step * (errors + ahead / STRENGTH)
        new_bias = ahead_bias - bias_step * errors.sum(axis=0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        rate = (momentum - 1) / following
        ahead, ahead_bias = new + rate * (new - old), new_bias + rate * (new_bias - old_bias)
        old, old_bias, momentum = new, new_bias, following
    return old, old_bias


def build_model(design: Design, indices: Array, coefficients: Array, bias: Array) -> FormModel:
    """Turn coefficients of texts into weights of features; keep the runs with the largest ones."""
    coefficients = coefficients.astype(np.float32)
    runs = design.runs[indices].T @ coefficients
    # A run that occurs often changes more answers.
    use = np.sqrt((design.runs[indices] ** 2).sum(axis=0)) * np.abs(runs).max(axis=1)
    kept = np.sort(np.argsort(-use, kind="stable")[:MAX_RUNS])
    kept = kept[use[kept] > 0]
    scale = DENSE_SCALE / design.deviation
    dense = (design.dense[indices].T @ coefficients) * scale[:, None]
    return FormModel(
        design.hashes[kept],
        runs[kept],
        CharWeights(design.chars[indices].T @ coefficients),
        dense,
        (bias - design.mean @ dense).astype(np.float32),
        {},
    )


def store_and_read(model: FormModel) -> FormModel:
    """Return a model as it is read from its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        write_model(path, model)
        return read_model(path)


def cross_validate(rows: list[FormRow]) -> list[FormReading]:
    """Return the reading of each row by a model that has not seen its block."""
    readings: dict[int, FormReading] = {}
    for block in split_blocks(rows):
        training = [row for i, row in enumerate(rows) if i not in block]
        model = store_and_read(train(training))
        for i in block:
            readings[i] = read_response(model, rows[i]["prompt"], rows[i]["response"])
    return [readings[i] for i in range(len(rows))]


def train(rows: list[FormRow]) -> FormModel:
    """Fit a model to rows."""
    samples = make_samples(rows)
    design = build_design([extract_features(s.prompt, s.response) for s in samples])
    targets = np.array([s.targets for s in samples])
    weights = np.array([s.weights for s in samples])
    products = multiply_texts(design).astype(np.float64)
    return build_model(design, np.arange(len(samples)), *fit(products, targets, weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the figures; write nothing")
    args = parser.parse_args()
    started = time.perf_counter()
    rows = read_bank(BANK)
    report = measure(rows, cross_validate(rows))
    print(report.format())
    if not args.check:
        metadata = {
            "bank": hashlib.sha256(BANK.read_bytes()).hexdigest(),
            "features": digest_features([(r["prompt"], r["response"]) for r in rows]),
            "rows": len(rows),
            "thresholds": report.thresholds,
            "cross_validation": report.figures,
        }
        model = replace(train(rows), metadata=json.loads(json.dumps(metadata)))
        write_model(MODEL, model)
        print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes, {len(model.hashes):,} runs")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
