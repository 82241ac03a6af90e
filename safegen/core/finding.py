"""The result of one check of `doctor`."""

from __future__ import annotations

from typing import Literal, NamedTuple

CheckStatus = Literal["ok", "warn", "fail"]


class DoctorFinding(NamedTuple):
    """One check with its result."""

    check: str
    state: CheckStatus
    message: str
    remedy: str = ""
    """The command or change that fixes it; empty if nothing has to be done."""
