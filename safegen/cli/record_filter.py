"""Filter of `safegen show`."""

from __future__ import annotations

from dataclasses import dataclass

from safegen.config.taxonomy import Taxonomy
from safegen.core.errors import UserError
from safegen.core.suggestions import suggest_names
from safegen.core.types import Record
from safegen.dataset.dropped import DroppedScenario


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Conditions on records; None matches all."""

    id: str | None = None
    accepted: bool | None = None
    mode: str | None = None
    intent: str | None = None
    harm: str | None = None
    reason: str | None = None
    scenario_ids: frozenset[str] | None = None
    """Scenarios that match; None for all."""

    def matches(self, record: Record) -> bool:
        """Return True if a record meets all conditions."""
        scenario = record.scenario
        pairs = (
            (self.accepted, record.accepted),
            (self.mode, record.expectation.mode),
            (self.intent, scenario.intent),
            (self.reason, record.reason),
        )
        is_equal = all(wanted is None or wanted == actual for wanted, actual in pairs)
        is_selected = self.scenario_ids is None or scenario.scenario_id in self.scenario_ids
        return (
            is_equal
            and is_selected
            and self._matches_harm(scenario.harm)
            and self._matches_id(record)
        )

    def _matches_harm(self, harm: str) -> bool:
        return self.harm in (None, harm, harm.split(".")[0], f"{harm.split('.')[0]}.*")

    def _matches_id(self, record: Record) -> bool:
        scenario = record.scenario
        ids = (scenario.scenario_id, record.draft.draft_id, scenario.set_id, scenario.goal_id)
        return self.id is None or any(value.startswith(self.id) for value in ids)

    def matches_dropped(self, dropped: DroppedScenario) -> bool:
        """Return True if a dropped prompt meets all conditions, one of which is an id or a reason."""
        if (
            self.accepted
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


def read_accepted(*, accepted: bool, rejected: bool) -> bool | None:
    """Combine `--accepted` and `--rejected`; None means both kinds.

    Raises:
        UserError: both flags are set.
    """
    if accepted and rejected:
        raise UserError("`--accepted` and `--rejected` exclude each other; keep one")
    return accepted if accepted or rejected else None


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
