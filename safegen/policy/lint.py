"""Faults that prevent a spec from loading: gaps, unreachable rules, non-monotone rules, contradictions.

Every combination of tier, evidence, profile and requested detail is tried, so the result holds for
every scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice, pairwise

from safegen.core.suggestions import suggest_names
from safegen.core.types import ILL_INTENT, MODES, TIERS, Profile
from safegen.core.yaml_errors import KeyPath
from safegen.policy.schema import (
    ALL_SITUATIONS,
    AUTHORITY,
    FIXED_ELEMENTS,
    PROTECTIVE_ELEMENTS,
    Authority,
    Case,
    Rule,
    Situation,
    Spec,
)
from safegen.policy.source_map import (
    NO_PLACE,
    SpecFinding,
    SpecPlace,
    SpecProblem,
    find_home,
    locate_problems,
)
from safegen.policy.spec import Policy, find_deciding_rules

# An agent acts without a person who reads the answer first, so it comes before the public.
PROFILE_ORDER: tuple[Profile, ...] = (
    "minors",
    "agent",
    "public",
    "enterprise",
    "vetted_professional",
)
"""Profiles from the strictest to the laxest."""
MAX_SHOWN = 5
"""Number of non-monotone pairs of rules that are reported."""


def lint_policy(policy: Policy) -> list[SpecFinding]:
    """Find the faults of a spec; none if it is total, reachable, monotone and consistent."""
    problems = [*_check_names(policy), *_find_contradictions(policy)]
    gaps = _check_each_leaf(policy, _find_gaps)
    # The other checks need a rule for every situation.
    if not gaps:
        problems += _find_unreachable(policy)
        # One misplaced rule can break many pairs.
        problems += islice(_check_each_leaf(policy, _find_non_monotone), MAX_SHOWN)
        problems += _check_each_leaf(policy, _check_authority)
        problems += _check_each_leaf(policy, _check_protection)
        problems += _check_protective_elements(policy)
        problems += _check_tier_cases(policy)
    return locate_problems(policy, [*problems, *gaps])


def _check_each_leaf(
    policy: Policy, check: Callable[[Policy], Iterable[SpecProblem]]
) -> list[SpecProblem]:
    # Groups of leaves share most of their rules, so they share most faults.
    return list(dict.fromkeys(p for view in policy.leaf_views for p in check(view)))


def is_more_permissive(one: Rule, other: Rule) -> bool:
    """Check if one rule gives more detail or a freer mode than another."""
    return one.ceiling > other.ceiling or MODES.index(one.mode) < MODES.index(other.mode)


def describe_situation(at: Situation) -> str:
    """Describe a situation in words."""
    return f"(tier {at.tier}, evidence {at.evidence}, profile {at.profile}, detail {at.detail})"


def describe_situations(places: Iterable[Situation]) -> str:
    """Describe situations by the values of each axis; an axis with all its values is left out."""
    situations = list(places)
    parts: list[str] = []
    for axis in Situation._fields:
        values = dict.fromkeys(str(getattr(at, axis)) for at in situations)
        if len(values) < len({getattr(at, axis) for at in ALL_SITUATIONS}):
            parts.append(f"{axis} {'/'.join(values)}")
    return f"({', '.join(parts)})" if parts else "(everywhere)"


def find_case_mismatch(case: Case, rule: Rule) -> str | None:
    """Describe how the outcome of a rule differs from a case, or return None."""
    expected = (case.mode, case.ceiling, case.floor)
    actual = (rule.mode, rule.ceiling, rule.floor)
    if expected == actual:
        return None
    return (
        f"the case expects {_describe_outcome(*expected)}, but rule `{rule.id}` gives {_describe_outcome(*actual)};"
        " correct the rule or the case"
    )


def _describe_outcome(mode: str, ceiling: int, floor: int) -> str:
    return f"{mode}, ceiling {ceiling}, floor {floor}"


def _check_names(policy: Policy) -> Iterator[SpecProblem]:
    spec, inherited = policy.spec, [s for s, _ in policy.chain[1:]]
    if not spec.harms and spec.inherits is not None:
        yield SpecProblem(
            "missing", (), "`harms` is missing; name the leaves that the spec applies to"
        )
    for rule in (r for written in spec.rules for r in written.expand_profiles()):
        for name in rule.required:
            if name not in policy.elements:
                hint = suggest_names(name, list(policy.elements))
                message = f"rule `{rule.id}` requires `{name}`, which is not in `elements`{hint}"
                yield SpecProblem("unknown_element", _key_path(policy, rule.id), message)
    known = [rule.id for rule in policy.rules]
    for index, precedent in enumerate(spec.precedents):
        if precedent.rule not in known:
            hint = suggest_names(precedent.rule, known, listed=False)
            message = f"precedent `{precedent.id}` names unknown rule `{precedent.rule}`{hint}"
            yield SpecProblem("unknown_rule", ("precedents", index, "rule"), message)
    inherited_ids = {id_ for s in inherited for id_ in _list_ids(s)}
    for id_ in sorted(inherited_ids & set(_list_ids(spec))):
        message = f"id `{id_}` is already inherited; choose another id"
        yield SpecProblem("duplicate", _key_path(policy, id_), message)


def _list_ids(spec: Spec) -> Iterator[str]:
    for rule in spec.rules:
        yield from (r.id for r in rule.expand_profiles())
    for named in (*spec.may, *spec.must, *spec.must_not, *spec.redirections, *spec.precedents):
        yield named.id


def _find_contradictions(policy: Policy) -> Iterator[SpecProblem]:
    spec = policy.spec
    if policy.clarify == "allowed" and spec.style and "intent_interrogation" in spec.style:
        message = "`clarify: allowed` contradicts `intent_interrogation` under `style`; drop one"
        yield SpecProblem("contradictory", ("style",), message)
    # Equal words only: a program cannot see that two sentences contradict each other.
    forbidden = {_normalise(c.says): c.id for c in policy.must_not}
    for name, text in policy.elements.items():
        other = forbidden.get(_normalise(text))
        if other is not None:
            depth, loc = find_home(policy, other) or SpecPlace(0, ("must_not",))
            message = f"the prohibition `{other}` forbids the element `{name}`; drop one"
            yield SpecProblem("contradictory", loc, message, depth)
    for key in ("may", "must"):
        for clause in getattr(policy, key):
            other = forbidden.get(_normalise(clause.says))
            if other is not None:
                depth, loc = find_home(policy, clause.id) or SpecPlace(0, (key,))
                message = (
                    f"`{clause.id}` under `{key}` contradicts the prohibition `{other}`; keep one"
                )
                yield SpecProblem("contradictory", loc, message, depth)


def _normalise(text: str) -> str:
    # "names a line" of an element and "name a line" of a clause are the same demand.
    first, *rest = text.casefold().rstrip(".").split() or [""]
    return " ".join([first.removesuffix("s"), *rest])


def _find_gaps(policy: Policy) -> Iterator[SpecProblem]:
    gaps = [at for at in ALL_SITUATIONS if at not in policy.rule_by_situation]
    if gaps:
        message = f"no rule decides {describe_situation(gaps[0])} and {len(gaps) - 1} more; add a last rule without `when`"
        yield SpecProblem("uncovered", ("rules",), message)


def _find_unreachable(policy: Policy) -> Iterator[SpecProblem]:
    own = [r for written in policy.spec.rules for r in written.expand_profiles()]
    for rule in own:
        if rule.id not in policy.reached_rules:
            message = f"rule `{rule.id}` never decides: earlier rules hold in every situation; move or delete it"
            yield SpecProblem("unreachable", _key_path(policy, rule.id), message)
    known = {rule.id for rule in policy.rules}
    for index, precedent in enumerate(policy.spec.precedents):
        if precedent.rule in known - policy.reached_rules:
            message = f"precedent `{precedent.id}` names rule `{precedent.rule}`, which never decides in this spec"
            yield SpecProblem("unreachable", ("precedents", index, "rule"), message)


def _find_non_monotone(policy: Policy) -> Iterator[SpecProblem]:
    pairs: dict[tuple[str, str], list[tuple[Situation, Situation]]] = {}
    for at, rule in policy.rule_by_situation.items():
        for stricter in _stricter_situations(at):
            other = policy.rule_by_situation[stricter]
            if is_more_permissive(other, rule):
                pairs.setdefault((other.id, rule.id), []).append((stricter, at))
    for (other, rule), steps in pairs.items():
        strict, lax = zip(*steps, strict=True)
        is_protection = all(at.evidence == "protective" for at in lax)
        remedy = (
            "add `protective` to the `evidence` of the first"
            if is_protection
            else "lower the first, or narrow the second with `when`"
        )
        message = (
            f"rule `{other}` at {describe_situations(strict)} is more permissive than rule `{rule}` at {describe_situations(lax)};"
            f" {remedy}"
        )
        depth, loc = _find_own_rule(policy, other, rule)
        yield SpecProblem("non_monotone", loc, message, depth)


def _find_own_rule(policy: Policy, *ids: str) -> SpecPlace:
    # The spec's own file is preferred, because its author cannot edit the inherited ones.
    homes = [home for home in (find_home(policy, id_) for id_ in ids) if home]
    first = homes[0] if homes else SpecPlace(0, ("rules",))
    return next((home for home in homes if home.depth == 0), first)


# The checks of each leaf compare the same situations.
@cache
def _stricter_situations(at: Situation) -> tuple[Situation, ...]:
    return tuple(_iter_stricter(at))


def _iter_stricter(at: Situation) -> Iterator[Situation]:
    for values, field in ((ILL_INTENT, "evidence"), (TIERS, "tier")):
        if (value := getattr(at, field)) not in values:
            continue  # Danger to oneself is no grade of ill intent, and protection is none either.
        index = values.index(value) + 1
        if index < len(values):
            yield at._replace(**{field: values[index]})
    if at.evidence == "protective":
        yield at._replace(evidence="none")
    for strict, lax in pairwise(PROFILE_ORDER):
        if at.profile == lax:
            yield at._replace(profile=strict)


def _check_authority(policy: Policy) -> Iterator[SpecProblem]:
    faults: dict[str, tuple[Rule, dict[str, Rule], dict[str, None], list[Situation]]] = {}
    # The rules that would decide among those of higher authority alone.
    higher_rules = {
        lower: find_deciding_rules([r for r in policy.leaf_rules if _is_above(r.authority, lower)])
        for lower in AUTHORITY
    }
    for at, rule in policy.rule_by_situation.items():
        for lower, higher, profile in (
            *_find_shadowed(higher_rules[rule.authority], at, rule),
            *_find_lifted(policy, at, rule),
        ):
            _, lifting, profiles, places = faults.setdefault(higher.id, (higher, {}, {}, []))
            lifting[lower.id] = lower
            profiles |= dict.fromkeys([profile] if profile else [])
            places.append(at)
    for higher, lifting, profiles, places in faults.values():
        lower = ", ".join(f"`{rule.id}` ({rule.authority})" for rule in lifting.values())
        scope = f" for the profiles {', '.join(profiles)}" if profiles else ""
        depth, loc = _find_own_rule(policy, *lifting, higher.id)
        is_own = (find_home(policy, higher.id) or NO_PLACE).depth == 0 and profiles
        remedy = (
            f"give `{higher.id}` a lower `authority`" if is_own else "give it a narrower `when`"
        )
        message = (
            f"{lower} {'lifts' if len(lifting) == 1 else 'lift'} the limit of rule `{higher.id}` ({higher.authority})"
            f" at {describe_situations(places)}{scope}; a lower authority can only narrow: {remedy}"
        )
        yield SpecProblem("authority", loc, message, depth)


def _find_shadowed(
    higher: Mapping[Situation, Rule], at: Situation, rule: Rule
) -> Iterator[tuple[Rule, Rule, str]]:
    other = higher.get(at)
    if other is not None and is_more_permissive(rule, other):
        yield rule, other, ""


def _find_lifted(policy: Policy, at: Situation, rule: Rule) -> Iterator[tuple[Rule, Rule, str]]:
    # An operator chooses the profile, so a laxer profile must not lift a root or system rule.
    if AUTHORITY.index(rule.authority) >= AUTHORITY.index("developer"):
        return
    for laxer in _laxer_profiles(at):
        other = policy.rule_by_situation[laxer]
        if _is_above(rule.authority, other.authority) and is_more_permissive(other, rule):
            yield other, rule, laxer.profile


@cache
def _laxer_profiles(at: Situation) -> tuple[Situation, ...]:
    laxer = PROFILE_ORDER[PROFILE_ORDER.index(at.profile) + 1 :]
    return tuple(at._replace(profile=profile) for profile in laxer)


def _is_above(one: Authority, other: Authority) -> bool:
    return AUTHORITY.index(one) < AUTHORITY.index(other)


def _check_protection(policy: Policy) -> Iterator[SpecProblem]:
    """Find the rules that decline a person in danger, or leave them without a contact."""
    faults: dict[str, tuple[Rule, list[Situation]]] = {}
    for at, rule in policy.rule_by_situation.items():
        if at.evidence == "self" and not _protects(rule, at):
            faults.setdefault(rule.id, (rule, []))[1].append(at)
    for rule, places in faults.values():
        depth, loc = _find_own_rule(policy, rule.id)
        where = describe_situations(places)
        guard = _find_guard(policy, places[0])
        if guard is not None and guard.id != rule.id:
            message = (
                f"rule `{rule.id}` overrides `{guard.id}` at {where}, which protects a person in danger;"
                f" add `evidence: [{', '.join(ILL_INTENT)}]` to its `when`, or give it all that `{guard.id}` gives"
            )
            yield SpecProblem("overridden", loc, message, depth)
        else:
            message = (
                f"rule `{rule.id}` decides at {where} and does not protect a person in danger; inherit `base`, or write"
                " a first rule with `when: {evidence: [self]}`, `authority: root`, `mode: safe_completion`,"
                f" `ceiling: 0` and `required: [{', '.join(_required_protection('public'))}]`; add"
                " `trusted_adult` under `minors`"
            )
            yield SpecProblem("unprotected", loc, message, depth)


def _protects(rule: Rule, at: Situation) -> bool:
    return (
        rule.authority == "root"
        and (rule.mode, rule.ceiling) == ("safe_completion", 0)
        and set(_required_protection(at.profile)) <= set(rule.required)
    )


def _required_protection(profile: Profile) -> tuple[str, ...]:
    more = ("trusted_adult",) if profile == "minors" else ()
    return ("redirection", *PROTECTIVE_ELEMENTS, *more)


# The inherited rule that would decide if the spec's own rules did not come first.
def _find_guard(policy: Policy, at: Situation) -> Rule | None:
    rules = (
        r
        for s, _ in reversed(policy.chain)
        for written in s.rules
        for r in written.expand_profiles()
    )
    known = set(policy.leaf_rule_ids)
    return next((r for r in rules if r.id in known and r.when.holds(at) and _protects(r, at)), None)


def _check_protective_elements(policy: Policy) -> Iterator[SpecProblem]:
    for depth, (spec, _) in enumerate(policy.chain):
        for name, text in FIXED_ELEMENTS.items():
            own = spec.elements.get(name)
            if own is not None and own != text:
                message = (
                    f"element `{name}` protects a person in danger and cannot have another text;"
                    f" delete it here and inherit `base`, or write `{text}`"
                )
                yield SpecProblem("overridden", ("elements", name), message, depth)


def _check_tier_cases(policy: Policy) -> Iterator[SpecProblem]:
    # Cases that name a leaf need a taxonomy; `policy check` reads them. A case that names a tier holds
    # for all leaves of a spec; without leaves, for a leaf that no rule names.
    views = policy.leaf_views if policy.spec.harms else (policy,)
    for index, case in enumerate(policy.spec.cases):
        if case.tier is not None:
            at = case.situation_at(case.tier)
            mismatches = (find_case_mismatch(case, view.decide(at)) for view in views)
            if mismatch := next(filter(None, mismatches), None):
                yield SpecProblem("case", ("cases", index), mismatch)


def _key_path(policy: Policy, id_: str) -> KeyPath:
    home = find_home(policy, id_)
    return home.loc if home else ()
