"""The documented keys of `--json` are always there, and are words without spaces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

import pytest

from tests.cli.harness import call, write_recipe
from tests.conftest import ROOT

KEY = re.compile(r"[a-z][a-z0-9_]*")
# Names of a user, of leaves, columns or splits are keys too, and are not checked.
NAMED = {"by_domain", "by_domain_mode", "rows", "cell", "params", "not_under"}


def documented(section: str) -> set[str]:
    text = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    part = text.split(f"## {section}\n")[1].split("\n## ")[0]
    heads = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return {key for head in heads for key in re.findall(r"`([a-z_]+)`", head)}


def keys(value: object) -> set[str]:
    if isinstance(value, list):
        return {key for item in cast("list[object]", value) for key in keys(item)}
    if not isinstance(value, dict):
        return set()
    items = cast("dict[str, object]", value)
    inner = {key for name, item in items.items() if name not in NAMED for key in keys(item)}
    return set(items) | inner


def test_generate_build_and_retry_have_all_documented_keys(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(
        workdir, "name: k\npolicies: [security]\nplan: {harms: [cyber.intrusion]}\n"
    )
    expected = documented("generate, build, retry") - {"unlabelled", "imported"}
    for command in (
        ["generate", recipe, "-o", "out"],
        ["generate", recipe, "-o", "out"],
        ["build", "out"],
        ["retry", "out"],
    ):
        (payload,) = call(capsys, *command, "--json").lines
        assert set(payload) == expected, command


@pytest.mark.parametrize(
    "command",
    [
        ["check", "starter"],
        ["taxonomy", "check", "core"],
        ["taxonomy", "show", "core"],
        ["policy", "check"],
        ["list"],
    ],
    ids=" ".join,
)
def test_json_keys_are_words(
    workdir: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for line in call(capsys, *command, "--json").out.splitlines():
        assert [key for key in keys(json.loads(line)) if not KEY.fullmatch(key)] == []
