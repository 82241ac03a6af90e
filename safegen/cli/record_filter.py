"""Which records a person asks `show` for."""

from __future__ import annotations

from dataclasses import dataclass

from safegen.config.taxonomy import Taxonomy
from safegen.core.errors import UserError
from safegen.core.types import Record
from safegen.core.yaml_source import suggest_names
from safegen.dataset.dropped import DroppedScenario


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records to show; None takes all."""

    id: str | None = None
    accepted: bool | None = None
    mode: str | None = None
    intent: str | None = None
    harm: str | None = None
    reason: str | None = None
    scenario_ids: frozenset[str] | None = None
    """The scenarios to choose from."""

    def matches(self, record: Record) -> bool:
        """Whether a record fits."""
        scenario = record.scenario
        pairs = (
            (self.accepted, record.accepted),
            (self.mode, record.expectation.mode),
            (self.intent, scenario.intent),
            (self.reason, record.reason),
        )
        fits = all(wanted is None or wanted == actual for wanted, actual in pairs)
        among = self.scenario_ids is None or scenario.scenario_id in self.scenario_ids
        return fits and among and self._matches_harm(scenario.harm) and self._matches_id(record)

    def _matches_harm(self, harm: str) -> bool:
        return self.harm in (None, harm, harm.split(".")[0], f"{harm.split('.')[0]}.*")

    def _matches_id(self, record: Record) -> bool:
        scenario = record.scenario
        ids = (scenario.scenario_id, record.draft.draft_id, scenario.set_id, scenario.goal_id)
        return self.id is None or any(value.startswith(self.id) for value in ids)

    def matches_dropped(self, lost: DroppedScenario) -> bool:
        """Whether a prompt without any record fits; such are found by id and by reason alone."""
        if (
            self.accepted
            or self.scenario_ids is not None
            or (self.id is None and self.reason is None)
        ):
            return False
        scenario, failure = lost.planned.scenario, lost.failure
        pairs = (
            (self.mode, lost.planned.expectation.mode),
            (self.intent, scenario.intent),
            (self.reason, lost.reason),
        )
        ids = (scenario.scenario_id, failure.draft_id, scenario.set_id, scenario.goal_id)
        named = self.id is None or any(value.startswith(self.id) for value in ids)
        fits = all(wanted is None or wanted == actual for wanted, actual in pairs)
        return fits and named and self._matches_harm(scenario.harm)


def read_accepted(*, accepted: bool, rejected: bool) -> bool | None:
    """Which drafts are wanted; None is both.

    Raises:
        UserError: both flags were given.
    """
    if accepted and rejected:
        raise UserError("no draft is accepted and rejected; keep one of `--accepted`, `--rejected`")
    return accepted if accepted or rejected else None


def check_harm(harm: str | None, tree: Taxonomy) -> None:
    """Refuse a leaf or domain that the taxonomy of the run does not have.

    Raises:
        UserError: with the nearest one.
    """
    leaves = [*tree.harms]
    known = [*leaves, *dict.fromkeys(name.split(".")[0] for name in leaves)]
    if harm is not None and harm.removesuffix(".*") not in known:
        raise UserError(
            f"--harm: `{tree.file.taxonomy}` has no leaf or domain `{harm[:60]}`{suggest_names(harm, known)}"
        )
