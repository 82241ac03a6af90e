"""Measure how well words alone separate the sides of a preference view: python benchmarks/pairs.py OUTPUT [--seeds N].

A bag of words (logistic regression on the words of a text) is fitted to the pairs of one half of the sets.
The script reports the share of pairs of the other half that it ranks correctly, overall and by style of the
weaker side, with the words of the largest weights. No set is in both halves.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from safegen.store import parquet

RIDGE, STEPS, RATE = 1.0, 400, 0.5


class Pair(NamedTuple):
    """The words of both sides, with what the pair belongs to."""

    set_id: str
    style: str
    chosen: frozenset[str]
    rejected: frozenset[str]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z']+", text.lower()))


def read(output: Path) -> list[Pair]:
    records = sorted((output / "run" / "records").glob("*.parquet"))
    styles = {row["draft_id"]: row["style"] for path in records for row in parquet.read_rows(path)}
    paths = sorted((output / "data" / "preference").glob("*/*.parquet"))
    return [
        Pair(
            row["set_id"],
            styles[row["rejected_draft_id"]] or "?",
            words(row["chosen"][-1]["content"]),
            words(row["rejected"][-1]["content"]),
        )
        for path in paths
        for row in parquet.read_rows(path)
    ]


def differences(pairs: Sequence[Pair], places: dict[str, int]) -> np.ndarray:
    """Chosen minus rejected, one row for each pair and one column for each word."""
    signs = np.zeros((len(pairs), len(places)))
    for row, pair in enumerate(pairs):
        for word in pair.chosen - pair.rejected:
            if word in places:
                signs[row, places[word]] = 1
        for word in pair.rejected - pair.chosen:
            if word in places:
                signs[row, places[word]] = -1
    return signs


def fitted(rows: np.ndarray) -> np.ndarray:
    """Weights that put chosen above rejected, with a ridge that keeps them small."""
    weights = np.zeros(rows.shape[1])
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(rows @ weights))
        weights += RATE * (rows.T @ wrong - RIDGE * weights) / len(rows) * 10
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    pairs = read(args.output)
    sets = sorted({pair.set_id for pair in pairs})
    hits = defaultdict[str, list[float]](list)
    weights_by_word = defaultdict[str, list[float]](list)
    for seed in range(args.seeds):
        half = set(random.Random(seed).sample(sets, len(sets) // 2))
        learnt = [pair for pair in pairs if pair.set_id in half]
        held_out = [pair for pair in pairs if pair.set_id not in half]
        known = sorted(frozenset[str]().union(*(p.chosen | p.rejected for p in learnt)))
        places = {word: place for place, word in enumerate(known)}
        weights = fitted(differences(learnt, places))
        for pair, score in zip(held_out, differences(held_out, places) @ weights, strict=True):
            hits[pair.style].append((score > 0) + (score == 0) / 2)
        for word, place in places.items():
            weights_by_word[word].append(float(weights[place]))
    everything = [hit for results in hits.values() for hit in results]
    print(f"{len(pairs)} pairs of {len(sets)} sets, {args.seeds} halvings")
    print(f"chosen ranked above rejected by words alone: {mean(everything):.1%}")
    for style, results in sorted(hits.items()):
        print(f"  {style:18} {mean(results):.1%}  ({len(results) // args.seeds} pairs a half)")
    ranked = sorted(weights_by_word, key=lambda word: sum(weights_by_word[word]))
    print("rejected:", *ranked[:30])
    print("chosen:  ", *ranked[:-31:-1])


if __name__ == "__main__":
    main()
