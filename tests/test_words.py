"""No banned word in the package, no docstring that starts with What or Whether."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.words import banned_words, docstring_questions

PACKAGE = ROOT / "safegen"
PARTS = sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")})


def violations(part: Path, search: Callable[[str], list[str]]) -> list[str]:
    """Places below a file or a folder of the package, as `path:line: word`."""
    return [
        f"{path.relative_to(PACKAGE)}:{place}"
        for path in sorted([part] if part.is_file() else part.rglob("*.py"))
        for place in search(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("part", PARTS)
def test_package_has_no_banned_word(part: str) -> None:
    assert violations(PACKAGE / part, banned_words) == []


@pytest.mark.parametrize("part", PARTS)
def test_docstrings_ask_no_question(part: str) -> None:
    assert violations(PACKAGE / part, docstring_questions) == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a\nwrite it anew", ["2: anew"]),
        ("Nobody knows.", ["1: Nobody"]),
        ("was_told = told", ["1: told", "1: told"]),
        ("retold, mended, tell_tale, foretelling, teller", []),
    ],
)
def test_search_finds_whole_words(text: str, places: list[str]) -> None:
    assert banned_words(text) == places


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ('"""What is read."""', ["1: What is read."]),
        ('def f():\n    """Whether it ends."""', ["2: Whether it ends."]),
        ('class A:\n    x = 1\n    """\n    What x is."""', ["3: What x is."]),
        ('"""Whatever is read."""\nx = "What is read."\nprint("What?")', []),
    ],
    ids=["module", "function", "attribute", "other strings"],
)
def test_search_finds_docstring_questions(source: str, places: list[str]) -> None:
    assert docstring_questions(source) == places
