"""Files of a run hold no byte of a withheld answer, also after kills."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import safegen
from safegen.core.hashing import digest
from safegen.store.run_folder import RunFolder
from safegen.testing import Body, FakeEndpoint
from tests.e2e.runs import hashes, kill_counts, long_answer, shell, started, write_recipe

SECRET = "QUINCE-GLAZE-STEP"
GUARD = f'''
from safegen.types import Verdict

def guard():
    async def check(draft, context):
        bad = "{SECRET}" in (draft.response or "") + (draft.reasoning_content or "")
        return Verdict("guard", "1", passed=not bad, score=float(not bad), code="bad" if bad else "good",
                       reason=draft.response or "", evidence=(draft.reasoning_content or "")[:200],
                       severity="high" if bad else "none")
    return check
'''
LATENCY_S = 0.02
OPTIONS = ("--plugin", "cake_guard")


def answer(body: Body) -> str:
    """Return the secret at a place of its own in every third answer, and texts of any length."""
    source = random.Random(digest(body))
    words = [long_answer(body), *["flour and butter"] * source.randrange(400)]
    if source.random() < 0.35:
        words.insert(source.randrange(len(words)), f"{SECRET}-{source.randrange(10**6)}")
    return " ".join(words)


def write_run(folder: Path, url: str, *, reasoning: bool) -> None:
    folder.mkdir()
    (folder / "cake_guard.py").write_text(GUARD, encoding="utf-8")
    write_recipe(
        folder / "recipe.yaml",
        url,
        plan={"harms": ["property.*"], "candidates": 3, "reasoning": reasoning},
        endpoint={"concurrency": 8, "seed": 0},
        validators=["length_bounds", "cake_guard:guard"],
    )


def files_with(folder: Path, text: str) -> Iterator[str]:
    """Yield the files that hold a text: in their bytes, or in a compressed column."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        columns = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
        if text.encode() in path.read_bytes() or text in columns:
            yield path.relative_to(folder).as_posix()


def count_withheld(output: Path) -> int:
    run = RunFolder(output)
    return sum(
        record.draft.withheld for n in run.finished_shards() for record in run.read_records(n)
    )


@pytest.mark.parametrize("reasoning", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_whole_run_keeps_no_withheld_byte(reasoning: bool, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    extra = {"reasoning_content": f"Think of {SECRET}."}
    with FakeEndpoint(answer, extra={} if reasoning else extra) as fake:
        write_run(folder, fake.url, reasoning=reasoning)
        done = shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=folder)
    assert done.code == 0, done.err
    assert count_withheld(folder / "out") > 10
    assert list(files_with(folder / "out", SECRET)) == []
    kept = list(files_with(folder / "out", "flour and butter"))
    assert {"run/journal.sqlite", "run/records/00000.parquet"} <= set(kept)


@pytest.mark.slow
def test_reasoning_of_withheld_answer_keeps_no_byte(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with FakeEndpoint(long_answer, extra={"reasoning_content": f"Use {SECRET} now."}) as fake:
        write_run(folder, fake.url, reasoning=True)
        done = shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=folder)
    assert "withheld" in done.out + done.err
    assert count_withheld(folder / "out") > 10
    assert list(files_with(folder / "out", SECRET)) == []


@kill_counts(8, slow_only=True)
def test_killed_runs_keep_no_withheld_byte(kills: int, tmp_path: Path) -> None:
    moments = random.Random(5)
    with FakeEndpoint(answer, latency_s=LATENCY_S) as fake:
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        for folder in (whole, broken):
            write_run(folder, fake.url, reasoning=False)
        done = shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=whole)
        assert done.code == 0, done.err
        total, hits, seen = len(fake.requests), 0, 0
        for _ in range(kills):
            before = len(fake.requests)
            with started("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=broken) as process:
                after = moments.randrange(total // (kills + 2), total // (kills + 1))
                while process.poll() is None and len(fake.requests) < before + after:
                    time.sleep(0.002)
                time.sleep(moments.uniform(0, 2 * LATENCY_S))
                process.kill()
                hits += process.wait(10) == -signal.SIGKILL
            seen += bool(list(files_with(broken / "out", SECRET)))
        done = shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=broken)
    assert done.code == 0, done.err
    assert hits
    assert seen  # the search finds the text that a kill leaves
    assert list(files_with(broken / "out", SECRET)) == []
    assert count_withheld(broken / "out") == count_withheld(whole / "out")
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")


@pytest.mark.slow
def test_second_command_keeps_no_withheld_byte(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with FakeEndpoint(answer) as fake:
        write_run(folder, fake.url, reasoning=False)
        shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, "--until", "draft", cwd=folder)
        assert list(files_with(folder / "out", SECRET))
        done = shell("generate", "recipe.yaml", "-o", "out", *OPTIONS, cwd=folder)
    assert done.code == 0, done.err
    assert list(files_with(folder / "out", SECRET)) == []
    assert safegen.open_run(folder / "out").view("sft").height > 0
