"""What becomes of a user's row: planned with its labels, listed as unlabelled, or left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from safegen.config.goals import recorded
from safegen.core.types import Evidence
from safegen.judges.blind_panel import Found
from safegen.scenarios.context import World
from safegen.scenarios.user_prompts.age_signals import clashes
from safegen.scenarios.user_prompts.rows import Labels, Row, profiles_of

LABELS = ("harm", "intent", "evidence", "detail")
Cause = Literal["missing_label", "red_line", "profile_mismatch", "contradictory"]
"""Why a row is listed: a label is missing, its leaf is never drafted, its leaf or its words are not for
its profile, or its labels contradict each other or those of an equal row."""
IN_WORDS: Mapping[Cause, str] = {
    "missing_label": "not labelled",
    "red_line": "red line",
    "profile_mismatch": "barred",
    "contradictory": "at odds",
}
"""The causes as people read them."""


def in_words(causes: Mapping[Cause, int]) -> dict[str, int]:
    """Name counted causes as people read them, in the order of these words."""
    return dict(sorted((IN_WORDS[cause], count) for cause, count in causes.items()))


class Unlabelled(NamedTuple):
    """A row that is listed and not planned: it cannot be told what it is, or it must not be asked."""

    row: int
    id: str | None
    fields: tuple[str, ...]
    why: str
    cause: Cause = "missing_label"


class LeftOut(NamedTuple):
    """A row that the recipe does not ask for, or that stands in the file already."""

    by: str


def ruled(row: Row, world: World) -> Unlabelled | LeftOut | None:
    """What the file alone decides: such a row is not shown to labellers; None where they may be asked."""
    decided = None if row.harm is None else _by_harm(row, row.harm, world)
    if decided is not None:
        return decided
    if row.intent is not None and row.intent not in world.plan.intents:
        return LeftOut("intents")
    if row.has_system and row.profile is None:
        told = "a `system` turn of its own; say its `profile`"
        return Unlabelled(row.number, row.id, ("profile",), told)
    return _by_words(row, row.harm, world)


def labels_of(row: Row, found: Found, world: World) -> Labels | Unlabelled | LeftOut:
    """The labels of a row: the file's own, else what blind labellers read."""
    decided = ruled(row, world)
    if decided is not None:
        return decided
    harm, intent = row.harm or found.harm, row.intent or found.intent
    # Read as malicious, `self` was recorded as `stated`; with another intent of the file's it is `self`.
    read: Evidence | None = "self" if found.danger and intent != "malicious" else found.evidence
    evidence = row.evidence or read
    detail = found.detail if row.detail is None else row.detail
    if harm is None or intent is None or evidence is None or detail is None:
        values = zip(LABELS, (harm, intent, evidence, detail), strict=True)
        return _open(row, tuple(name for name, value in values if value is None), found)
    decided = _by_harm(row, harm, world) or _by_words(row, harm, world)
    if decided is not None:
        return decided
    if intent not in world.plan.intents:
        return LeftOut("intents")
    evidence, danger = recorded(intent, evidence)
    if (evidence == "none" and intent == "malicious") or (
        evidence == "stated" and intent != "malicious"
    ):
        told = f"intent `{intent}` and evidence `{evidence}` do not go together"
        return Unlabelled(row.number, row.id, ("intent", "evidence"), told, "contradictory")
    return Labels(harm, intent, evidence, detail, danger or (found.danger and evidence == "stated"))


def _by_harm(row: Row, harm: str, world: World) -> Unlabelled | LeftOut | None:
    if world.tree.harms[harm].red_line:
        told = f"`{harm}` is a red line and is never drafted"
        return Unlabelled(row.number, row.id, ("harm",), told, "red_line")
    if harm not in world.harms:
        return LeftOut("harms")
    if row.profile in world.harms[harm].not_under:
        told = f"`{harm}` is never asked under `{row.profile}`"
        return Unlabelled(row.number, row.id, ("harm", "profile"), told, "profile_mismatch")
    return None if row.profile or world.profiles(harm) else LeftOut("profiles")


def _by_words(row: Row, harm: str | None, world: World) -> Unlabelled | None:
    """A row that is left without a profile by what it says of whoever asks."""
    profiles = profiles_of(row, harm, world)
    barred = clashes(row.messages, profiles, world)
    if len(barred) < len(profiles):
        return None
    told = f"{'; '.join(barred.values())}; give it another `profile`"
    return Unlabelled(row.number, row.id, ("profile",), told, "profile_mismatch")


def _open(row: Row, fields: tuple[str, ...], found: Found) -> Unlabelled:
    reasons = dict.fromkeys(
        found.why.get(name, "not in the file, and no labeller") for name in fields
    )
    return Unlabelled(row.number, row.id, fields, "; ".join(reasons))
