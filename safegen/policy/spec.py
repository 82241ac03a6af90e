"""A policy spec with its inherited specs, and the choice of the spec for a leaf.

A spec is an ordered list of rules; the first rule whose conditions hold decides. Loading checks a
spec (see `safegen.policy.lint`), so a spec that contradicts itself does not load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from safegen.config.fields import matches_harm
from safegen.config.taxonomy import Harm
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest
from safegen.core.types import Evidence, Profile
from safegen.policy.schema import (
    ALL_SITUATIONS,
    DEFAULT_STYLE,
    Clarify,
    Clause,
    Precedent,
    Prohibition,
    Proposition,
    Rule,
    Situation,
    Spec,
)

__all__ = ["ALL_SITUATIONS", "Policy", "Situation", "Spec", "policy_for"]


class SpecSource(NamedTuple):
    """A spec of a chain of inheritance with its file, or the `recipe.json` of the run that holds it."""

    spec: Spec
    path: Path

    @property
    def is_spec_file(self) -> bool:
        """True if `path` is a file of the spec alone."""
        return self.path.suffix != ".json"


def find_deciding_rules(rules: Sequence[Rule]) -> dict[Situation, Rule]:
    """Return the first rule of a list that holds in each situation; a situation without one is missing."""
    deciding: dict[Situation, Rule] = {}
    for rule in reversed(rules):  # an earlier rule replaces a later one
        deciding.update(dict.fromkeys(rule.when.situations, rule))
    return deciding


class RuleReach(NamedTuple):
    """The profiles and values of evidence of the situations that a rule decides."""

    profiles: frozenset[Profile]
    evidence: frozenset[Evidence]


@dataclass(frozen=True)
class Policy:
    """A spec with its inherited specs; `chain` starts with its own file.

    A rule can name its leaves, so a decision needs a leaf: `policy.at_leaf("a.b").decide(situation)`.
    """

    chain: tuple[SpecSource, ...]
    leaf: str | None = None
    """Leaf for which the rules decide; None for the first leaf of the spec."""

    @property
    def spec(self) -> Spec:
        """The spec's own file."""
        return self.chain[0].spec

    @property
    def path(self) -> Path:
        """The path of that file."""
        return self.chain[0].path

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order in which they decide, with profile overrides as rules."""
        return tuple(
            r for s, _ in self.chain for written in s.rules for r in written.expand_profiles()
        )

    @cached_property
    def leaf_rules(self) -> tuple[Rule, ...]:
        """The rules that apply to the leaf, in the order in which they decide."""
        return tuple(rule for rule in self.rules if rule.applies_to(self.example_leaf))

    @property
    def example_leaf(self) -> str | None:
        """The leaf, by default the first entry of the spec's `harms`."""
        return self.leaf or next(iter(self.spec.harms), None)

    @cached_property
    def leaf_views(self) -> tuple[Policy, ...]:
        """The policy at one leaf of each group of leaves that share their rules."""
        named = (h for rule in self.rules for h in (*rule.harms, *rule.except_harms))
        leaves: list[str | None] = [*self.spec.harms] or [None]
        leaves += [harm for harm in named if not self.spec.harms or self.covers(harm)]
        views = {id(view): view for view in map(self.at_leaf, leaves)}
        return tuple(views.values())

    def at_leaf(self, harm: str | None) -> Policy:
        """Return the policy with the rules for a leaf; leaves with equal rules share it."""
        if harm not in self._views:
            ids = tuple(rule.id for rule in self.rules if rule.applies_to(harm))
            view = next((v for v in self._views.values() if v.leaf_rule_ids == ids), None)
            self._views[harm] = view or replace(self, leaf=harm)
        return self._views[harm]

    @cached_property
    def leaf_rule_ids(self) -> tuple[str, ...]:
        """The ids of the rules that apply to the leaf."""
        return tuple(rule.id for rule in self.leaf_rules)

    @cached_property
    def _views(self) -> dict[str | None, Policy]:
        return {self.leaf: self}

    @cached_property
    def elements(self) -> dict[str, str]:
        """The elements that a rule may require, by name."""
        merged: dict[str, str] = {}
        for spec in self._iter_specs():
            merged |= spec.elements
        return merged

    @cached_property
    def principles(self) -> tuple[str, ...]:
        """The principles of writing, inherited ones first."""
        return tuple(p for spec in self._iter_specs() for p in spec.principles)

    @cached_property
    def may(self) -> tuple[Clause, ...]:
        """The permissions of a reply."""
        return tuple(c for spec in self._iter_specs() for c in spec.may)

    @cached_property
    def must(self) -> tuple[Clause, ...]:
        """The duties of every reply."""
        return tuple(c for spec in self._iter_specs() for c in spec.must)

    @cached_property
    def must_not(self) -> tuple[Prohibition, ...]:
        """The prohibitions of every reply."""
        return tuple(c for spec in self._iter_specs() for c in spec.must_not)

    @cached_property
    def redirections(self) -> tuple[Clause, ...]:
        """The better ways that a reply may point to."""
        return tuple(c for spec in self._iter_specs() for c in spec.redirections)

    @cached_property
    def precedents(self) -> tuple[Precedent, ...]:
        """The decided cases; an inherited one only if its rule can still decide."""
        own = self.spec.precedents
        reached = self.reached_rules
        # A precedent whose rule never decides here would contradict the rule that does.
        return own + tuple(
            p for spec, _ in self.chain[1:] for p in spec.precedents if p.rule in reached
        )

    @cached_property
    def reached_rules(self) -> frozenset[str]:
        """The ids of the rules that decide at least one situation of some leaf."""
        return frozenset(r.id for view in self.leaf_views for r in view.rule_by_situation.values())

    @cached_property
    def rule_by_situation(self) -> dict[Situation, Rule]:
        """The rule of every situation that has one, at the leaf."""
        # There are 500 situations, so a table of all of them is cheap.
        deciding = find_deciding_rules(self.leaf_rules)
        return {at: deciding[at] for at in ALL_SITUATIONS if at in deciding}

    @cached_property
    def rule_reach(self) -> dict[str, RuleReach]:
        """The profiles and the evidence under which each rule decides, by its id."""
        situations: dict[str, list[Situation]] = {}
        for at, rule in self.rule_by_situation.items():
            situations.setdefault(rule.id, []).append(at)
        return {
            id_: RuleReach(
                frozenset(at.profile for at in decided), frozenset(at.evidence for at in decided)
            )
            for id_, decided in situations.items()
        }

    @property
    def clarify(self) -> Clarify:
        """The permission to ask the person about their intent."""
        values: list[Clarify] = [s.clarify for s, _ in self.chain if s.clarify is not None]
        # The nearest spec of the chain decides; without a statement the strict value holds.
        return values[0] if values else "forbidden"

    @property
    def style(self) -> tuple[Proposition, ...]:
        """The propositions about tone that must not hold."""
        style = next((s.style for s, _ in self.chain if s.style is not None), DEFAULT_STYLE)
        may_ask = self.clarify == "allowed"
        # A spec that allows the question must not inherit the proposition that forbids it.
        return tuple(p for p in style if not (may_ask and p == "intent_interrogation"))

    @property
    def ill_intent(self) -> str:
        """The stated aims that a classifier counts as ill intent."""
        aims = (s.ill_intent for s, _ in self.chain if s.ill_intent is not None)
        return next(aims, "ill intent")

    @property
    def public_facts(self) -> bool:
        """The permission to repeat what any encyclopaedia says."""
        values = (s.public_facts for s, _ in self.chain if s.public_facts is not None)
        return next(values, True)

    @cached_property
    def policy_id(self) -> str:
        """`name@version#hash`; the hash covers everything that decides or instructs."""
        spec = self.spec
        content = [
            spec.model_dump(
                mode="json", include={"policy", "version", "title", "harms", "facilitation"}
            ),
            # Profile overrides are rules of their own in `rules`.
            [rule.model_dump(mode="json", exclude={"profiles"}) for rule in self.rules],
            [
                [clause.model_dump(mode="json") for clause in clauses]
                for clauses in (self.may, self.must, self.must_not, self.redirections)
            ],
            [precedent.model_dump(mode="json") for precedent in self.precedents],
            [
                self.elements,
                self.principles,
                self.clarify,
                self.style,
                self.ill_intent,
                self.public_facts,
            ],
        ]
        # 32 bits distinguish the edits of one version of a spec.
        return f"{spec.policy}@{spec.version}#{digest(content)[:8]}"

    def covers(self, harm: str) -> bool:
        """Check if the spec names a leaf or its domain."""
        return matches_harm(self.spec.harms, harm)

    def decide(self, at: Situation) -> Rule:
        """Return the first rule for the leaf whose conditions hold."""
        return self.rule_by_situation[at]

    def iter_secret_texts(self) -> Iterator[str]:
        """Yield every text that a teacher sees and a student must not see.

        Redirections are not secret, because a reply names them.
        """
        yield self.spec.facilitation
        yield from self.principles
        yield from self.elements.values()
        for clause in (*self.may, *self.must, *self.must_not):
            yield clause.says
        for rule in self.rules:
            yield rule.says
        for precedent in self.precedents:
            yield precedent.situation
            yield precedent.answer

    def iter_ids(self) -> Iterator[str]:
        """Yield every name of the spec and the ids of its parts."""
        yield self.policy_id
        yield f"{self.spec.policy}@{self.spec.version}"
        for named in (*self.rules, *self.may, *self.must, *self.must_not):
            yield named.id
        for named in (*self.redirections, *self.precedents):
            yield named.id

    def _iter_specs(self) -> Iterator[Spec]:
        return (spec for spec, _ in reversed(self.chain))  # inherited specs first


def fitting_specs(policies: Sequence[Policy], harm: str) -> list[Policy]:
    """List the specs of a leaf: those that name it, else those that name its domain."""
    # The more specific spec wins, so that one leaf can leave the spec of its domain.
    by_leaf = [p for p in policies if harm in p.spec.harms]
    return by_leaf or [p for p in policies if p.covers(harm)]


def policy_for(policies: Sequence[Policy], harm: Harm) -> Policy:
    """Return the one spec of a leaf; a spec that names the leaf precedes one that names its domain.

    Raises:
        ConfigError: no spec covers the leaf, or more than one does.
    """
    fitting = fitting_specs(policies, harm.id)
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(f"`{p.spec.policy}`" for p in fitting)
    raise ConfigError(
        f"harm `{harm.id}` is covered by {names}; let exactly one spec name it"
        if fitting
        else f"no policy spec covers harm `{harm.id}`; name it under `harms` of one of the recipe's `policies`"
    )
