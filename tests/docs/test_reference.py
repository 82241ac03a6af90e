"""The reference pages list the codes, JSON keys and files of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from safegen.core import plugins
from safegen.core.types import DropReason, Outcome
from safegen.dataset.target import StopCode
from safegen.pipeline.preflight.estimate import FolderStatus
from safegen.scenarios.user_prompts.resolve_labels import UnlabelledCause
from tests.cli.harness import call
from tests.conftest import ROOT

REFERENCE = ROOT / "docs/reference"
CODES: dict[str, tuple[str, ...]] = {
    "drop reasons": get_args(DropReason),
    "outcomes": get_args(Outcome),
    "stop codes": get_args(StopCode),
    "causes": get_args(UnlabelledCause),
    "folder states": get_args(FolderStatus),
    **{name: plugins.validator_traits(name).codes for name in plugins.list_names("validators")},
}
JSON_COMMANDS = (
    "check",
    "status {}",
    "coverage {} --certificate",
    "verify {}",
    "list",
    "doctor",
    "preview --sets 1",
    "policy explain cyber.intrusion,detail=3",
    "policy show security --as rubric --at cyber.intrusion,detail=3",
)


def code_spans(*names: str) -> set[str]:
    """Return the words in code spans of reference pages."""
    text = "\n".join((REFERENCE / name).read_text(encoding="utf-8") for name in names)
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", span)}


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_codes_page_lists_every_code(codes: tuple[str, ...]) -> None:
    assert set(codes) - code_spans("codes.md") == set()


@pytest.mark.parametrize("command", JSON_COMMANDS)
def test_json_page_lists_every_key(
    command: str, starter: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, *command.format(starter).split(), "--json")
    keys = {key for line in result.lines for key in line}
    assert keys - code_spans("json.md", "columns.md") == set()


def test_files_of_source_tree_exist() -> None:
    text = (REFERENCE / "source-tree.md").read_text(encoding="utf-8")
    paths = [span for span in re.findall(r"`([^`\n]+)`", text) if span.endswith(".py")]
    roots = (ROOT, ROOT / "safegen")
    assert [p for p in paths if not any(list(root.glob(p)) for root in roots)] == []
