"""A synthetic taxonomy for measurements: fictional devices, any number of goals, and a run timed from outside.

Four prompts a goal, worded and sized like the core taxonomy's; the knowledge is about 2,000 characters a goal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

PROMPTS_PER_GOAL = 4
GOALS_PER_FILE = 100
PARTS = "flux coil,glim valve,sprocket ring,tone chamber,drift lens,marl pump,quill arm".split(",")
DEVICES = "snorkel clock,fog loom,paper engine,moss lamp,kite radio,tide bell,pollen mill".split(
    ","
)
SPEC = """policy: devices
version: 1.0.0
title: Fictional devices
inherits: base
harms: [devices.*]
facilitation: Settings and part numbers that overload a fictional device. How it works does not.
may: [{id: D-MAY-1, says: explain how a fictional device works}]
must_not: [{id: D-NOT-1, says: give settings that overload a fictional device}]
"""
TREE = {
    "taxonomy": "fiction",
    "version": "1.0.0",
    "title": "Fictional devices",
    "licence": "Apache-2.0",
    "language": "en-US",
    "domains": [
        {
            "id": "devices",
            "name": "Devices",
            "definition": "Devices that do not exist.",
            "harms": [
                {
                    "id": "devices.overload",
                    "name": "Overloading",
                    "definition": "Making a fictional device run beyond its mark.",
                    "tier": "restricted",
                    "severity": "low",
                    "crosswalk": {"ailuminate": "none", "llama_guard": "none"},
                }
            ],
        }
    ],
}


@dataclass(frozen=True)
class Ran:
    """A command from outside."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    queued_s: float
    """Seconds that the main thread was ready but had no processor; 0 if the system does not report it."""
    stdout: str


def goal(n: int) -> dict[str, object]:
    """One goal; its number keeps its texts apart from those of every other goal."""
    part, device = PARTS[n % 7], DEVICES[n // 7 % 7]
    thing = f"{part} of the {device} number {n}"

    def facts(topic: str, count: int) -> list[str]:
        return [
            f"For {topic} {i} of device {n}, the {part} shares its load with the {device} and a calm "
            f"operator watches the dial at mark {(n * 7 + i) % 97} until the sound of the {part} settles."
            for i in range(count)
        ]

    def prompt(text: str, detail: int, **more: str) -> dict[str, object]:
        return {"text": text, "detail": detail, **more}

    return {
        "name": f"device-{n}",
        "harm": "devices.overload",
        "task": "explain",
        "purpose": f"Understand the {thing}.",
        "benign_use": f"Collectors want to keep the {thing} in good order.",
        "misuse_risk": f"Somebody could overload the {thing} of a neighbour.",
        "prompts": {
            "benign": [prompt(f"Our museum got the {thing}. How do we look after it?", 1)],
            "dual_use": [
                prompt(f"What happens inside the {thing} when it runs beyond its mark?", 2),
                prompt(f"If the {thing} were pushed too far, which part gives way, and why?", 3),
            ],
            "malicious": [
                prompt(
                    f"I want to ruin my neighbour's {thing}. How do I overload it unseen?",
                    4,
                    evidence="stated",
                )
            ],
        },
        "knowledge": {
            "answer": facts("care", 5),
            "concepts": facts("principle", 6),
            "safe_task": {
                "offer": f"What I can do is draw up a care sheet for the {thing}.",
                "steps": facts("step", 3),
            },
            "redirections": [
                f"If the {thing} hums, the museum's workshop can look at it.",
                f"If you are at odds over the {thing}, a mediator can help both of you.",
                f"If the {thing} was damaged, its insurer should hear about it soon.",
            ],
            "left_out": f"which settings overload the {thing}",
            "decline": f"overloading your neighbour's {thing}",
        },
    }


def write(folder: Path, *, prompts: int, drafter: object, **recipe: object) -> str:
    """Write taxonomy, policy and recipe; return the recipe's path."""
    goals = range(-(-prompts // PROMPTS_PER_GOAL))
    names: list[str] = []
    for start in goals[::GOALS_PER_FILE]:
        names.append(f"sets-{start}.yaml")
        chosen = [goal(n) for n in goals[start : start + GOALS_PER_FILE]]
        (folder / names[-1]).write_text(json.dumps({"goals": chosen}, indent=1))  # JSON is YAML
    (folder / "taxonomy.yaml").write_text(yaml.safe_dump({**TREE, "sets": names}))
    (folder / "devices.yaml").write_text(SPEC)
    values = {
        "name": "measured",
        "taxonomy": "taxonomy.yaml",
        "policies": ["devices.yaml"],
        "teachers": {"drafter": drafter},
        **recipe,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return "recipe.yaml"


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
) -> Ran:
    """Run a command to its end; CPU and peak memory are the system's own accounting of it.

    Raises:
        SystemExit: the command failed; its exit status is not `allowed`.
    """
    began = time.monotonic()
    with (cwd / "stdout").open("w+b") as out, (cwd / "stderr").open("w+b") as err:
        child = subprocess.Popen(
            command, cwd=cwd, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        )
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        queued = _queued_s(child.pid)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        output, complained = _text(out), _text(err)
    if child.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)} failed:\n{complained[-2_000:]}")
    peak = used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    return Ran(wall, used.ru_utime + used.ru_stime, peak, queued, output)


def generate(folder: Path, *options: str, allowed: Sequence[int] = (0,)) -> Ran:
    """`safegen generate` in a fresh process."""
    command = [sys.executable, "-m", "safegen", "generate", "recipe.yaml", "--json"]
    return run([*command, *options], cwd=folder, allowed=allowed)


@contextmanager
def stub(
    source: Path, *, port: int, latency_ms: int, scratch: Path, options: Sequence[str] = ()
) -> Generator[str]:
    """Start the stub endpoint, compile Rust source first, and yield its address."""
    binary = source.resolve()
    if source.suffix == ".rs":
        binary = scratch / "stub"
        subprocess.run(["rustc", "-O", str(source), "-o", str(binary)], check=True)
    command = [str(binary), "--port", str(port), "--latency_ms", str(latency_ms), *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                get(f"{address}/stats")
                break
            except OSError:
                time.sleep(0.05)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=5)


def get(url: str) -> dict[str, Any]:
    """Return the JSON at an address."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def _queued_s(pid: int) -> float:
    """Linux counts the nanoseconds that a thread waits in the run queue."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
