from __future__ import annotations

import io

import pytest
from rich.console import Console

from safegen.cli.render.tables import print_table
from safegen.policy import explain as explained, loader
from safegen.policy.schema import Situation

HEADS = ("rule", "mode", "authority", "when")
ROWS = [
    (
        "B-RES-VETTED-STRATEGY",
        "direct_answer",
        "developer",
        "tier restricted, profile vetted_professional",
    ),
    ("B-RED", "refuse_redirect", "root", ""),
]


def printed(width: int, heads: tuple[str, ...] = HEADS, rows: list[tuple[str, ...]] = ROWS) -> str:
    stream = io.StringIO()
    print_table(Console(file=stream, width=width, highlight=False, markup=False), heads, rows)
    return stream.getvalue()


@pytest.mark.parametrize("width", [30, 50, 64, 80, 100, 200])
def test_table_keeps_words_whole_at_any_width(width: int) -> None:
    text = printed(width)
    words = text.split()
    for row in ROWS:
        assert all(words.count(part) for cell in row for part in cell.split())
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_last_column_moves_below_in_narrow_tables() -> None:
    lines = printed(64).splitlines()
    assert lines[2].split() == ["B-RES-VETTED-STRATEGY", "direct_answer", "developer"]
    assert lines[3].strip() == "tier restricted, profile vetted_professional"
    assert lines[-1].split() == ["B-RED", "refuse_redirect", "root"]


def test_table_without_rows_prints_nothing() -> None:
    assert printed(80, rows=[]) == ""


def test_explanation_fits_eighty_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from safegen.cli.policy_explain import print_explanation

    explanation = explained.explain_situation(
        loader.load_policy("security"),
        Situation("restricted", "none", "public", 3),
        harm="cyber.intrusion",
    )
    print_explanation(explanation, None, Console(width=80, highlight=False, markup=False))
    words = capsys.readouterr().out.split()
    assert explanation.neighbours
    assert all(n.rule.id in words for n in explanation.neighbours)
