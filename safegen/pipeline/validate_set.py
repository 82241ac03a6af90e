"""Check the drafts of one set against each other, after the checks of each draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from safegen.core.types import (
    DraftContext,
    Knowledge,
    PlannedScenario,
    Record,
    SetAnswer,
    SetValidator,
    Verdict,
)


async def validate_set(
    records: Sequence[Record],
    planned: Sequence[PlannedScenario],
    *,
    validators: Mapping[str, SetValidator],
    required: Sequence[str],
) -> list[Record]:
    """Add the verdicts on a set to its records, and reject those that a required one fails.

    Args:
        records: every draft of the set.
        planned: the scenarios of the set, for their knowledge.
        validators: the validators of sets, by name.
        required: names of the validators that a draft must pass.

    Returns:
        The records in the same order. A record that was rejected before keeps its reason.
    """
    knowledge = {item.scenario.scenario_id: item.knowledge for item in planned}
    judged = list(records)
    for validate in validators.values():
        verdicts = await validate([_make_answer(record, knowledge) for record in records])
        judged = [_add(r, v, required) for r, v in zip(judged, verdicts, strict=True)]
    return judged


def _make_answer(record: Record, knowledge: Mapping[str, Knowledge]) -> SetAnswer:
    known = knowledge[record.scenario.scenario_id]
    context = DraftContext(record.scenario, record.expectation, known)
    return SetAnswer(record.draft, context, record.accepted)


def _add(record: Record, verdict: Verdict, required: Sequence[str]) -> Record:
    # A draft without text has no verdicts, and evidence must not quote a text that was deleted.
    if record.draft.response is None:
        return record
    record = replace(record, verdicts=(*record.verdicts, verdict))
    if not record.accepted or verdict.validator not in required or verdict.passed:
        return record
    reason = "unscored" if verdict.passed is None else verdict.validator
    return replace(record, accepted=False, accepted_by=None, reason=reason)
