"""Runs against the fake endpoint: a recipe, the command line in and out of process, hashes."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from safegen.cli.main import main
from safegen.core.hashing import digest
from safegen.testing import Body

KEY_ENV = "FAKE_API_KEY"
COMMAND = [sys.executable, "-m", "safegen"]
LONGEST_MESSAGE = 1_500
NAMED = re.compile(r"`[^`]+`|[\w./-]+\.(?:yaml|j2|jsonl?|csv|parquet|sqlite)")


class CommandResult(NamedTuple):
    code: int
    out: str
    err: str


def write_recipe(path: Path, url: str, **keys: Any) -> Path:
    """A recipe with an endpoint as drafter; `endpoint` overrides its parameters."""
    params = {"base_url": url, "model": "m", "concurrency": 4, "attempts": 2}
    values = {
        "name": "faults",
        "plan": {"harms": ["property.*"]},
        "teachers": {"drafter": {"openai_chat": params | keys.pop("endpoint", {})}},
        "validators": ["length_bounds"],
    }
    path.write_text(yaml.safe_dump(values | keys), encoding="utf-8")
    return path


def long_answer(body: Body) -> str:
    """Return plain words that pass the length check and differ for each body."""
    words = " ".join(digest(body)[i : i + 6] for i in range(0, 60, 6))
    return f"Here is an answer in plain words that is long enough to be kept: {words}."


def cli(capsys: pytest.CaptureFixture[str], *args: object) -> CommandResult:
    """Run the command line in this process."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["safegen", *map(str, args)])
        main()
    out, err = capsys.readouterr()
    code = ended.value.code
    return CommandResult(code if isinstance(code, int) else 1, out, err)


def kill_counts(most: int, *, slow_only: bool = False) -> pytest.MarkDecorator:
    """Run a test with one kill by default, and with `most` kills under the marker `slow`."""
    many = pytest.param(most, marks=pytest.mark.slow)
    return pytest.mark.parametrize("kills", [many] if slow_only else [1, many])


def shell(*args: object, cwd: Path, **options: Any) -> CommandResult:
    """Run the command line in a child process."""
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*args: object, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command line in its own process group, which is killed at the end."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def fails(result: CommandResult, code: int, *says: str) -> None:
    """Assert exit code and a short safegen error that matches the patterns."""
    assert result.code == code, result
    assert "Traceback" not in result.err + result.out
    assert "a bug in safegen" not in result.err
    before, error, message = result.err.partition("safegen: error: ")
    assert error, result
    assert all(line.startswith("safegen: ") for line in before.splitlines())
    assert len(message) < LONGEST_MESSAGE
    assert NAMED.search(message)
    for words in says:
        assert re.search(words, message), f"`{words}` is not in: {message}"
