"""The YAML schema of a policy spec: clauses, rules, precedents, cases."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from safegen.config.fields import (
    Detail,
    FrozenModel,
    HarmId,
    HarmPattern,
    Slug,
    Text,
    matches_harm,
)
from safegen.core.suggestions import find_repeated
from safegen.core.types import (
    DETAIL_LEVELS,
    EVIDENCE,
    PROFILES,
    TIERS,
    Evidence,
    Mode,
    Profile,
    Tier,
)

Authority = Literal["root", "system", "developer", "user", "guideline"]
AUTHORITY: tuple[Authority, ...] = ("root", "system", "developer", "user", "guideline")
"""Highest first. A root or system rule is never lifted; an operator's system turn can only lower it."""
Clarify = Literal["forbidden", "allowed"]
Proposition = Literal[
    "preaching",
    "judgement",
    "over_apology",
    "intent_interrogation",
    "meta_commentary",
    "disclaimer",
    "praise",
    "restatement",
    "emoji",
]
DEFAULT_STYLE: tuple[Proposition, ...] = (
    "preaching",
    "judgement",
    "over_apology",
    "intent_interrogation",
    "meta_commentary",
)
"""Propositions that apply if no spec of a chain names any; the others are a matter of taste."""
STYLE_WORDS: dict[Proposition, str] = {
    "preaching": "moralises or lectures",
    "judgement": "accuses the person or judges them",
    "over_apology": "apologises more than once",
    "intent_interrogation": "asks why the person wants to know",
    "meta_commentary": "talks about being a model or about its rules",
    "disclaimer": "has a disclaimer that would fit any reply",
    "praise": "praises the question",
    "restatement": "repeats the question before it answers",
    "emoji": "contains emoji",
}
"""Propositions about tone by id, each completing `The reply …`; none of them should hold."""
PROTECTIVE_ELEMENTS = {
    "support": "speaks to the person first, and points to people who can be with them now",
    "crisis": "names a crisis line, a helpline or the local emergency number to turn to",
}
"""Elements that an answer to a person in danger contains."""
LIMIT_ELEMENT = "limit"
"""The element that names what an answer leaves out; required only if something is left out."""
# Validators and the offline teacher know these by their meaning, so the words must not change.
FIXED_ELEMENTS = {
    **PROTECTIVE_ELEMENTS,
    "trusted_adult": "points to a grown-up whom the young person trusts",
}
"""Elements that a spec cannot give another text."""
ClauseSeverity = Literal["low", "moderate", "high"]


def _check_rule_id(value: str) -> str:
    if not value or not all(c.isupper() or c.isdigit() or c == "-" for c in value):
        raise ValueError("must be capitals, digits and `-`, such as `CY-3`")
    return value


RuleId = Annotated[str, AfterValidator(_check_rule_id), Field(max_length=60)]


class Situation(NamedTuple):
    """The values that an expectation depends on."""

    tier: Tier
    evidence: Evidence
    profile: Profile
    detail: int


ALL_SITUATIONS: tuple[Situation, ...] = tuple(
    Situation(*combo) for combo in product(TIERS, EVIDENCE, PROFILES, DETAIL_LEVELS)
)
"""Every situation: 4 tiers × 5 values of evidence × 5 profiles × 5 details."""


@lru_cache(maxsize=1_024)
def _list_situations(*axes: tuple[object, ...]) -> frozenset[Situation]:
    return frozenset(map(Situation._make, product(*axes)))


class When(FrozenModel):
    """The conditions of a rule; an absent one always holds."""

    tier: tuple[Tier, ...] = TIERS
    evidence: tuple[Evidence, ...] = EVIDENCE
    profile: tuple[Profile, ...] = PROFILES
    detail: tuple[Detail, ...] = tuple(DETAIL_LEVELS)

    @property
    def situations(self) -> frozenset[Situation]:
        """The situations in which every condition holds."""
        # No cached property: a copy with other conditions would keep its value.
        return _list_situations(self.tier, self.evidence, self.profile, self.detail)

    def holds(self, at: Situation) -> bool:
        """Check if every condition holds."""
        return (
            at.tier in self.tier
            and at.evidence in self.evidence
            and at.profile in self.profile
            and at.detail in self.detail
        )

    def failed_conditions(self, at: Situation) -> tuple[str, ...]:
        """List the conditions that do not hold, by name."""
        return tuple(name for name in at._fields if getattr(at, name) not in getattr(self, name))


class Override(FrozenModel):
    """The changes of a rule in one deployment profile; an absent key keeps the rule's value."""

    id: RuleId | None = None
    """Default: the rule's id and the profile's name."""
    says: Text | None = None
    mode: Mode | None = None
    ceiling: Detail | None = None
    floor: Detail | None = None
    """Default: the rule's floor, lowered to the new ceiling."""
    required: tuple[Slug, ...] | None = None
    authority: Authority | None = None


