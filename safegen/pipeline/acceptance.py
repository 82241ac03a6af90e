"""Acceptance of drafts: from verdicts and thresholds to a result, in a run and in a rebuild.

A rebuild with other thresholds decides again from the stored scores (`recut_records`), without a
request. `docs/howto/change-acceptance.md` describes it for users.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from safegen.config.recipe import Judges, PluginRef, Recipe
from safegen.core import plugins
from safegen.core.errors import ConfigError
from safegen.core.types import (
    JUROR,
    JURY,
    UNSAFE_SEVERITIES,
    AcceptedBy,
    Draft,
    DraftContext,
    DraftValidator,
    NotAccepted,
    Outcome,
    Record,
    SetAnswer,
    SetValidator,
    ThresholdCode,
    Verdict,
)
from safegen.core.visible_text import has_visible_character
from safegen.judges import jury
from safegen.pipeline.policy_effect import EFFECT_REASONS, compare_draft, select_by_effect
from safegen.store.schema import SCORE_COLUMNS

EMPTY: Outcome = "empty"
"""Reason of a draft whose text shows nothing, so that a judge has nothing to read."""
THRESHOLD = "threshold"
"""Parameter of every validator that passes by score."""
_Threshold = TypeAdapter[float](Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)])


@dataclass(frozen=True)
class AcceptanceRules:
    """The parts of a recipe that decide which drafts are accepted."""

    required: tuple[str, ...]
    """Names of the validators, as their verdicts have them, that a draft must pass."""
    thresholds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Least score that passes, by validator; the others have the threshold of the verdict."""
    judges: Judges | None = None
    """Rules of the jury; None if the required validators decide."""
    hard_codes: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Codes that reject a draft before a judge reads it, by validator."""
    of_sets: frozenset[str] = frozenset()
    """Required validators of sets, which also decide about a draft that the jury accepts."""
    least_effect: float = 0.0
    """Least policy effect of an accepted draft; 0 accepts any."""


class Acceptance(NamedTuple):
    """The result for a draft."""

    by: AcceptedBy | None
    """The checks that accepted it; None if it is not accepted."""
    reason: str | None
    """The outcome, code or validator that keeps it from acceptance; None if it is accepted."""


def make_rules(recipe: Recipe, *, trusted: Sequence[str] = ()) -> AcceptanceRules:
    """Collect the rules of a recipe.

    Args:
        recipe: the recipe.
        trusted: modules that its validators may be imported from. The traits of other modules are
            unknown, so a `threshold` of their validators is taken for their own parameter.

    Raises:
        ConfigError: a threshold is no number from 0 to 1, or its validator has none.
    """
    thresholds = {
        verdict_name(ref.use): value
        for ref in recipe.validators
        if (value := read_threshold(ref, trusted=trusted)) is not None
    }
    traits = {
        verdict_name(use): plugins.validator_traits(use, trusted=trusted)
        for use in recipe.required_validators
        if _is_known(use, trusted)
    }
    return AcceptanceRules(
        required=tuple(map(verdict_name, recipe.required_validators)),
        thresholds=thresholds,
        judges=recipe.judges if recipe.judges.panel else None,
        hard_codes={name: frozenset(trait.hard) for name, trait in traits.items()},
        of_sets=frozenset(name for name, trait in traits.items() if trait.unit == "set"),
        least_effect=recipe.policy_effect.least if recipe.policy_effect else 0.0,
    )


def verdict_name(use: str) -> str:
    """Return the name that the verdicts of a validator have: that of its factory."""
    return use.rpartition(":")[2]


def read_threshold(ref: PluginRef, *, trusted: Sequence[str] = ()) -> float | None:
    """Return the threshold that a recipe sets for a validator; None without one.

    Raises:
        ConfigError: it is no number from 0 to 1, or the validator does not pass by score.
    """
    if THRESHOLD not in ref.params or not _is_known(ref.use, trusted):
        return None
    if passes_by_score(ref.use, trusted=trusted):
        return convert_threshold(ref.use, ref.params[THRESHOLD])
    if THRESHOLD in plugins.list_parameters("validators", ref.use, trusted=trusted):
        return None
    raise ConfigError(
        f"`{ref.use}` does not pass by a score, so it has no `{THRESHOLD}`; remove the parameter"
    )


def _is_known(use: str, trusted: Sequence[str]) -> bool:
    return not plugins.is_external(use) or plugins.is_allowed(use, trusted)


def passes_by_score(use: str, *, trusted: Sequence[str] = ()) -> bool:
    """Return True if a validator passes by score; False if its module is not trusted."""
    return _is_known(use, trusted) and (
        plugins.validator_traits(use, trusted=trusted).passes_by_score
    )


def convert_threshold(use: str, value: object) -> float:
    """Convert the threshold of a validator.

    Raises:
        ConfigError: it is no number from 0 to 1.
    """
    try:
        # A flag would count as 0 or 1.
        return _Threshold.validate_python("" if isinstance(value, bool) else value)
    except ValidationError as e:
        raise ConfigError(
            f"`{use}`: `{THRESHOLD}` is `{str(value)[:60]}`; use a number from 0 to 1"
        ) from e


def with_threshold(validator: DraftValidator, threshold: float) -> DraftValidator:
    """Wrap a validator that passes by score, so that another threshold decides."""

    async def check(draft: Draft, context: DraftContext, /) -> Verdict:
        return apply_threshold(await validator(draft, context), threshold)

    return check


def with_set_threshold(validator: SetValidator, threshold: float) -> SetValidator:
    """Wrap a validator of sets that passes by score, so that another threshold decides."""

    async def check(answers: Sequence[SetAnswer], /) -> Sequence[Verdict]:
        return [apply_threshold(v, threshold) for v in await validator(answers)]

    return check


def apply_threshold(verdict: Verdict, threshold: float) -> Verdict:
    """Let a threshold decide a verdict by its score; one without a score stays as it is."""
    if verdict.score is None:
        return verdict
    passed = verdict.score >= threshold
    if passed == verdict.passed:
        return replace(verdict, threshold=threshold)
    code: ThresholdCode = "reaches_threshold" if passed else "below_threshold"
    reason = f"score {verdict.score:g} {code.replace('_', ' ')} {threshold:g}"
    return replace(verdict, passed=passed, threshold=threshold, code=code, reason=reason)


def decide_acceptance(
    draft: Draft, verdicts: Sequence[Verdict], rules: AcceptanceRules, *, validated: bool = True
) -> Acceptance:
    """Decide if a draft is accepted.

    Args:
        draft: the draft.
        verdicts: its verdicts, with the thresholds of the rules applied.
        rules: the rules.
        validated: False if the run stopped before the verdicts.
    """
    # A failed request has no verdicts, so its outcome is the reason.
    if draft.outcome != "ok":
        return Acceptance(None, draft.outcome)
    code: NotAccepted | None = None
    if draft.withheld:
        code = "withheld"
        # A text that no juror rated was deleted, too; its reason is the rule or the silence.
        if rules.judges is not None and not _is_rated_unsafe(verdicts):
            reason = find_hard_failure(verdicts, rules) or _find_silence(verdicts)
            return Acceptance(None, reason or code)
    elif not validated:
        code = "not_validated"
    if code is not None:
        return Acceptance(None, code)
    if rules.judges is None:
        reason = _find_rejection(verdicts, rules.required)
        return Acceptance(None if reason else "rules" if rules.required else "nothing", reason)
    reason = _find_judged_rejection(draft, verdicts, rules)
    return Acceptance(None if reason else "judge", reason)


def _find_silence(verdicts: Sequence[Verdict]) -> NotAccepted | None:
    """Return `unscored` if jurors were asked and none rated the severity."""
    jury_verdict = next((v for v in verdicts if v.validator == JURY), None)
    if jury_verdict is None or jury_verdict.passed is not None:
        return None
    # An equal draft was deleted before.
    is_known = any(v.code == "withheld" or v.severity is not None for v in verdicts)
    return None if is_known else "unscored"


def _is_rated_unsafe(verdicts: Sequence[Verdict]) -> bool:
    return any(v.severity in UNSAFE_SEVERITIES for v in verdicts)


def _find_rejection(verdicts: Sequence[Verdict], required: Collection[str]) -> str | None:
    """Return the first required validator that fails, or `unscored`; None if all passed."""
    by_name = {v.validator: v for v in verdicts}
    # Only required validators decide; the others are recorded.
    results = {name: by_name[name].passed if name in by_name else None for name in required}
    failed = next((v.validator for v in verdicts if results.get(v.validator) is False), None)
    code: NotAccepted = "unscored"
    return failed or (code if None in results.values() else None)


def _find_judged_rejection(
    draft: Draft, verdicts: Sequence[Verdict], rules: AcceptanceRules
) -> str | None:
    if failed := find_hard_failure(verdicts, rules):
        return failed
    if all(v.validator != JURY for v in verdicts):
        code: NotAccepted = "unjudged"
        return code if has_visible_character(draft.response or "") else EMPTY
    return _find_rejection(verdicts, {JURY, *rules.of_sets})


def find_hard_failure(verdicts: Sequence[Verdict], rules: AcceptanceRules) -> str | None:
    """Return the first required validator that rejects a draft before a judge reads it."""
    return next(
        (
            v.validator
            for v in verdicts
            if v.passed is False
            and v.validator in rules.required
            and v.code in rules.hard_codes.get(v.validator, ())
        ),
        None,
    )


def recut_records(records: Sequence[Record], rules: AcceptanceRules) -> list[Record]:
    """Decide the records of a shard again from their stored scores.

    A person's decision stays. A later turn of a dialogue is not accepted if an answer in its
    messages is not accepted any more.
    """
    decided = [_recut(record, rules) for record in records]
    # Answers by set, from which the messages of later turns were made.
    answers = {
        (r.scenario.set_id, r.draft.response): False
        for r in records
        if r.accepted or r.reason in EFFECT_REASONS
    }
    order = sorted(range(len(decided)), key=lambda i: decided[i].scenario.turn)
    for i in order:
        record = decided[i]
        if record.accepted and _has_rejected_answer(record, answers):
            code: NotAccepted = "history_not_accepted"
            record = decided[i] = replace(record, accepted=False, accepted_by=None, reason=code)
        key = (record.scenario.set_id, record.draft.response)
        if record.accepted and key in answers:
            answers[key] = True
    return select_by_effect(decided, least=rules.least_effect)


def _has_rejected_answer(record: Record, answers: Mapping[tuple[str, str | None], bool]) -> bool:
    scenario = record.scenario
    return any(
        # A written answer is no draft, so it is not among them.
        not answers.get((scenario.set_id, m["content"]), True)
        for m in scenario.messages
        if m["role"] == "assistant"
    )


def _recut(record: Record, rules: AcceptanceRules) -> Record:
    by: AcceptedBy = "human"
    if record.accepted_by == by:
        return record
    verdicts = tuple(
        apply_threshold(v, rules.thresholds[v.validator]) if v.validator in rules.thresholds else v
        for v in record.verdicts
    )
    record = _decide_findings(replace(record, verdicts=verdicts), rules.judges)
    record = record if rules.judges is None else _renew_effect(record, rules.judges)
    result = decide_acceptance(record.draft, record.verdicts, rules)
    return replace(
        record,
        accepted=result.reason is None,
        accepted_by=result.by,
        reason=result.reason,
    )


def _decide_findings(record: Record, judges: Judges | None) -> Record:
    """Let the jury decide again from its findings; a draft whose text was deleted stays as it is."""
    if judges is None or not record.findings or record.draft.withheld:
        return record
    mode = record.expectation.mode
    decision = jury.decide(record.findings, mode=mode, rules=judges)
    scores = {name: getattr(decision, name) for name in (*SCORE_COLUMNS, "disagreement")}
    return replace(
        record,
        verdicts=tuple(_renew(v, record, decision, judges) for v in record.verdicts),
        severity=decision.severity or record.severity,
        delivered=decision.delivered or record.delivered,
        **scores,
    )


def _renew_effect(record: Record, judges: Judges) -> Record:
    """Compare a draft again with the answer without the spec, which the jury decides again, too."""
    effect = record.policy_effect
    if effect is None:
        return record
    if effect.findings:
        decision = jury.decide(effect.findings, mode=record.expectation.mode, rules=judges)
        delivered = decision.delivered or effect.delivered_without
        effect = replace(effect, delivered_without=delivered, safety_without=decision.safety)
    return compare_draft(record, effect)


def _renew(
    verdict: Verdict, record: Record, decision: jury.JuryDecision, judges: Judges
) -> Verdict:
    """Make the verdict of the jury or of a juror again; another one stays as it is."""
    mode, digest = record.expectation.mode, verdict.prompt_digest or ""
    if verdict.validator == JURY:
        names = [verdict.judge or ""]
        return jury.make_jury_verdict(
            decision, mode=mode, rules=judges, judges=names, prompt_digest=digest
        )
    if verdict.validator == JUROR:
        own = [f for f in record.findings if f.judge == verdict.judge]
        return jury.make_juror_verdict(own, mode=mode, rules=judges, prompt_digest=digest)
    return verdict
