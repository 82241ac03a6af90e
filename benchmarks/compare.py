"""CPU and wall time of safegen and other clients over one stub: python benchmarks/compare.py STUB.

The clients run in turn: safegen (a whole `generate` with validators, journal, views and build), a script on
aiohttp, a script on openai, and Curator with `--curator PYTHON`. `--rules fixed` (the default) names the
validators that were the default when the target of this figure was set; they read by patterns alone.
`--rules default` uses today's defaults.

STUB is as for throughput.py. A prompt that begins with `P000123:` should get a direct answer, a safe
completion or a refusal if its number modulo 3 is 0, 1 or 2. Other answers are measured too: the number
of accepted rows is printed, because a rejected row costs less than an accepted one. The order changes
from repetition to repetition. Compare ratios of one repetition; wall time is noisy on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import _world

LABELS = (("benign", "none", 1), ("dual_use", "none", 2), ("malicious", "stated", 3))
WORDS = (
    "medication dosage home chemistry lock safety privacy network travel diet exercise sleep child school law"
    " contract debt garden battery solvent cleaning fire storage weather shelter wound fever pet tools paint"
).split()
QUESTIONS = ("How should I think about", "What are the risks around", "Explain to a beginner")
FIXED_RULES = (
    "length_bounds",
    "language",
    {"policy_leak": {"classify": False}},
    {"response_form": {"classify": False}},
    {"required_elements": {"classify": False}},
    {"style": {"classify": False}},
    "detail_ceiling",
)
"""The default validators before there were classifiers."""
CLIENTS = Path(__file__).with_name("_clients.py")


class Figures(NamedTuple):
    """The cost of one run of a client."""

    cpu_ms: float
    """CPU of the process and its children, per row."""
    wall_s: float
    peak_mb: float
    asked_s: float
    """From the first to the last request, by the stub."""
    in_flight: int
    accepted: int | None = None
    """Rows that safegen accepted; None for other clients."""


def write_prompts(path: Path, count: int) -> None:
    draw = random.Random(7)
    lines: list[str] = []
    for n in range(count):
        intent, evidence, detail = LABELS[n % 3]
        text = f"P{n:06d}: {draw.choice(QUESTIONS)} {' '.join(draw.choices(WORDS, k=40))}?"
        labels = {"harm": "property.theft", "intent": intent, "evidence": evidence}
        row = {"id": f"P{n:06d}", "prompt": text, "detail": detail, "profile": "public", **labels}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines))


def run_client(
    name: str, args: argparse.Namespace, address: str, folder: Path, prompts: Path
) -> Figures:
    folder.mkdir(parents=True)
    _world.get(f"{address}/reset")
    accepted = None
    if name == "safegen":
        drafter = {
            "base_url": f"{address}/v1",
            "model": "stub",
            "temperature": 0.7,
            "max_tokens": 256,
            "concurrency": args.concurrency,
        }
        recipe: dict[str, object] = {
            "name": "compared",
            "teachers": {"drafter": {"openai_chat": drafter}},
        }
        if args.rules == "fixed":
            recipe["validators"] = FIXED_RULES
        (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
        options = ["--prompts", str(prompts), "--licence", "MIT", "--min-yield", "0"]
        # It exits with 1 if the rules accept no row.
        ran = _world.generate(folder, "-o", "out", *options, allowed=(0, 1))
        accepted = json.loads(ran.stdout)["accepted"]
    else:
        python = args.curator if name == "curator" else sys.executable
        command = [python, str(CLIENTS), name, f"{address}/v1", str(prompts)]
        ran = _world.run([*command, str(args.concurrency), str(folder / "out")], cwd=folder)
    stats = _world.get(f"{address}/stats")
    return Figures(
        ran.cpu_s / args.rows * 1e3,
        ran.wall_s,
        ran.peak_mb,
        stats["span_s"],
        stats["max_inflight"],
        accepted,
    )


def format_figures(name: str, figures: Figures, rows: int) -> str:
    counted = "" if figures.accepted is None else f", {figures.accepted} of {rows} rows accepted"
    return (
        f"{name:8} {figures.cpu_ms:6.2f} ms CPU a row, {figures.wall_s:6.1f} s wall,"
        f" requests {figures.asked_s:.1f} s, {figures.in_flight} in flight,"
        f" peak {figures.peak_mb:.0f} MiB{counted}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stub", type=Path)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency-ms", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--curator", metavar="PYTHON", help="Python with bespokelabs-curator.")
    parser.add_argument("--rules", choices=("fixed", "default"), default="fixed")
    parser.add_argument("--port", type=int, default=8399)
    args = parser.parse_args()
    names = ["safegen", "openai", "aiohttp", *(["curator"] if args.curator else [])]
    results: dict[str, list[Figures]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prompts = folder / "prompts.jsonl"
        write_prompts(prompts, args.rows)
        options = {"port": args.port, "latency_ms": args.latency_ms, "scratch": folder}
        with _world.stub(args.stub, **options) as address:
            for turn in range(args.repetitions):
                for name in names if turn % 2 == 0 else reversed(names):
                    place = folder / f"{name}-{turn}"
                    figures = run_client(name, args, address, place, prompts)
                    results[name].append(figures)
                    print(format_figures(name, figures, args.rows), flush=True)
    for name in names[1:]:
        pairs = list(zip(results["safegen"], results[name], strict=True))
        cpu = statistics.median(own.cpu_ms / other.cpu_ms for own, other in pairs)
        wall = statistics.median(own.wall_s / other.wall_s for own, other in pairs)
        print(f"safegen / {name}: CPU {cpu:.2f}, wall {wall:.2f} (median)")


if __name__ == "__main__":
    main()
