"""Measure `find_near_duplicates` on made-up prompts: python benchmarks/near_duplicates.py [N].

Prompts are drawn from templates with invented names, so that many share words, as authored prompts
do; with `--no-template` they have invented names only. They are made before the time starts. A share of them repeats an earlier one with a word changed; the script reports how many were found.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator

from safegen.dataset.curation.near_duplicates import CorpusText, find_near_duplicates

OPENINGS = ("how does somebody", "what is the way to", "could you tell me how to", "i need to")
VERBS = ("open", "close", "mend", "find", "move", "clean", "sort", "label", "carry", "weigh")
SYLLABLES = ("zor", "bik", "lam", "ted", "ruf", "gon", "pel", "sat", "mip", "dov", "kel", "wun")


def prompt(rng: random.Random, *, template: bool) -> str:
    """About 27 words, seven of them from a template."""
    nouns = " ".join("".join(rng.choices(SYLLABLES, k=3)) for _ in range(20 if template else 27))
    if not template:
        return nouns
    return f"{rng.choice(OPENINGS)} {rng.choice(VERBS)} the box with {nouns} before noon?"


def prompts(n: int, *, copies: float, template: bool) -> Iterator[CorpusText]:
    """Texts in canonical order; the id of a copy ends in `c`."""
    rng = random.Random(7)
    recent: list[str] = []
    for i in range(n):
        copied = bool(recent) and rng.random() < copies
        text = prompt(rng, template=template)
        if copied:
            words = rng.choice(recent).split()
            words[rng.randrange(8, len(words) - 3)] = "another"
            text = " ".join(words)
        else:
            recent = [*recent[-999:], text]
        yield CorpusText(f"{i}{'c' if copied else ''}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=100_000)
    parser.add_argument("--copies", type=float, default=0.02)
    parser.add_argument("--no-template", action="store_true")
    args = parser.parse_args()
    texts = list(prompts(args.n, copies=args.copies, template=not args.no_template))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, busy = time.perf_counter(), time.process_time()
    duplicates = find_near_duplicates(texts)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    planted = sum(text.id.endswith("c") for text in texts)
    hits = sum(c.id.endswith("c") for c in duplicates)
    print(
        f"{args.n} prompts: {seconds:.1f} s ({cpu:.1f} s CPU, {args.n / cpu:.0f} prompts/s),"
        f" peak {after / 1024:.0f} MiB",
        end=" ",
    )
    print(f"({(after - before) / 1024:.0f} MiB above the start)")
    print(f"{planted} planted, {hits} of them found, {len(duplicates) - hits} others found")


if __name__ == "__main__":
    main()
