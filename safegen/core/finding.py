"""What `doctor` finds: a check, how it stands, and what mends it."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One check and what came of it."""

    check: str
    state: State
    told: str
    remedy: str = ""
    """What to do; empty where nothing is to be done."""
