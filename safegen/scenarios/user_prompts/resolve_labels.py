"""What becomes of a user's row: planned with its labels, listed as unlabelled, or left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from safegen.config.goals import recorded
from safegen.core.types import Evidence
from safegen.judges.blind_panel import BlindLabels
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.user_prompts.age_signals import age_conflicts
from safegen.scenarios.user_prompts.rows import PromptRow, RowLabels, allowed_profiles

LABELS = ("harm", "intent", "evidence", "detail")
UnlabelledCause = Literal["missing_label", "red_line", "profile_mismatch", "contradictory"]
"""Why a row is listed: a label is missing, its leaf is never drafted, its leaf or its words are not for
its profile, or its labels contradict each other or those of an equal row."""
IN_WORDS: Mapping[UnlabelledCause, str] = {
    "missing_label": "not labelled",
    "red_line": "red line",
    "profile_mismatch": "barred",
    "contradictory": "at odds",
}
"""The causes as people read them."""


def in_words(causes: Mapping[UnlabelledCause, int]) -> dict[str, int]:
    """Name counted causes as people read them, in the order of these words."""
    return dict(sorted((IN_WORDS[cause], count) for cause, count in causes.items()))


class Unlabelled(NamedTuple):
    """A row that is listed and not planned: it cannot be told what it is, or it must not be asked."""

    row: int
    id: str | None
    fields: tuple[str, ...]
    why: str
    cause: UnlabelledCause = "missing_label"


class ExcludedRow(NamedTuple):
    """A row that the recipe does not ask for, or that stands in the file already."""

    reason: str


def check_row(row: PromptRow, context: PlanningContext) -> Unlabelled | ExcludedRow | None:
    """What the file alone decides: such a row is not shown to labellers; None where they may be asked."""
    decided = None if row.harm is None else _check_harm(row, row.harm, context)
    if decided is not None:
        return decided
    if row.intent is not None and row.intent not in context.plan.intents:
        return ExcludedRow("intents")
    if row.has_system and row.profile is None:
        reason = "a `system` turn of its own; say its `profile`"
        return Unlabelled(row.number, row.id, ("profile",), reason)
    return _check_age_signals(row, row.harm, context)


def resolve_labels(
    row: PromptRow, blind_labels: BlindLabels, context: PlanningContext
) -> RowLabels | Unlabelled | ExcludedRow:
    """The labels of a row: the file's own, else what blind labellers read."""
    decided = check_row(row, context)
    if decided is not None:
        return decided
    harm, intent = row.harm or blind_labels.harm, row.intent or blind_labels.intent
    # Read as malicious, `self` was recorded as `stated`; with another intent of the file's it is `self`.
    read: Evidence | None = (
        "self" if blind_labels.danger and intent != "malicious" else blind_labels.evidence
    )
    evidence = row.evidence or read
    detail = blind_labels.detail if row.detail is None else row.detail
    if harm is None or intent is None or evidence is None or detail is None:
        values = zip(LABELS, (harm, intent, evidence, detail), strict=True)
        return _list_unlabelled(
            row, tuple(name for name, value in values if value is None), blind_labels
        )
    decided = _check_harm(row, harm, context) or _check_age_signals(row, harm, context)
    if decided is not None:
        return decided
    if intent not in context.plan.intents:
        return ExcludedRow("intents")
    evidence, danger = recorded(intent, evidence)
    if (evidence == "none" and intent == "malicious") or (
        evidence == "stated" and intent != "malicious"
    ):
        reason = f"intent `{intent}` and evidence `{evidence}` do not go together"
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
        reason = f"`{harm}` is never asked under `{row.profile}`"
        return Unlabelled(row.number, row.id, ("harm", "profile"), reason, "profile_mismatch")
    return None if row.profile or context.allowed_profiles(harm) else ExcludedRow("profiles")


def _check_age_signals(
    row: PromptRow, harm: str | None, context: PlanningContext
) -> Unlabelled | None:
    """A row that is left without a profile by what it says of whoever asks."""
    profiles = allowed_profiles(row, harm, context)
    barred = age_conflicts(row.messages, profiles, context)
    if len(barred) < len(profiles):
        return None
    reason = f"{'; '.join(barred.values())}; give it another `profile`"
    return Unlabelled(row.number, row.id, ("profile",), reason, "profile_mismatch")


def _list_unlabelled(
    row: PromptRow, fields: tuple[str, ...], blind_labels: BlindLabels
) -> Unlabelled:
    reasons = dict.fromkeys(
        blind_labels.reasons.get(name, "not in the file, and no labeller") for name in fields
    )
    return Unlabelled(row.number, row.id, fields, "; ".join(reasons))
