from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safegen.pipeline import _user_rows as user_rows, user_prompts
from safegen.pipeline._row_spool import BATCH_ROWS, RowSpool, UsedRow
from safegen.scenarios.user_prompts.reader import open_prompts
from safegen.scenarios.user_prompts.resolve_labels import ExcludedRow, Unlabelled

SIZE = 2 * BATCH_ROWS + 5
RECIPE = {
    "name": "spooled",
    "teachers": {"drafter": {"openai_chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}},
}


def make_row(number: int, *, intent: str) -> dict[str, object]:
    evidence = "stated" if intent == "malicious" else "none"
    return {
        "prompt": f"How does lock {number} work?",
        "harm": "property.theft",
        "intent": intent,
        "evidence": evidence,
        "detail": 2,
        "profile": "public",
        "licence": "MIT",
    }


def test_rows_are_read_in_order_by_interleaved_readers() -> None:
    rows: list[UsedRow] = [ExcludedRow(str(n)) for n in range(SIZE)]
    rows[3] = Unlabelled(3, "x", ("harm",), "open")
    spool = RowSpool()
    for row in rows:
        spool.append(row)
    assert list(zip(spool, spool, strict=True)) == list(zip(rows, rows, strict=True))
    spool.close()


def test_empty_spool_has_no_rows() -> None:
    spool = RowSpool()
    assert list(spool) == []
    spool.close()


@pytest.mark.parametrize("contradictory", [False, True], ids=["plain", "contradictory"])
def test_prompt_file_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contradictory: bool
) -> None:
    rows = [make_row(n, intent="dual_use") for n in range(SIZE)]
    rows += [make_row(1, intent="malicious")] if contradictory else []
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "recipe.yaml").write_text(json.dumps(RECIPE))
    reads = Counter[str]()
    read = user_rows.iter_rows

    def count_rows(*args: Any, **options: Any) -> Iterator[Any]:
        reads["file"] += 1
        return read(*args, **options)

    monkeypatch.setattr(user_rows, "iter_rows", count_rows)
    source = open_prompts(tmp_path / "rows.jsonl")
    estimate = user_prompts.dry_run_import(str(tmp_path / "recipe.yaml"), source).estimate
    assert reads == {"file": 1}
    assert estimate.rows == len(rows)
    assert estimate.planned == SIZE - contradictory
    assert estimate.causes == ({"contradictory": 2} if contradictory else {})
    assert sum(estimate.by_domain_mode.values()) == estimate.planned
