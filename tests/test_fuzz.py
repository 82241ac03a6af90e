"""No input file and no damaged run ends in a traceback, takes ten seconds, or changes a file elsewhere."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from safegen.testing import FakeEndpoint
from tests.conftest import ROOT
from tests.e2e.runs import cli, hashes, long_answer, write_recipe

MAX_SECONDS = 10
pytestmark = pytest.mark.slow

INTEGERS = (-1, 0, 2**31, 2**53, 2**63, 10**30)
TEXTS = ("", "x", "../up", "a\nb", "\ud800", "\0", "x" * 20_000, "é\u200b", "{{ x }}", "!", "*")
VALUES: tuple[object, ...] = (
    None,
    True,
    *INTEGERS,
    1e300,
    float("inf"),
    *TEXTS,
    [],
    {},
    [1],
    {"a": 1},
)


def replace_node(value: object, random_: random.Random) -> object:
    """Replace, drop or repeat one random node of a JSON value."""
    if isinstance(value, dict | list) and value and random_.random() < 0.85:
        container: Any = value.copy()
        key = random_.choice(list(container) if isinstance(value, dict) else range(len(value)))
        if random_.random() < 0.1:
            del container[key]
        else:
            container[key] = replace_node(container[key], random_)
        return container
    if isinstance(value, dict) and random_.random() < 0.3:
        return cast("dict[str, object]", value) | {random_.choice(("x", "use", "1")): 1}
    return random_.choice(VALUES)


def mutate_bytes(data: bytes, random_: random.Random) -> bytes:
    """Cut, flip, double or replace bytes."""
    place = random_.randrange(len(data) + 1)
    noise = random_.choice(
        (b"\0", b"\xff", b"\t", b"\xef\xbb\xbf", b'"', b"[" * 2_000, b"- : {", b"\r")
    )
    edits: tuple[bytes, ...] = (
        data[:place],
        data[:place] + noise + data[place:],
        data[:place] + noise + data[place + len(noise) :],
        data * 2,
        noise * 10,
        b"",
        data.decode("utf-8", "replace").encode("utf-16"),
    )
    return random_.choice(edits)


def run_safely(capsys: pytest.CaptureFixture[str], *args: object) -> None:
    """Run a command, and require a plain ending in time."""
    started = time.monotonic()
    result = cli(capsys, *args)
    assert time.monotonic() - started < MAX_SECONDS, args
    assert result.code in (0, 1, 2), result
    for words in ("Traceback", "a bug in safegen", "your plug-in failed"):
        assert words not in result.out + result.err, (args, result.err)


def read_option(request: pytest.FixtureRequest, name: str) -> int:
    return int(cast("int", request.config.getoption(name)))


# Input files -----------------------------------------------------------------------------------


def dump_yaml(value: object) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")


def dump_json(value: object) -> bytes:
    return json.dumps(value).encode()


def load_asset(*parts: str) -> object:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text(encoding="utf-8"))


PROMPT = {"prompt": "How do locks work?", "intent": "benign", "harm": "property.theft", "id": "a1"}
TURNS = [{"role": "user", "content": "How do locks work?"}]


def make_recipe() -> object:
    return {
        "name": "fuzz",
        "plan": {"harms": ["property.*"], "candidates": 2},
        "teachers": {"drafter": {"offline": {}}},
        "validators": ["length_bounds", {"style": {}}],
        "views": ["sft", "preference"],
        "budget": {"requests": 10},
        "split": {"test": 0.2},
        "target": {"accepted": 1},
        "output": "made",
    }


def write_mutant(
    path: Path, value: object, dump: Callable[[object], bytes], r: random.Random
) -> None:
    """Write a value with one to three mutations of its nodes, or of its bytes."""
    if r.random() < 0.3:
        path.write_bytes(mutate_bytes(dump(value), r))
        return
    for _ in range(r.randint(1, 3)):
        value = replace_node(value, r)
    try:
        path.write_bytes(dump(value))
    except (ValueError, yaml.YAMLError):
        path.write_bytes(mutate_bytes(b"name: a\n", r))


def fuzz_recipe(folder: Path, r: random.Random) -> list[object]:
    write_mutant(folder / "f.yaml", make_recipe(), dump_yaml, r)
    return [r.choice(("check", "generate")), "f.yaml"]


def fuzz_taxonomy(folder: Path, r: random.Random) -> list[object]:
    shutil.copytree(ROOT / "taxonomies/core", folder / "tree")
    name = r.choice(("taxonomy.yaml", "sets/property.yaml", "dialogues/escalation.yaml"))
    write_mutant(folder / "tree" / name, load_asset("taxonomies/core", name), dump_yaml, r)
    recipe = {
        "name": "fuzz",
        "plan": {"harms": ["property.theft"]},
        "taxonomy": "./tree/taxonomy.yaml",
    }
    (folder / "f.yaml").write_bytes(dump_yaml(recipe))
    return [r.choice(("check", "generate")), "f.yaml"]


def fuzz_policy(folder: Path, r: random.Random) -> list[object]:
    spec = load_asset("prompts", "policies", "deceit.yaml")
    write_mutant(folder / "spec.yaml", spec, dump_yaml, r)
    recipe = {"name": "fuzz", "plan": {"harms": ["property.theft"]}, "policies": ["./spec.yaml"]}
    (folder / "f.yaml").write_bytes(dump_yaml(recipe))
    return [r.choice(("check", "generate")), "f.yaml"]


def fuzz_locale(folder: Path, r: random.Random) -> list[object]:
    write_mutant(folder / "en.yaml", load_asset("prompts", "locales", "en.yaml"), dump_yaml, r)
    recipe = {"name": "fuzz", "plan": {"harms": ["property.theft"]}, "locales": ["./en.yaml"]}
    (folder / "f.yaml").write_bytes(dump_yaml(recipe))
    return [r.choice(("check", "generate")), "f.yaml"]


def check_prompts(name: str) -> list[object]:
    # The offline teacher cannot answer a user's prompts, so its recipe would end before the file is read.
    write_recipe(Path("f.yaml"), "http://127.0.0.1:9/v1")
    return ["check", "f.yaml", "--prompts", name, "--licence", "MIT"]


def fuzz_csv(folder: Path, r: random.Random) -> list[object]:
    mark = r.choice((",", ";", "\t"))
    lines = [mark.join(PROMPT), *(mark.join(f'"{v}"' for v in PROMPT.values()) for _ in range(3))]
    name = r.choice(("p.csv", "p.tsv"))
    (folder / name).write_bytes(mutate_bytes("\n".join(lines).encode(), r))
    return check_prompts(name)


def fuzz_json(folder: Path, r: random.Random) -> list[object]:
    rows = [PROMPT | {"id": f"a{n}"} for n in range(3)] + [{"messages": TURNS, "id": "m"}]
    if r.random() < 0.5:
        write_mutant(folder / "p.json", rows, dump_json, r)
        return check_prompts("p.json")
    write_mutant(folder / "p.jsonl", r.choice(rows), dump_json, r)
    return check_prompts("p.jsonl")


def fuzz_table(folder: Path, r: random.Random) -> list[object]:
    columns: dict[str, Any] = {name: pa.array([v] * 3) for name, v in PROMPT.items()}
    odd = (
        pa.array([1, 2, 3]),
        pa.array([None] * 3),
        pa.array([[1], [], None]),
        pa.array([b"\xff"] * 3),
    )
    columns[r.choice(list(columns))] = r.choice(
        (*odd, pa.array([[TURNS]] * 3), pa.array([1.5] * 3))
    )
    table = pa.table(columns)
    if r.random() < 0.5:
        pq.write_table(table, folder / "p.parquet")
        name = "p.parquet"
    else:
        name = "p.arrow"
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as out,
        ):
            out.write_table(table)
    if r.random() < 0.5:
        (folder / name).write_bytes(mutate_bytes((folder / name).read_bytes(), r))
    return check_prompts(name)


def fuzz_packed(folder: Path, r: random.Random) -> list[object]:
    import gzip

    data = gzip.compress(dump_json(PROMPT) + b"\n")
    name = r.choice(("p.jsonl.gz", "p.csv.gz", "p.jsonl.zst"))
    (folder / name).write_bytes(mutate_bytes(data, r))
    return check_prompts(name)


KINDS: tuple[Callable[[Path, random.Random], list[object]], ...] = (
    fuzz_recipe,
    fuzz_taxonomy,
    fuzz_policy,
    fuzz_locale,
    fuzz_csv,
    fuzz_json,
    fuzz_table,
    fuzz_packed,
)


def test_fuzzed_files_end_with_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    seed, count = read_option(request, "--fuzz-seed"), read_option(request, "--fuzz-files")
    canary = tmp_path / "canary"
    canary.write_bytes(b"unchanged")
    for number in range(count):
        folder = tmp_path / "work"
        folder.mkdir()
        monkeypatch.chdir(folder)
        r = random.Random(f"{seed} {number}")
        words = KINDS[number % len(KINDS)](folder, r)
        try:
            run_safely(capsys, *words)
        except BaseException as e:
            e.add_note(f"case {number}, seed {seed}")
            raise
        assert sorted(p.name for p in tmp_path.iterdir()) == ["canary", "work"]
        shutil.rmtree(folder)
    assert canary.read_bytes() == b"unchanged"


# Damaged runs ----------------------------------------------------------------------------------


def damage_json(folder: Path, r: random.Random) -> None:
    path = r.choice(sorted(p for p in folder.rglob("*.json") if p.is_file()))
    value = replace_node(json.loads(path.read_text(encoding="utf-8")), r)
    path.write_text(json.dumps(value), encoding="utf-8")


def damage_bytes(folder: Path, r: random.Random) -> None:
    path = r.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    path.write_bytes(mutate_bytes(path.read_bytes(), r))


def damage_place(folder: Path, r: random.Random) -> None:
    path = r.choice(sorted(folder.rglob("*")))
    if path.is_dir():
        shutil.rmtree(path)
        path.write_bytes(b"a file")
        return
    path.unlink()
    kind = r.choice(("missing", "folder", "link", "pipe"))
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(folder.parent.parent / "canary")


def damage_column(folder: Path, r: random.Random) -> None:
    path = r.choice(sorted((folder / "run").rglob("*.parquet")))
    table = pq.read_table(path)
    index = r.randrange(table.num_columns)
    kind = table.schema.field(index).type
    columns: list[Any] = [
        pa.array([None] * len(table), kind),
        pa.array(["x"] * len(table)),
        pa.array([b"\xff"] * len(table)),
        pa.array([2**62] * len(table)),
        pa.array([-1] * len(table)),
        pa.array([float("nan")] * len(table)),
        pa.array([[]] * len(table), pa.list_(pa.string())),
    ]
    if r.random() < 0.1:
        changed = table.drop_columns([table.column_names[index]])
    else:
        changed = table.set_column(index, table.column_names[index], r.choice(columns))
    pq.write_table(changed, path)


def damage_struct(folder: Path, r: random.Random) -> None:
    path = r.choice(sorted((folder / "run").rglob("*.parquet")))
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        name = r.choice(("messages", "attributes", "verdicts", "required", "knowledge"))
        if name in row:
            row[name] = replace_node(row[name], r)
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    except (pa.ArrowException, ValueError, OverflowError):
        damage_column(folder, r)


def damage_journal(folder: Path, r: random.Random) -> None:
    shutil.rmtree(folder / "run/records")
    connection = sqlite3.connect(folder / "run/journal.sqlite")
    if r.random() < 0.2:
        table = r.choice(("replies", "asks", "spent"))
        connection.execute(r.choice((f"drop table {table}", f"delete from {table}")))
    elif r.random() < 0.2:
        number = r.choice((-1, 10**15, "many", None, b"x"))
        connection.execute("update or ignore spent set prompt_tokens = ?", (number,))
    else:
        for key, text in connection.execute("select key, reply from replies").fetchall():
            changed = json.dumps(replace_node(json.loads(text), r))
            value = r.choice((changed, changed, changed, text[:20], b"\xff", 7))
            connection.execute("update replies set reply = ? where key = ?", (value, key))
    connection.commit()
    connection.close()


def swap_files(folder: Path, r: random.Random) -> None:
    one, other = r.sample(sorted(p for p in folder.rglob("*") if p.is_file()), 2)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


DAMAGES = (
    swap_files,
    damage_json,
    damage_bytes,
    damage_place,
    damage_column,
    damage_struct,
    damage_journal,
)


@pytest.fixture
def endpoint_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `r.yaml` and its finished run `out`; the endpoint answers until the test ends."""
    from safegen.pipeline import api

    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path / "base")
    with FakeEndpoint(long_answer) as fake:
        write_recipe(Path("r.yaml"), fake.url, plan={"harms": ["property.theft"]})
        api.generate("r.yaml", output="out")
        yield tmp_path / "base"


def test_damaged_runs_end_with_a_message(
    endpoint_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    seed, count = read_option(request, "--fuzz-seed"), read_option(request, "--fuzz-runs")
    canary = endpoint_run.parent / "canary"
    canary.write_bytes(b"unchanged")
    commands: tuple[list[str], ...] = (
        ["verify", "out"],
        ["build", "out"],
        ["status", "out"],
        ["show", "out"],
        ["coverage", "out"],
        ["generate", "r.yaml", "-o", "out"],
        ["retry", "out"],
    )
    for number in range(count):
        work = endpoint_run.parent / "work"
        shutil.copytree(endpoint_run, work)
        monkeypatch.chdir(work)
        r = random.Random(f"{seed} {number}")
        damage = DAMAGES[number % len(DAMAGES)]
        try:
            damage(work / "out", r)
            for words in r.sample(commands, 4):
                run_safely(capsys, *words)
        except BaseException as e:
            e.add_note(f"case {number} ({damage.__name__}), seed {seed}")
            raise
        shutil.rmtree(work)
        assert canary.read_bytes() == b"unchanged", f"case {number}, seed {seed}"
    assert hashes(endpoint_run.parent).keys() - {"canary"} == {
        f"base/{name}" for name in hashes(endpoint_run)
    }
