"""The reference pages list the codes and files of the code."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from safegen.core import plugins
from safegen.core.types import DropReason, Outcome
from safegen.dataset.target import StopCode
from safegen.pipeline.preflight.estimate import FolderStatus
from safegen.scenarios.user_prompts.resolve_labels import UnlabelledCause
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


def code_spans(*names: str) -> set[str]:
    """Return the words in code spans of reference pages."""
    text = "\n".join((REFERENCE / name).read_text(encoding="utf-8") for name in names)
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", span)}


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_codes_page_lists_every_code(codes: tuple[str, ...]) -> None:
    assert set(codes) - code_spans("codes.md") == set()


def test_files_of_source_tree_exist() -> None:
    text = (REFERENCE / "source-tree.md").read_text(encoding="utf-8")
    paths = [span for span in re.findall(r"`([^`\n]+)`", text) if span.endswith(".py")]
    roots = (ROOT, ROOT / "safegen")
    assert [p for p in paths if not any(list(root.glob(p)) for root in roots)] == []
