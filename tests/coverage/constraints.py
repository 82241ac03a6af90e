"""Check of rows against the constraints of axes."""

from __future__ import annotations

from safegen.coverage.axes import Axes, VoidRule
from safegen.coverage.covering_array import AxisRow


def broken_rules(axes: Axes, row: AxisRow) -> list[VoidRule]:
    """Return the constraints that a full or partial row breaks."""
    return [rule for rule in axes.void if rule.matches(row)]
