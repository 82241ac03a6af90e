"""Findings that a tombstone keeps: what comes back, and what is not trusted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from safegen.judges.kept_findings import keep_findings, recall_findings
from safegen.testing import make_findings

FINDINGS = tuple(
    replace(
        f, evidence="a spoon of cocoa", clause="facilitation" if f.field == "severity" else None
    )
    for f in make_findings("first", severity="high", tone=None)
)


def test_recalled_findings_lack_only_their_quotations() -> None:
    kept = keep_findings(FINDINGS, mode="direct_answer")
    assert kept is not None
    assert "cocoa" not in kept
    recalled = recall_findings(kept, judge="second", mode="direct_answer")
    assert recalled == tuple(replace(f, evidence="", judge="second") for f in FINDINGS)


def test_findings_of_deleted_reply_are_not_kept() -> None:
    assert keep_findings([replace(FINDINGS[0], code="withheld")], mode="direct_answer") is None


@pytest.mark.parametrize("change", ["mode", "value", "missing", "text", "no list", "null value"])
def test_edited_tombstone_is_not_recalled(change: str) -> None:
    payload = json.loads(keep_findings(FINDINGS, mode="direct_answer") or "")
    if change == "mode":
        payload["mode"] = "refuse_redirect"
    elif change == "value":
        payload["findings"][0]["value"] = "cocoa"
    elif change == "missing":
        del payload["findings"][0]
    elif change == "null value":
        payload["findings"][0]["value"] = None
    elif change == "no list":
        payload["findings"] = 7
    measure = "{" if change == "text" else json.dumps(payload)
    assert recall_findings(measure, judge="first", mode="direct_answer") is None
