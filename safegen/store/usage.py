"""Requests, tokens and seconds of a run over all sessions, killed ones included.

A session that ends writes its counts. A killed session leaves its replies in the journal, which sums
their cost; its seconds are lost. `journalled` is the part of the journal that the file already counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from safegen.core.errors import RERUN_HINT, StoreDamaged
from safegen.core.types import Usage
from safegen.store.run_folder import read_json, write_json

COUNTS = ("requests", "retries", "prompt_tokens", "completion_tokens")
JOURNALLED = "journalled"
RESET_HINT = f"delete it and {RERUN_HINT}; only its counts are lost"


def read_accounting(path: Path) -> dict[str, object]:
    """Read the counts of a run; empty until its first session has ended.

    Raises:
        StoreDamaged: the file cannot be read, or contains an invalid count.
    """
    if not path.exists():
        return {}
    payload = read_json(path, remedy=RESET_HINT)
    journalled = payload.get(JOURNALLED, {})
    counts = [payload.get(name, 0) for name in COUNTS]
    if not isinstance(journalled, dict) or not all(
        _is_count(n) for n in (*counts, *cast("dict[str, object]", journalled).values())
    ):
        raise StoreDamaged(f"`{path}` contains an invalid count; {RESET_HINT}")
    if not _is_seconds(payload.get("seconds", 0)):
        raise StoreDamaged(f"`{path}`: `seconds` is not a duration; {RESET_HINT}")
    return payload


def prior_usage(path: Path, kept: Usage) -> Usage:
    """Sum the usage of earlier sessions: recorded counts, and journal entries that they do not include.

    Args:
        path: `accounting.json`.
        kept: the cost of all replies in the journal.
    """
    payload = read_accounting(path)
    counted = cast("Mapping[str, int]", payload.get(JOURNALLED, {}))
    written = {name: cast(int, payload.get(name, 0)) for name in COUNTS}
    for name in ("requests", "prompt_tokens", "completion_tokens"):
        written[name] += max(0, getattr(kept, name) - counted.get(name, 0))
    return Usage(**written)


def write_accounting(
    path: Path, *, before: Usage, session: Usage, kept: Usage, seconds: float
) -> None:
    """Add the usage of a session to that of earlier ones."""
    payload = read_accounting(path)
    total: dict[str, object] = {n: getattr(before, n) + getattr(session, n) for n in COUNTS}
    total["seconds"] = round(cast(float, payload.get("seconds", 0)) + seconds, 1)
    total[JOURNALLED] = {
        name: getattr(kept, name) for name in ("requests", "prompt_tokens", "completion_tokens")
    }
    write_json(path, total)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
