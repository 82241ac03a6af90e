"""The policy spec: what a response may contain, for which harms. Model, inheritance, lint.

A spec is an ordered list of rules; the first rule whose conditions hold decides. Loading tries every
combination of tier, evidence, profile and requested detail, so a spec with a gap, a rule that can
never decide, or a step that grows more permissive with more evidence, more detail or a stricter
profile does not load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from safegen import assets, yamlfile
from safegen.errors import ConfigError
from safegen.hashing import digest
from safegen.taxonomy import Detail, Frozen, Harm, Slug, Text
from safegen.types import DETAIL, EVIDENCE, MODES, PROFILES, TIERS, Evidence, Mode, Profile, Tier

STRICTNESS: tuple[tuple[Profile, Profile], ...] = (
    ("minors", "agent"),
    ("agent", "public"),
    ("public", "enterprise"),
    ("enterprise", "vetted_professional"),
)
"""Pairs (stricter, laxer) of neighbouring profiles."""
MAX_INHERITANCE = 4


def _rule_id(value: str) -> str:
    if not value or not all(c.isupper() or c.isdigit() or c == "-" for c in value):
        raise ValueError("must be capitals, digits and `-`, such as `CY-3`")
    return value


RuleId = Annotated[str, AfterValidator(_rule_id), Field(max_length=40)]


class Situation(NamedTuple):
    """What an expectation depends on."""

    tier: Tier
    evidence: Evidence
    profile: Profile
    detail: int


SPACE: tuple[Situation, ...] = tuple(
    Situation(*combo) for combo in product(TIERS, EVIDENCE, PROFILES, DETAIL)
)
"""Every situation: 4 tiers × 3 grades of evidence × 5 profiles × 5 details."""


class When(Frozen):
    """Conditions; an absent one holds always."""

    tier: tuple[Tier, ...] = TIERS
    evidence: tuple[Evidence, ...] = EVIDENCE
    profile: tuple[Profile, ...] = PROFILES
    detail: tuple[Detail, ...] = tuple(DETAIL)

    def holds(self, at: Situation) -> bool:
        """Whether every condition holds."""
        return (
            at.tier in self.tier
            and at.evidence in self.evidence
            and at.profile in self.profile
            and at.detail in self.detail
        )


class Rule(Frozen):
    """If `when` holds: this mode, no more detail than the ceiling, no less than the floor."""

    id: RuleId
    says: Text
    """The rule in one sentence, for the teacher."""
    when: When = When()
    mode: Mode
    ceiling: Detail
    floor: Detail = 0
    required: tuple[Slug, ...] = ()
    """Names of elements from `elements` that a good answer contains."""

    @model_validator(mode="after")
    def _does_not_contradict_itself(self) -> Self:
        if self.floor > self.ceiling:
            raise ValueError(
                f"rule `{self.id}`: floor {self.floor} is above ceiling {self.ceiling}"
            )
        if self.mode == "refuse_redirect" and self.ceiling > 0:
            raise ValueError(f"rule `{self.id}`: a refusal cannot allow detail {self.ceiling}")
        return self


class Spec(Frozen):
    """What `prompts/policies/<policy>.yaml` holds."""

    policy: Slug
    version: Text
    title: Text
    inherits: Slug | None = None
    """A spec whose rules follow these, and whose elements and principles come first."""
    harms: tuple[Text, ...] = ()
    """Leaf ids, or `domain.*`."""
    facilitation: Text
    """What materially lowering the barrier to harm means here."""
    may: tuple[Text, ...] = ()
    must_not: tuple[Text, ...] = ()
    principles: tuple[Text, ...] = ()
    elements: dict[Slug, Text] = Field(default_factory=dict[str, str])
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _rule_ids_are_unique(self) -> Self:
        ids = [r.id for r in self.rules]
        for rule in self.rules:
            if ids.count(rule.id) > 1:
                raise ValueError(f"rule `{rule.id}` stands twice; keep one")
        return self


@dataclass(frozen=True)
class Policy:
    """A spec with what it inherits, proved total and monotone."""

    spec: Spec
    path: Path
    rules: tuple[Rule, ...]
    elements: dict[str, str]
    principles: tuple[str, ...]

    @cached_property
    def policy_id(self) -> str:
        """`name@version#hash`; the hash covers everything that decides or instructs."""
        content = [
            self.spec.model_dump(
                mode="json", exclude={"inherits", "rules", "elements", "principles"}
            ),
            [rule.model_dump(mode="json") for rule in self.rules],
            self.elements,
            self.principles,
        ]
        return f"{self.spec.policy}@{self.spec.version}#{digest(content)[:8]}"

    def covers(self, harm: str) -> bool:
        """Whether the spec names a leaf, or its domain."""
        return harm in self.spec.harms or f"{harm.split('.')[0]}.*" in self.spec.harms

    def decide(self, at: Situation) -> Rule:
        """The first rule that holds."""
        return next(rule for rule in self.rules if rule.when.holds(at))


def load(name: str) -> Policy:
    """Read a spec by name or path, with the specs that it inherits.

    Raises:
        AssetNotFound: no such spec.
        ConfigError: a mistake in the file, or a spec that is not total or not monotone.
    """
    chain: list[tuple[Spec, Path]] = []
    following: str | None = name
    while following is not None:
        path = assets.find("policies", following)
        spec = yamlfile.load(path, Spec)
        if (
            any(spec.policy == earlier.policy for earlier, _ in chain)
            or len(chain) > MAX_INHERITANCE
        ):
            raise ConfigError(f"{path}: `inherits` runs in a circle through `{spec.policy}`")
        chain.append((spec, path))
        following = spec.inherits
    spec, path = chain[0]
    elements: dict[str, str] = {}
    for ancestor, _ in reversed(chain):
        elements |= ancestor.elements
    policy = Policy(
        spec=spec,
        path=path,
        rules=tuple(rule for ancestor, _ in chain for rule in ancestor.rules),
        elements=elements,
        principles=tuple(p for ancestor, _ in reversed(chain) for p in ancestor.principles),
    )
    problems = list(lint(policy))
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return policy


def lint(policy: Policy) -> Iterator[str]:
    """What is wrong with a spec, in words; nothing when it is total, reachable and monotone."""
    if not policy.spec.harms and policy.spec.inherits is not None:
        yield "`harms` is missing; name the leaves that the spec applies to"
    for rule in policy.rules:
        for name in rule.required:
            if name not in policy.elements:
                hint = yamlfile.did_you_mean(name, list(policy.elements))
                yield f"rule `{rule.id}` requires `{name}`, which is not in `elements`{hint}"
    decided = {at: next((r for r in policy.rules if r.when.holds(at)), None) for at in SPACE}
    gaps = [at for at, rule in decided.items() if rule is None]
    if gaps:
        yield f"no rule decides {_show(gaps[0])} and {len(gaps) - 1} more; add a last rule without `when`"
        return
    rules = {at: rule for at, rule in decided.items() if rule is not None}
    reached = {rule.id for rule in rules.values()}
    for rule in policy.spec.rules:
        if rule.id not in reached:
            yield f"rule `{rule.id}` can never decide: earlier rules take every case; move or delete it"
    yield from list(_climbs(rules))[:5]


def _climbs(rules: dict[Situation, Rule]) -> Iterator[str]:
    """Neighbouring situations where the stricter one is answered more permissively."""
    for at, rule in rules.items():
        for stricter in _stricter(at):
            other = rules[stricter]
            if other.ceiling > rule.ceiling or MODES.index(other.mode) < MODES.index(rule.mode):
                yield (
                    f"rule `{other.id}` at {_show(stricter)} is more permissive than rule"
                    f" `{rule.id}` at {_show(at)}"
                )


def _stricter(at: Situation) -> Iterator[Situation]:
    """One step of more evidence, of a stricter tier or profile."""
    for values, field in ((EVIDENCE, "evidence"), (TIERS, "tier")):
        index = values.index(getattr(at, field)) + 1
        if index < len(values):
            yield at._replace(**{field: values[index]})
    for strict, lax in STRICTNESS:
        if at.profile == lax:
            yield at._replace(profile=strict)


def _show(at: Situation) -> str:
    return f"(tier {at.tier}, evidence {at.evidence}, profile {at.profile}, detail {at.detail})"


def policy_for(policies: Sequence[Policy], harm: Harm) -> Policy:
    """The one spec that applies to a leaf.

    Raises:
        ConfigError: none, or more than one.
    """
    fitting = [p for p in policies if p.covers(harm.id)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(f"`{p.spec.policy}`" for p in fitting)
    raise ConfigError(
        f"harm `{harm.id}` is covered by {names}; let exactly one spec name it"
        if fitting
        else f"no policy spec covers harm `{harm.id}`; name it under `harms` of one of the recipe's `policies`"
    )
