"""Syntax errors name the character that causes them, and long lists of mistakes are cut."""

from __future__ import annotations

import pytest

from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.core.suggestions import MAX_COMPARED, find_repeated, suggest_names
from safegen.core.yaml_source import MAX_ENTRIES, MAX_SHOWN, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nplan: {profiles: [*, public]}\n", "r.yaml:2:19: .*unquoted `\\*`.*quotes"),
        ("name: a\nplan:\n  harms:\n    - *.scams\n", "r.yaml:4:7: .*unquoted `\\*`"),
        ("name: a\nplan:\n  harms: *\n", "r.yaml:3:10: .*unquoted `\\*`"),
        ("name: a\nplan: {harms: *all}\n", "r.yaml:2:15: .*quote a text that begins with"),
        ("name: a\njudges:\n\tbar: 0.9\n", "r.yaml:3:1: .*a tab; indent with spaces"),
        ("name: a\nplan:\n  harms: [a]\n  \trows: 1\n", "r.yaml:4:3: .*a tab; indent"),
        ("name: a\nplan:\u00a0{harms: [a]}\n", "r.yaml:2:6: .*a no-break space"),
        ("name: a\n\u00a0seed: 1\n", "r.yaml:.*no-break space"),
        ('name: "a\\qb"\n', "r.yaml:1:9: .*a backslash in double quotes.*`\\\\q`"),
        ('name: a\noutput: "D:\\Uploads"\n', "r.yaml:2:12: .*single quotes"),
        ('name: a\noutput: "D:\\"\n', "r.yaml:2:12: .*single quotes"),
    ],
    ids=[
        "star",
        "pattern",
        "star value",
        "alias",
        "tab",
        "tab after spaces",
        "no-break",
        "no-break key",
        "escape",
        "path",
        "end",
    ],
)
def test_yaml_error_names_its_cause(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse(text, Recipe, shown="r.yaml")


def test_error_without_common_cause_keeps_the_parser_words() -> None:
    with pytest.raises(ConfigError, match=r"not valid YAML: did not find expected"):
        parse("name: a\nviews: [sft\n", Recipe, shown="r.yaml")


def test_many_unknown_keys_give_few_lines() -> None:
    text = "name: a\n" + "".join(f"z{i}: 1\n" for i in range(3_000))
    with pytest.raises(ConfigError) as raised:
        parse(text, Recipe, shown="r.yaml")
    lines = str(raised.value).splitlines()
    assert len(lines) == MAX_SHOWN + 1
    assert lines[0].startswith("r.yaml:2:1: `z0` is not a known key")
    assert lines[-1] == f"r.yaml: and {3_000 - MAX_SHOWN:,} more mistakes"


@pytest.mark.parametrize(
    "text",
    [
        f"name: a\nviews: [{', '.join(['sft'] * (MAX_ENTRIES + 1))}]\n",
        "".join(f"k{i}: 1\n" for i in range(MAX_ENTRIES + 1)),
    ],
    ids=["list", "mapping"],
)
def test_endless_list_is_one_mistake(text: str) -> None:
    with pytest.raises(ConfigError, match=r"more than 20,000 entries") as raised:
        parse(text, Recipe, shown="r.yaml")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("names", "repeated"), [((), None), (("a", "b"), None), (("a", "b", "b", "a"), "a")]
)
def test_first_repeated_name_is_found(names: tuple[str, ...], repeated: str | None) -> None:
    assert find_repeated(names) == repeated


def test_suggestion_of_many_names_is_short() -> None:
    known = [f"column-{i}" for i in range(10 * MAX_COMPARED)]
    assert len(suggest_names("zzz", known)) < 2_000
    assert suggest_names("colunm-7", known) == "; did you mean `column-7`?"
    assert len(suggest_names("z" * 5_000, ["x" * 100_000])) < 300
