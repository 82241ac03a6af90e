"""Fit the classifiers of rule faults: python benchmarks/fit_rules.py [--check].

Reads the dev files of `benchmarks/rules_bank` and `benchmarks/forms`, and writes
`safegen/validators/rule_model_en.npz`. Sentences of rows with `fault` are labelled one by one; of
other failing rows, the highest sentences count (multiple-instance learning). Acceptable rows of the
forms are negatives. Texts are predicted by a model that has not seen their writer; thresholds come
from these predictions. `--check` writes nothing. Everything is deterministic.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from safegen.validators import _text
from safegen.validators._rule_model import (
    FAULTS,
    RuleFault,
    Weights,
    make_rule_model,
    write_rule_model,
)
from safegen.validators._sentence_features import (
    BITS,
    CLASS_SCALE,
    PAIR_SCALE,
    SCALES,
    SentenceBatch,
    SentenceTable,
    extract_sentences,
    list_word_buckets,
    locate_sentence,
)

FOLDER = Path(__file__).parent
MODEL = FOLDER.parent / "safegen" / "validators" / "rule_model_en.npz"
BANKS: Mapping[str, tuple[RuleFault, ...]] = {
    "policy_leak": ("leak",),
    "regulated_advice": ("instruction",),
    "style": (
        "preaching",
        "judgement",
        "meta_commentary",
        "disclaimer",
        "praise",
        "restatement",
    ),
    "actionability": ("procedure",),
}
STRENGTH = {"procedure": 0.3}
"""Inverse strength of the penalty; default 1."""
FALSE_ALARMS = {"judgement": 0.002, "meta_commentary": 0.002, "preaching": 0.003, "procedure": 0.01}
"""Most false alarms on acceptable forms, by cross-validation; default 0.8 %."""
MIN_PRECISION = 0.95
"""Least precision on the rows of the bank, by cross-validation."""
MARGINS: Mapping[str, float] = {
    "leak": 0.15,
    "preaching": 0.45,
    "meta_commentary": 0.65,
    "instruction": 0.85,
}
"""Added to thresholds, so that at most 2 of 468 good answers of the starter fail."""
Array = np.ndarray[Any, Any]


class Example(NamedTuple):
    """A text with the faults that it has."""

    text: str
    writer: str
    faults: Mapping[RuleFault, bool | None]
    """None: unknown, or no example of this fault."""
    spans: tuple[str, ...] = ()
    """Sentences with the fault, if they are known."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def list_examples() -> list[Example]:
    """List the rows of all banks."""
    examples: list[Example] = []
    for bank in BANKS:
        for row in read_rows(FOLDER / "rules_bank" / bank / "dev.jsonl"):
            faults = label_row(bank, row)
            if faults:
                examples.append(
                    Example(
                        row["response"],
                        row.get("writer", "a"),
                        faults,
                        tuple(row.get("fault", ())),
                    )
                )
    for row in read_rows(FOLDER / "forms" / "dev.jsonl"):
        if row["form"] in ("garbage", "off_topic"):
            continue
        faults = dict.fromkeys(FAULTS, False if row["acceptable"] else None)
        faults["procedure"] = {0: False, 1: False, 2: None, 3: True, 4: True}[row["detail"]]
        if row["sermon"]:
            faults["preaching"] = True
        # One of two parts, so that forms are predicted by models of the other.
        part = zlib.crc32(row["id"].encode()) % 2
        examples.append(Example(row["response"], f"forms-{part}", faults))
    return examples


def label_row(bank: str, row: Mapping[str, Any]) -> dict[RuleFault, bool | None]:
    passed, code = row["passed"], row.get("code")
    if bank == "actionability":
        return {"procedure": not passed} if row["ceiling"] < 3 else {}
    if bank == "regulated_advice":
        if row.get("profile") == "vetted_professional":
            return {}
        is_qualified = bool(row.get("referral")) or code == "qualified"
        # A qualified instruction is still one, but a part of these rows holds none.
        return {"instruction": None if is_qualified else not passed}
    if bank == "policy_leak":
        return {} if code == "quotes_policy" else {"leak": not passed}
    if passed:
        return dict.fromkeys(BANKS["style"], False)
    # A sentence may have two faults of tone, so another code is no negative.
    return {fault: True for fault in BANKS["style"] if fault == code}


