"""User's prompt files in three formats, and the rows and scenarios read from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.types import PlannedScenario
from safegen.judges.user_prompt_labels import BlindLabels
from safegen.policy import loader
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.user_prompts.plan_rows import RowLabels, plan_row
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts
from safegen.scenarios.user_prompts.resolve_labels import resolve_labels
from safegen.scenarios.user_prompts.rows import (
    PromptRow,
    UnreadableRow,
    check_columns,
    iter_rows,
)

Values = dict[str, Any]
FULL: Values = {
    "prompt": "How do I open my own box?",
    "id": "a-1",
    "harm": "cyber.intrusion",
    "intent": "dual_use",
    "evidence": "none",
    "detail": 3,
    "licence": "CC-BY-4.0",
}


def write_csv(path: Path, rows: Sequence[Values]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(names)
        for row in rows:
            cells = [row.get(name) for name in names]
            out.writerow([json.dumps(c) if isinstance(c, list) else c for c in cells])


def write_jsonl(path: Path, rows: Sequence[Values]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(("\n".join(lines) + "\n").encode())


def write_parquet(path: Path, rows: Sequence[Values]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name) for name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(whole), path)


WRITERS: dict[str, Callable[[Path, Sequence[Values]], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


def written(folder: Path, kind: str, *rows: Values, name: str = "p") -> Path:
    path = folder / f"{name}.{kind}"
    WRITERS[kind](path, rows)
    return path


@cache
def world(**plan: Any) -> PlanningContext:
    recipe = Recipe(name="a", plan=Plan(**plan))
    policies = [loader.load_policy(name) for name in recipe.policies]
    return PlanningContext.create(
        recipe.plan, taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )


def read(source: UserPrompts) -> list[PromptRow]:
    rows = read_all(source)
    assert all(isinstance(row, PromptRow) for row in rows)
    return [row for row in rows if isinstance(row, PromptRow)]


def read_all(source: UserPrompts) -> list[PromptRow | UnreadableRow]:
    return list(iter_rows(source, check_columns(source), list(world().tree.harms)))


def read_file(path: Path, **options: Any) -> list[PromptRow]:
    return read(open_prompts(path, **options))


def one(folder: Path, **values: Any) -> PromptRow:
    return read_file(written(folder, "jsonl", FULL | values))[0]


def planned(row: PromptRow, blind: BlindLabels | None = None, **plan: Any) -> list[PlannedScenario]:
    labels = resolve_labels(row, blind or BlindLabels(), world(**plan))
    assert isinstance(labels, RowLabels)
    return plan_row(row, labels, world(**plan))


def csv_of(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()
