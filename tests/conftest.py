"""Shared guards: no API keys, no network beyond the loopback."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from safegen.core import language_id, yaml_source
from safegen.pipeline import api
from safegen.policy import loader
from safegen.policy.source_map import SpecFinding
from safegen.policy.spec import Policy

ROOT = Path(__file__).parent.parent
SHIPPED = (f"{ROOT / 'taxonomies'}{os.sep}", f"{ROOT / 'prompts'}{os.sep}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="Refresh golden files.")
    parser.addoption("--fuzz-files", type=int, default=200, help="Number of fuzzed input files.")
    parser.addoption("--fuzz-runs", type=int, default=60, help="Number of damaged run folders.")
    parser.addoption("--kills", type=int, help="Number of kills of the slow kill test.")
    parser.addoption("--fuzz-seed", type=int, default=0, help="Seed of the fuzz tests.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a golden file, or write the file under `--regenerate`."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--regenerate"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"{path}: refresh it with --regenerate"

    return compare


@pytest.fixture(autouse=True)
def _closed_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_TOKEN")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        if self.family != socket.AF_UNIX and not str(host).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(socket.socket, "connect", guarded)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Fill a folder once per session, however many processes run the tests.

    Tests read the folder; a test that changes it copies it first.
    """
    base = tmp_path_factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own in the session's folder.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = shared / f"once-{name}", shared / f"once-{name}.done"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return filled


@pytest.fixture(scope="session")
def starter(once: Once) -> Path:
    """The dataset folder of the starter recipe; not to be changed."""
    return once("starter", lambda folder: api.generate("starter", output=folder / "out")) / "out"


def pytest_configure(config: pytest.Config) -> None:
    """Parse and check a shipped YAML file once per process.

    Two thirds of a small run's time went into the same 41 files. `parse` depends on its arguments
    only, its models are frozen, and the text is part of the key. Other files are parsed each time.
    """
    parse = yaml_source.parse
    parsed: dict[tuple[type[BaseModel], str, str], BaseModel] = {}

    def once(text: str, model: type[BaseModel], *, shown: str) -> BaseModel:
        key = (model, shown, text)
        if not shown.startswith(SHIPPED):
            return parse(text, model, shown=shown)
        if key not in parsed:
            parsed[key] = parse(text, model, shown=shown)
        # A copy, because `model_copy` by a test would take over a cached property of the original.
        return parsed[key].model_copy()

    patch = pytest.MonkeyPatch()
    patch.setattr(yaml_source, "parse", once)
    lint = loader.lint_policy
    linted: dict[tuple[str, ...], list[SpecFinding]] = {}

    def lint_once(policy: Policy) -> list[SpecFinding]:
        paths = tuple(str(path) for _, path in policy.chain)
        # Cases and precedents are no part of an id, but shipped files do not change in a session.
        if not all(path.startswith(SHIPPED) for path in paths):
            return lint(policy)
        key = (policy.policy_id, *paths)
        if key not in linted:
            linted[key] = lint(policy)
        return linted[key]

    patch.setattr(loader, "lint_policy", lint_once)
    # A run frees its language model; loading it took a tenth of a small run.
    load = functools.cache(language_id._common_model.__wrapped__)
    patch.setattr(language_id, "_common_model", functools.cache(lambda: load()))
    # The command line is built once a process, and a test process runs it a thousand times.
    patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
    config.add_cleanup(patch.undo)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
