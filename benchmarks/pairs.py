"""Measure how well words alone separate the sides of a preference view: python benchmarks/pairs.py OUTPUT [--view NAME].

It prints the figure of the card (`safegen.dataset.pair_measures`) for all pairs of the view, and in
addition by style of the weaker side, with the words of the largest weights.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

from safegen.dataset.pair_measures import PairTexts, rank_pairs, read_answer
from safegen.store import parquet


def read(output: Path, view: str) -> tuple[list[PairTexts], list[str]]:
    """Read the pairs of a view, and the style of each rejected draft."""
    records = sorted((output / "run" / "records").glob("*.parquet"))
    styles = {row["draft_id"]: row["style"] for path in records for row in parquet.read_rows(path)}
    paths = sorted((output / "data" / view).glob("*/*.parquet"))
    rows = [row for path in paths for row in parquet.read_rows(path)]
    pairs = [
        PairTexts(row["set_id"], read_answer(row["chosen"]), read_answer(row["rejected"]))
        for row in rows
    ]
    return pairs, [styles[row["rejected_draft_id"]] or "?" for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--view", default="preference")
    args = parser.parse_args()
    pairs, styles = read(args.output, args.view)
    ranking = rank_pairs(pairs)
    hits = defaultdict[str, list[float]](list)
    for style, hit in zip(styles, ranking.hits, strict=True):
        hits[style].append(hit)
    print(f"{len(pairs)} pairs of {len({pair.set_id for pair in pairs})} sets")
    print(f"chosen ranked above rejected by words alone: {ranking.auc:.1%}")
    for style, results in sorted(hits.items()):
        print(f"  {style:18} {mean(results):.1%}  ({len(results)} pairs)")
    lengths = median(len(pair.rejected) / len(pair.chosen) for pair in pairs)
    print(f"characters, rejected by chosen (median): {lengths:.2f}")
    print("chosen:  ", *(word.word for word in ranking.words if word.weight > 0))
    print("rejected:", *(word.word for word in ranking.words[::-1] if word.weight < 0))


if __name__ == "__main__":
    main()
