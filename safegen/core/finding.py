"""What `doctor` finds: a check, how it stands, and what mends it."""

from __future__ import annotations

from typing import Literal, NamedTuple

CheckStatus = Literal["ok", "warn", "fail"]


class DoctorFinding(NamedTuple):
    """One check and what came of it."""

    check: str
    state: CheckStatus
    message: str
    remedy: str = ""
    """What to do; empty where nothing is to be done."""
