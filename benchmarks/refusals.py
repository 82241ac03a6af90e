"""Measure `classify_refusal` on labelled completions: python benchmarks/refusals.py FILE.csv.

Columns: id, prompt, completion, label (full_compliance, full_refusal, partial_refusal). The binary
score counts full and partial refusals alike. Rows are grouped by the part of the id before the
last hyphen, which names the model. Completions may be truncated.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from pathlib import Path

from safegen.config import language_pack
from safegen.validators._text import classify_refusal

LABELS = {"full_compliance": "none", "partial_refusal": "partial", "full_refusal": "full"}
KINDS = ("none", "partial", "full")


def report(name: str, pairs: list[tuple[str, str]]) -> None:
    """Print accuracy, F1 and the table of label (rows) by prediction (columns)."""
    table = Counter(pairs)
    hits = sum(n for (label, kind), n in table.items() if (label == "none") == (kind == "none"))
    true = sum(n for (label, kind), n in table.items() if label != "none" and kind != "none")
    claimed = sum(n for (_, kind), n in table.items() if kind != "none")
    real = sum(n for (label, _), n in table.items() if label != "none")
    exact = sum(n for (label, kind), n in table.items() if label == kind)
    f1 = 2 * true / (claimed + real) if claimed + real else 1.0
    print(f"{name}: n={len(pairs)} accuracy={hits / len(pairs):.3f} F1={f1:.3f}", end=" ")
    print(f"3-way accuracy={exact / len(pairs):.3f}")
    print(f"  {'label':>8} " + " ".join(f"{k:>8}" for k in KINDS))
    for label in KINDS:
        print(f"  {label:>8} " + " ".join(f"{table[label, k]:>8}" for k in KINDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--misses", action="store_true", help="list the ids with wrong predictions")
    args = parser.parse_args()
    locale = language_pack.load_locale("en")
    groups: dict[str, list[tuple[str, str]]] = {"all": []}
    started = time.perf_counter()
    with args.file.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pair = (LABELS[row["label"]], classify_refusal(row["completion"], locale))
            groups["all"].append(pair)
            groups.setdefault(row["id"].rpartition("-")[0] or "?", []).append(pair)
            if args.misses and (pair[0] == "none") != (pair[1] == "none"):
                print(row["id"], *pair, row["prompt"], "|", row["completion"][:160].strip())
    seconds = time.perf_counter() - started
    for name, pairs in groups.items():
        if pairs:
            report(name, pairs)
    print(f"{seconds:.2f} s")


if __name__ == "__main__":
    main()
