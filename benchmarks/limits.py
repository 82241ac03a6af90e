"""Time that random 429s cost: python benchmarks/limits.py STUB.

STUB is a stub endpoint as in `throughput.py` that also takes `--p429` (share of limited requests),
`--retry_after` (seconds) and `--seed`. Each row of the table is the time of 344 requests; the target is
three times the time without 429s, and ten times the Retry-After more.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import _world

from safegen.core.errors import TeacherUnavailable
from safegen.core.types import Request
from safegen.teachers.openai_chat import openai_chat


async def ask_all(address: str, count: int, concurrency: int) -> tuple[float, int]:
    """Return the seconds of all requests, and the number of those that were lost."""
    teacher = openai_chat(base_url=f"{address}/v1", model="stub", concurrency=concurrency)
    with suppress(TeacherUnavailable):  # six 429s in a row exhaust a lone request
        await teacher(Request(({"role": "user", "content": "warm up"},)))

    async def ask(number: int) -> bool:
        request = Request(({"role": "user", "content": f"How is sauce {number} made?"},))
        try:
            return (await teacher(request)).outcome == "ok"
        except Exception as e:  # noqa: BLE001  any loss counts
            print(e)
            return False

    began = time.perf_counter()
    answered = await asyncio.gather(*(ask(n) for n in range(count)))
    seconds = time.perf_counter() - began
    await teacher.aclose()
    return seconds, answered.count(False)


def measure(args: argparse.Namespace, *options: str) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as scratch:
        port, latency_ms = args.port, args.latency_ms
        with _world.stub(
            args.stub, port=port, latency_ms=latency_ms, scratch=Path(scratch), options=options
        ) as address:
            return asyncio.run(ask_all(address, args.rows, args.concurrency))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stub", type=Path)
    parser.add_argument("--rows", type=int, default=344)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency-ms", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--port", type=int, default=8398)
    args = parser.parse_args()
    free_s, _ = measure(args)
    print("| 429s | Retry-After | seed | seconds | target | lost |\n|---|---|---|---|---|---|")
    print(f"| 0 % | - | - | {free_s:.2f} | - | 0 |")
    for after_s in (0, 1):
        target = 3 * free_s + 10 * after_s
        for seed in range(1, args.seeds + 1):
            options = f"--p429 {args.share} --retry_after {after_s} --seed {seed}".split()
            seconds, lost = measure(args, *options)
            share = f"{args.share:.0%}".replace("%", " %")
            print(f"| {share} | {after_s} s | {seed} | {seconds:.2f} | {target:.2f} | {lost} |")


if __name__ == "__main__":
    main()
