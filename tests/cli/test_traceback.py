"""The traceback of a bug and of a plug-in's error, which only `safegen -v` prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BROKEN_COMMAND = """
import sys
from safegen.cli import main, status

def burn(*_, **__):
    raise ZeroDivisionError("burnt toast")

status.show_status = burn
sys.exit(main.run_command(sys.argv[1:]))
"""
PLUGIN = """
def burn(*, heat: int = 1):
    raise ZeroDivisionError("burnt toast")
"""
RECIPE = "name: k\nteachers: {drafter: 'toaster:burn'}\n"


def run_python(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("verbose", [True, False], ids=["verbose", "plain"])
def test_bug_shows_its_traceback_if_verbose(tmp_path: Path, *, verbose: bool) -> None:
    options = ["-v"] if verbose else []
    done = run_python("-c", BROKEN_COMMAND, *options, "status", "out", folder=tmp_path)
    assert done.returncode == 1
    assert "a bug in safegen (ZeroDivisionError: burnt toast)" in done.stderr
    assert ("Traceback (most recent call last)" in done.stderr) is verbose
    assert ("in burn" in done.stderr) is verbose
    assert ("run it again with `safegen -v COMMAND`" in done.stderr) is not verbose


@pytest.mark.parametrize("verbose", [True, False], ids=["verbose", "plain"])
def test_plugin_error_shows_its_traceback_if_verbose(tmp_path: Path, *, verbose: bool) -> None:
    (tmp_path / "toaster.py").write_text(PLUGIN)
    (tmp_path / "r.yaml").write_text(RECIPE)
    options = ["-v"] if verbose else []
    command = ["-m", "safegen", *options, "check", "r.yaml", "--plugin", "toaster"]
    done = run_python(*command, folder=tmp_path)
    assert done.returncode == 2
    assert "toaster.py:3: plug-in `toaster:burn` failed when it was built" in done.stderr
    assert ("Traceback (most recent call last)" in done.stderr) is verbose
