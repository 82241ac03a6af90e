"""Filter of `safegen show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from safegen.config.taxonomy import Taxonomy
from safegen.core.errors import UserError
from safegen.core.suggestions import suggest_names
from safegen.core.types import Record
from safegen.dataset.dropped import DroppedScenario
from safegen.dataset.run_stats import classify_loss

DraftResult = Literal["accepted", "rejected", "withheld", "failed"]
"""The result of a draft, as docs/reference/codes.md defines it."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Conditions on records; None matches all."""

    id: str | None = None
    result: DraftResult | None = None
    mode: str | None = None
    intent: str | None = None
    harm: str | None = None
    reason: str | None = None
    """A reason of a draft or prompt, or the code of a verdict."""
    scenario_ids: frozenset[str] | None = None
    """Scenarios that match; None for all."""

    def matches(self, record: Record) -> bool:
        """Return True if a record meets all conditions."""
        scenario = record.scenario
        pairs = (
            (self.mode, record.expectation.mode),
            (self.intent, scenario.intent),
        )
        is_equal = all(wanted is None or wanted == actual for wanted, actual in pairs)
        is_selected = self.scenario_ids is None or scenario.scenario_id in self.scenario_ids
        return (
            is_equal
            and is_selected
            and self._matches_result(record)
            and self._matches_reason(record)
            and self._matches_harm(scenario.harm)
            and self._matches_id(record)
        )

    def _matches_result(self, record: Record) -> bool:
        if self.result != "rejected":
            return self.result in (None, draft_result(record))
        # A withheld text was rejected too; a failed request has no text that could be.
        return draft_result(record) in ("rejected", "withheld")

    def _matches_reason(self, record: Record) -> bool:
        codes = (verdict.code for verdict in record.verdicts)
        return self.reason in (None, record.reason, *codes)

    def _matches_harm(self, harm: str) -> bool:
        return self.harm in (None, harm, harm.split(".")[0], f"{harm.split('.')[0]}.*")

    def _matches_id(self, record: Record) -> bool:
        scenario = record.scenario
        ids = (scenario.scenario_id, record.draft.draft_id, scenario.set_id, scenario.goal_id)
        return self.id is None or any(value.startswith(self.id) for value in ids)

    def matches_dropped(self, dropped: DroppedScenario) -> bool:
        """Return True if a dropped prompt meets all conditions, one of which is an id or a reason."""
        if (
            self.result is not None
            or self.scenario_ids is not None
            or (self.id is None and self.reason is None)
        ):
            return False
        scenario, failure = dropped.planned.scenario, dropped.failure
        pairs = (
            (self.mode, dropped.planned.expectation.mode),
            (self.intent, scenario.intent),
            (self.reason, dropped.reason),
        )
        ids = (scenario.scenario_id, failure.draft_id, scenario.set_id, scenario.goal_id)
        has_id = self.id is None or any(value.startswith(self.id) for value in ids)
        is_equal = all(wanted is None or wanted == actual for wanted, actual in pairs)
        return is_equal and has_id and self._matches_harm(scenario.harm)


def draft_result(record: Record) -> DraftResult:
    """Return the result of a draft: a failed request has no answer that could be rejected."""
    if record.accepted:
        return "accepted"
    result = classify_loss(record.reason or "")
    return result if result in ("failed", "withheld") else "rejected"


def read_result(*, accepted: bool, rejected: bool) -> DraftResult | None:
    """Combine `--accepted` and `--rejected`; None means all drafts.

    Raises:
        UserError: both flags are set.
    """
    if accepted and rejected:
        raise UserError("`--accepted` and `--rejected` exclude each other; keep one")
    if accepted:
        return "accepted"
    return "rejected" if rejected else None


def check_harm(harm: str | None, tree: Taxonomy) -> None:
    """Check that the taxonomy has a leaf or domain.

    Raises:
        UserError: it has none; the message suggests similar names.
    """
    leaves = [*tree.harms]
    known = [*leaves, *dict.fromkeys(name.split(".")[0] for name in leaves)]
    if harm is not None and harm.removesuffix(".*") not in known:
        raise UserError(
            f"--harm: `{tree.file.taxonomy}` has no leaf or domain `{harm[:60]}`{suggest_names(harm, known)}"
        )
