from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from safegen.cli import main
from tests.cli.harness import write_recipe
from tests.conftest import Once


@pytest.fixture(scope="session")
def kitchen(once: Once) -> Path:
    """A finished run of the kitchen's recipe; not to be changed."""

    def cook(folder: Path) -> None:
        assert (
            main.run_command(["generate", str(write_recipe(folder)), "-o", str(folder / "out")])
            == 0
        )

    return once("kitchen", cook)


@pytest.fixture
def finished(kitchen: Path, workdir: Path) -> Path:
    """A copy of that run and its recipe in the working folder."""
    shutil.copytree(kitchen, workdir, dirs_exist_ok=True)
    return Path("out")
