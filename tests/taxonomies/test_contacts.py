"""Written answers name services by kind, because a wrong or foreign telephone number is harmful."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted(
    path
    for folder in ("taxonomies/core", "prompts/locales", "prompts/policies")
    for path in (ROOT / folder).rglob("*.yaml")
    # The registry is the one place that holds numbers.
    if path.parent.name != "contacts"
)
NUMBER = re.compile(
    r"(?<![\d,.])(?:\+\d|1-)?(?:\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}|0\d{2,4}[ -]\d[\d -]{4,}\d)(?![\d,])"
    r"|\b(?:call|dial|ring|phone)\b[^.\n]{0,20}?\b(?:\d{3}(?: \d{3})?)\b(?! ?(?:times|euros|dollars|words|metres))"
    r"|\b\d{3}(?: \d{3})?\b (?:line|hotline|helpline)\b"
)
KNOWN = re.compile(r"\b(?:988|112|116 123|116 111)\b")
"""Verified numbers of a stated place: US lifeline, EU emergency number, Samaritans (UK), child helplines (Europe)."""


def numbers(text: str) -> list[str]:
    return [m[0] for m in NUMBER.finditer(text) if not KNOWN.search(m[0])]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_written_texts_contain_no_telephone_number(path: Path) -> None:
    assert numbers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ring 1-800-555-0199 today", True),
        ("in England 0800 555 01 99", True),
        ("tell the 555 line", True),
        ("call 555 at once", True),
        ("in the US call or text 988", False),
        ("call your local emergency number", False),
        ("ISO 8601 and 1,200 euros", False),
    ],
)
def test_number_search_finds_telephone_numbers(text: str, expected: bool) -> None:
    assert bool(numbers(text)) == expected
