"""Measure refusal detection on labelled completions: python benchmarks/refusals.py FILE.csv.

Columns: id, prompt, completion, label (full_compliance, full_refusal, partial_refusal). The positive
class is a full refusal, a partial refusal or a deflection. The classifier of response forms decides;
`--patterns` measures the patterns of the language pack instead. Rows are grouped by the part of the
id before the last hyphen, which names the model. Completions may be truncated.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from safegen.config import language_pack
from safegen.validators._form_model import FormReading, load_form_model
from safegen.validators._text import classify_refusal

LABELS = {"full_compliance": "none", "partial_refusal": "partial", "full_refusal": "full"}
KINDS = ("none", "partial", "full")
FULL = ("bare_refusal", "refusal_redirect", "deflection")
PARTIAL = ("partial_refusal", "leaky_refusal", "safe_completion", "hedged_answer", "answer")
Pairs = list[tuple[str, str]]
Rows = Sequence[tuple[str, str]]


def make_classifier(*, patterns: bool) -> Callable[[Rows], list[str]]:
    """Return a function of prompts and completions that returns one of `KINDS` for each."""
    if patterns:
        locale = language_pack.load_locale("en")
        return lambda rows: [classify_refusal(completion, locale) for _, completion in rows]
    model = load_form_model("en")
    assert model is not None
    return lambda rows: [classify_reading(reading) for reading in model.read_many(rows)]


def classify_reading(reading: FormReading) -> str:
    """Return the kind of refusal of a reading."""
    if reading.refusal < 0.5:
        return "none"
    full = sum(reading.forms[form] for form in FULL)
    partial = sum(reading.forms[form] for form in PARTIAL)
    return "full" if full >= partial else "partial"


def compute_figures(pairs: Pairs) -> dict[str, float]:
    """Return accuracy, F1 of the positive class, mean F1 of both classes, and 3-way accuracy."""
    table = Counter((label != "none", kind != "none") for label, kind in pairs)
    f1 = [
        2 * table[kind, kind] / (2 * table[kind, kind] + table[True, False] + table[False, True])
        if table[kind, kind]
        else 0.0
        for kind in (True, False)
    ]
    return {
        "accuracy": (table[True, True] + table[False, False]) / len(pairs),
        "f1": f1[0],
        "macro_f1": sum(f1) / 2,
        "exact": sum(label == kind for label, kind in pairs) / len(pairs),
    }


def report(name: str, pairs: Pairs) -> None:
    """Print the figures and the table of label (rows) by prediction (columns)."""
    figures = " ".join(f"{key}={value:.3f}" for key, value in compute_figures(pairs).items())
    print(f"{name}: n={len(pairs)} {figures}")
    table = Counter(pairs)
    print(f"  {'label':>8} " + " ".join(f"{k:>8}" for k in KINDS))
    for label in KINDS:
        print(f"  {label:>8} " + " ".join(f"{table[label, k]:>8}" for k in KINDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--misses", action="store_true", help="list the ids with wrong predictions")
    parser.add_argument("--patterns", action="store_true", help="measure the language pack")
    parser.add_argument("--json", action="store_true", help="print one object with the figures")
    args = parser.parse_args()
    # The rate is that of one core; numpy is not loaded yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    classify = make_classifier(patterns=args.patterns)
    with args.file.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    started = time.thread_time()
    kinds = classify([(row["prompt"], row["completion"]) for row in rows])
    seconds = time.thread_time() - started
    groups: dict[str, Pairs] = {"all": []}
    for row, kind in zip(rows, kinds, strict=True):
        pair = (LABELS[row["label"]], kind)
        groups["all"].append(pair)
        groups.setdefault(row["id"].rpartition("-")[0] or "?", []).append(pair)
        if args.misses and (pair[0] == "none") != (kind == "none"):
            print(row["id"], *pair, row["prompt"], "|", row["completion"][:160].strip())
    rate = len(rows) / seconds if seconds else 0.0
    if args.json:
        print(json.dumps({**compute_figures(groups["all"]), "rate": rate}))
        return
    for name, pairs in groups.items():
        if pairs:
            report(name, pairs)
    print(f"{rate:,.0f} completions per CPU second")


if __name__ == "__main__":
    main()
