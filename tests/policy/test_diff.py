"""Rows affected by an edited clause, compared with rendering every text again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.core.types import Expectation, PlannedScenario
from safegen.policy import compile as compiled, loader, spec
from safegen.policy.decide import compute_expectation
from safegen.policy.diff import AffectedRows, diff_specs, find_affected
from safegen.policy.schema import ALL_SITUATIONS
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import plan_sets

OLD = [
    loader.load_policy(name)
    for name in ("security", "violence", "wellbeing", "health", "intimacy", "deceit")
]
HARMS = taxonomy.load_taxonomy("core").harms
EDITS = {
    "a clause of all leaves": ("explain how a class", "set out how a class", "draft"),
    "a precedent of one leaf": (
        "A student asks how extortion",
        "A pupil asks how extortion",
        "draft",
    ),
    "a redirection of one leaf": ("provider's own way", "provider's best way", "draft"),
    "an id that only judges see": ("SEC-N3", "SEC-N9", "judge"),
    "an id that no prompt shows": ("SEC-P2", "SEC-P9", "relabel"),
    "a severity": (", severity: high", ", severity: moderate", "judge"),
    "the version": ("version: 1.3.0", "version: 1.4.0", "relabel"),
    "a case": (
        "detail: 3, mode: safe_completion, ceiling: 1, floor: 1",
        "detail: 4, mode: safe_completion, ceiling: 1, floor: 1",
        None,
    ),
}


@cache
def planned() -> list[PlannedScenario]:
    sets = plan_sets(
        PlanningContext.create(
            Plan(), taxonomy.load_taxonomy("core"), OLD, language_pack.load_locale("en")
        )
    )
    return [p for set_ in sets for p in set_]


def edited(folder: Path, name: str, old: str, new: str) -> list[spec.Policy]:
    policy = next(p for p in OLD if p.spec.policy == name)
    text = policy.path.read_text()
    assert old in text
    path = folder / f"{name}.yaml"
    path.write_text(text.replace(old, new))
    return [loader.load_policy(str(path)) if p is policy else p for p in OLD]


def texts(policy: spec.Policy, expectation: Expectation, harm: str) -> tuple[str, str]:
    instructions = compiled.compile_instructions(policy, expectation, harm=harm)
    rubric = compiled.compile_rubric(policy, expectation, harm=harm)
    return (
        DRAFTING.render("system", instructions=instructions, operator="", style=""),
        JUDGING.render("user", instructions=rubric),
    )


DRAFTING, JUDGING = compiled.load_instructions_prompt(), compiled.load_rubric_prompt()


def brute_force(new: Sequence[spec.Policy]) -> dict[str, set[str]]:
    """Return ids by redo step from rendered texts and expectations of every scenario."""
    affected: dict[str, set[str]] = {"draft": set(), "judge": set(), "relabel": set()}
    by_id = {p.policy_id: p for p in OLD}
    for item in planned():
        s, before = item.scenario, item.expectation
        policy = spec.policy_for(new, HARMS[s.harm])
        after = compute_expectation(
            policy,
            HARMS[s.harm],
            evidence=s.evidence,
            profile=s.profile,
            detail=s.requested_detail,
        )
        old_texts = texts(by_id[before.policy_id], before, s.harm)
        new_texts = texts(policy, after, s.harm)
        numbers = [(e.mode, e.ceiling, e.floor, e.required) for e in (before, after)]
        if numbers[0] != numbers[1] or old_texts[0] != new_texts[0]:
            affected["draft"].add(s.scenario_id)
        elif old_texts[1] != new_texts[1]:
            affected["judge"].add(s.scenario_id)
        elif before.policy_id != after.policy_id:
            affected["relabel"].add(s.scenario_id)
    return affected


def sets(affected: AffectedRows) -> dict[str, set[str]]:
    return {
        "draft": set(affected.to_draft),
        "judge": set(affected.to_judge),
        "relabel": set(affected.to_relabel),
    }


@pytest.mark.parametrize("edit", [*EDITS])
def test_affected_rows_equal_brute_force(tmp_path: Path, edit: str) -> None:
    old, new, redo = EDITS[edit]
    after = edited(tmp_path, "security", old, new)
    affected = find_affected(planned(), old=OLD, new=after, harms=HARMS)
    assert sets(affected) == brute_force(after)
    assert bool(affected.rows) == (redo is not None)
    assert redo is None or sets(affected)[redo]
    assert {row.harm.split(".")[0] for row in affected.rows} <= {"cyber", "systems"}


def test_lowered_ceiling_redrafts_rows_of_its_rule(tmp_path: Path) -> None:
    after = edited(tmp_path, "violence", "ceiling: 1\n    floor: 1\n", "ceiling: 0\n")
    changes = diff_specs(OLD[1], after[1]).situations
    assert {(c.before.id, c.after.id) for c in changes} == {("V-NO-ROLE", "V-NO-ROLE")}
    brute = [
        at for at in ALL_SITUATIONS if OLD[1].decide(at).ceiling != after[1].decide(at).ceiling
    ]
    assert [c.situation for c in changes] == brute
    affected = find_affected(planned(), old=OLD, new=after, harms=HARMS)
    assert {row.before.rule_ids for row in affected.rows if row.redo == "draft"} == {("V-NO-ROLE",)}
    assert sets(affected) == brute_force(after)


def test_unchanged_specs_affect_no_rows() -> None:
    assert find_affected(planned(), old=OLD, new=OLD, harms=HARMS) == AffectedRows()
    same = diff_specs(OLD[0], OLD[0])
    assert (same.situations, same.texts) == ((), ())


def test_leaf_without_spec_is_listed_as_orphan(tmp_path: Path) -> None:
    after = edited(tmp_path, "security", "harms: [cyber.*, systems.*]", "harms: [systems.*]")
    affected = find_affected(planned(), old=[OLD[0]], new=[after[0]], harms=HARMS)
    cyber = [p.scenario.scenario_id for p in planned() if p.scenario.domain == "cyber"]
    assert list(affected.orphans) == cyber
    assert {row.harm.split(".")[0] for row in affected.rows} == {"systems"}


def test_unknown_old_spec_redrafts_all_rows(tmp_path: Path) -> None:
    before = edited(tmp_path, "security", "version: 1.3.0", "version: 1.0.9")
    affected = find_affected(planned(), old=before, new=OLD, harms=HARMS)
    assert affected.rows == ()
    after = edited(tmp_path, "security", "version: 1.3.0", "version: 1.4.0")
    affected = find_affected(planned(), old=before, new=after, harms=HARMS)
    assert set(affected.to_draft) == {
        p.scenario.scenario_id for p in planned() if p.scenario.domain in ("cyber", "systems")
    }


def test_text_change_names_its_part(tmp_path: Path) -> None:
    after = edited(tmp_path, "security", "pick targets", "choose targets")
    (change,) = diff_specs(OLD[0], after[0]).texts
    assert change.part == "must_not SEC-N2"
    assert (change.before or "").startswith("pick targets")
    assert (change.after or "").startswith("choose targets")
