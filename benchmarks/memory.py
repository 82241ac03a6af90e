"""Peak memory of a whole run by its size: python benchmarks/memory.py [STUB].

Without STUB the embedded teacher writes; with it (see throughput.py) a stub endpoint answers, so that
journal and connections count too. Each size is planned, drafted, validated and built in one fresh process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import _world


def measure(folder: Path, *, rows: int, candidates: int, drafter: object) -> float:
    _world.write(
        folder, prompts=rows // candidates, drafter=drafter, plan={"candidates": candidates}
    )
    ran = _world.generate(folder)
    payload = json.loads(ran.stdout)
    again = _world.generate(folder)
    print(
        f"{payload['planned'] * candidates:7} rows: peak {ran.peak_mb:6.1f} MiB, {ran.wall_s:6.1f} s wall,"
        f" {ran.cpu_s:6.1f} s CPU; {payload['accepted']} prompts accepted;"
        f" again: peak {again.peak_mb:6.1f} MiB, {again.wall_s:.1f} s wall",
        flush=True,
    )
    return ran.peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stub", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--port", type=int, default=8399)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        peaks: list[float] = []
        for rows in args.rows:
            folder = Path(scratch) / str(rows)
            folder.mkdir()
            options = {"rows": rows, "candidates": args.candidates}
            if args.stub is None:
                peaks.append(measure(folder, **options, drafter="offline"))
                continue
            with _world.stub(args.stub, port=args.port, latency_ms=0, scratch=folder) as address:
                chat = {"base_url": f"{address}/v1", "model": "stub", "concurrency": 100}
                peaks.append(measure(folder, **options, drafter={"openai_chat": chat}))
    print(f"{peaks[-1] / peaks[0] - 1:+.1%} from {args.rows[0]} to {args.rows[-1]} rows")


if __name__ == "__main__":
    main()
