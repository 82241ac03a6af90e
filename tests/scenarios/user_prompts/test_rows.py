"""Rows of a user's file are read exactly, equally in three formats, and errors name the row."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.hashing import file_sha256
from safegen.core.types import PlannedScenario
from safegen.judges.blind_panel import BlindLabels
from safegen.policy import loader
from safegen.scenarios.context import EMPTY_KNOWLEDGE, PlanningContext
from safegen.scenarios.user_prompts.faults import FaultCollector, PromptFileError, RowFault
from safegen.scenarios.user_prompts.plan_rows import RowLabels, plan_row
from safegen.scenarios.user_prompts.reader import UserPrompts, is_too_large, open_prompts, read_rows
from safegen.scenarios.user_prompts.resolve_labels import ExcludedRow, Unlabelled, resolve_labels
from safegen.scenarios.user_prompts.rows import PromptRow, check_columns, iter_rows

Values = dict[str, Any]
WRITERS: dict[str, Callable[[Path, Sequence[Values]], None]] = {}
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


WRITERS |= {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


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
    check_columns(source)
    return list(iter_rows(source, list(world().tree.harms)))


def read_file(path: Path, **options: Any) -> list[PromptRow]:
    return read(open_prompts(path, **options))


def one(folder: Path, **values: Any) -> PromptRow:
    return read_file(written(folder, "jsonl", FULL | values))[0]


def planned(row: PromptRow, blind: BlindLabels | None = None, **plan: Any) -> list[PlannedScenario]:
    labels = resolve_labels(row, blind or BlindLabels(), world(**plan))
    assert isinstance(labels, RowLabels)
    return plan_row(row, labels, world(**plan))


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


def test_file_labels_are_written_and_blind_labels_confirmed(tmp_path: Path) -> None:
    row = one(tmp_path, evidence=None, detail=None, task="plan")
    item = planned(row, BlindLabels(evidence="contextual", detail=1))[0]
    axes = {a.axis: (a.value, a.source) for a in item.scenario.attributes}
    assert axes == {
        "harm": ("cyber.intrusion", "written"),
        "intent": ("dual_use", "written"),
        "evidence": ("contextual", "confirmed"),
        "requested_detail": ("1", "confirmed"),
        "task": ("plan", "written"),
        "source_id": ("a-1", "written"),
    }
    assert item.knowledge == EMPTY_KNOWLEDGE
    assert item.scenario.source == "imported"
    assert item.scenario.source_licence == "CC-BY-4.0"
    assert item.scenario.goal_id == "imported/a-1"


def test_file_labels_win_over_blind_labels(tmp_path: Path) -> None:
    item = planned(one(tmp_path), BlindLabels("fraud.identity", "malicious", "stated", 0))[0]
    assert item.scenario.intent == "dual_use"
    assert item.scenario.requested_detail == 3
    assert item.scenario.harm == "cyber.intrusion"


def test_ids_hold_when_rows_move_and_labels_change(tmp_path: Path) -> None:
    first, second = FULL, FULL | {"id": "b", "prompt": "Another box?"}
    before = read_file(written(tmp_path, "jsonl", first, second))
    changed = first | {"prompt": "Mended words.", "harm": "property.theft", "licence": "MIT"}
    changed |= {"intent": "benign", "detail": 0, "profile": "public"}
    after = read_file(written(tmp_path, "csv", second, changed))
    ids = {row.id: planned(row)[0].scenario.scenario_id for row in before}
    assert {row.id: planned(row)[0].scenario.scenario_id for row in after} == ids
    assert len(set(ids.values())) == 2


def test_row_without_id_is_identified_by_its_messages(tmp_path: Path) -> None:
    bare = {k: v for k, v in FULL.items() if k != "id"}
    rows = [bare, bare | {"prompt": "Another box?"}, bare | {"detail": 1}]
    ids = [
        planned(row)[0].scenario.scenario_id for row in read_file(written(tmp_path, "jsonl", *rows))
    ]
    assert ids[0] == ids[2] != ids[1]


def test_rows_of_a_set_share_set_and_goal(tmp_path: Path) -> None:
    rows = [FULL | {"id": name, "set": "boxes"} for name in "ab"]
    items = [planned(row)[0] for row in read_file(written(tmp_path, "csv", *rows))]
    assert {i.scenario.goal_id for i in items} == {"imported/boxes"}
    assert len({i.scenario.set_id for i in items}) == 1
    assert len({i.scenario.scenario_id for i in items}) == 2


def test_duplicate_id_is_rejected_with_both_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", FULL, FULL | {"id": "b"}, FULL)
    with pytest.raises(ConfigError, match=r"row 3: id `a-1` is used in row 1 already"):
        read_file(path)


def test_row_is_planned_under_own_or_all_profiles(tmp_path: Path) -> None:
    own = planned(one(tmp_path, profile="minors"), profiles=("public", "enterprise"))
    each = planned(one(tmp_path), profiles=("public", "enterprise"))
    assert [i.scenario.profile for i in own] == ["minors"]
    assert own[0].scenario.messages[0]["role"] == "system"
    assert [i.scenario.profile for i in each] == ["public", "enterprise"]
    assert [len(i.scenario.messages) for i in each] == [1, 2]
    assert len({i.scenario.scenario_id for i in each}) == 2


def test_system_turn_without_profile_is_listed(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Mind"}, {"role": "user", "content": "a box"}]
    row = one(tmp_path, prompt=None, messages=talk)
    listed = resolve_labels(row, BlindLabels(), world())
    assert isinstance(listed, Unlabelled)
    assert listed.fields == ("profile",)
    labelled = one(tmp_path, prompt=None, messages=talk, profile="enterprise")
    assert planned(labelled)[0].scenario.messages == tuple(talk)


@pytest.mark.parametrize(
    ("values", "blind", "fields"),
    [
        ({"harm": "minors.sexual"}, BlindLabels(), ("harm",)),
        ({"harm": None}, BlindLabels(harm="weapons.mass_casualty"), ("harm",)),
        ({"harm": None, "detail": None}, BlindLabels(), ("harm", "detail")),
        ({"intent": "malicious"}, BlindLabels(), ("intent", "evidence")),
        ({"evidence": "stated"}, BlindLabels(), ("intent", "evidence")),
        ({"evidence": None}, BlindLabels(evidence="stated"), ("intent", "evidence")),
    ],
)
def test_row_with_unknown_labels_is_listed(
    tmp_path: Path, values: Values, blind: BlindLabels, fields: tuple[str, ...]
) -> None:
    listed = resolve_labels(one(tmp_path, **values), blind, world())
    assert isinstance(listed, Unlabelled)
    assert listed.fields == fields
    assert listed.id == "a-1"


def test_row_outside_the_plan_is_excluded(tmp_path: Path) -> None:
    row = one(tmp_path)
    assert resolve_labels(row, BlindLabels(), world(harms=("fraud.*",))) == ExcludedRow("harms")
    assert resolve_labels(row, BlindLabels(), world(intents=("benign",))) == ExcludedRow("intents")
    unread = one(tmp_path, intent=None)
    assert resolve_labels(
        unread, BlindLabels(intent="dual_use"), world(intents=("benign",))
    ) == ExcludedRow("intents")


def test_column_map_renames_and_licence_fills_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"text": "A box?", "row": 7, "prompt": "not this", "more": 1})
    source = open_prompts(path, columns={"prompt": "text", "id": "row"}, licence="MIT")
    assert check_columns(source) == ["prompt", "more"]
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


def csv_of(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "empty": ("csv", b"", "p.csv: is empty"),
    "head alone": ("csv", b"prompt,licence\n", "p.csv: has no rows"),
    "blank lines": ("jsonl", b"\n \n", "no column `prompt` or `messages`"),
    "binary": ("csv", b"prompt\n\0\1\2", "NUL bytes"),
    "binary as JSONL": ("jsonl", bytes(range(256)), "NUL bytes"),
    "latin-1": ("csv", "prompt,licence\ncafé,MIT\n".encode("latin-1"), "byte 0xe9 .*not UTF-8"),
    "utf-16": ("csv", "prompt\na\n".encode("utf-16"), "is UTF-16; save"),
    "ragged, longer": ("csv", csv_of("prompt,licence", "a,b,c"), "p.csv:2: row 1 has 3 cells"),
    "ragged, shorter": ("csv", csv_of("prompt,licence", "a,b", "a"), "p.csv:3: row 2 has 1 cell"),
    "open quote": ("csv", csv_of("prompt,licence", '"a,MIT'), "p.csv:2: not valid CSV"),
    "stray quote": ("csv", csv_of("prompt,licence", '"a"b,MIT'), "p.csv:2: not valid CSV"),
    "huge cell": ("csv", csv_of("prompt,licence", f'"{"a" * 140_000}",MIT'), "more than 131072"),
    "huge line": ("jsonl", b'{"prompt": "' + b"a" * (9 * 2**20), "p.jsonl:1: line is longer"),
    "huge prompt": (
        "jsonl",
        json.dumps({"prompt": "a" * 140_000, "licence": "M"}).encode(),
        "more than 131072",
    ),
    "duplicate columns": ("csv", csv_of("prompt,id,id", "a,b,c"), "column `id` appears twice"),
    "duplicate keys": ("jsonl", b'{"prompt": "a", "prompt": "b"}', "key `prompt` appears twice"),
    "semicolons": ("csv", csv_of("prompt;licence", "a;MIT"), "no column `prompt`"),
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
    "huge number": ("jsonl", b'{"prompt": ' + b"9" * 5_000 + b"}", "row 1 is not valid JSON"),
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


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"harm": "cyber.intrusoin"}, "row 1: `harm` is .*did you mean `cyber.intrusion`"),
        ({"intent": "dual-use"}, "`intent` is `dual-use`; did you mean `dual_use`"),
        ({"intent": " benign"}, "did you mean `benign`"),
        ({"evidence": "{problem}"}, "`evidence` is `{problem}`; known: "),
        ({"evidence": True}, "`evidence` is not text but true or false"),
        ({"detail": 5}, "`detail` is `5`; give a whole number from 0 to 4"),
        ({"detail": 2.5}, "`detail` is `2.5`"),
        ({"detail": True}, "`detail` is `True`"),
        ({"profile": "kids"}, "`profile` is `kids`; known: .*minors"),
        ({"task": "explian"}, "did you mean `explain`"),
        ({"language": "English!"}, "`language` is `English!`; give a BCP-47 tag"),
        ({"id": "a\nb"}, "`id` is not one line of 1 to 200 printable .*; write a short name"),
        ({"licence": "MIT\nor so"}, "`licence` is not one line of 1 to 200 printable"),
        ({"licence": "M\u202eIT"}, "`licence` is not one line"),
        ({"licence": " "}, "`licence` is not one line"),
        ({"id": 1.5}, "`id` is not text but a number"),
        ({"set": "x" * 201}, "`set` is not one line of 1 to 200 printable characters"),
        ({"messages": []}, "has both `prompt` and `messages`"),
        ({"prompt": None, "messages": []}, "`messages` is not a list of messages"),
        ({"prompt": None, "messages": "{"}, "`messages` is not the JSON"),
        (
            {"prompt": None, "messages": [{"role": "user"}]},
            "`content` that is not text but nothing",
        ),
        (
            {"prompt": None, "messages": [{"role": "user", "content": [{"text": "a"}]}]},
            "not text but a list",
        ),
        (
            {"prompt": None, "messages": [{"role": "usr", "content": "a"}]},
            "role `usr`; did you mean `user`",
        ),
        (
            {"prompt": None, "messages": [{"role": "user", "content": "a", "name": "b"}]},
            "the key `name`",
        ),
        (
            {"prompt": None, "messages": [{"role": r, "content": "a"} for r in ("user", "system")]},
            "`system` turn that is not the first",
        ),
        (
            {
                "prompt": None,
                "messages": [{"role": r, "content": "a"} for r in ("user", "assistant")],
            },
            "begin and end with a `user` turn",
        ),
        (
            {"prompt": None, "messages": [{"role": "user", "content": "a"}] * 2},
            "begin and end with a `user` turn",
        ),
    ],
)
def test_invalid_cell_is_reported_with_its_row(
    tmp_path: Path, values: Values, pattern: str
) -> None:
    with pytest.raises(ConfigError, match=pattern) as raised:
        one(tmp_path, **values)
    assert "p.jsonl:1: row 1: " in str(raised.value)


def test_all_errors_of_a_file_are_reported_together(tmp_path: Path) -> None:
    lines = [
        {"prompt": "a", "intent": "bening", "detail": 9},
        {"prompt": "b", "licence": "MIT", "id": "x"},
        "{broken",
        {"licence": "MIT"},
        {"prompt": "c", "licence": "MIT", "id": "x"},
        [1],
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(s if isinstance(s, str) else json.dumps(s) for s in lines))
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    lines = [line.removeprefix(f"{path}:") for line in str(raised.value).splitlines()]
    assert [line.split(": ")[0] for line in lines] == ["1", "1", "1", "3", "4", "5", "6"]
    for line, pattern in zip(
        lines,
        (
            "`licence` is missing; fill it in",
            "did you mean `benign`",
            "give a whole number from 0 to 4",
            "not valid JSON",
            "has no `prompt`",
            "used in row 2 already; give each row its own",
            "write one object on each line",
        ),
        strict=True,
    ):
        assert pattern in line


def test_duplicate_id_of_invalid_row_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,id,licence,detail\na,x,MIT,9\nb,x,MIT,1\nc,x,MIT,9\n")
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    lines = str(raised.value).splitlines()
    assert ["row 1: `detail`" in lines[0], "used in row 1" in lines[1]] == [True, True]
    assert ["row 3: `detail`" in lines[2], "used in row 1" in lines[3]] == [True, True]
    assert len(lines) == 4


@pytest.mark.parametrize("cell", ['"prompt": "", ', '"prompt": null, ', ""])
def test_row_without_prompt_gets_a_hint(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "licence": "MIT"}\n{' + cell + '"licence": "MIT"}\n')
    with pytest.raises(
        ConfigError, match=r"row 2: has no `prompt`; write one or leave the row out$"
    ):
        read_file(path)


def test_unknown_harm_message_does_not_list_all_harms(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence,harm\na,MIT,zzzzzz\n")
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    assert "`safegen taxonomy show TAXONOMY` lists the" in str(raised.value)
    assert len(str(raised.value)) < 200 + len(str(path))


def test_ragged_rows_are_reported_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence\na,MIT\nb\nc,MIT,x\nd,\n")
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    lines = str(raised.value).splitlines()
    assert [f":{n}: row" in line for n, line in zip((3, 4, 5), lines, strict=True)] == [True] * 3


def test_many_errors_are_counted_and_first_ones_listed(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence,intent\n" + "a,MIT,bening\n" * 1_500)
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    *named, last = str(raised.value).splitlines()
    assert len(named) == 20
    assert last == "and 1,480 more of 1,500 errors"


FAULTY: dict[str, RowFault] = {
    "prompt,licence\na,MIT,x\n": "wrong_cell_count",
    "prompt,licence\n,MIT\n": "missing_prompt",
    "prompt,licence\n  ,MIT\n": "blank_prompt",
    "prompt,licence\na,\n": "missing_licence",
    "prompt,licence,intent\na,MIT,bening\n": "unknown_value",
    "prompt,licence,detail\na,MIT,9\n": "invalid_detail",
    "prompt,licence,language\na,MIT,e!\n": "invalid_language",
    "prompt,licence,id\na,MIT,1\nb,MIT,1\n": "duplicate_id",
    'messages,licence\n"[1]",MIT\n': "invalid_messages",
    "messages,prompt,licence\n[],a,MIT\n": "ambiguous_prompt",
    'prompt,licence\na,MIT\n"open,MIT\n': "unreadable",
}


@pytest.mark.parametrize(("text", "code"), FAULTY.items(), ids=FAULTY.values())
def test_row_error_has_its_code(tmp_path: Path, text: str, code: RowFault) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(PromptFileError) as raised:
        read_file(path)
    assert raised.value.counts == {code: 1}
    assert pickle.loads(pickle.dumps(raised.value)).counts == {code: 1}


@pytest.mark.parametrize(
    ("text", "expected"), [("a" * (csv.field_size_limit() + 1), True), ('"a"b', False)]
)
def test_only_cell_above_csv_limit_is_too_large(text: str, expected: bool) -> None:
    with pytest.raises(csv.Error) as raised:
        list(csv.reader([text], strict=True))
    assert is_too_large(raised.value) is expected


def test_fatal_error_is_reported_after_row_errors(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('prompt,licence\nb\n"open quote,MIT\n')
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    first, last = str(raised.value).splitlines()
    assert "has 1 cells" in first
    assert "not valid CSV" in last


def test_numbers_as_text_or_fractions_are_read(tmp_path: Path) -> None:
    details = [
        one(tmp_path, detail=detail).detail for detail in (2, "2", 2.0, "2.0", float("nan"), "")
    ]
    assert details == [2, 2, 2, 2, None, None]
    assert one(tmp_path, id=12).id == "12"


def test_unknown_fields_and_columns_get_a_suggestion(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"text": "a"})
    with pytest.raises(ConfigError, match="`promt` is not a field; did you mean `prompt`"):
        open_prompts(path, columns={"promt": "text"})
    with pytest.raises(ConfigError, match="no column `txt` for `prompt`; did you mean `text`"):
        read_file(path, columns={"prompt": "txt"}, licence="MIT")
    with pytest.raises(ConfigError, match="no such file"):
        open_prompts(tmp_path / "none.csv")


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
    rows = list(read_rows(path, {"prompt", "id"}, faults=FaultCollector()))
    assert len(rows) == 2_500
    assert rows[-1].values == {"prompt": "a"}
    assert rows[-1].place == f"{path}: row 2500"


def test_harm_is_never_planned_under_excluded_profile(tmp_path: Path) -> None:
    about = {"harm": "sexual.adult", "intent": "benign", "evidence": "none", "detail": 0}
    named = one(tmp_path, **about, profile="minors")
    listed = resolve_labels(
        named, BlindLabels(), world(harms=("sexual.*",), profiles=("public", "minors"))
    )
    assert isinstance(listed, Unlabelled)
    assert listed.why == "the taxonomy excludes `sexual.adult` under `minors`"
    free = one(tmp_path, **about)
    both = planned(free, harms=("sexual.*",), profiles=("public", "minors"))
    assert [item.scenario.profile for item in both] == ["public"]
    alone = resolve_labels(free, BlindLabels(), world(harms=("sexual.*",), profiles=("minors",)))
    assert alone == ExcludedRow("profiles")
