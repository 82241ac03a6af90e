"""No code compares the text of a message: reasons have codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "safegen"
EXCEPTIONS = {
    ("scenarios/user_prompts/csv_rows.py", "is_too_large"),  # `csv.Error` has no code
}
"""Functions that match the text of a foreign interface that gives no code."""
TEXTS = {"message", "reason", "stop_reason", "hint", "why", "msg"}
"""Attributes and keys that hold text for people."""
SEARCHES = {
    "startswith",
    "endswith",
    "removeprefix",
    "removesuffix",
    "find",
    "index",
    "count",
    "partition",
    "rpartition",
    "replace",
    "split",
}
CLEANED = {"strip", "lstrip", "rstrip", "lower", "casefold", "splitlines", "split"}
PATTERNS = {"match", "fullmatch", "search", "findall", "finditer", "sub", "split"}
COLLECTIONS = {"frozenset", "set", "tuple", "list"}
PHRASE = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")


class Comparison(NamedTuple):
    function: str
    code: str


class _Search(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.found: list[Comparison] = []
        self._functions = [""]
        self._errors = {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler)}
        self._constants = {
            target.id: value
            for node in tree.body
            if (value := getattr(node, "value", None)) is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [_target(node)])
            if isinstance(target, ast.Name)
        }

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        words = [word for side in sides for word in self._literals(side)]
        is_text = any(self._is_text(side) for side in sides)
        if words and (is_text or any(PHRASE.search(word) for word in words)):
            self._take(node)
        self.generic_visit(node)

    def visit_MatchValue(self, node: ast.MatchValue) -> None:
        if any(PHRASE.search(word) for word in self._literals(node.value)):
            self._take(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            has_literal = any(True for argument in node.args for _ in self._literals(argument))
            name, receiver = node.func.attr, node.func.value
            searched = name in SEARCHES and has_literal and self._is_text(receiver)
            matched = name in PATTERNS and any(self._is_text(argument) for argument in node.args)
            if searched or matched:
                self._take(node)
        self.generic_visit(node)

    def _take(self, node: ast.AST) -> None:
        self.found.append(Comparison(self._functions[-1], ast.unparse(node)))

    def _literals(self, node: ast.AST, *, depth: int = 0) -> Iterator[str]:
        """Strings of a literal, a collection of literals or a module constant."""
        if isinstance(node, ast.Constant):
            yield from [node.value] if isinstance(node.value, str) else []
        elif isinstance(node, ast.Name):
            if node.id in self._constants and depth < 3:
                yield from self._literals(self._constants[node.id], depth=depth + 1)
        else:
            for part in _parts(node):
                yield from self._literals(part, depth=depth)

    def _is_text(self, node: ast.AST) -> bool:
        """Return true for the text of an error or of a reason."""
        if isinstance(node, ast.Attribute):
            return node.attr in TEXTS
        if isinstance(node, ast.Subscript):
            return isinstance(node.slice, ast.Constant) and node.slice.value in TEXTS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            argument = node.args[0] if node.func.id == "str" and node.args else None
            return isinstance(argument, ast.Name) and argument.id in self._errors
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr in CLEANED and self._is_text(node.func.value)
        return False


def _parts(node: ast.AST) -> Sequence[ast.AST]:
    """Elements of a collection; keys of a dictionary."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return node.elts
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key is not None]
    if isinstance(node, ast.JoinedStr):
        return node.values
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.args if node.func.id in COLLECTIONS else []
    return []


def _target(node: ast.stmt) -> ast.expr | None:
    return node.target if isinstance(node, ast.AnnAssign) else None


def comparisons(source: str) -> list[Comparison]:
    tree = ast.parse(source)
    search = _Search(tree)
    search.visit(tree)
    return search.found


@cache
def places() -> set[tuple[str, str, str]]:
    """Path, function and code of each comparison in the package."""
    return {
        (path.relative_to(PACKAGE).as_posix(), function, code)
        for path in sorted(PACKAGE.rglob("*.py"))
        for function, code in comparisons(path.read_text(encoding="utf-8"))
    }


def test_package_compares_no_message_text() -> None:
    assert {place for place in places() if place[:2] not in EXCEPTIONS} == set()


def test_each_exception_is_needed() -> None:
    assert {place[:2] for place in places() if place[:2] in EXCEPTIONS} == EXCEPTIONS


HANDLER = "try:\n    act()\nexcept ValueError as e:\n    x = {}"


@pytest.mark.parametrize(
    "source",
    [
        HANDLER.format('"locked" in str(e)'),
        HANDLER.format('str(e).startswith("plan")'),
        HANDLER.format('str(e).lower() == "late"'),
        HANDLER.format('re.search("late", str(e))'),
        HANDLER.format('str(e).replace("a", "b")'),
        'x = verdict.reason == "needless"',
        'WORD = "needless"\nx = verdict.reason == WORD',
        'WORDS = frozenset({"needless"})\nx = verdict.reason not in WORDS',
        'x = row["reason"] == "needless"',
        'x = cause == "not labelled"',
        'match cause:\n    case "not labelled":\n        pass',
        'x = "did you mean" in near',
        'x = error.message.startswith(f"{name} is")',
    ],
)
def test_comparison_with_words_is_found(source: str) -> None:
    assert len(comparisons(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        'x = decision.code == "stalled"',
        'x = draft.outcome != "ok"',
        HANDLER.format("str(e).splitlines()[0]"),
        HANDLER.format('f"{name}: {e}"'),
        'x = "-" in name',
        "x = lost.reason in ways",
    ],
)
def test_comparison_with_code_is_not_found(source: str) -> None:
    assert comparisons(source) == []
