"""The decision on a user's row: plan it with its labels, list it as unlabelled, or exclude it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from safegen.config.goals import record_evidence
from safegen.core.types import HARMLESS_EVIDENCE, Evidence
from safegen.judges.user_prompt_labels import BlindLabels
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.user_prompts.age_signals import age_conflicts
from safegen.scenarios.user_prompts.plan_rows import RowLabels, allowed_profiles
from safegen.scenarios.user_prompts.rows import PromptRow

LABELS = ("harm", "intent", "evidence", "detail")
UnlabelledCause = Literal[
    "missing_label",
    "label_request_failed",
    "red_line",
    "profile_mismatch",
    "contradictory",
    "unreadable",
]
"""Code of the reason why a row is listed: a label is missing, for lack of a majority or because requests to labellers failed, its harm is a red line, its harm or words
do not fit its profile, its labels contradict each other or those of an equal row, or it cannot be read."""
IN_WORDS: Mapping[UnlabelledCause, str] = {
    "missing_label": "not labelled",
    "label_request_failed": "labeller failed",
    "red_line": "red line",
    "profile_mismatch": "profile mismatch",
    "contradictory": "contradictory",
    "unreadable": "unreadable",
}
"""The causes as users read them."""


def name_causes(causes: Mapping[UnlabelledCause, int]) -> dict[str, int]:
    """Name counted causes as users read them, in alphabetical order."""
    return dict(sorted((IN_WORDS[cause], count) for cause, count in causes.items()))


class Unlabelled(NamedTuple):
    """A row that is listed and not planned."""

    row: int
    id: str | None
    fields: tuple[str, ...]
    message: str
    cause: UnlabelledCause = "missing_label"


class ExcludedRow(NamedTuple):
    """A row that the recipe excludes, or that repeats an earlier one."""

    reason: str


def check_row(row: PromptRow, context: PlanningContext) -> Unlabelled | ExcludedRow | None:
    """Decide a row by the file alone; None if its labels, open or not, decide.

    Such a row is never shown to labellers.
    """
    decided = None if row.harm is None else _check_harm(row, row.harm, context)
    if decided is not None:
        return decided
    if row.intent is not None and row.intent not in context.plan.intents:
        return ExcludedRow("intents")
    if row.has_system and row.profile is None:
        reason = "has its own `system` turn; fill in its `profile`"
        return Unlabelled(row.number, row.id, ("profile",), reason)
    return _check_age_signals(row, row.harm, context)


def resolve_labels(
    row: PromptRow, blind_labels: BlindLabels, context: PlanningContext
) -> RowLabels | Unlabelled | ExcludedRow:
    """Decide a row by its own labels, and by blind labels for those that are open."""
    decided = check_row(row, context)
    if decided is not None:
        return decided
    harm, intent = row.harm or blind_labels.harm, row.intent or blind_labels.intent
    # Blind evidence `self` with intent malicious was recorded as `stated`; if the file has another
    # intent, it is `self` again.
    is_self = blind_labels.danger and intent != "malicious"
    blind_evidence: Evidence | None = "self" if is_self else blind_labels.evidence
    evidence = row.evidence or blind_evidence
    detail = blind_labels.detail if row.detail is None else row.detail
    if harm is None or intent is None or evidence is None or detail is None:
        values = zip(LABELS, (harm, intent, evidence, detail), strict=True)
        missing = tuple(name for name, value in values if value is None)
        return _list_unlabelled(row, missing, blind_labels)
    if row.harm is None:
        decided = _check_harm(row, harm, context) or _check_age_signals(row, harm, context)
        if decided is not None:
            return decided
    if intent not in context.plan.intents:
        return ExcludedRow("intents")
    evidence, danger = record_evidence(intent, evidence)
    if (evidence in HARMLESS_EVIDENCE and intent == "malicious") or (
        evidence == "stated" and intent != "malicious"
    ):
        reason = f"intent `{intent}` and evidence `{evidence}` contradict each other"
        return Unlabelled(row.number, row.id, ("intent", "evidence"), reason, "contradictory")
    return RowLabels(
        harm, intent, evidence, detail, danger or (blind_labels.danger and evidence == "stated")
    )


def _check_harm(
    row: PromptRow, harm: str, context: PlanningContext
) -> Unlabelled | ExcludedRow | None:
    if context.tree.harms[harm].red_line:
        reason = f"`{harm}` is a red line and is never drafted"
        return Unlabelled(row.number, row.id, ("harm",), reason, "red_line")
    if harm not in context.harms:
        return ExcludedRow("harms")
    if row.profile in context.harms[harm].not_under:
        reason = f"the taxonomy excludes `{harm}` under `{row.profile}`"
        return Unlabelled(row.number, row.id, ("harm", "profile"), reason, "profile_mismatch")
    return None if row.profile or context.allowed_profiles(harm) else ExcludedRow("profiles")


def _check_age_signals(
    row: PromptRow, harm: str | None, context: PlanningContext
) -> Unlabelled | None:
    profiles = allowed_profiles(row, harm, context)
    conflicts = age_conflicts(row.messages, profiles, context)
    if len(conflicts) < len(profiles):
        return None
    reason = f"{'; '.join(conflicts.values())}; give it another `profile`"
    return Unlabelled(row.number, row.id, ("profile",), reason, "profile_mismatch")


def _list_unlabelled(
    row: PromptRow, fields: tuple[str, ...], blind_labels: BlindLabels
) -> Unlabelled:
    reasons = dict.fromkeys(
        blind_labels.reasons.get(name, "not in the file, and no labeller") for name in fields
    )
    has_failed = any(name in blind_labels.errors for name in fields)
    cause: UnlabelledCause = "label_request_failed" if has_failed else "missing_label"
    return Unlabelled(row.number, row.id, fields, "; ".join(reasons), cause)
