"""A column feeds the field that names it, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.core.errors import ConfigError
from safegen.scenarios.user_prompts.mapping import map_columns, parse_columns
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts
from tests.scenarios.user_prompts.prompt_files import Values, read_file, written

KNOWN = ["goal", "prompt", "messages", "harm", "license", "x"]


@pytest.mark.parametrize(
    ("chosen", "columns", "unread"),
    [
        (
            {"prompt": "goal"},
            {"prompt": "goal", "harm": "harm", "licence": "license"},
            ("prompt", "messages", "x"),
        ),
        (
            {"messages": "messages", "harm": None},
            {"messages": "messages", "licence": "license", "goal": "goal"},
            ("prompt", "harm", "x"),
        ),
        (
            {"messages": "", "goal": "", "license": "x"},
            {"prompt": "prompt", "harm": "harm", "licence": "x"},
            ("goal", "messages", "license"),
        ),
        (
            {"prompt": "prompt", "context": "x", "goal": "harm"},
            {"prompt": "prompt", "licence": "license", "goal": "harm", "context": "x"},
            ("goal", "messages"),
        ),
    ],
    ids=["mapped away", "choice of messages", "unread", "context"],
)
def test_named_column_feeds_one_field(
    chosen: dict[str, str | None], columns: dict[str, str], unread: tuple[str, ...]
) -> None:
    found = map_columns(parse_columns(chosen), KNOWN, shown="f", has_licence=False)
    assert (dict(found.columns), found.unread) == (columns, unread)


def test_prompt_cannot_be_left_unread_alone() -> None:
    with pytest.raises(ConfigError, match="no column `prompt` or `messages`"):
        map_columns(parse_columns({"prompt": ""}), ["prompt"], shown="f", has_licence=True)


def test_column_named_context_is_not_joined(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", {"prompt": "Sum it up.", "context": "A jar.", "licence": "MIT"})
    assert read_file(path)[0].messages[0]["content"] == "Sum it up."
    joined = read_file(path, columns={"context": "context"})[0]
    assert joined.messages[0]["content"] == "A jar.\n\nSum it up."


@pytest.mark.parametrize("context", [None, "", "\u200b\n"])
def test_empty_context_leaves_the_prompt_alone(tmp_path: Path, context: str | None) -> None:
    path = written(tmp_path, "jsonl", {"prompt": " a ", "c": context}, {"prompt": "b", "c": "d"})
    rows = read_file(path, columns={"context": "c"}, licence="MIT")
    assert [row.messages[0]["content"] for row in rows] == [" a ", "d\n\nb"]


def test_options_change_the_digest_and_are_stored(tmp_path: Path) -> None:
    path = written(tmp_path, "jsonl", {"prompt": "a", "goal": "b"})
    options: list[Values] = [
        {},
        {"columns": {"goal": None}},
        {"drop_answer": True},
        {"skip_unreadable": True},
    ]
    sources = [open_prompts(path, licence="MIT", **chosen) for chosen in options]
    assert len({source.digest for source in sources}) == len(options)
    stored = [UserPrompts.from_json(source.to_json()) for source in sources]
    assert [source.digest if source else "" for source in stored] == [s.digest for s in sources]