class Design(NamedTuple):
    """Features of all sentences."""

    features: sparse.csr_matrix
    texts: Array
    """Example of each sentence."""
    sentences: list[str]


def build_design(examples: Sequence[Example]) -> Design:
    table = SentenceTable()
    own = [_text.own_words(example.text) for example in examples]
    batch = extract_sentences(table, own)
    words = list(table.rows)
    count = len(batch.sentences)
    numbers = np.repeat(np.arange(count), np.diff(np.append(batch.sentences, len(batch.rows))))
    places = [list_word_buckets(word) for word in words]
    by_word = sparse.csr_matrix(
        (
            np.concatenate([[weight for _, weight in p] for p in places]),
            np.concatenate([[bucket for bucket, _ in p] for p in places]),
            np.cumsum([0, *(len(p) for p in places)]),
        ),
        shape=(len(words), 1 << BITS),
    )
    scales = batch.scales[numbers]
    counts = sparse.csr_matrix((scales, (numbers, batch.rows)), shape=(count, len(words)))
    buckets = counts @ by_word + count_pairs(batch, numbers)
    features = sparse.hstack(
        (
            buckets,
            sparse.csr_matrix(batch.classes * CLASS_SCALE),
            sparse.csr_matrix(batch.pairs * PAIR_SCALE),
        )
    ).tocsr()
    seen = np.searchsorted(batch.sentence_texts, np.arange(len(examples)))
    sentences = [
        locate_sentence(own[text], int(i - seen[text]))
        for i, text in enumerate(batch.sentence_texts)
    ]
    return Design(sparse.csr_matrix(features), batch.sentence_texts, sentences)


def count_pairs(batch: SentenceBatch, numbers: Array) -> sparse.csr_matrix:
    total = sparse.csr_matrix((len(batch.sentences), 1 << BITS))
    for kind, scale in enumerate(SCALES):
        weights = (batch.tag_scales if kind else batch.scales)[numbers] * scale
        columns = batch.runs[:, kind]
        # Bucket 0 holds pairs without a tag.
        weights = np.where(columns == 0, 0, weights)
        total = total + sparse.csr_matrix((weights, (numbers, columns)), shape=total.shape)
    return total


def label_sentences(fault: RuleFault, examples: Sequence[Example], design: Design) -> Array:
    """Return 1 or 0 for sentences with a known label, 2 for those of a failing text, else NaN."""
    labels = np.full(len(design.texts), np.nan)
    for i, (text, sentence) in enumerate(zip(design.texts, design.sentences, strict=True)):
        example = examples[text]
        known = example.faults.get(fault)
        if known is None:
            continue
        elif not known:
            labels[i] = 0
        elif example.spans:
            labels[i] = is_part(sentence, example.spans)
        else:
            labels[i] = 2
    return labels


def is_part(sentence: str, spans: Iterable[str]) -> bool:
    """Return True if a sentence is in a span, or holds most of one."""
    words = set(_text.words(sentence))
    return any(
        len(words & set(_text.words(_text.own_words(span)))) * 2
        >= min(len(words), len(set(_text.words(span))))
        for span in spans
    ) and bool(words)


class Output(NamedTuple):
    """Weights of one output."""

    weights: Array
    bias: float

    def score(self, features: sparse.csr_matrix) -> Array:
        return np.asarray(features @ self.weights) + self.bias


def fit_output(
    fault: RuleFault, labels: Array, design: Design, chosen: Array, own: Array
) -> Output:
    """Fit one output; sentences of failing texts count if they are the higher half of their text."""
    # A third of the many sentences without a fault is enough and three times as fast.
    is_used = own | (labels == 2) | (np.arange(len(labels)) % 3 == 0)
    index = np.flatnonzero(chosen & is_used & ~np.isnan(labels))
    known = labels[index]
    features = design.features[index]
    targets = (known > 0).astype(int)
    weights = np.where(known == 1, 3.0, 1.0)
    weights[known == 2] = np.where(own[index][known == 2], 1.5, 0.5)
    is_free = known == 2
    weights[(known == 0) & ~own[index]] = 2.0
    model = LogisticRegression(
        C=STRENGTH.get(fault, 1.0), solver="liblinear", tol=0.02, random_state=0
    )
    rounds = 3 if fault in ("procedure", "preaching") else 2
    for _ in range(rounds):
        model.fit(features, targets, sample_weight=weights)
        scores = model.decision_function(features)
        share = 0.34 if fault == "preaching" else 0.5
        free = np.flatnonzero(is_free)
        edges = np.flatnonzero(np.diff(design.texts[index[free]])) + 1
        for places in np.split(free, edges) if len(free) else ():
            order = places[np.argsort(-scores[places], kind="stable")]
            kept = max(1, int(np.ceil(len(order) * share)))
            weights[order[:kept]] = 1.5 if own[index[order[0]]] else 0.5
            weights[order[kept:]] = 0.03
    return Output(model.coef_[0], float(np.ravel(model.intercept_)[0]))


