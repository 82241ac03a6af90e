"""Errors of rows are reported together, each with row and code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from safegen.core.errors import ConfigError
from safegen.scenarios.user_prompts.faults import PromptFileError, RowFault
from tests.scenarios.user_prompts.prompt_files import (
    FULL,
    Values,
    one,
    read_file,
    written,
)


def test_duplicate_id_is_rejected_with_both_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", FULL, FULL | {"id": "b"}, FULL)
    with pytest.raises(ConfigError, match=r"row 3: id `a-1` is used in row 1 already"):
        read_file(path)


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
            {"prompt": None, "messages": [{"role": "user", "content": {"text": "a"}}]},
            "not text but an object",
        ),
        (
            {"prompt": None, "messages": [{"role": "usr", "content": "a"}]},
            "role `usr`; did you mean `user`",
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
            "write one object for each row",
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
        ConfigError,
        match=r"row 2: has no `prompt`; write one, or skip such rows with `--skip-unreadable`$",
    ):
        read_file(path)


def test_unknown_harm_message_does_not_list_all_harms(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,licence,harm\na,MIT,zzzzzz\n")
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    assert "`safegen taxonomy show TAXONOMY` lists the" in str(raised.value)
    assert len(str(raised.value)) < 200 + len(str(path))


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


def test_fatal_error_is_reported_after_row_errors(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('prompt,licence\nb\n"open quote,MIT\n')
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    first, last = str(raised.value).splitlines()
    assert "has 1 cell" in first
    assert "not valid CSV" in last


def test_numbers_as_text_or_fractions_are_read(tmp_path: Path) -> None:
    details = [
        one(tmp_path, detail=detail).detail for detail in (2, "2", 2.0, "2.0", float("nan"), "")
    ]
    assert details == [2, 2, 2, 2, None, None]
    assert one(tmp_path, id=12).id == "12"
