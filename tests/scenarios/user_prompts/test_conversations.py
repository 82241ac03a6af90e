"""Conversations in the forms of other projects give the same messages."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from safegen.core.errors import ConfigError
from tests.scenarios.user_prompts.prompt_files import Values, read_file

TALK = [("system", "Be kind."), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}
PARTS = {"type": "input_text", "text": "One?"}

FORMS: dict[str, object] = {
    "plain": [{"role": role, "content": text} for role, text in TALK],
    "sharegpt": [{"from": SHAREGPT[role], "value": text, "weight": 1} for role, text in TALK],
    "developer": [{"role": "developer", "content": "Be kind."}]
    + [{"role": role.upper(), "content": text} for role, text in TALK[1:]],
    "parts": [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in TALK],
    "more keys": [
        {"role": role, "content": text, "name": "b", "toxic": False, "meta": {"a": [1]}}
        for role, text in TALK
    ],
    "columns": {"from": [SHAREGPT[r] for r, _ in TALK], "value": [text for _, text in TALK]},
    "text": json.dumps([{"role": role, "content": text} for role, text in TALK]),
}


def messages(folder: Path, row: Values, **options: bool) -> list[tuple[str, str]]:
    path = folder / "p.jsonl"
    path.write_text(json.dumps({"licence": "MIT"} | row) + "\n")
    return [(m["role"], m["content"]) for m in read_file(path, **options)[0].messages]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_conversation_are_equal(tmp_path: Path, form: str) -> None:
    assert messages(tmp_path, {"messages": FORMS[form]}) == TALK


def test_null_keys_of_parquet_turns_are_ignored(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "One?", "from": None, "tool_calls": None},
        {"role": None, "content": None, "from": "gpt", "value": "Yes."},
        {"role": "user", "content": "Two?"},
    ]
    pq.write_table(pa.Table.from_pylist([{"messages": turns}]), tmp_path / "p.parquet")
    [row] = read_file(tmp_path / "p.parquet", licence="MIT")
    assert [m["content"] for m in row.messages] == ["One?", "Yes.", "Two?"]


def test_last_answer_is_dropped_on_request(tmp_path: Path) -> None:
    talk = [{"role": r, "content": r} for r in ("user", "assistant") * 2]
    assert len(messages(tmp_path, {"messages": talk}, drop_answer=True)) == 3
    assert len(messages(tmp_path, {"messages": talk[:3]}, drop_answer=True)) == 3
    with pytest.raises(ConfigError, match="drop answers at the end with `--drop-answer`"):
        messages(tmp_path, {"messages": talk})


@pytest.mark.parametrize("answer", [None, [{"type": "image"}], 3], ids=["null", "image", "number"])
def test_dropped_answer_needs_no_text(tmp_path: Path, answer: object) -> None:
    call = {"role": "assistant", "content": answer, "tool_calls": [{"name": "count"}]}
    talk = [{"role": "user", "content": "How many jars?"}, call]
    assert messages(tmp_path, {"messages": talk}, drop_answer=True) == [("user", "How many jars?")]
    with pytest.raises(ConfigError, match=r"not text|only parts with `text`"):
        messages(tmp_path, {"messages": talk})


@pytest.mark.parametrize("row", [{"prompt": ["One?"]}, {"messages": ["One?"]}])
def test_list_of_one_text_is_a_prompt(tmp_path: Path, row: Values) -> None:
    assert messages(tmp_path, row) == [("user", "One?")]


def test_text_parts_are_joined_with_line_feeds(tmp_path: Path) -> None:
    turn = {"role": "user", "content": [PARTS, "and", {"text": "two?", "image_url": None}]}
    assert messages(tmp_path, {"messages": [turn]}) == [("user", "One?\nand\ntwo?")]


@pytest.mark.parametrize(
    ("row", "pattern"),
    [
        ({"prompt": ["a", "b"]}, "list of 2 values .* belongs in `messages`: a list of {role"),
        ({"messages": ["a", "b"]}, "list of 2 texts without roles; .*{role, content}"),
        ({"prompt": [{"role": "user", "content": "a"}]}, "`--column messages=COLUMN`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": None}]}]},
            "part of the type `image_url`; only parts with `text`",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, "the role `tool`; known: "),
        ({"messages": [{"from": "human", "value": 3}]}, "not text but a number"),
        ({"messages": {"from": ["human"], "value": []}}, "is not a list of messages"),
        ({"prompt": "a", "messages": [{}]}, "`--column messages=` or `--column prompt=`"),
    ],
)
def test_unknown_form_names_the_expected_one(tmp_path: Path, row: Values, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern):
        messages(tmp_path, row)
