"""Peak memory and CPU of `safegen build` by the number of records: python benchmarks/build_growth.py.

A run of fictional devices is written by the offline teacher. Its first shard is then replicated with
distinct ids and reordered words, as imported prompts, so that near-duplicates are searched.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _world
import pyarrow as pa
import pyarrow.parquet as pq

from safegen.core.hashing import text_sha256

SHARD = 256


def replicate(
    rows: list[dict[str, Any]], schema: pa.Schema, *, records: int, chars: int
) -> Iterator[pa.Table]:
    """Yield one table per shard; each row has its own ids, prompt and response."""
    rng = random.Random(1)
    for start in range(0, records, SHARD):
        table: list[dict[str, Any]] = []
        for i in range(start, min(start + SHARD, records)):
            row, key = rows[i % len(rows)], f"{i:016x}"
            words = row["messages"][-1]["content"].split()
            rng.shuffle(words)
            user = {"role": "user", "content": f"Q{i}: {' '.join(words)}"}
            row = {**row, "scenario_id": key, "set_id": f"s{key}", "goal_id": f"g{key}"}
            row |= {"source": "imported", "messages": [*row["messages"][:-1], user]}
            if "draft_id" in row:
                filler = " ".join(rng.choices(words, k=chars // 6))
                response = f"{row['response'][:200]} {filler} {i}"
                row |= {"draft_id": f"d{key}", "response": response}
                row["response_sha256"] = text_sha256(response)
            table.append(row)
        yield pa.Table.from_pylist(table, schema=schema)


def make_run(folder: Path, *, records: int, chars: int) -> None:
    """Write a run of `records` records below `folder`/grown."""
    source, grown = folder / "outputs" / "measured", folder / "grown"
    shutil.rmtree(grown, ignore_errors=True)
    ignored = shutil.ignore_patterns("records", "journal*", "data", "manifest.json", "lock")
    shutil.copytree(source, grown, ignore=ignored)
    run = grown / "run"
    (run / "records").mkdir()
    planned = pq.ParquetFile(source / "run" / "plan" / "0.parquet")
    drafted = pq.read_table(source / "run" / "records" / "00000.parquet")
    options = {"records": records, "chars": chars}
    plan_rows = planned.read_row_group(0).to_pylist()
    order = {row["scenario_id"]: n for n, row in enumerate(plan_rows)}
    rows = sorted(drafted.to_pylist(), key=lambda row: order[row["scenario_id"]])
    with pq.ParquetWriter(run / "plan" / "0.parquet", planned.schema_arrow) as out:
        for table in replicate(plan_rows, planned.schema_arrow, **options):
            out.write_table(table, row_group_size=SHARD)
    for shard, table in enumerate(replicate(rows, drafted.schema, **options)):
        pq.write_table(table, run / "records" / f"{shard:05d}.parquet", compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--chars", type=int, default=2_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _world.write(folder, prompts=SHARD, drafter="offline")
        _world.generate(folder)
        for records in args.records:
            make_run(folder, records=records, chars=args.chars)
            command = [sys.executable, "-m", "safegen", "build", "grown", "--json"]
            ran = _world.run(command, cwd=folder)
            kept = json.loads(ran.stdout).get("prompts")
            print(
                f"{records:9,} records: peak {ran.peak_mb:7.1f} MiB, {ran.cpu_s:6.1f} s CPU,"
                f" {ran.wall_s:6.1f} s wall; {kept} kept",
                flush=True,
            )


if __name__ == "__main__":
    main()
