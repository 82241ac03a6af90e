"""Rows of a user's file are read exactly and equally in three formats; bad files are named."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safegen.core.errors import ConfigError
from safegen.core.hashing import file_sha256
from safegen.scenarios.user_prompts.csv_rows import is_too_large
from safegen.scenarios.user_prompts.raw_rows import RawRow
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts, read_rows
from safegen.scenarios.user_prompts.rows import PromptRow, check_columns
from tests.scenarios.user_prompts.prompt_files import (
    FULL,
    WRITERS,
    csv_of,
    planned,
    read,
    read_file,
    written,
)

EXACT = (
    " a space before and after ",
    "\ttabs\t and\u00a0no-break\u2003spaces\u200b\u2028lines",
    "two\nlines\n\n",
    "a\r\nb\rc",
    "שלום \u202eעולם\u202c",
    "cafe\u0301 and café, ﬁ, Ⅳ",
    'quotes "" and, commas; \\n',
    "👩‍🚀 𝔘",
    "\ufeffa byte order mark",
    "NaN",
    "null",
    "007",
)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("text", EXACT)
def test_prompt_is_kept_to_the_byte(tmp_path: Path, kind: str, text: str) -> None:
    row = read_file(written(tmp_path, kind, FULL | {"prompt": text}))[0]
    assert row.messages == ({"role": "user", "content": text},)
    assert planned(row)[0].scenario.messages == row.messages


def test_three_formats_give_equal_rows(tmp_path: Path) -> None:
    talk = [
        {"role": "system", "content": "You help bakers."},
        {"role": "user", "content": " one "},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    rows = [FULL | {"id": str(i), "prompt": text} for i, text in enumerate(EXACT)]
    rows.append({**FULL, "id": "talk", "prompt": None, "messages": talk, "profile": "enterprise"})
    rows.append({"prompt": "Only words.", "licence": "MIT"})
    kinds = [read_file(written(tmp_path, kind, *rows)) for kind in WRITERS]
    stripped = [[scenario_of(row) for row in rows_] for rows_ in kinds]
    assert stripped[0] == stripped[1] == stripped[2]
    assert len(stripped[0]) == len(EXACT) + 2
    assert stripped[0][-2][1] == tuple(talk)


def scenario_of(row: PromptRow) -> tuple[object, ...]:
    return (row.key, row.messages, row.harm, row.intent, row.evidence, row.detail, row.profile)


def test_column_map_renames_and_licence_fills_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"text": "A box?", "row": 7, "prompt": "not this", "more": 1})
    source = open_prompts(path, columns={"prompt": "text", "id": "row"}, licence="MIT")
    assert check_columns(source).unread == ("prompt", "more")
    assert [(r.id, r.messages[0]["content"], r.licence) for r in read(source)] == [
        ("7", "A box?", "MIT")
    ]
    assert UserPrompts.from_json(json.loads(json.dumps(source.to_json()))) == UserPrompts(
        source.name, source.sha256, source.columns, "MIT"
    )
    assert source.sha256 == file_sha256(path)


@pytest.mark.parametrize("licence", ["MIT\n# a heading", "MIT\r", "MI\0T", "", "  ", "M" * 201])
def test_licence_option_must_be_one_line(tmp_path: Path, licence: str) -> None:
    path = written(tmp_path, "csv", {"prompt": "A box?"})
    with pytest.raises(ConfigError, match=r"`--licence` is not one line .* such as `CC-BY-4\.0`"):
        open_prompts(path, licence=licence)


def test_digest_covers_file_columns_and_licence(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"text": "A box?"})
    digests = {
        open_prompts(path, columns={"prompt": "text"}, licence="MIT").digest,
        open_prompts(path, columns={"prompt": "text"}, licence="CC0-1.0").digest,
        open_prompts(path, columns={"prompt": "text", "id": "text"}, licence="MIT").digest,
    }
    path.write_text("text\nA box!\n")
    assert (
        len(digests | {open_prompts(path, columns={"prompt": "text"}, licence="MIT").digest}) == 4
    )


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "empty": ("csv", b"", "p.csv: is empty"),
    "head alone": ("csv", b"prompt,licence\n", "p.csv: has no rows"),
    "blank lines": ("jsonl", b"\n \n", "p.jsonl: has no rows"),
    "binary": ("csv", b"prompt\n\0\1\2", "NUL bytes"),
    "binary as JSONL": ("jsonl", bytes(range(256)), "NUL bytes"),
    "latin-1": ("csv", "prompt,licence\ncafé,MIT\n".encode("latin-1"), "byte 0xe9 .*not UTF-8"),
    "utf-32": ("csv", "prompt\na\n".encode("utf-32"), "is UTF-32; save"),
    "ragged, longer": ("csv", csv_of("prompt,licence", "a,b,c"), "p.csv:2: row 1 has 3 cells"),
    "ragged, shorter": ("csv", csv_of("prompt,licence", "a,b", "a"), "p.csv:3: row 2 has 1 cell"),
    "open quote": ("csv", csv_of("prompt,licence", '"a,MIT'), "p.csv:2: not valid CSV"),
    "stray quote": ("csv", csv_of("prompt,licence", '"a"b,MIT'), "p.csv:2: row 1 is not valid CSV"),
    "huge cell": ("csv", csv_of("prompt,licence", f'"{"a" * 140_000}",MIT'), "more than 131072"),
    "huge line": ("jsonl", b'{"prompt": "' + b"a" * (9 * 2**20), "p.jsonl:1: line is longer"),
    "huge prompt": (
        "jsonl",
        json.dumps({"prompt": "a" * 140_000, "licence": "M"}).encode(),
        "more than 131072",
    ),
    "duplicate columns": ("csv", csv_of("prompt,id,id", "a,b,c"), "column `id` appears twice"),
    "duplicate keys": ("jsonl", b'{"prompt": "a", "prompt": "b"}', "key `prompt` appears twice"),
    "colons": ("csv", csv_of("prompt:licence", "a:MIT"), "no column `prompt`"),
    "near column": ("csv", csv_of("promt,licence", "a,MIT"), "did you mean `promt`"),
    "no licence": ("csv", csv_of("prompt", "a"), "`--licence NAME`"),
    "licence missing in a row": (
        "csv",
        csv_of("prompt,licence", "a,MIT", "b,"),
        "row 2: `licence` is missing",
    ),
    "no JSON": ("jsonl", b'{"prompt": \n', "p.jsonl:1: row 1 is not valid JSON"),
    "JSON list": ("jsonl", b'["a"]\n', "row 1 is not a JSON object"),
    "deep JSON": ("jsonl", b'{"prompt": ' + b"[" * 100_000 + b"\n", "nested too deeply"),
    "huge number": ("jsonl", b'{"id": ' + b"9" * 5_000 + b"}", "5,000 digits; write an id as text"),
    "two marks": ("csv", b"\xef\xbb\xbf" * 2 + b"prompt\na\n", "two byte order marks; save"),
    "empty object": ("json", b"{}", "p.json: has no rows"),
    "empty list": ("json", b"[]", "p.json: has no rows"),
    "repeated key of an object": (
        "json",
        b'{"prompt": "a",\n "prompt": "b"}',
        "p.json:2: not.*twice",
    ),
    "huge text in a list": (
        "json",
        b'[{"prompt": "' + b"a" * (9 * 2**20),
        "p.json:1: .*a value has at most 8388608 characters",
    ),
    "NUL escape": ("jsonl", b'{"prompt": "a\\u0000", "licence": "M"}', "row 1: .*NUL character"),
    "late NUL": (
        "csv",
        csv_of("prompt,licence", *["a,MIT"] * 20_000, "b\0,MIT"),
        "p.csv:20002: row 20001: `prompt` contains a NUL character",
    ),
    "half a character in a key": ("jsonl", b'{"prompt": "a", "\\ud800": 1}', "name of a column"),
    "repeated key in a conversation": (
        "jsonl",
        json.dumps({"messages": '[{"role": "user", "role": "user"}]', "licence": "M"}).encode(),
        "`role` appears twice",
    ),
    "texts as turns": ("jsonl", b'{"turns": ["a", "b"]}', "a list of {role, content}"),
    "nested prompt": (
        "jsonl",
        b'{"prompt": {"text": "a"}, "licence": "M"}',
        "row 1: `prompt` is not text but an object",
    ),
    "list as prompt": ("jsonl", b'{"prompt": [], "licence": "M"}', "belongs in `messages`"),
    "number as prompt": ("jsonl", b'{"prompt": 3, "licence": "M"}', "not text but a number"),
    "half a character": ("jsonl", b'{"prompt": "\\ud800", "licence": "M"}', "half a character"),
    "half a detail": (
        "jsonl",
        b'{"prompt": "a", "licence": "M", "detail": "\\ud800"}',
        r"`detail` is `.ud800`",
    ),
    "blank prompt": ("csv", csv_of("prompt,licence", " \t,MIT"), "row 1: `prompt` is blank"),
    "no prompt": ("jsonl", b'{"prompts": "a", "prompt": null, "licence": "M"}', "has no `prompt`"),
    "CSV named Parquet": ("parquet", csv_of("prompt", "a"), "is not Parquet"),
    "Parquet named CSV": ("csv", b"PAR1....", "is Parquet; name it"),
    "cut Parquet": ("parquet", b"PAR1" + b"\0" * 50, "p.parquet: is not readable Parquet"),
    "pointer": ("parquet", POINTER, "is a git-lfs pointer, not data; run `git lfs pull`"),
    "pointer as CSV": ("csv", POINTER, "is a git-lfs pointer"),
    "another format": ("xlsx", b"PK", "end in `.csv`, `.jsonl`"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_reported_with_its_place(tmp_path: Path, case: str) -> None:
    kind, data, pattern = HOSTILE[case]
    path = tmp_path / f"p.{kind}"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=pattern) as raised:
        read_file(path)
    assert len(str(raised.value)) < 1_000


def test_ragged_rows_are_reported_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence\na,MIT\nb\nc,MIT,x\nd,\n")
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    lines = str(raised.value).splitlines()
    assert [f":{n}: row" in line for n, line in zip((3, 4, 5), lines, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("text", "expected"), [("a" * (csv.field_size_limit() + 1), True), ('"a"b', False)]
)
def test_only_cell_above_csv_limit_is_too_large(text: str, expected: bool) -> None:
    with pytest.raises(csv.Error) as raised:
        list(csv.reader([text], strict=True))
    assert is_too_large(raised.value) is expected


def test_unknown_fields_and_columns_get_a_suggestion(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"text": "a"})
    with pytest.raises(ConfigError, match="`promt` is not a field; did you mean `prompt`"):
        open_prompts(path, columns={"promt": "text"})
    with pytest.raises(ConfigError, match="no column `txt` for `prompt`; did you mean `text`"):
        read_file(path, columns={"prompt": "txt"}, licence="MIT")
    with pytest.raises(ConfigError, match="no such file"):
        open_prompts(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "columns", [{"prompt": "text", "goal": "text"}, {"messages": "text", "prompt": "text"}]
)
@pytest.mark.parametrize(("suffix", "line"), [("csv", ":1"), ("jsonl", ":1"), ("parquet", "")])
def test_column_of_two_fields_is_refused(
    suffix: str, line: str, columns: dict[str, str], tmp_path: Path
) -> None:
    path = written(tmp_path, suffix, {"text": "a"})
    first, second = sorted(columns)
    message = f"{path}{line}: column `text` is named for `{first}` and for `{second}`; name each"
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_file(path, columns=columns, licence="MIT")


def test_repeated_column_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("sep=;\nprompt;goal;prompt\na;b;c\n")
    with pytest.raises(ConfigError, match=r"p\.csv:2: column `prompt` appears twice"):
        read_file(path, licence="MIT")


def test_byte_order_mark_and_blank_lines_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt,licence\r\na,MIT\r\n\r\nb,MIT")
    assert [r.messages[0]["content"] for r in read_file(path)] == ["a", "b"]
    lines = io.StringIO('{"prompt": "a", "licence": "M"}\n\n{"prompt": "b", "licence": "M"}')
    other = tmp_path / "q.jsonl"
    other.write_text(lines.read(), encoding="utf-8-sig")
    assert [(r.number, r.place) for r in read_file(other)] == [
        (1, f"{other}:1: row 1"),
        (2, f"{other}:3: row 2"),
    ]


def test_only_named_parquet_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"prompt": ["a"] * 2_500, "vector": [[1.0]] * 2_500}), path)
    rows = [
        r for r in read_rows(open_prompts(path).files, {"prompt", "id"}) if isinstance(r, RawRow)
    ]
    assert len(rows) == 2_500
    assert rows[-1].values == {"prompt": "a"}
    assert rows[-1].place == f"{path}: row 2500"
