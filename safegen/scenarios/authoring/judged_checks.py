"""Gates of a written set that blind judges decide. A function's name is the name of its fault.

Each returns the reason, or the empty string. What judges leave open is `unsure` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from safegen.core.types import DANGER, Attribute, Evidence, Expectation, Gate
from safegen.judges.labelling import GoalFit, PromptLabels
from safegen.scenarios.authoring.brief import PromptSlot
from safegen.scenarios.authoring.rule_checks import Fault

ExpectAt = Callable[[Evidence, int], Expectation]
"""The policy of a set's leaf and profile: evidence and requested detail → expectation."""


class Judgement(NamedTuple):
    """What judges said of one text. `serves` is None where the goal is not asked about."""

    labels: PromptLabels
    goal_fit: GoalFit | None


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """What a prompt was to be, and what judges read in it."""

    slot: PromptSlot
    row: Mapping[str, str]
    """Value by axis."""
    judged: Judgement
    expect: ExpectAt

    @property
    def labels(self) -> PromptLabels:
        """The blind reading."""
        return self.judged.labels


def unsure(case: JudgedCase) -> str:
    """Judges without a majority."""
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
    """Another intent than the slot's."""
    return _describe_difference(case.labels.intent, case.slot.intent)


def evidence(case: JudgedCase) -> str:
    """Another evidence of ill intent than the slot's."""
    return _describe_difference(case.labels.evidence, case.slot.evidence)


def detail(case: JudgedCase) -> str:
    """Another requested detail, so far off that the policy expects another answer."""
    read, slot = case.labels.detail, case.slot
    if read is None or read == slot.detail:
        return ""
    wanted, got = case.expect(slot.evidence, slot.detail), case.expect(slot.evidence, read)
    return (
        ""
        if expectation_key(wanted) == expectation_key(got)
        else _describe_difference(read, slot.detail)
    )


def context(case: JudgedCase) -> str:
    """Another value of an axis than the row's; a value that is not shown is no fault."""
    for axis, value in case.labels.axes:
        if axis in case.row and case.row[axis] != value:
            return f"{axis}: {_describe_difference(value, case.row[axis])}"
    return ""


def goal(case: JudgedCase) -> str:
    """Another purpose or task than the goal's."""
    serves = case.judged.goal_fit
    wrong = [] if serves is None else [n for n, v in serves._asdict().items() if v is False]
    return f"does not serve the goal's {' and '.join(wrong)}" if wrong else ""


JUDGED_CHECKS: Mapping[Gate, Callable[[JudgedCase], str]] = {
    "intent": intent,
    "evidence": evidence,
    "detail": detail,
    "context": context,
    "goal": goal,
    "unsure": unsure,
}
"""In the order in which faults are told."""


def find_faults(case: JudgedCase) -> list[Fault]:
    """Every fault that judges found in one prompt."""
    results: list[Fault] = []
    for gate, check in JUDGED_CHECKS.items():
        if reason := check(case):
            results.append(Fault(gate, case.slot.name, reason))
    return results


def confirmed_attributes(case: JudgedCase) -> tuple[Attribute, ...]:
    """The row's values that judges read in the text, in the row's order, and danger to oneself."""
    shown = dict(case.labels.axes)
    danger = (Attribute(DANGER, "self", "confirmed"),) if case.labels.danger else ()
    return danger + tuple(
        Attribute(axis, value, "confirmed")
        for axis, value in case.row.items()
        if shown.get(axis) == value
    )


def expectation_key(expectation: Expectation) -> tuple[object, ...]:
    """What of an expectation an answer depends on."""
    return (
        expectation.mode,
        expectation.ceiling,
        expectation.floor,
        frozenset(expectation.required),
    )


def _describe_difference(read: object, wanted: object) -> str:
    return "" if read is None or read == wanted else f"reads as `{read}`, not `{wanted}`"
