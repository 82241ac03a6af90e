"""Checks of an authored prompt by blind labels. The name of a check is the name of its fault.

Each check returns a reason, or the empty string if it passes. A label without a majority is a fault
of `unsure` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from safegen.core.types import (
    DANGER,
    HARMLESS_EVIDENCE,
    Attribute,
    Evidence,
    Expectation,
    Gate,
)
from safegen.judges.blind_labels import GoalFit, PromptLabels
from safegen.scenarios.authoring.brief import PromptSlot
from safegen.scenarios.authoring.rule_checks import Fault

ExpectAt = Callable[[Evidence, int], Expectation]
"""The policy at a set's harm and profile, as a function of evidence and requested detail."""


class Judgement(NamedTuple):
    """The blind labels of one text, and its fit to the goal (None if that was not asked)."""

    labels: PromptLabels
    goal_fit: GoalFit | None


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """The labels that a prompt must have, and those that labellers read in it."""

    slot: PromptSlot
    row: Mapping[str, str]
    """Required value by axis."""
    judged: Judgement
    expect: ExpectAt

    @property
    def labels(self) -> PromptLabels:
        """The blind labels."""
        return self.judged.labels


def unsure(case: JudgedCase) -> str:
    """Fail a prompt with a label that has no majority."""
    fields = {
        "intent": case.labels.intent,
        "evidence": case.labels.evidence,
        "detail": case.labels.detail,
    }
    if case.judged.goal_fit is not None:
        fields |= {"goal": case.judged.goal_fit.purpose, "task": case.judged.goal_fit.task}
    open_ = [name for name, value in fields.items() if value is None]
    return f"judges disagree about {', '.join(open_)}" if open_ else ""


def intent(case: JudgedCase) -> str:
    """Fail a prompt that reads as another intent than the slot's."""
    return _describe_difference(case.labels.intent, case.slot.intent)


def evidence(case: JudgedCase) -> str:
    """Fail a prompt that shows other evidence than the slot's.

    `protective` in place of `none`, or the reverse, fails only if it changes the limits of the answer,
    because the label that was read is recorded.
    """
    read, slot = case.labels.evidence, case.slot
    if read is None or read == slot.evidence:
        return ""
    # Both labels are recorded as read, so they are compared together.
    read_detail = slot.detail if case.labels.detail is None else case.labels.detail
    is_harmless = HARMLESS_EVIDENCE.issuperset((read, slot.evidence))
    if is_harmless and _has_equal_limits(
        case.expect(slot.evidence, slot.detail), case.expect(read, read_detail)
    ):
        return ""
    return _describe_difference(read, slot.evidence)


def detail(case: JudgedCase) -> str:
    """Fail a prompt whose requested detail changes the mode or the ceiling of the answer."""
    read, slot = case.labels.detail, case.slot
    if read is None or read == slot.detail:
        return ""
    if _has_equal_limits(case.expect(slot.evidence, slot.detail), case.expect(slot.evidence, read)):
        return ""
    return _describe_difference(read, slot.detail)


def _has_equal_limits(planned: Expectation, actual: Expectation) -> bool:
    # A ceiling limits nothing in an answer that gives everything that was requested.
    is_open = planned.mode == actual.mode == "direct_answer"
    return is_open or (planned.mode, planned.ceiling) == (actual.mode, actual.ceiling)


def context(case: JudgedCase) -> str:
    """Fail a prompt that shows another value of an axis than the row's; it need not show one."""
    for axis, value in case.labels.axes:
        # An axis outside the row was left open on purpose.
        if axis in case.row and case.row[axis] != value:
            return f"{axis}: {_describe_difference(value, case.row[axis])}"
    return ""


def goal(case: JudgedCase) -> str:
    """Fail a prompt with another purpose or task than the goal's."""
    fit = case.judged.goal_fit
    if fit is None:
        return ""
    wrong = ["is about another subject than the goal"] if fit.purpose is False else []
    if fit.task is False:
        read = f"; it was read as `{fit.read_task}`" if fit.read_task else ""
        wrong.append(f"asks for another kind of help, or for more than the goal's{read}")
    return ", and ".join(wrong)


JUDGED_CHECKS: Mapping[Gate, Callable[[JudgedCase], str]] = {
    "intent": intent,
    "evidence": evidence,
    "detail": detail,
    "context": context,
    "goal": goal,
    "unsure": unsure,
}
"""The checks by the name of their fault, in the order of the report."""


def find_faults(case: JudgedCase) -> list[Fault]:
    """List the faults that blind labels show in one prompt."""
    results: list[Fault] = []
    for gate, check in JUDGED_CHECKS.items():
        if reason := check(case):
            results.append(Fault(gate, case.slot.name, reason))
    return results


def confirmed_attributes(case: JudgedCase) -> tuple[Attribute, ...]:
    """List danger to oneself and the row's values that labellers read, in row order."""
    shown = dict(case.labels.axes)
    danger = (Attribute(DANGER, "self", "confirmed"),) if case.labels.danger else ()
    return danger + tuple(
        Attribute(axis, value, "confirmed")
        for axis, value in case.row.items()
        if shown.get(axis) == value
    )


def _describe_difference(read: object, planned: object) -> str:
    if read is None or read == planned:
        return ""
    return f"was read as `{read}`, must read as `{planned}`"
