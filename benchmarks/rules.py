"""Drafts per CPU second of each default validator: python benchmarks/rules.py RUN [--rows N].

RUN is the output folder of a finished run. Each draft is checked once per repetition, with its own
words at its end, so that no cache answers for another draft. They are no digits, because the
patterns of contacts and personal data do not read most texts without them. As in a run, 64 drafts
are in flight, and garbage is collected as often. The best of three repetitions counts; the time is
that of the thread.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safegen.config.recipe import Recipe
from safegen.core.types import Draft, DraftContext, DraftValidator, Knowledge, SafeTask
from safegen.pipeline.resolve import make_validators, resolve_recipe
from safegen.store import parquet
from safegen.store.schema import record_from_row

NO_KNOWLEDGE = Knowledge((), (), SafeTask("", ()), (), "", "")
IN_FLIGHT = 64
DIGIT_WORDS = (
    "oak",
    "lamp",
    "river",
    "stone",
    "apple",
    "cloud",
    "chair",
    "paper",
    "grass",
    "spoon",
)
Work = Sequence[tuple[Draft, DraftContext]]


def read_work(folder: Path, count: int, repetition: int) -> Work:
    files = sorted((folder / "run" / "records").glob("*.parquet"))
    records = [record_from_row(row) for file in files for row in parquet.read_rows(file)][:count]
    return [
        (
            replace(record.draft, response=f"{record.draft.response} {spell(repetition, number)}"),
            DraftContext(record.scenario, record.expectation, NO_KNOWLEDGE),
        )
        for number, record in enumerate(records)
    ]


def spell(repetition: int, number: int) -> str:
    """Spell a number in words that no pattern reads."""
    return " ".join(DIGIT_WORDS[int(digit)] for digit in f"{repetition}{number:06d}")


async def check(validators: Mapping[str, DraftValidator], work: Work) -> float:
    """Return the seconds per draft."""
    for validate in validators.values():
        await validate(*work[0])
    waiting = iter(work)

    async def check_drafts() -> None:
        for draft, context in waiting:
            for validate in validators.values():
                await validate(draft, context)

    start = time.thread_time()
    await asyncio.gather(*(check_drafts() for _ in range(IN_FLIGHT)))
    return (time.thread_time() - start) / len(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int, default=2_000)
    args = parser.parse_args()
    gc.set_threshold(50_000)  # as the command does
    repetitions = [read_work(args.run, args.rows, n) for n in range(3)]
    chars = sum(len(draft.response or "") for draft, _ in repetitions[0]) / len(repetitions[0])
    print(f"{len(repetitions[0])} drafts of {chars:.0f} characters on average")
    validators = make_validators(resolve_recipe(Recipe(name="rules")))
    groups = [{name: validators[name]} for name in validators]
    for group in [*groups, validators]:
        seconds = min(asyncio.run(check(group, work)) for work in repetitions)
        label = ", ".join(group) if len(group) == 1 else "all"
        print(f"{seconds * 1e6:8.1f} µs {1 / seconds:9.0f} drafts/s  {label}")


if __name__ == "__main__":
    main()
