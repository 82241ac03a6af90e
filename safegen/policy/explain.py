"""Explains a decision: the deciding rule, the earlier rules, the neighbouring situations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

from safegen.config.taxonomy import Harm
from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names
from safegen.core.types import DETAIL_LEVELS, EVIDENCE, PROFILES, TIERS, Evidence, Profile, Tier
from safegen.policy.schema import Rule, Situation
from safegen.policy.source_map import SourcePlace, find_place
from safegen.policy.spec import Policy, policy_for

SituationAxis = Literal["tier", "evidence", "profile", "detail"]
AXIS_VALUES: dict[str, tuple[str, ...]] = {
    "tier": TIERS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "detail": tuple(str(d) for d in DETAIL_LEVELS),
}


class SkippedRule(NamedTuple):
    """An earlier rule and its conditions that do not hold."""

    rule: Rule
    failed_conditions: tuple[str, ...]


class Neighbour(NamedTuple):
    """A change of one axis that gives another outcome."""

    axis: str
    value: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rule that decides a situation, and the reasons against the earlier ones."""

    policy: Policy
    situation: Situation
    harm: str | None
    rule: Rule
    place: SourcePlace | None
    skipped: tuple[SkippedRule, ...]
    neighbours: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, object]:
        """Return the explanation as JSON."""
        return {
            "policy_id": self.policy.policy_id,
            "harm": self.harm,
            "situation": self.situation._asdict(),
            **rule_outcome(self.rule),
            "rule": self.rule.id,
            "says": self.rule.says,
            "authority": self.rule.authority,
            "place": str(self.place) if self.place else None,
            "earlier_rules": [
                {"rule": p.rule.id, "fails": list(p.failed_conditions)} for p in self.skipped
            ],
            "neighbours": [
                {"axis": n.axis, "value": n.value, "rule": n.rule.id, **rule_outcome(n.rule)}
                for n in self.neighbours
            ],
        }


def rule_outcome(rule: Rule) -> dict[str, object]:
    """Return the outcome of a rule as JSON, without its text."""
    return {
        "mode": rule.mode,
        "ceiling": rule.ceiling,
        "floor": rule.floor,
        "required": list(rule.required),
    }


def explain_situation(policy: Policy, at: Situation, *, harm: str | None = None) -> Explanation:
    """Find the deciding rule, why the earlier ones do not decide, and what changes the outcome."""
    policy = policy.at_leaf(harm) if harm else policy
    rule = policy.decide(at)
    before = policy.rules[: [r.id for r in policy.rules].index(rule.id)]
    return Explanation(
        policy=policy,
        situation=at,
        harm=harm,
        rule=rule,
        place=find_place(policy, rule.id),
        skipped=tuple(SkippedRule(r, _list_failed_conditions(policy, r, at)) for r in before),
        neighbours=tuple(_find_neighbours(policy, at, rule)),
    )


def _list_failed_conditions(policy: Policy, rule: Rule, at: Situation) -> tuple[str, ...]:
    is_other_leaf = rule.id not in policy.leaf_rule_ids
    return (*(["harm"] if is_other_leaf else []), *rule.when.failed_conditions(at))


def _find_neighbours(policy: Policy, at: Situation, rule: Rule) -> Iterator[Neighbour]:
    # The nearest value on each side of an ordered axis; profiles have no order.
    for axis in ("detail", "evidence", "profile", "tier"):
        values: Sequence[str | int] = DETAIL_LEVELS if axis == "detail" else AXIS_VALUES[axis]
        current = values.index(getattr(at, axis))
        sides = (values[current + 1 :], values[:current][::-1])
        for side in [[v] for v in values if v != values[current]] if axis == "profile" else sides:
            for value in side:
                other = policy.decide(at._replace(**{axis: value}))
                if rule_outcome(other) != rule_outcome(rule):
                    yield Neighbour(axis, str(value), other)
                    break


class SituationQuery(NamedTuple):
    """A situation from the command line, with the spec that applies."""

    policy: Policy
    situation: Situation
    harm: str | None


def parse_situation(
    text: str, policies: Sequence[Policy], harms: Mapping[str, Harm]
) -> SituationQuery:
    """Read `cyber.intrusion,evidence=none,profile=public,detail=3`, or `tier=restricted,…`.

    Evidence defaults to `none` and the profile to `public`.

    Raises:
        ConfigError: a leaf, key or value is unknown or given twice, leaf and tier are missing, or not
            exactly one spec applies.
    """
    values: dict[str, str] = {}
    for part in (p.strip() for p in text.split(",")):
        key, equals, value = part.partition("=")
        key, value = (key.strip(), value.strip()) if equals else ("harm", part)
        if key in values:
            subject = "a leaf" if key == "harm" else f"`{key[:60]}`"
            raise ConfigError(
                f"`{text[:80]}` names {subject} twice (`{values[key][:60]}` and `{value[:60]}`); keep one"
            )
        values[key] = value
    for key, value in values.items():
        _require_known(key, value, harms)
    _check_complete(text, values)
    harm = harms.get(values.get("harm", ""))
    at = Situation(
        tier=harm.tier if harm else cast(Tier, values["tier"]),
        evidence=cast(Evidence, values.get("evidence", "none")),
        profile=cast(Profile, values.get("profile", "public")),
        detail=int(values["detail"]),
    )
    if harm is None and len(policies) != 1:
        raise ConfigError("a situation by `tier=…` needs one spec; name it with `--policy`")
    policy = policy_for(policies, harm) if harm else policies[0]
    view = policy.at_leaf(harm.id) if harm else policy
    return SituationQuery(view, at, harm.id if harm else None)


def parse_profile(text: str) -> Profile:
    """Read `profile=minors`, the situation of a classifier.

    Raises:
        ConfigError: another key, or the profile is unknown.
    """
    key, _, value = (part.strip() for part in text.partition("="))
    if key != "profile":
        raise ConfigError(
            f"`{text[:80]}` is no situation of a classifier, which covers all leaves, evidence and"
            " detail; name a profile, such as `profile=minors`"
        )
    _require_known(key, value, {})
    return cast(Profile, value)


def _check_complete(text: str, values: Mapping[str, str]) -> None:
    if "harm" in values and "tier" in values:
        raise ConfigError(f"`{text[:80]}` names a leaf and a tier; keep one, a leaf has its tier")
    missing = [] if {"harm", "tier"} & set(values) else ["a leaf or `tier=…`"]
    missing += [] if "detail" in values else ["`detail=…`, 0 (awareness) to 4 (executable)"]
    if missing:
        subject = (
            f"tier={values['tier']}" if "tier" in values else values.get("harm", "cyber.intrusion")
        )
        example = f"{subject},detail={values.get('detail', '3')}"
        raise ConfigError(f"`{text[:80]}` lacks {' and '.join(missing)}, such as `{example}`")


def _require_known(key: str, value: str, harms: Mapping[str, Harm]) -> None:
    if key == "harm":
        if value not in harms:
            hint = suggest_names(value, list(harms))
            raise ConfigError(f"no leaf `{value[:60]}`{hint}")
    elif key not in AXIS_VALUES:
        raise ConfigError(f"no key `{key[:60]}`{suggest_names(key, list(get_args(SituationAxis)))}")
    elif value not in AXIS_VALUES[key]:
        hint = suggest_names(value, AXIS_VALUES[key])
        raise ConfigError(f"`{key}` is `{value[:60]}`{hint}")
