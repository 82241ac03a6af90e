"""No code compares the text of a message: reasons have codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

PROSE = re.compile(r"[A-Za-z`] |[ ][A-Za-z`]")
"""Words with a space, or the beginning of a sentence; no code and no name has one."""
SEARCHES = {"startswith", "endswith", "removeprefix", "removesuffix", "find", "index", "count"}
FOREIGN = {
    "scenarios/user_prompts/reader.py",  # `csv.Error` has no code for a field that is too long
}


def comparisons(source: str) -> Iterator[int]:
    """Lines that compare or search prose, an exception's text or a `message`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.expr | ast.pattern):
            continue
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = [node.func.value, *node.args] if node.func.attr in SEARCHES else []
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        if any(is_text(part) for part in parts):
            yield node.lineno


def is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and PROSE.search(node.value) is not None
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_text(element) for element in node.elts)
    if isinstance(node, ast.Attribute):
        return node.attr == "message"
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return False
    argument = node.args[0]
    return node.func.id == "str" and isinstance(argument, ast.Name) and argument.id == "e"


def test_package_compares_no_message_text() -> None:
    package = ROOT / "safegen"
    places = [
        f"{path.relative_to(package)}:{line}"
        for path in sorted(package.rglob("*.py"))
        for line in comparisons(path.read_text(encoding="utf-8"))
    ]
    assert [place for place in places if place.partition(":")[0] not in FOREIGN] == []


@pytest.mark.parametrize(
    "source",
    [
        'verdict.reason == "needless refusal"',
        'reason in {"declines, then helps"}',
        'key.startswith("policy ")',
        '"did you mean" in near',
        'str(e).startswith("x")',
        '"locked" in str(e)',
        "failure.message == x",
    ],
)
def test_comparison_with_text_is_found(source: str) -> None:
    assert list(comparisons(source)) == [1]


@pytest.mark.parametrize("source", ['verdict.code == "needless_refusal"', 'name == "a"', "a in b"])
def test_comparison_with_code_is_not_found(source: str) -> None:
    assert list(comparisons(source)) == []


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_each_exception_is_needed(name: str) -> None:
    assert list(comparisons((ROOT / "safegen" / name).read_text(encoding="utf-8")))