def score_texts(scores: Array, texts: Array, count: int) -> Array:
    highest = np.full(count, -99.0)
    np.maximum.at(highest, texts, scores)
    return highest


def choose_threshold(fault: RuleFault, scores: Array, labels: Array, is_form: Array) -> float:
    """Return the lowest threshold with few false alarms on forms and a high precision on the bank."""
    forms = scores[is_form & (labels == 0)]
    limit = FALSE_ALARMS.get(fault, 0.008)
    bank, is_fault = scores[~is_form & (labels >= 0)], labels[~is_form & (labels >= 0)] == 1
    for threshold in np.arange(-2.0, 6.0, 0.05):
        found = bank >= threshold
        precision = (found & is_fault).sum() / max(1, found.sum())
        if (forms >= threshold).sum() <= limit * len(forms) and precision >= MIN_PRECISION:
            return float(round(threshold, 2))
    return 6.0


def fit(examples: Sequence[Example]) -> tuple[list[Output], dict[str, Any]]:
    design = build_design(examples)
    writers = np.array([example.writer for example in examples])
    is_form = np.char.startswith(writers, "forms")
    outputs: list[Output] = []
    figures: dict[str, Any] = {}
    for fault in FAULTS:
        labels = label_sentences(fault, examples, design)
        own = ~is_form[design.texts]
        known = np.array([e.faults.get(fault) for e in examples], dtype=float)
        scores = np.full(len(examples), -99.0)
        for writer in np.unique(writers):
            out = writers[design.texts] == writer
            output = fit_output(fault, labels, design, ~out, own)
            part = score_texts(output.score(design.features[out]), design.texts[out], len(examples))
            scores = np.where(writers == writer, part, scores)
        threshold = choose_threshold(fault, scores, np.nan_to_num(known, nan=-1), is_form)
        threshold += MARGINS.get(fault, 0.0)
        figures[fault] = describe(scores >= threshold, known, writers) | {"threshold": threshold}
        final = fit_output(fault, labels, design, np.ones(len(design.texts), bool), own)
        outputs.append(final._replace(bias=final.bias - threshold))
    return outputs, figures


def describe(found: Array, known: Array, writers: Array) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    groups = np.where(np.char.startswith(writers, "forms"), "forms", writers)
    for group in np.unique(groups):
        faults, fine = (
            found[(groups == group) & (known == 1)],
            found[(groups == group) & (known == 0)],
        )
        figures[str(group)] = {
            "precision": round(float(faults.sum() / max(1, faults.sum() + fine.sum())), 3),
            "recall": round(float(faults.mean()), 3) if len(faults) else None,
            "false_alarms": round(float(fine.mean()), 4) if len(fine) else None,
        }
    return figures


def make_weights(outputs: Sequence[Output]) -> Weights:
    table = np.stack([output.weights for output in outputs], axis=1)
    buckets, others = table[: 1 << BITS].copy(), table[1 << BITS :]
    buckets[0] = 0
    scale = np.abs(buckets).max(axis=0) / 127 + 1e-12
    count = int((np.sqrt(1 + 8 * len(others)) - 1) / 2)
    return Weights(
        np.round(buckets / scale).astype(np.int8),
        scale.astype(np.float32),
        (others[:count] * CLASS_SCALE).astype(np.float32),
        (others[count:] * PAIR_SCALE).astype(np.float32),
        np.array([output.bias for output in outputs], np.float32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the figures; write nothing")
    args = parser.parse_args()
    examples = list_examples()
    outputs, figures = fit(examples)
    for fault, figure in figures.items():
        print(fault, figure.pop("threshold"))
        for group, values in figure.items():
            print("  ", group, values)
    if not args.check:
        metadata = {"rows": len(examples), "cross_validation": figures}
        write_rule_model(MODEL, make_rule_model(make_weights(outputs), metadata))
        print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
