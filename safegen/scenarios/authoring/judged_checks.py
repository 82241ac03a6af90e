"""Gates of a written set that blind judges decide. A function's name is the name of its fault.

Each returns the reason, or the empty string. What judges leave open is `unsure` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from safegen.core.types import DANGER, Attribute, Evidence, Expectation, Gate
from safegen.judges.labelling import Reading, Serves
from safegen.scenarios.authoring.brief import Slot
from safegen.scenarios.authoring.rule_checks import Fault

Expect = Callable[[Evidence, int], Expectation]
"""The policy of a set's leaf and profile: evidence and requested detail → expectation."""


class Judged(NamedTuple):
    """What judges said of one text. `serves` is None where the goal is not asked about."""

    reading: Reading
    serves: Serves | None


@dataclass(frozen=True, slots=True)
class Case:
    """What a prompt was to be, and what judges read in it."""

    slot: Slot
    row: Mapping[str, str]
    """Value by axis."""
    judged: Judged
    expect: Expect

    @property
    def reading(self) -> Reading:
        """The blind reading."""
        return self.judged.reading


def unsure(case: Case) -> str:
    """Judges without a majority."""
    fields = {
        "intent": case.reading.intent,
        "evidence": case.reading.evidence,
        "detail": case.reading.detail,
    }
    if case.judged.serves is not None:
        fields |= {"goal": case.judged.serves.purpose, "task": case.judged.serves.task}
    open_ = [name for name, value in fields.items() if value is None]
    return f"judges disagree about {', '.join(open_)}" if open_ else ""


def intent(case: Case) -> str:
    """Another intent than the slot's."""
    return _differs(case.reading.intent, case.slot.intent)


def evidence(case: Case) -> str:
    """Another evidence of ill intent than the slot's."""
    return _differs(case.reading.evidence, case.slot.evidence)


def detail(case: Case) -> str:
    """Another requested detail, so far off that the policy expects another answer."""
    read, slot = case.reading.detail, case.slot
    if read is None or read == slot.detail:
        return ""
    wanted, got = case.expect(slot.evidence, slot.detail), case.expect(slot.evidence, read)
    return "" if decided(wanted) == decided(got) else _differs(read, slot.detail)


def context(case: Case) -> str:
    """Another value of an axis than the row's; a value that is not shown is no fault."""
    for axis, value in case.reading.axes:
        if axis in case.row and case.row[axis] != value:
            return f"{axis}: {_differs(value, case.row[axis])}"
    return ""


def goal(case: Case) -> str:
    """Another purpose or task than the goal's."""
    serves = case.judged.serves
    wrong = [] if serves is None else [n for n, v in serves._asdict().items() if v is False]
    return f"does not serve the goal's {' and '.join(wrong)}" if wrong else ""


GATES: Mapping[Gate, Callable[[Case], str]] = {
    "intent": intent,
    "evidence": evidence,
    "detail": detail,
    "context": context,
    "goal": goal,
    "unsure": unsure,
}
"""In the order in which faults are told."""


def faults(case: Case) -> list[Fault]:
    """Every fault that judges found in one prompt."""
    found: list[Fault] = []
    for gate, check in GATES.items():
        if reason := check(case):
            found.append(Fault(gate, case.slot.name, reason))
    return found


def confirmed(case: Case) -> tuple[Attribute, ...]:
    """The row's values that judges read in the text, in the row's order, and danger to oneself."""
    shown = dict(case.reading.axes)
    danger = (Attribute(DANGER, "self", "confirmed"),) if case.reading.danger else ()
    return danger + tuple(
        Attribute(axis, value, "confirmed")
        for axis, value in case.row.items()
        if shown.get(axis) == value
    )


def decided(expectation: Expectation) -> tuple[object, ...]:
    """What of an expectation an answer depends on."""
    return (
        expectation.mode,
        expectation.ceiling,
        expectation.floor,
        frozenset(expectation.required),
    )


def _differs(read: object, wanted: object) -> str:
    return "" if read is None or read == wanted else f"reads as `{read}`, not `{wanted}`"
