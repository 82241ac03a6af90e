"""Findings that outlive the text of a juror's reply: values, codes and clauses, and no quotation.

The text is deleted because it may quote an unsafe answer. Its tombstone keeps the findings, so that a
later run of the same command decides as the first one did, without a request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from safegen.core.types import Finding, Mode
from safegen.judges.answer import FIELDS
from safegen.judges.jury import ORDER

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def keep_findings(findings: Sequence[Finding], *, mode: Mode) -> str | None:
    """Write the findings of one juror for a tombstone; None if its reply was deleted before."""
    if any(finding.code == "withheld" for finding in findings):
        return None
    kept = [
        {"field": f.field, "value": f.value, "code": f.code, "clause": f.clause} for f in findings
    ]
    return json.dumps({"mode": mode, "findings": kept}, sort_keys=True)


def recall_findings(measure: str | None, *, judge: str, mode: Mode) -> tuple[Finding, ...] | None:
    """Read the findings of a tombstone; None if it has none, or those for another mode."""
    if measure is None:
        return None
    try:
        payload = json.loads(measure)
        # A guard is asked the same for each mode, and its word means something else in each.
        if payload["mode"] != mode:
            return None
        kept = [{**finding, "judge": judge} for finding in payload["findings"]]
        findings = _findings_type().validate_python(kept)
    except (ValueError, KeyError, TypeError):
        # An edited tombstone is as good as none.
        return None
    if tuple(f.field for f in findings) != FIELDS or not all(map(_is_possible, findings)):
        return None
    return tuple(replace(finding, evidence="") for finding in findings)


def _is_possible(finding: Finding) -> bool:
    if finding.code == "answered":
        return finding.value in ORDER[finding.field]
    return finding.value is None


@cache
def _findings_type() -> TypeAdapter[list[Finding]]:
    from pydantic import TypeAdapter

    return TypeAdapter(list[Finding])
