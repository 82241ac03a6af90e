"""Both spellings of fields and values in a user's prompt file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.core.errors import ConfigError, UserError
from safegen.pipeline.api import generate
from safegen.scenarios.user_prompts.reader import open_prompts
from safegen.scenarios.user_prompts.rows import PromptRow, check_columns, iter_rows


def read(folder: Path, columns: dict[str, str], *rows: dict[str, str]) -> list[PromptRow]:
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = open_prompts(path, columns=columns)
    read_rows = iter_rows(source, check_columns(source), [])
    return [row for row in read_rows if isinstance(row, PromptRow)]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({}, {"licence": "MIT"}),
        ({}, {"license": "MIT"}),
        ({"license": "terms"}, {"terms": "MIT"}),
        ({"license": "terms"}, {"terms": "MIT", "license": "GPL", "licence": "GPL"}),
        ({"licence": "license"}, {"license": "MIT", "licence": "GPL"}),
        ({"id": "license", "licence": "terms"}, {"terms": "MIT", "license": "7"}),
    ],
    ids=["british", "american", "mapped", "mapped-first", "mapped-to-one", "mapped-away"],
)
def test_licence_column_has_two_spellings(
    tmp_path: Path, columns: dict[str, str], row: dict[str, str]
) -> None:
    [read_row] = read(tmp_path, columns, row | {"prompt": "A box?", "task": "optimize"})
    assert (read_row.licence, read_row.task) == ("MIT", "optimise")


def test_other_spelling_of_a_column_is_not_ignored(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,license,more\na,MIT,b\n")
    assert check_columns(open_prompts(path)).unread == ("more",)


def test_both_columns_of_table_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence,license\na,MIT,MIT\n")
    with pytest.raises(ConfigError, match="has columns `licence` and `license`; keep one"):
        check_columns(open_prompts(path))


def test_jsonl_rows_may_differ_in_spelling(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "licence": "MIT"}, {"prompt": "b", "license": "CC0-1.0"}]
    assert [row.licence for row in read(tmp_path, {}, *rows)] == ["MIT", "CC0-1.0"]


def test_jsonl_row_with_both_spellings_is_named(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "licence": "MIT"},
        {"prompt": "b", "licence": "MIT", "license": "MIT"},
    ]
    with pytest.raises(ConfigError, match="row 2: has both `licence` and `license`; keep one"):
        read(tmp_path, {}, *rows)


def test_licence_argument_has_two_spellings(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n')
    assert open_prompts(path, license="MIT") == open_prompts(path, licence="MIT")
    with pytest.raises(UserError, match="`licence` and `license` are the same argument"):
        open_prompts(path, licence="MIT", license="MIT")


def test_generate_with_both_licences_is_refused() -> None:
    with pytest.raises(UserError, match="`licence` and `license` are the same argument"):
        generate("starter", licence="MIT", license="MIT")
    with pytest.raises(UserError, match="needs a file"):
        generate("starter", license="MIT")


def test_both_mapped_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`licence` and `license` are the same name; keep one"):
        read(tmp_path, {"licence": "a", "license": "b"}, {"prompt": "a"})
