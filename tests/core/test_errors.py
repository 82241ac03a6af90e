"""Errors have full messages and keep their fields when they are pickled."""

from __future__ import annotations

import pickle

import pytest

from safegen.core.errors import BudgetSpent, ConfigError, SafegenError, TeacherRejected, Truncated
from safegen.core.yaml_errors import PlacedError, PlacedProblem, SourceMark
from safegen.scenarios.user_prompts.faults import RowError

ERRORS: dict[str, SafegenError] = {
    "no leaf": ConfigError("no leaf"),
    "plan.harms: no leaf": ConfigError("no leaf", key="plan.harms"),
    "run it again": BudgetSpent("run it again"),
    "run it again, answers so far are kept": BudgetSpent("run it again", kept=True),
    "no such key": TeacherRejected("no such key", status=401),
    "cut": Truncated("cut", key="k"),
    "p.csv: row 1 is blank": RowError("p.csv: row 1 is blank", code="blank_prompt"),
    "a.yaml:1:2: x\na.yaml: y": PlacedError.of(
        PlacedProblem("a.yaml", SourceMark(1, 2), "x"),
        PlacedProblem("a.yaml", None, "y"),
        PlacedProblem("a.yaml", None, "y"),
    ),
}


@pytest.mark.parametrize(("text", "error"), ERRORS.items())
def test_errors_survive_pickling(text: str, error: SafegenError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), text, vars(error))
