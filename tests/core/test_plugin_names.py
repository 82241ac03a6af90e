"""No code outside a plug-in compares the plug-in's name; traits answer instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from safegen.core import plugins
from safegen.core.errors import AssetNotFound
from tests.conftest import ROOT

PACKAGE = ROOT / "safegen"
NAMES = frozenset(name for kind in plugins.KINDS for name in plugins.list_names(kind))
COMMON_WORDS = frozenset({"contacts", "language", "personal_data", "style"})
"""Validators that are also columns, axes or keys. For them only comparisons count, not containers."""
LOOKUPS = frozenset("index count startswith endswith removeprefix partition".split())
DEFAULTS = {"config/recipe.py": "the validators of a recipe that names none"}
"""Files that may list names as a default."""


def compared_names(source: str, *, own: str = "", default: bool = False) -> list[str]:
    """Names of plug-ins that code compares or looks up, as `line: name`.

    Args:
        source: Python source.
        own: name of the plug-in whose module it is.
        default: containers of names are allowed.
    """
    hits: set[tuple[int, str]] = set()
    for node in ast.walk(ast.parse(source)):
        names = set(_in_comparison(node))
        if not default:
            names |= set(_in_container(node)) - COMMON_WORDS
        hits |= {(getattr(node, "lineno", 0), name) for name in names & NAMES if name != own}
    return [f"{line}: {name}" for line, name in sorted(hits)]


def _in_comparison(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Compare):
        for side in (node.left, *node.comparators):
            yield from _strings(
                getattr(side, "elts", None) or getattr(side, "keys", None) or [side]
            )
    elif isinstance(node, ast.MatchValue):
        yield from _strings([node.value])
    elif isinstance(node, ast.Call) and _called_method(node) in LOOKUPS:
        yield from _strings(node.args)


def _in_container(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        yield from _strings(node.elts)
    elif isinstance(node, ast.Dict):
        yield from _strings(node.keys)
    elif isinstance(node, ast.Subscript):
        yield from _strings([node.slice])
    elif isinstance(node, ast.Call) and _called_method(node) == "get":
        yield from _strings(node.args[:1])


def _called_method(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _strings(nodes: list[ast.expr] | list[ast.expr | None]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_code_compares_a_plugin_name() -> None:
    hits = {
        name: found
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) != "testing/__init__.py"  # its `__all__`
        and (
            found := compared_names(
                path.read_text(encoding="utf-8"), own=path.stem, default=name in DEFAULTS
            )
        )
    }
    assert hits == {}


def test_defaults_still_name_plugins() -> None:
    stale = [
        name
        for name in DEFAULTS
        if not compared_names(Path(PACKAGE / name).read_text(encoding="utf-8"))
    ]
    assert stale == []


@pytest.mark.parametrize(
    "source",
    [
        "ref.use == 'offline'",
        "'sft' != name",
        "name == 'language'",
        "'preference' in recipe.views",
        "name in ('detail_ceiling', 'other')",
        "name in {'style'}",
        "BY_FORM = {'response_form': 1}",
        "OFFLINE = ('offline',)",
        "views['sft']",
        "views.get('sft')",
        "name.startswith('openai_chat')",
        "match name:\n    case 'scripted':\n        pass",
    ],
)
def test_search_finds_comparison(source: str) -> None:
    assert len(compared_names(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "PluginRef(use='offline')",
        "COLUMNS = ('language', 'style')",
        "row['language']",
        "name == 'unknown'",
        "'''offline == name'''",
    ],
)
def test_search_ignores_other_use(source: str) -> None:
    assert compared_names(source) == []


def test_plugin_may_compare_its_own_name() -> None:
    assert compared_names("name == 'offline'", own="offline") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("refusal_form", "`response_form`"), ("mode_fit", "`detail_ceiling` and `response_form`")],
)
def test_replaced_validator_is_named_in_the_error(old: str, new: str) -> None:
    with pytest.raises(AssetNotFound, match=f"replaced; use {new}"):
        plugins.find_factory("validators", old)
