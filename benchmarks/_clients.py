"""Clients to compare with, each a script of its own: python _clients.py KIND ADDRESS PROMPTS CONCURRENCY OUT.

All send the same messages and write a Parquet file. `curator` runs in an environment with
bespokelabs-curator.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Ask = Callable[[dict[str, Any]], Awaitable[str]]
SYSTEM = "You are a careful assistant. Answer safely and helpfully."
TIMEOUT_S = 120.0


def make_body(row: dict[str, Any]) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": row["prompt"]},
    ]
    return {"model": "stub", "messages": messages, "temperature": 0.7, "max_tokens": 256}


async def ask_all(rows: list[dict[str, Any]], concurrency: int, ask: Ask) -> list[dict[str, Any]]:
    waiting = iter(rows)

    async def work() -> list[dict[str, Any]]:
        return [{**row, "answer": await ask(row)} for row in waiting]

    parts = await asyncio.gather(*(work() for _ in range(concurrency)))
    return [answer for part in parts for answer in part]


async def run_aiohttp(
    address: str, rows: list[dict[str, Any]], concurrency: int
) -> list[dict[str, Any]]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(row: dict[str, Any]) -> str:
            async with session.post(f"{address}/chat/completions", json=make_body(row)) as response:
                response.raise_for_status()
                payload = await response.json()
                return payload["choices"][0]["message"]["content"]

        return await ask_all(rows, concurrency, ask)


async def run_openai(
    address: str, rows: list[dict[str, Any]], concurrency: int
) -> list[dict[str, Any]]:
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = openai.AsyncOpenAI(
        base_url=address,
        api_key="none",
        http_client=openai.DefaultAioHttpClient(timeout=httpx2.Timeout(TIMEOUT_S), limits=limits),
    )

    async def ask(row: dict[str, Any]) -> str:
        completion = await client.chat.completions.create(**make_body(row))
        return completion.choices[0].message.content or ""

    answers = await ask_all(rows, concurrency, ask)
    await client.close()
    return answers


def run_curator(address: str, rows: list[dict[str, Any]], concurrency: int, out: Path) -> None:
    os.environ |= {"TELEMETRY_ENABLED": "false", "OPENAI_API_KEY": "none"}
    os.environ["CURATOR_CACHE_DIR"] = str(out / "cache")
    if litellm := importlib.util.find_spec("litellm"):
        # litellm ships the vocabulary that tiktoken would download.
        vocabulary = Path(litellm.origin or "").parent / "litellm_core_utils" / "tokenizers"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(vocabulary))
    # Installed by hand, see the head of `compare.py`.
    from bespokelabs import curator  # pyright: ignore[reportMissingImports]

    class Client(curator.LLM):
        def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
            return make_body(row)["messages"]

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            return {**row, "answer": response}

    client = Client(
        model_name="stub",
        backend="openai",
        generation_params={"temperature": 0.7, "max_tokens": 256},
        backend_params={
            "base_url": address,
            "api_key": "none",
            "max_concurrent_requests": concurrency,
            "max_requests_per_minute": 10**8,
            "max_tokens_per_minute": 10**10,
        },
    )
    answered = client(rows)
    getattr(answered, "dataset", answered).to_parquet(str(out / "data.parquet"))


def main() -> None:
    kind, address, prompts, concurrency, out = sys.argv[1:]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    if kind == "curator":
        run_curator(address, rows, int(concurrency), folder)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = {"aiohttp": run_aiohttp, "openai": run_openai}[kind]
    answers = asyncio.run(run(address, rows, int(concurrency)))
    pq.write_table(pa.Table.from_pylist(answers), folder / "data.parquet")


if __name__ == "__main__":
    main()
