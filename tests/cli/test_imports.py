from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import ROOT

FREE = frozenset("cli pipeline config core dataset".split())
MOST_MODULES = 10


def imported_modules(path: Path) -> set[str]:
    """Modules of safegen that a file imports, also inside functions and for types only."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("safegen."):
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                modules.add(name if is_module(name) else node.module)
    return modules


def is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_cli_goes_through_the_pipeline() -> None:
    modules = set[str]().union(*map(imported_modules, (ROOT / "safegen/cli").rglob("*.py")))
    others = {name for name in modules if name.split(".")[1] not in FREE}
    assert len(others) <= MOST_MODULES, sorted(others)
