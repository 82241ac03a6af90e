"""Common layouts of files give the same rows: delimiters, JSON documents, compressions, shards."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from safegen.core.errors import ConfigError
from safegen.scenarios.user_prompts.reader import open_prompts
from safegen.scenarios.user_prompts.rows import UnreadableRow
from tests.scenarios.user_prompts.prompt_files import Values, read_all, read_file

ROWS: list[Values] = [
    {"id": "k1", "prompt": "Which jam keeps longest; plum, or fig?"},
    {"id": "k2", "prompt": "How is a jar\nboiled?"},
]
EXPECTED = [(row["id"], row["prompt"]) for row in ROWS]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def table(delimiter: str, *, first: str = "", end: str = "\n") -> str:
    lines = [f"id{delimiter}prompt"]
    lines += ['{}{}"{}"'.format(row["id"], delimiter, row["prompt"]) for row in ROWS]
    return first + end.join(lines) + end


def texts(path: Path | Sequence[Path]) -> list[tuple[str | None, str]]:
    rows = read_file(path, licence="MIT")  # type: ignore[arg-type]
    return [(row.id, row.messages[0]["content"]) for row in rows]


LAYOUTS: dict[str, tuple[str, bytes]] = {
    "semicolons": ("a.csv", table(";").encode()),
    "semicolons and mark": ("a.csv", table(";").encode("utf-8-sig")),
    "named semicolon": ("a.csv", table(";", first="sep=;\n").encode("utf-8-sig")),
    "named tab": ("a.csv", table("\t", first="SEP=\t\r\n", end="\r\n").encode()),
    "named caret": ("a.csv", table("^", first='"sep=^"\n').encode()),
    "tabs": ("a.csv", table("\t").encode()),
    "tsv": ("a.TSV", table("\t", end="\r\n").encode()),
    "tsv with commas": ("a.tsv", table(",").encode()),
    "bars": ("a.csv", table("|").encode()),
    "utf-16 of a spreadsheet": ("a.csv", table("\t").encode("utf-16")),
    "utf-16 big-endian": ("a.csv", b"\xfe\xff" + table(",").encode("utf-16-be")),
    "utf-16 lines": ("a.jsonl", LINES.encode("utf-16")),
    "list": ("a.json", json.dumps(ROWS).encode()),
    "list named lines": ("a.jsonl", json.dumps(ROWS).encode("utf-8-sig")),
    "indented list": ("a.jsonl", json.dumps(ROWS, indent=4).encode()),
    "list, a row a line": (
        "a.json",
        ("[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n").encode(),
    ),
    "wrapped": ("a.json", json.dumps({"version": 2, "items": ROWS}).encode()),
    "wrapped and indented": ("a.json", json.dumps({"rows": ROWS, "n": [1]}, indent=1).encode()),
    "indented objects": ("a.json", "\n".join(json.dumps(r, indent=2) for r in ROWS).encode()),
    "lines named json": ("a.json", LINES.encode()),
    "gzip": ("a.jsonl.gz", gzip.compress(LINES.encode())),
    "two gzip members": (
        "a.ndjson.gz",
        b"".join(gzip.compress(line.encode()) for line in LINES.splitlines(keepends=True)),
    ),
    "gzip table": ("a.csv.gz", gzip.compress(table(";").encode("utf-8-sig"))),
    "gzip list": ("a.json.GZ", gzip.compress(json.dumps(ROWS).encode())),
    "zstd": ("a.jsonl.zst", pa.compress(LINES.encode(), codec="zstd", asbytes=True)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_layouts_give_equal_rows(tmp_path: Path, layout: str) -> None:
    name, data = LAYOUTS[layout]
    (tmp_path / name).write_bytes(data)
    assert texts(tmp_path / name) == EXPECTED


def write_file(path: Path, table_: pa.Table) -> None:
    with ipc.new_file(str(path), table_.schema) as out:
        out.write_table(table_, max_chunksize=1)


def write_stream(path: Path, table_: pa.Table) -> None:
    with ipc.new_stream(str(path), table_.schema) as out:
        out.write_table(table_, max_chunksize=1)


@pytest.mark.parametrize("write", [write_file, write_stream])
def test_arrow_files_and_streams_are_read(
    tmp_path: Path, write: Callable[[Path, pa.Table], None]
) -> None:
    write(tmp_path / "a.arrow", pa.Table.from_pylist(ROWS).append_column("v", pa.array([[1], []])))
    assert texts(tmp_path / "a.arrow") == EXPECTED


def test_pandas_index_and_binary_columns_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": [b"One?", "Zwei ö?".encode()], "id": [3.0, 4.0]}, index=[7, 9])
    frame.to_parquet(tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == [("3", "One?"), ("4", "Zwei ö?")]
    decimals = pa.table({"prompt": ["a", "b"], "id": [Decimal("5.00"), Decimal("6.00")]})
    pq.write_table(decimals, tmp_path / "b.parquet")
    assert texts(tmp_path / "b.parquet") == [("5", "a"), ("6", "b")]


def test_shards_are_read_in_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, row in zip(("b-1.jsonl", "a-0.jsonl"), ROWS, strict=True):
        (folder / name).write_text(json.dumps(row) + "\n")
    for name in ("empty.jsonl", "dataset_info.json", ".hidden.csv", "_SUCCESS", "README.md"):
        (folder / name).write_text("")
    in_order = EXPECTED[::-1]
    assert texts(folder) == in_order
    assert texts(folder / "?-*.jsonl") == in_order
    assert texts([folder / "b-1.jsonl", folder / "a-0.jsonl", folder / "b-1.jsonl"]) == in_order
    rows = read_file(folder, licence="MIT")
    assert [row.place for row in rows] == [
        f"{folder}/a-0.jsonl:1: row 1",
        f"{folder}/b-1.jsonl:1: row 2",
    ]


def test_shards_with_other_columns_are_joined(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,licence\nOne?,MIT\n")
    (tmp_path / "b.csv").write_text("licence;note;prompt;id\nMIT;x;Two?;7\n")
    assert [(row.id, row.messages[0]["content"]) for row in read_file(tmp_path)] == [
        (None, "One?"),
        ("7", "Two?"),
    ]


def test_name_with_glob_characters_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows[1].jsonl"
    path.write_text(LINES)
    assert texts(path) == EXPECTED


def test_digest_of_shards_covers_their_content(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(LINES)
    before = open_prompts(tmp_path, licence="MIT").digest
    (tmp_path / "b.jsonl").write_text(LINES.replace("fig", "pear"))
    assert open_prompts(tmp_path, licence="MIT").digest != before


def zstd(text: str) -> bytes:
    return pa.Codec("zstd").compress(text.encode(), asbytes=True)


REJECTED: dict[str, tuple[str, bytes, str]] = {
    "archive": ("a.zip", b"PK\3\4", "is an archive; unpack it first"),
    "archive in gzip": ("a.tar.gz", gzip.compress(b"x"), "is an archive; unpack it first"),
    "archive in gzip by content": (
        "a.csv.gz",
        gzip.compress(b"p.csv".ljust(257, b"\0") + b"ustar" + bytes(300)),
        "is an archive",
    ),
    "gzip in gzip": ("a.csv.gz.gz", gzip.compress(gzip.compress(b"x")), "decompress it first"),
    "gzip in gzip by content": (
        "a.csv.gz",
        gzip.compress(gzip.compress(b"prompt\na\n")),
        "is gzip",
    ),
    "gzip without its name": ("a.csv", gzip.compress(b"prompt\na\n"), "is gzip; add `.gz`"),
    "cut gzip": (
        "a.jsonl.gz",
        gzip.compress(LINES.encode())[:-9],
        "is damaged, .*compress it again",
    ),
    "bytes after gzip": ("a.jsonl.gz", gzip.compress(LINES.encode()) + b"x", "other bytes after"),
    "bytes after zstd": ("a.jsonl.zst", zstd(LINES) + b"x" * 20, "other bytes after its zstd"),
    "cut zstd": ("a.jsonl.zst", zstd(LINES)[:-5], "is damaged, .*compress it again"),
    "blank lines in gzip": (
        "a.csv.gz",
        gzip.compress(b"prompt\n" + b"\n" * 1_000_001),
        "blank lines in a row",
    ),
    "text named gzip": ("a.jsonl.gz", LINES.encode(), "is not gzip"),
    "text named zstd": ("a.jsonl.zst", LINES.encode(), "is not zstd"),
    "compressed Parquet": ("a.parquet.gz", gzip.compress(b"PAR1"), "decompress it first"),
    "other compression": ("a.csv.bz2", b"BZh9", "decompress it first; `.gz` and `.zst`"),
    "spreadsheet named CSV": ("a.csv", b"PK\3\4....", "a spreadsheet; save it as CSV"),
    "text named Arrow": ("a.arrow", b"prompt\na\n", "is not Arrow"),
    "cut Arrow": ("a.arrow", b"ARROW1\0\0" + bytes(30), "is not readable Arrow"),
    "cut list": ("a.json", b'[{"prompt": "a"},\n', "a.json:2: not valid JSON"),
    "list with a wrong object": ("a.json", b'[{"prompt": "a"},\n{"prompt" "b"}]', "a.json:2: not"),
    "two lists": (
        "a.json",
        b'{"x": [{"prompt": "a"}], "y": [{"prompt": "b"}]}',
        "`x` and `y` are both lists of rows",
    ),
    "duplicate columns": ("a.tsv", b"prompt\tx\tx\na\tb\tc\n", "column `x` appears twice"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_unusable_file_is_rejected_with_hint(tmp_path: Path, case: str) -> None:
    name, data, pattern = REJECTED[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=pattern) as raised:
        read_file(tmp_path / name, licence="MIT")
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("address", "pattern"),
    [
        ("http://a.example/b/c.csv?x=1", "is an address.*`curl -LO http://a.example/b/c.csv"),
        ("https://huggingface.co/datasets/o/n/resolve/main/a.csv", "`hf download .* o/n "),
        ("hf://datasets/o/n/a.parquet", "`hf download --repo-type dataset o/n --local-dir"),
        ("HTTPS://HuggingFace.co/datasets/o/n", "`hf download .* o/n "),
        ("HF://datasets/o/n", "`hf download .* o/n "),
        ("s3://bucket/a.csv", "is an address.*copy it"),
        ("file:///tmp/a.csv", "give the path without `file:`"),
    ],
)
def test_address_is_rejected_with_fitting_hint(address: str, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern):
        open_prompts(address)


def test_folder_problems_name_the_fix(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(ConfigError, match=r"holds no files of rows .*its folders: `train`"):
        open_prompts(tmp_path)
    (tmp_path / "a.csv").write_text("prompt\na\n")
    (tmp_path / "a.jsonl").write_text(LINES)
    with pytest.raises(ConfigError, match=r"several formats \(\.csv, \.jsonl\)"):
        open_prompts(tmp_path)
    with pytest.raises(ConfigError, match="no file matches the pattern"):
        open_prompts(tmp_path / "*.parquet")


MIXED: dict[str, tuple[str, bytes, list[str]]] = {
    "csv": (
        "a.csv",
        b'prompt,id\ngood,1\n"x"y,2\nshort\n\xe9t\xe9,4\n   ,5\nalso good,1\nlast,7\n',
        ["invalid_csv", "wrong_cell_count", "not_utf8", "blank_prompt", "duplicate_id"],
    ),
    "jsonl": (
        "a.jsonl",
        b'{"prompt": "good"}\n{broken\n[1]\n{"prompt": "\xff"}\n{"prompt": 3}\n{"prompt": "last"}\n',
        ["invalid_json", "not_an_object", "not_utf8", "not_text"],
    ),
    "list": (
        "a.json",
        b'[{"prompt": "good"}, 3,\n {"prompt": ""}, {"prompt": "last"}]',
        ["not_an_object", "missing_prompt"],
    ),
}


@pytest.mark.parametrize("kind", MIXED)
def test_unreadable_rows_are_skipped_on_request(tmp_path: Path, kind: str) -> None:
    name, data, faults = MIXED[kind]
    (tmp_path / name).write_bytes(data)
    rows = read_all(open_prompts(tmp_path / name, licence="MIT", skip_unreadable=True))
    skipped = [row for row in rows if isinstance(row, UnreadableRow)]
    assert [row.fault for row in skipped] == faults
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(f"row {row.number}" in row.message for row in skipped)
    assert not isinstance(rows[0], UnreadableRow)
    assert not isinstance(rows[-1], UnreadableRow)
    with pytest.raises(ConfigError):
        read_file(tmp_path / name, licence="MIT")


def test_open_quote_is_never_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,id\na,1\n"b,2\nc,3\n')
    with pytest.raises(ConfigError, match="not valid CSV"):
        read_all(open_prompts(path, licence="MIT", skip_unreadable=True))


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('"How is a till read?,1\nWhat is a till?,2\nWhy is it "open",3\nd,4\n', 2),
        ('a,1\n"two\nlines",2\n"c,3\nd "e",4\nf,5\n', 5),
        ('a,1\n"b,2\nc,3\n"d",4\n', 3),
        ('a,1\n"b"c,"2\nd,3\n', 3),
        ('a,1\n"b,2\nc,3\nd",4,e\nf,5\n', 3),
        ('a,1\nb,"2\nc,3\n', 3),
    ],
    ids=["stray", "after lines", "next quote", "same line", "cells", "end of file"],
)
def test_quote_that_joins_rows_is_an_error(rows: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,id\n" + rows)
    with pytest.raises(ConfigError, match=rf"a\.csv:{line}: not valid CSV: a quote opens here"):
        read_all(open_prompts(path, licence="MIT", skip_unreadable=True))


@pytest.mark.parametrize(
    "row", ['"b"c,2', '"b "c" d,2', '"b"c"",2', '"two\nlines, or so",2,3'], ids=range(4)
)
def test_damage_within_a_row_is_skipped(row: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"prompt,id\na,1\n{row}\nd,3\n")
    rows = read_all(open_prompts(path, licence="MIT", skip_unreadable=True))
    assert [isinstance(r, UnreadableRow) for r in rows] == [False, True, False]


def test_value_longer_than_a_chunk_is_read(tmp_path: Path) -> None:
    long = "word " * 20_000
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": long}] * 3))
    assert [text for _, text in texts(tmp_path / "a.json")] == [long] * 3


def test_reading_ends_after_many_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,licence,harm\n" + "".join(f"a,MIT,h{i}\n" for i in range(30_000)))
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    last = str(raised.value).splitlines()[-1]
    assert last == "and 9,980 more of 10,000 errors; the rest of the file was not read"
