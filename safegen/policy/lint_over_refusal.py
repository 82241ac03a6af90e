"""Warnings of over-refusal: situations in which a spec declines or withholds without a stated reason.

They are warnings because a spec may be strict on purpose. Only situations of its leaves' tiers count,
and only if the spec's own rules are the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from safegen.config.taxonomy import Taxonomy
from safegen.core.types import HARMLESS_EVIDENCE, TIERS, Tier
from safegen.policy.lint import describe_situations, is_more_permissive
from safegen.policy.schema import Case, Rule, Situation
from safegen.policy.source_map import NO_PLACE, SpecProblem, find_home
from safegen.policy.spec import Policy

CONCEPT = 1
"""Up to this detail a question asks for general knowledge."""


def find_over_refusals(policy: Policy, tree: Taxonomy) -> list[SpecProblem]:
    """Find what a spec refuses or withholds without a stated reason, each once with its place."""
    problems: list[SpecProblem] = []
    for view, tiers in _iter_views(policy, tree):
        decided = {at: rule for at, rule in view.rule_by_situation.items() if at.tier in tiers}
        problems += _iter_rule_faults(view, decided, "needless_refusal", _needless_refusal)
        problems += _iter_rule_faults(view, decided, "zero_ceiling", _withheld_concepts)
        problems += _find_untested(view, decided, tree)
    return list(dict.fromkeys([*problems, *_find_unanswered(policy, tree)]))


def _iter_views(policy: Policy, tree: Taxonomy) -> Iterator[tuple[Policy, set[Tier]]]:
    covered = [harm for harm in tree.harms.values() if policy.covers(harm.id)]
    for view in policy.leaf_views:
        tiers: set[Tier] = {h.tier for h in covered if policy.at_leaf(h.id) is view}
        # A spec without a leaf of the taxonomy must work for all tiers.
        if tiers or not covered:
            yield view, tiers or set(TIERS)


def _iter_rule_faults(
    policy: Policy,
    decided: Mapping[Situation, Rule],
    kind: str,
    fault: Callable[[Situation, Rule], str | None],
) -> Iterator[SpecProblem]:
    # Inherited rules (depth above 0) are reported for the spec that holds them.
    situations_by_fault: dict[tuple[str, str], list[Situation]] = {}
    for at, rule in decided.items():
        depth, _ = find_home(policy, rule.id) or NO_PLACE
        reason = None if depth else fault(at, rule)
        if reason:
            situations_by_fault.setdefault((rule.id, reason), []).append(at)
    for (id_, reason), places in situations_by_fault.items():
        _, loc = find_home(policy, id_) or NO_PLACE
        yield SpecProblem(kind, loc, reason.format(at=describe_situations(places)))


def _needless_refusal(at: Situation, rule: Rule) -> str | None:
    if rule.mode != "refuse_redirect" or at.tier == "prohibited" or at.evidence == "stated":
        return None
    is_contextual = at.evidence == "contextual"
    if is_contextual and at.tier == "restricted" and at.detail > CONCEPT:
        return None
    reason = "ill intent is only hinted at" if is_contextual else "nothing shows ill intent"
    return (
        f"rule `{rule.id}` refuses at {{at}} although {reason}; set `mode: safe_completion`,"
        " or narrow `when` to `evidence: [stated]`"
    )


def _withheld_concepts(at: Situation, rule: Rule) -> str | None:
    is_harmless = at.tier in ("allowed", "sensitive") and at.evidence in HARMLESS_EVIDENCE
    if not is_harmless or rule.mode == "refuse_redirect" or rule.ceiling > 0:
        return None
    return (
        f"rule `{rule.id}` withholds even concepts at {{at}} although nothing shows ill intent;"
        f" raise `ceiling` to {CONCEPT} or more"
    )


def _find_untested(
    policy: Policy, decided: Mapping[Situation, Rule], tree: Taxonomy
) -> Iterator[SpecProblem]:
    # A rule stricter than the inherited one needs a case that shows it is intended.
    if len(policy.chain) == 1:
        return
    inherited = Policy(policy.chain[1:], policy.example_leaf)
    tested = {
        (policy.at_leaf(case.harm or policy.leaf).decide(at).id, at)
        for case in policy.spec.cases
        for at in _case_situations(case, tree)
    }
    stricter: dict[str, list[Situation]] = {}
    for at, rule in decided.items():
        other = inherited.rule_by_situation.get(at)
        if other is not None and rule.id != other.id and is_more_permissive(other, rule):
            stricter.setdefault(rule.id, []).append(at)
    for id_, places in stricter.items():
        if tested.isdisjoint((id_, at) for at in places):
            others = dict.fromkeys(f"`{inherited.decide(at).id}`" for at in places)
            message = (
                f"rule `{id_}` is stricter than the inherited {', '.join(others)} at {describe_situations(places)}, but no"
                " case covers it; add a case for one of these situations, or use the inherited outcome"
            )
            depth, loc = find_home(policy, id_) or NO_PLACE
            yield SpecProblem("untested_strictness", loc, message, depth)


def _case_situations(case: Case, tree: Taxonomy) -> Iterator[Situation]:
    # A leaf outside the taxonomy may have any tier.
    harm = tree.harms.get(case.harm or "")
    known = case.tier or (harm.tier if harm else None)
    return (case.situation_at(tier) for tier in ((known,) if known else TIERS))


def _find_unanswered(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    leaves_by_entry: dict[int, list[str]] = {}
    for harm in tree.harms.values():
        if policy.covers(harm.id) and not _is_answered(policy.at_leaf(harm.id), harm.tier):
            index = _harm_index(policy.spec.harms, harm.id)
            leaves_by_entry.setdefault(index, []).append(f"`{harm.id}`")
    for index, leaves in leaves_by_entry.items():
        message = (
            f"no rule answers a question about {', '.join(leaves)} in full, not even a definition;"
            " add a rule with `mode: direct_answer` for `detail: [0]`"
        )
        yield SpecProblem("never_answered", ("harms", index), message)


def _is_answered(policy: Policy, tier: Tier) -> bool:
    rules = policy.rule_by_situation.items()
    return tier == "prohibited" or any(
        at.tier == tier and rule.mode == "direct_answer" for at, rule in rules
    )


def _harm_index(entries: Sequence[str], harm: str) -> int:
    return entries.index(harm if harm in entries else f"{harm.split('.')[0]}.*")
