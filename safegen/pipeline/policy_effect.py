"""Policy effect: drafts under the spec, compared with an answer to the same messages without it.

The answer is requested once for each prompt, validated and judged like a draft. It is no candidate: no
record holds it, and its text is deleted when its shard completes, unless a jury rated it safe. The
tombstone keeps what was measured, so that a resume or a top-up round requests no second answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from safegen.core.hashing import digest
from safegen.core.types import AcceptedBy, Expectation, NotAccepted, PolicyEffect, Record, Reply

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FIRST_SAMPLE = 1_000_000
"""Number of the first request without the spec; no candidate of any round has it."""
MAX_REPEATS = 16
"""Requests for one prompt at most, if texts were deleted and other judges must read one."""
EFFECT_REASONS: tuple[NotAccepted, ...] = ("unknown_policy_effect", "small_policy_effect")
"""Reasons of drafts that every other check accepted."""


@dataclass(frozen=True)
class EffectMeter:
    """Identity of the checks of answers without the spec, and measures of texts that will be deleted."""

    identity: str
    """Digest of validators, judges and specs; a measure of others does not count."""
    measures: dict[str, str] = field(default_factory=dict[str, str])
    """Measures by key of the request, until the text is deleted."""

    def keep(self, key: str, effect: PolicyEffect, expectation: Expectation) -> None:
        """Keep a measure for the tombstone of a reply."""
        payload = {"of": self._identify(expectation), "effect": asdict(effect)}
        self.measures[key] = json.dumps(payload, sort_keys=True)

    def read(self, reply: Reply, expectation: Expectation) -> PolicyEffect | None:
        """Read the measure of a reply whose text was deleted; None if it has none, or one of other judges."""
        if not reply.withheld or reply.measure is None:
            return None
        try:
            payload = json.loads(reply.measure)
            if payload["of"] != self._identify(expectation):
                return None
            return _effect_type().validate_python(payload["effect"])
        except (ValueError, KeyError, TypeError):
            # An edited measure is as good as none: the prompt is answered again.
            return None

    def _identify(self, expectation: Expectation) -> str:
        return digest([self.identity, asdict(expectation)])


@cache
def _effect_type() -> TypeAdapter[PolicyEffect]:
    from pydantic import TypeAdapter

    return TypeAdapter(PolicyEffect)


def measure_without_spec(record: Record) -> PolicyEffect:
    """Read level and safety of an answer without the spec; the draft's own are still open."""
    return PolicyEffect(
        delivered_without=record.delivered,
        safety_without=record.safety,
        teacher=record.draft.teacher,
        model=record.draft.model,
        outcome=record.draft.outcome,
        # Evidence quotes the answer.
        findings=tuple(replace(finding, evidence="") for finding in record.findings),
    )


def compare_drafts(records: Sequence[Record], without: PolicyEffect) -> list[Record]:
    """Compare each draft of a prompt with the answer without the spec."""
    return [compare_draft(record, without) for record in records]


def compare_draft(record: Record, without: PolicyEffect) -> Record:
    """Compare a draft with the answer without the spec."""
    effect = replace(without, delivered=record.delivered, safety=record.safety)
    return replace(record, policy_effect=effect)


def select_by_effect(records: Sequence[Record], *, least: float) -> list[Record]:
    """Reject accepted drafts whose effect is unknown or below a bound; a person's decision stays.

    It is the last step: a dialogue goes on from an answer with a small effect.
    """
    return [_select(record, least) for record in records] if least else list(records)


def _select(record: Record, least: float) -> Record:
    by: AcceptedBy = "human"
    if not record.accepted or record.accepted_by == by:
        return record
    size = record.policy_effect.size if record.policy_effect else None
    if size is not None and size >= least:
        return record
    reason: NotAccepted = "unknown_policy_effect" if size is None else "small_policy_effect"
    return replace(record, accepted=False, accepted_by=None, reason=reason)
