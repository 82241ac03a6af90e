"""Banned words, and a search that finds them in code and prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

BANNED = (
    "told tell tells anew mend mends somebody nobody everybody whoever foretell foretells proved"
).split()
TABOO = re.compile(rf"(?<![^\W_])(?:{'|'.join(BANNED)})(?![^\W_])", re.IGNORECASE)
"""A word, also as a part of a `snake_case` name."""
NAMES = re.compile(r"\btell_tale\b")
"""Keys of published files: the patterns of language packs."""
QUESTION = re.compile(r"\s*(?:What|Whether)\b")


def banned_words(text: str) -> list[str]:
    """Each banned word with its line number, as `12: told`."""
    return [
        f"{number}: {word}"
        for number, line in enumerate(text.splitlines(), start=1)
        for word in TABOO.findall(NAMES.sub("", line))
    ]


def docstring_questions(source: str) -> list[str]:
    """Each docstring, also of an attribute, that starts with What or Whether."""
    return [
        f"{node.lineno}: {text.strip().splitlines()[0]}"
        for node, text in _string_statements(ast.parse(source))
        if QUESTION.match(text)
    ]


def _string_statements(tree: ast.Module) -> Iterator[tuple[ast.Expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str) and text.strip():
                yield node, text
