"""The effects of an edited spec: situations, texts and, given a plan, the rows to redo.

A row is drafted again if its expectation or the teacher's instructions change. It is judged again if
only the rubric or the propositions of style change. It is relabelled if only the spec's id changes,
for example because another leaf's clause was edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from safegen.config.taxonomy import Harm
from safegen.core.types import Expectation, PlannedScenario
from safegen.policy.compile import compile_instructions, compile_rubric
from safegen.policy.decide import compute_scenario_expectation
from safegen.policy.schema import ALL_SITUATIONS, Rule, Situation
from safegen.policy.spec import Policy, policy_for

Redo = Literal["draft", "judge", "relabel"]


class SituationChange(NamedTuple):
    """A situation that two specs answer differently."""

    situation: Situation
    before: Rule
    after: Rule
    harms: tuple[str, ...] = ()
    """Leaves, or `domain.*`, to which the change applies; empty if it applies to all."""


class TextChange(NamedTuple):
    """A text that differs; None if the spec has no such part."""

    part: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes from one spec to another."""

    situations: tuple[SituationChange, ...]
    texts: tuple[TextChange, ...]

    def by_rule(self) -> dict[tuple[str, str], list[SituationChange]]:
        """Group the changed situations by the old and the new deciding rule."""
        groups: dict[tuple[str, str], list[SituationChange]] = {}
        for change in self.situations:
            groups.setdefault((change.before.id, change.after.id), []).append(change)
        return groups


def diff_specs(old: Policy, new: Policy) -> Difference:
    """Compare two specs: every situation, and every text by the id of its part."""
    before, after = _collect_texts(old), _collect_texts(new)
    parts = [*before, *(part for part in after if part not in before)]
    texts = [
        TextChange(part, before.get(part), after.get(part))
        for part in parts
        if before.get(part) != after.get(part)
    ]
    return Difference(tuple(_compare_situations(old, new)), tuple(texts))


def _compare_situations(old: Policy, new: Policy) -> Iterator[SituationChange]:
    # One leaf of each group whose rules are equal in both specs.
    leaves = list(dict.fromkeys(v.example_leaf for p in (old, new) for v in p.leaf_views))
    for at in ALL_SITUATIONS:
        harms: dict[tuple[str, str], list[str | None]] = {}
        rules: dict[tuple[str, str], tuple[Rule, Rule]] = {}
        for leaf in leaves:
            before, after = old.at_leaf(leaf).decide(at), new.at_leaf(leaf).decide(at)
            if _decision(before) != _decision(after):
                harms.setdefault((before.id, after.id), []).append(leaf)
                rules[before.id, after.id] = before, after
        for key, (before, after) in rules.items():
            named = tuple(leaf for leaf in harms[key] if leaf is not None)
            yield SituationChange(at, before, after, () if harms[key] == leaves else named)


def _decision(rule: Rule) -> tuple[object, ...]:
    return rule.mode, rule.ceiling, rule.floor, rule.required


def _collect_texts(policy: Policy) -> dict[str, str]:
    spec = policy.spec
    texts = {
        "title": spec.title,
        "facilitation": spec.facilitation,
        "clarify": policy.clarify,
        "public_facts": str(policy.public_facts).lower(),
        "style": ", ".join(policy.style),
        "principles": " ".join(policy.principles),
    }
    texts |= {f"element {name}": text for name, text in policy.elements.items()}
    for key in ("may", "must", "must_not", "redirections"):
        for clause in getattr(policy, key):
            about = f" (about {', '.join(clause.harms)})" if clause.harms else ""
            texts[f"{key} {clause.id}"] = clause.says + about
    for rule in policy.rules:
        texts[f"rule {rule.id}"] = f"{rule.says} ({rule.authority})"
    for case in policy.precedents:
        about = f" (about {case.harm})" if case.harm else ""
        texts[f"precedent {case.id}"] = f"{case.situation} {case.answer}{about}"
    return texts


class PlanRow(NamedTuple):
    """A planned scenario that an edited spec affects."""

    scenario_id: str
    harm: str
    before: Expectation
    after: Expectation
    redo: Redo


@dataclass(frozen=True, slots=True)
class AffectedRows:
    """The rows that an edited spec affects, in plan order, and the scenarios without a spec."""

    rows: tuple[PlanRow, ...] = ()
    orphans: tuple[str, ...] = field(default=())
    """Ids of scenarios whose leaf no spec covers any more."""

    def ids(self, redo: Redo) -> tuple[str, ...]:
        """List the ids of the scenarios with one kind of work."""
        return tuple(row.scenario_id for row in self.rows if row.redo == redo)

    @property
    def to_draft(self) -> tuple[str, ...]:
        """The scenarios to draft and judge again."""
        return self.ids("draft")

    @property
    def to_judge(self) -> tuple[str, ...]:
        """The scenarios whose drafts are kept and judged again."""
        return self.ids("judge")

    @property
    def to_relabel(self) -> tuple[str, ...]:
        """The scenarios whose drafts and rubric stay valid.

        Only the spec id changes; rule-based validators run again.
        """
        return self.ids("relabel")


def find_affected(
    planned: Iterable[PlannedScenario],
    *,
    old: Sequence[Policy],
    new: Sequence[Policy],
    harms: Mapping[str, Harm],
) -> AffectedRows:
    """Find the scenarios of a plan to draft or to judge again.

    The plan holds the old expectation. A scenario is ignored if `old` lacks the name of its spec. If
    `old` has the name but not the id, the texts that were used are unknown, so the scenario is
    drafted again.

    Args:
        planned: the plan; iterated once, one scenario in memory at a time.
        old: the specs before the edit.
        new: the specs after the edit.
        harms: leaves by id, with their tiers.

    Raises:
        ConfigError: two new specs cover one leaf.
    """
    before = {policy.policy_id: policy for policy in old}
    names = {policy.spec.policy for policy in old}
    rows: list[PlanRow] = []
    orphans: list[str] = []
    for item in planned:
        if item.expectation.policy_id.split("@")[0] not in names:
            continue
        harm = harms.get(item.scenario.harm)
        if harm is None or not any(policy.covers(harm.id) for policy in new):
            orphans.append(item.scenario.scenario_id)
            continue
        row = _affected_row(
            item, before.get(item.expectation.policy_id), policy_for(new, harm), harm
        )
        if row is not None:
            rows.append(row)
    return AffectedRows(tuple(rows), tuple(orphans))


def _affected_row(
    item: PlannedScenario, old: Policy | None, new: Policy, harm: Harm
) -> PlanRow | None:
    scenario, before = item.scenario, item.expectation
    if new.policy_id == before.policy_id:
        return None
    after = compute_scenario_expectation(new, harm, scenario)
    redo = "draft" if old is None else _choose_redo(old, before, new, after, harm.id)
    return PlanRow(scenario.scenario_id, harm.id, before, after, redo)


def _choose_redo(
    old: Policy, before: Expectation, new: Policy, after: Expectation, harm: str
) -> Redo:
    # An edit changes the hash in the id, and a renamed rule can have the same outcome.
    relabelled = replace(before, policy_id=after.policy_id, rule_ids=after.rule_ids)
    old_text = compile_instructions(old, before, harm=harm)
    if relabelled != after or old_text != compile_instructions(new, after, harm=harm):
        return "draft"
    if old.style != new.style or compile_rubric(old, before, harm=harm) != compile_rubric(
        new, after, harm=harm
    ):
        return "judge"
    return "relabel"