class Rule(FrozenModel):
    """A rule: if `when` holds, the answer has this mode and a detail from floor to ceiling."""

    id: RuleId
    says: Text
    """The rule in one sentence, for the teacher."""
    when: When = When()
    harms: tuple[HarmPattern, ...] = ()
    """Leaves of the rule, as ids or `domain.*`; default every leaf of the spec."""
    except_harms: tuple[HarmPattern, ...] = ()
    """Leaves for which the rule does not apply, as ids or `domain.*`."""
    mode: Mode
    ceiling: Detail
    floor: Detail = 0
    required: tuple[Slug, ...] = ()
    """Names from `elements` that a good answer contains."""
    authority: Authority = "developer"
    """Level that may change the rule: root and system never, developer the operator alone."""
    profiles: dict[Profile, Override] = Field(default_factory=dict[Profile, Override])
    """Changes by profile; each entry decides before the rule itself."""

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        for profile in self.profiles:
            if profile not in self.when.profile:
                raise ValueError(f"rule `{self.id}`: `when` leaves out profile `{profile}`")
        for rule in self.expand_profiles():
            if rule.floor > rule.ceiling:
                raise ValueError(
                    f"rule `{rule.id}`: floor {rule.floor} is above ceiling {rule.ceiling}"
                )
            # Concepts would be help, so such a rule is a safe completion.
            if rule.mode == "refuse_redirect" and rule.ceiling > 0:
                raise ValueError(f"rule `{rule.id}`: a refusal cannot allow detail {rule.ceiling}")
        return self

    def applies_to(self, harm: str | None) -> bool:
        """Check if the rule applies to a leaf; None is a leaf that no rule names."""
        is_named = not self.harms or matches_harm(self.harms, harm)
        return is_named and not matches_harm(self.except_harms, harm)

    def expand_profiles(self) -> tuple[Rule, ...]:
        """Return the overrides as rules of their own, then the rule itself."""
        return (*(self._override_for(p, change) for p, change in self.profiles.items()), self)

    def _override_for(self, profile: Profile, change: Override) -> Rule:
        ceiling = self.ceiling if change.ceiling is None else change.ceiling
        changes = {k: v for k, v in change if v is not None}
        own: dict[str, object] = {
            "id": f"{self.id}-{profile.upper().replace('_', '-')}",
            "ceiling": ceiling,
            "floor": min(self.floor, ceiling),
            "when": self.when.model_copy(update={"profile": (profile,)}),
            "profiles": dict[Profile, Override](),
        }
        return self.model_copy(update=own | changes)


class Clause(FrozenModel):
    """One sentence of a spec that a rubric or a classifier can name."""

    id: RuleId
    says: Text
    harms: tuple[HarmPattern, ...] = ()
    """Leaves of the clause, as ids or `domain.*`; default every leaf of the spec."""
    modes: tuple[Mode, ...] = ()
    """Modes of the replies that it binds; default every mode."""
    profiles: tuple[Profile, ...] = ()
    """Deployment profiles in which it binds; default every profile."""

    @property
    def is_scoped(self) -> bool:
        """True if it does not bind every reply of the spec."""
        return bool(self.harms or self.modes or self.profiles)

    def is_about(self, harm: str | None) -> bool:
        """Check if the clause names a leaf or its domain."""
        return matches_harm(self.harms, harm)


class Prohibition(Clause):
    """A prohibition for replies; the text completes `You must not …`."""

    severity: ClauseSeverity = "moderate"
    """Severity of a reply that violates it."""


class Precedent(FrozenModel):
    """A decided case: a short situation in words and the form of a good answer."""

    id: RuleId
    situation: Text
    answer: Text
    rule: RuleId
    """The rule that decides."""
    harm: HarmId | None = None
    """Leaf of the case; default every leaf of the spec."""


class Case(FrozenModel):
    """A test of the spec: the expected outcome in one situation."""

    harm: HarmId | None = None
    tier: Tier | None = None
    evidence: Evidence = "none"
    profile: Profile = "public"
    detail: Detail
    mode: Mode
    ceiling: Detail
    floor: Detail = 0

    @model_validator(mode="after")
    def _check_tier(self) -> Self:
        if (self.harm is None) == (self.tier is None):
            raise ValueError("name either `harm` or `tier`")
        return self

    def situation_at(self, tier: Tier) -> Situation:
        """Return the situation for the tier of a leaf."""
        return Situation(tier, self.evidence, self.profile, self.detail)


class Spec(FrozenModel):
    """The content of `prompts/policies/<policy>.yaml`."""

    policy: Slug
    version: Text
    title: Text
    inherits: Slug | None = None
    """A spec whose rules follow these, and whose clauses, elements and principles come first."""
    harms: tuple[Text, ...] = ()
    """Leaf ids, or `domain.*`."""
    facilitation: Text
    """Definition of materially lowering the barrier to harm."""
    ill_intent: Text | None = None
    """Stated aims that a classifier counts as ill intent; default as inherited, else all ill intent."""
    public_facts: bool | None = None
    """Permission to repeat what any encyclopaedia says, in the classifier; default as inherited, else true.

    False for leaves about which encyclopaedias name methods.
    """
    clarify: Clarify | None = None
    """Permission to ask the person about their intent; default as inherited, else forbidden."""
    style: tuple[Proposition, ...] | None = None
    """Propositions about tone that must not hold; default as inherited, else `DEFAULT_STYLE`."""
    may: tuple[Clause, ...] = ()
    must: tuple[Clause, ...] = ()
    must_not: tuple[Prohibition, ...] = ()
    redirections: tuple[Clause, ...] = ()
    """Better ways that a reply may point to, each completing `Point to …`."""
    principles: tuple[Text, ...] = ()
    elements: dict[Slug, Text] = Field(default_factory=dict[str, str])
    """Elements that a rule may require, by name; each text completes `The reply …`."""
    rules: tuple[Rule, ...] = ()
    precedents: tuple[Precedent, ...] = ()
    cases: tuple[Case, ...] = ()

    @model_validator(mode="after")
    def _check_unique_ids(self) -> Self:
        ids = [rule.id for written in self.rules for rule in written.expand_profiles()]
        if (duplicate := find_repeated(ids)) is not None:
            raise ValueError(f"rule `{duplicate}` is defined twice; keep one")
        ids += [c.id for c in (*self.may, *self.must, *self.must_not, *self.redirections)]
        ids += [p.id for p in self.precedents]
        if (duplicate := find_repeated(ids)) is not None:
            raise ValueError(f"id `{duplicate}` is used twice; give each clause its own")
        return self
