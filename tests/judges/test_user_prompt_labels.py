"""Descriptions of unreadable labeller replies."""

from __future__ import annotations

import pytest

from safegen.core.errors import Blocked, ItemError, ParseError
from safegen.judges.user_prompt_labels import _describe_problem

PROMPT = "how do i keep a box shut at night"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ParseError("the object lacks `intent`"), ": the object lacks `intent`"),
        (ParseError("the object may not hold `box shut`"), ": the object may not hold `…`"),
        (ParseError("cannot read: keep a box shut at"), ""),
        (ParseError("x" * 1_000), ": " + "x" * 160),
        (Blocked("the prompt 'box' is not allowed"), ""),
    ],
    ids=["parser", "foreign name", "quote", "long", "of the provider"],
)
def test_problem_names_the_parser_reason_without_text(error: ItemError, expected: str) -> None:
    assert _describe_problem(error, PROMPT) == expected
