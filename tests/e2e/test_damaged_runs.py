"""Damaged files of a run are named with a remedy that works; other files are unchanged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safegen.pipeline import api
from safegen.store.journal import Lock
from safegen.store.schema import message_type
from safegen.testing import FakeEndpoint
from tests.conftest import Once
from tests.e2e.runs import cli, fails, hashes, long_answer, write_recipe

Damage = Callable[[Path], object]


@pytest.fixture(scope="session")
def finished(once: Once) -> Path:
    """A folder with an endpoint's recipe, `r.yaml`, and its finished run, `out`; not to be changed."""

    def fill(folder: Path) -> None:
        with FakeEndpoint(long_answer) as fake, pytest.MonkeyPatch.context() as at:
            at.chdir(folder)
            write_recipe(folder / "r.yaml", fake.url)
            api.generate("r.yaml", output="out")

    return once("endpoint-run", fill)


@pytest.fixture
def run(finished: Path, workdir: Path) -> Path:
    """A copy of that run in the working folder; its endpoint is gone."""
    shutil.copytree(finished, workdir, dirs_exist_ok=True)
    return workdir / "out"


def overwrite(text: bytes) -> Damage:
    return lambda path: path.write_bytes(text)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def format_7(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 7")
    connection.commit()
    connection.close()


def replies_with(**values: object) -> Damage:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        reply = json.dumps({"text": "t", "model": "m"} | values)
        connection.execute("update replies set reply = ?", (reply,))
        connection.commit()
        connection.close()

    return change


BAD_REPLIES = [
    {"text": 1},
    {"model": None},
    {"model": 5},
    {"prompt_tokens": 10**25},
    {"completion_tokens": -1},
    {"finish_reason": ["stop"]},
    {"outcome": "fine"},
    {"withheld": "yes"},
    {"text": "\ud800"},
]


def column(name: str, values: pa.Array) -> Damage:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        index = table.column_names.index(name)
        rows = pa.concat_arrays([values] * len(table))
        pq.write_table(table.set_column(index, name, rows), path)

    return change


BAD_COLUMNS = {
    "ceiling": pa.array(["high"]),
    "floor": pa.array([17]),
    "goal_id": pa.array([None], pa.string()),
    "accepted": pa.array([None], pa.bool_()),
    "mode": pa.array(["perhaps"]),
    "completion_tokens": pa.array([-4]),
    "helpfulness": pa.array([float("inf")]),
    "messages": pa.array([[{"role": "user", "content": None}]]),
    "required": pa.array([[None]], pa.list_(pa.string())),
}


GARBAGE = overwrite(b"garbage, and long enough to look at " * 100)
DAMAGE: list[tuple[str, Damage, str]] = [
    ("records/00000.parquet", GARBAGE, "delete it and run the same command again"),
    ("records/00000.parquet", cut, "delete it and run the same command again"),
    ("records/00000.parquet", overwrite(b"PAR1PAR1"), "delete it"),
    ("plan/0.parquet", GARBAGE, "delete it and run the same command again"),
    ("recipe.json", GARBAGE, "--replan"),
    ("recipe.json", overwrite(b"{}"), "--replan"),
    ("recipe.json", overwrite(b"[" * 100_000), "--replan"),
    ("recipe.json", Path.unlink, "--replan"),
    ("failures/00000.jsonl", overwrite(b"{}\n"), "delete it and `.*records/00000.parquet`"),
    ("failures/00000.jsonl", overwrite(b"\xff\n"), "delete it and"),
    ("accounting.json", GARBAGE, "delete it and run the same command again"),
    ("accounting.json", overwrite(b'{"requests": "many"}'), "`requests` is `many`"),
    ("lock", GARBAGE, "delete it"),
]
IDS = [f"{name} {n}" for n, (name, _, _) in enumerate(DAMAGE)]


@pytest.mark.parametrize(("name", "damage", "remedy"), DAMAGE, ids=IDS)
def test_damaged_file_remedy_costs_no_request(
    name: str,
    damage: Damage,
    remedy: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = run / "run" / name
    path.parent.mkdir(exist_ok=True)
    data, others = hashes(run / "data"), hashes(run / "run")
    damage(path)
    result = cli(capsys, "generate", "r.yaml", "-o", "out")
    fails(result, 1, re.escape(f"run/{name}"), remedy)
    others.pop(f"{name}", None)
    now = hashes(run / "run")
    assert {k: v for k, v in others.items() if now.get(k) != v} == {}
    assert hashes(run / "data") == data
    path.unlink(missing_ok=True)
    if "and `" in remedy:
        (run / "run" / "records" / "00000.parquet").unlink()
    more = ["--replan"] if remedy == "--replan" else []
    again = cli(capsys, "generate", "r.yaml", "-o", "out", "--json", *more)
    assert again.code == 0, again.err
    assert json.loads(again.out)["requests"] == 0
    assert hashes(run / "data") == data
    assert cli(capsys, "verify", "out").code == 0


@pytest.mark.parametrize("damage", [GARBAGE, cut, format_7])
def test_damaged_journal_is_named_and_unchanged(
    damage: Damage, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = run / "run" / "journal.sqlite"
    damage(journal)
    (run / "run" / "records" / "00000.parquet").unlink()
    data, before = hashes(run / "data"), journal.read_bytes()
    fails(cli(capsys, "generate", "r.yaml", "-o", "out"), 1, r"journal\.sqlite", "move it away")
    assert journal.read_bytes() == before
    assert hashes(run / "data") == data


@pytest.mark.parametrize("values", BAD_REPLIES, ids=str)
def test_reply_with_invalid_value_is_named(
    values: dict[str, object], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replies_with(**values)(run / "run" / "journal.sqlite")
    (run / "run" / "records" / "00000.parquet").unlink()
    result = cli(capsys, "generate", "r.yaml", "-o", "out")
    fails(result, 1, r"journal\.sqlite` cannot be read", "move it away")


@pytest.mark.parametrize(("name", "values"), BAD_COLUMNS.items(), ids=BAD_COLUMNS)
def test_record_with_invalid_value_is_named(
    name: str, values: pa.Array, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    column(name, values)(run / "run" / "records" / "00000.parquet")
    for words in (["build", "out"], ["show", "out"]):
        result = cli(capsys, *words)
        fails(result, 1, r"00000\.parquet` cannot be read", f"`{name}", "delete it")


@pytest.mark.parametrize(
    "change",
    [
        {"counts": {"rows": {"sft": {"train": float("inf")}}}},
        {"counts": {"rows": {"sft": {"train": 10**30}}}},
        {"files": {"\ud800": {"sha256": "x"}}},
        {"files": {"a\0b": {"sha256": "x"}}},
    ],
    ids=["infinite", "huge", "surrogate", "nul"],
)
def test_manifest_with_impossible_value_is_reported(
    change: dict[str, object], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), encoding="utf-8")
    result = cli(capsys, "verify", "out")
    assert result.code == 1
    assert "safegen build" in result.out + result.err
    assert "a bug in safegen" not in result.err


@pytest.mark.parametrize(
    "name", ["manifest.json", "README.md", "data/sft/train/0.1.0-00000.parquet"]
)
def test_damaged_dataset_is_reported_and_rebuilt(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(run)
    GARBAGE(run / name)
    result = cli(capsys, "verify", "out")
    assert result.code == 1
    assert name in result.out
    assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 0
    assert hashes(run) == before


def test_unknown_files_in_a_run_are_unchanged(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("records/00000 (copy).parquet", "records/1.parquet", "failures/0x.jsonl"):
        (run / "run" / name).parent.mkdir(exist_ok=True)
        (run / "run" / name).write_bytes(b"mine")
    before = hashes(run)
    assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 0
    assert cli(capsys, "status", "out").code == 0
    assert hashes(run) == before


BAD_ROWS = {
    "no messages": ("messages", pa.array([[]], pa.list_(message_type())), "`messages`"),
    "answer last": (
        "messages",
        pa.array([[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]),
        "`messages`",
    ),
    "other text": ("response", pa.array(["Another text."]), "`response_sha256`"),
    "language": ("language", pa.array(["no language"]), "`language`"),
    "paraphrase": ("paraphrase", pa.array([-1]), "`paraphrase`"),
    "score": ("helpfulness", pa.array([1.5]), "`helpfulness`"),
    "floor": ("floor", pa.array([4]), "`floor` is above `ceiling`"),
    "domain": ("domain", pa.array(["elsewhere"]), "`harm` does not begin with `domain`"),
    "parent": ("parent_id", pa.array(["d"]), "`parent_id`"),
    "id": ("scenario_id", pa.array([""]), "`scenario_id` is empty"),
    "twice": ("draft_id", pa.array(["d"]), "row 2: `draft_id` appears twice"),
}


@pytest.mark.parametrize(("name", "values", "problem"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_contradictory_record_is_named_with_row(
    name: str, values: pa.Array, problem: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    column(name, values)(run / "run" / "records" / "00000.parquet")
    result = cli(capsys, "build", "out")
    fails(result, 1, r"00000\.parquet` cannot be read: row \d+", re.escape(problem), "delete it")
    verified = cli(capsys, "verify", "out")
    assert verified.code == 1
    assert problem in verified.out


def test_records_of_another_shard_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = run / "run" / "records"
    first, second = records / "00000.parquet", records / "00001.parquet"
    table = pq.read_table(run / "run" / "plan" / "0.parquet")
    half = len(table) // 2
    with pq.ParquetWriter(run / "run" / "plan" / "0.parquet", table.schema) as out:
        out.write_table(table.slice(0, half))
        out.write_table(table.slice(half))
    rows = pq.read_table(first)
    ids = table.column("scenario_id").to_pylist()[:half]
    is_first = pa.array([id_ in ids for id_ in rows.column("scenario_id").to_pylist()])
    pq.write_table(rows.filter(is_first), first)
    pq.write_table(rows.filter(pa.array([not b for b in is_first.to_pylist()])), second)
    assert cli(capsys, "build", "out").code == 0
    first.rename(records / "kept")
    second.rename(first)
    (records / "kept").rename(second)
    result = cli(capsys, "build", "out")
    fails(result, 1, r"0000[01]\.parquet` has scenario", "in another shard", "delete it")


def edit_json(**values: object) -> Damage:
    def change(path: Path) -> None:
        payload = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(payload | values), encoding="utf-8")

    return change


BAD_JSON: list[tuple[str, Damage, str]] = [
    ("recipe.json", edit_json(digests=[]), "`digests`"),
    ("recipe.json", edit_json(recipe={"name": 5, "plan": {}}), "`recipe` cannot be read: `name`"),
    ("recipe.json", edit_json(policies=[[]]), "`policies`"),
    ("recipe.json", edit_json(axes={"axes": 1}), "`axes`"),
    ("recipe.json", edit_json(prompts={"file": 5}), "`prompts`"),
    ("recipe.json", overwrite(b'{"recipe": {}, "recipe": {}}'), "`recipe` appears twice"),
    ("accounting.json", edit_json(seconds="long"), "`seconds`"),
    ("accounting.json", edit_json(requests=-1), "`requests`"),
    ("accounting.json", edit_json(journalled={"requests": "1"}), "`journalled.requests`"),
]


@pytest.mark.parametrize(
    ("name", "damage", "problem"), BAD_JSON, ids=[f"{n} {p}" for n, _, p in BAD_JSON]
)
def test_wrong_json_value_is_named_by_key(
    name: str, damage: Damage, problem: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run / "run" / name)
    result = cli(capsys, "build", "out")
    fails(result, 1, re.escape(name), re.escape(problem))


SPECIAL_PLACES = (
    "run",
    "run/lock",
    "run/recipe.json",
    "run/journal.sqlite",
    "run/requests.txt",
    "run/records/00000.parquet",
    "run/recipe.json.tmp",
    "data",
    "data/sft/train/0.1.0-00000.parquet",
    "manifest.json",
    "README.md",
    ".gitattributes",
)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize("name", SPECIAL_PLACES)
def test_special_file_in_an_output_is_named(
    name: str, kind: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / name
    if kind == "folder" and path.is_dir():
        pytest.skip("it is a folder")
    if path.exists():
        path.rename(run.parent / "kept")
    place_special(path, kind)
    before = hashes(run)
    for words in (["generate", "r.yaml", "-o", "out"], ["build", "out"], ["status", "out"]):
        fails(cli(capsys, *words), 2, re.escape(f"out/{name}"), "remove it|move it away")
    verified = cli(capsys, "verify", "out")
    assert verified.code in (1, 2)
    assert name in verified.out + verified.err
    assert hashes(run) == before


def place_special(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        # The path of a socket is at most 107 bytes long.
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
            server.bind(path.name)


def test_verify_names_a_pipe_without_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run / "run")
    (run / "README.md").unlink()
    os.mkfifo(run / "README.md")
    os.mkfifo(run / "data" / "pipe")
    result = cli(capsys, "verify", "out")
    assert result.code == 1
    assert "`README.md` is a named pipe" in result.out
    assert "`data/pipe` is not listed" in result.out


def test_run_folder_of_another_recipe_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(run)
    text = Path("r.yaml").read_text(encoding="utf-8")
    Path("r.yaml").write_text(text + "revise: 1\nseed: 3\n", encoding="utf-8")
    result = cli(capsys, "generate", "r.yaml", "-o", "out")
    fails(result, 2, "`revise`, `seed`|`seed`, `revise`", "--replan")
    assert hashes(run) == before


def test_run_resumes_with_lower_concurrency(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "run" / "records" / "00000.parquet").unlink()
    text = Path("r.yaml").read_text(encoding="utf-8")
    changed = text.replace("concurrency: 4", "concurrency: 1").replace("attempts: 2", "attempts: 5")
    assert changed != text
    Path("r.yaml").write_text(changed, encoding="utf-8")
    result = cli(capsys, "generate", "r.yaml", "-o", "out", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["requests"] == 0


def test_locked_run_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = Lock(run / "run" / "lock")
    before = hashes(run / "data")
    try:
        for words in (["generate", "r.yaml", "-o", "out"], ["build", "out"]):
            fails(cli(capsys, *words), 1, "another safegen process uses `out/run`")
    finally:
        held.release()
    assert hashes(run / "data") == before
