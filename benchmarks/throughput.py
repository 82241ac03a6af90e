"""Requests a second of a whole run: python benchmarks/throughput.py STUB.

STUB is a stub endpoint, a program that takes `--port` and `--latency_ms`, answers
`POST /v1/chat/completions`, and reports `total`, `span_s` and `ok_reissued` under `GET /stats`; or its Rust source.
The run is compared with a plain script (openai with its aiohttp transport, nothing kept) that sends the
same number of requests with as many at once. CPU a row is the figure to compare: wall time is noisy, and what of it other programs took
is reported as `queued` on Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import _world


async def plain(address: str, count: int, concurrency: int) -> None:
    """Send the requests as a short script without safegen would."""
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = openai.AsyncOpenAI(
        api_key="none",
        base_url=f"{address}/v1",
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(limits=limits),
    )
    numbers = iter(range(count))

    async def work() -> None:
        for n in numbers:
            messages = [{"role": "user", "content": f"plain {n} " + "word " * 500}]
            body = {"model": "stub", "messages": messages}
            reply = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
            json.loads(reply.content)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    await client.close()


def measure(args: argparse.Namespace, address: str, folder: Path) -> None:
    drafter = {
        "openai_chat": {
            "base_url": f"{address}/v1",
            "model": "stub",
            "concurrency": args.concurrency,
        }
    }
    _world.write(folder, prompts=args.prompts, drafter=drafter)
    planned = _world.generate(folder, "--until", "expand")
    _world.get(f"{address}/reset")
    whole = _world.generate(folder)
    stats = _world.get(f"{address}/stats")
    again = _world.generate(folder)
    if _world.get(f"{address}/stats")["total"] != stats["total"]:
        raise SystemExit("the second run asked again")
    payload = json.loads(whole.stdout)
    rows = payload["planned"]
    print(f"plan        {planned.wall_s:6.1f} s wall {planned.cpu_s:6.1f} s CPU")
    print(
        f"generate    {whole.wall_s:6.1f} s wall {whole.cpu_s:6.1f} s CPU, {whole.queued_s:.1f} s queued,"
        f" {whole.cpu_s / rows * 1e3:.2f} ms CPU a row, peak {whole.peak_mb:.0f} MiB; {rows} planned, {payload['accepted']} accepted"
    )
    print(
        f"  asking    {stats['span_s']:6.1f} s wall, {stats['total'] / stats['span_s']:.0f} requests/s,"
        f" ideal {rows / args.concurrency * args.latency_ms / 1e3:.1f} s,"
        f" {stats['total']} requests, {stats['ok_reissued']} repeated"
    )
    print(f"again       {again.wall_s:6.1f} s wall {again.cpu_s:6.1f} s CPU (nothing asked)")


def baseline(args: argparse.Namespace, address: str, folder: Path) -> None:
    _world.get(f"{address}/reset")
    own = [sys.executable, str(Path(__file__).resolve()), "--plain", address]
    own += ["--prompts", str(args.prompts), "--concurrency", str(args.concurrency)]
    ran = _world.run(own, cwd=folder)
    stats = _world.get(f"{address}/stats")
    print(
        f"plain       {ran.wall_s:6.1f} s wall {ran.cpu_s:6.1f} s CPU, {ran.queued_s:.1f} s queued,"
        f" {ran.cpu_s / args.prompts * 1e3:.2f} ms CPU a request, {stats['total'] / stats['span_s']:.0f} requests/s"
    )


def offline(args: argparse.Namespace, folder: Path) -> None:
    """The same rows with answers that pass, and no wire."""
    _world.write(folder, prompts=args.prompts, drafter="offline")
    _world.generate(folder, "--until", "expand")
    whole = _world.generate(folder)
    payload = json.loads(whole.stdout)
    print(
        f"offline     {whole.wall_s:6.1f} s wall {whole.cpu_s:6.1f} s CPU,"
        f" {whole.cpu_s / payload['planned'] * 1e3:.2f} ms CPU a row, peak {whole.peak_mb:.0f} MiB;"
        f" {payload['planned']} planned, {payload['accepted']} accepted"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stub", type=Path, nargs="?")
    parser.add_argument("--prompts", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--latency-ms", type=int, default=100)
    parser.add_argument("--port", type=int, default=8399)
    parser.add_argument("--plain", metavar="ADDRESS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        asyncio.run(plain(args.plain, args.prompts, args.concurrency))
        return
    if args.stub is None:
        parser.error("name the stub endpoint's program or its Rust source")
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("asked", "plain", "offline")]
        for folder in folders:
            folder.mkdir()
        options = {"port": args.port, "latency_ms": args.latency_ms, "scratch": Path(scratch)}
        with _world.stub(args.stub, **options) as address:
            measure(args, address, folders[0])
            baseline(args, address, folders[1])
        offline(args, folders[2])


if __name__ == "__main__":
    main()
