from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from safegen.core import yaml_source
from safegen.core.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str
    severity: Literal["low", "high"]


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    items: list[Inner] = []


def complaint(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        yaml_source.parse(text, Outer, shown="t.yaml")
    return str(caught.value).splitlines()


def test_valid_file_becomes_a_model() -> None:
    model = yaml_source.parse("title: no\nitems:\n  - {id: 007, severity: low}\n", Outer, shown="t")
    assert (model.title, model.items[0].id) == ("no", "007")


def test_all_mistakes_are_reported_with_places() -> None:
    lines = complaint(
        "title: a\nitems:\n  - id: x\n    severity: hihg\n    langg: de\n  - severity: low\n    severity: low\n"
    )
    assert lines == [
        "t.yaml:4:5: `items.0.severity` is `hihg`: input should be 'low' or 'high'; did you mean `high`?",
        "t.yaml:5:5: `items.0.langg` is not a known key; known: id, severity",
        "t.yaml:6:5: `items.1.id` is missing; add it",
        "t.yaml:7:5: duplicate key `severity` (first at line 6); keep one",
    ]


def test_mistyped_key_gets_a_hint() -> None:
    assert complaint("titel: a\n")[0].endswith("did you mean `title`?")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("- a\n", "not a mapping"),
        ("title: [\n", "not valid YAML"),
        ("title: &a x\nitems: *a\n", "anchors and aliases are not supported"),
        ("title: !!python/object/apply:os.system [ls]\n", "is not supported"),
        ("title: !!binary aGk=\n", "is not supported"),
        ("title: " + "[" * 60 + "]" * 60 + "\n", "nested too deeply"),
        ("? [a]\n: b\n", "a key must be a plain word"),
        ("title: a\x00b\n", "not valid YAML"),
    ],
    ids=["empty", "list", "open", "alias", "python tag", "binary", "deep", "complex key", "nul"],
)
def test_hostile_yaml_gets_a_short_message(text: str, says: str) -> None:
    lines = complaint(text)
    assert any(says in line for line in lines)
    assert lines[0].startswith("t.yaml")


def test_alias_bomb_is_refused() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
    )
    assert "anchors" in complaint(bomb)[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe\x00", "not UTF-8"), (b"x" * (8 * 2**20 + 1), "larger than")],
    ids=["encoding", "size"],
)
def test_unreadable_bytes_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        yaml_source.load(path, Outer)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        yaml_source.load(tmp_path / "none.yaml", Outer)
    with pytest.raises(ConfigError, match="is a folder"):
        yaml_source.load(tmp_path, Outer)
