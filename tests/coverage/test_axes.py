from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from safegen.config import taxonomy
from safegen.config.goals import record_evidence
from safegen.config.recipe import Recipe
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.core.types import (
    CONTRASTS,
    DETAIL_LEVELS,
    EVIDENCE,
    INTENTS,
    MODES,
    PROFILES,
    SEVERITIES,
    TIERS,
    TURN_STYLES,
    Task,
)
from safegen.coverage import axes
from safegen.coverage.certificate import certify
from safegen.coverage.covering_array import FactorGroup, build_array
from safegen.policy import loader, spec
from tests.coverage.bounds import lower_bound
from tests.coverage.constraints import broken_rules

SHIPPED = axes.load_axes()


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("intent", INTENTS),
        ("evidence", EVIDENCE),
        ("task", get_args(Task)),
        ("profile", PROFILES),
        ("tier", TIERS),
        ("severity", SEVERITIES),
        ("mode", MODES),
        ("requested_detail", tuple(map(str, DETAIL_LEVELS))),
        ("turn_style", ("single", *TURN_STYLES)),
        ("contrast", ("none", *CONTRASTS)),
    ],
)
def test_shipped_axes_equal_the_enumerations(axis: str, values: tuple[str, ...]) -> None:
    assert tuple(SHIPPED.get_axis(axis).values) == values


def test_shipped_constraints_exclude_no_value_entirely() -> None:
    names = [axis.id for axis in SHIPPED.axes]
    single = certify(SHIPPED.build_model(names, groups=[FactorGroup(tuple(names), 1)]), [])
    assert single.groups[1].counts.void == 0


def test_shipped_leaves_and_expectations_break_no_constraint() -> None:
    for harm in taxonomy.load_taxonomy("core").harms.values():
        assert broken_rules(SHIPPED, {"tier": harm.tier, "severity": harm.severity}) == [], harm.id
    for name in Recipe(name="t").policies:
        policy = loader.load_policy(name)
        for case in spec.ALL_SITUATIONS:
            row = {"tier": case.tier, "evidence": case.evidence, "mode": policy.decide(case).mode}
            assert broken_rules(SHIPPED, row) == [], (name, case)


def test_written_prompts_break_no_shipped_constraint() -> None:
    for goal in taxonomy.load_taxonomy("core").goals():
        for intent, _, prompt in goal.prompts.iter_by_intent():
            evidence, _ = record_evidence(intent, prompt.evidence)
            row = {"task": goal.task, "intent": intent, "evidence": evidence}
            assert broken_rules(SHIPPED, row | prompt.attributes) == [], goal.goal_id


def test_default_array_is_complete_and_near_the_bound() -> None:
    model = SHIPPED.build_model()
    rows = build_array(model)
    proof = certify(model, rows)
    assert (proof.counts.missing, proof.invalid_rows) == (0, 0)
    assert [(g.t, set(g.factors) - set(axes.BRANCHING_AXES)) for g in proof.groups[1:]] == [
        (3, set())
    ]
    assert all(broken_rules(SHIPPED, row) == [] for row in rows)
    assert len(rows) <= 1.5 * lower_bound(model)


def test_shipped_axes_give_rows_for_every_task_and_leaf() -> None:
    names = [name for name in axes.DEFAULT_AXES if name != "task"]
    rows = build_array(SHIPPED.build_model(names))
    for harm in taxonomy.load_taxonomy("core").harms:
        for task in SHIPPED.get_axis("task").values:
            fitting = [row for row in rows if SHIPPED.fits({**row, "task": task}, harm=harm)]
            # Enough rows for a variety of traits under every leaf.
            assert len(fitting) >= len(rows) / 4, (harm, task)


@pytest.mark.parametrize(
    ("row", "harm", "fits"),
    [
        ({"surface_form": "code"}, "cyber.malware", True),
        ({"surface_form": "code"}, "advice.financial", False),
        ({"role": "official"}, "advice.financial", False),
        ({"role": "official"}, "environment.waste", True),
        ({"role": "official", "skill": "unskilled"}, "environment.waste", False),
        ({"task": "recommend", "surface_form": "document"}, "cyber.malware", False),
        ({"task": "transform", "surface_form": "document"}, "cyber.malware", True),
    ],
)
def test_traits_fit_leaf_and_each_other(row: dict[str, str], harm: str, fits: bool) -> None:
    assert SHIPPED.fits(row, harm=harm) == fits


def test_fewer_values_keep_only_relevant_constraints() -> None:
    names, roles = ("role", "skill", "register"), ("student", "affected")
    model = SHIPPED.build_model(names, values={"role": roles})
    assert model.factors["role"] == roles
    assert model.void == ()
    assert certify(model, build_array(model)).counts.void == 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: SHIPPED.get_axis("tones"), "did you mean `tone`"),
        (lambda: SHIPPED.require_value("tone", "urgnt"), "did you mean `urgent`"),
        (lambda: SHIPPED.build_model(("task", "rolle")), "did you mean `role`"),
        (lambda: SHIPPED.build_model(("task",), values={"task": ["plann"]}), "did you mean `plan`"),
        (
            lambda: SHIPPED.build_model(("task", "role"), values={"tone": ["urgent"]}),
            "not among the axes",
        ),
    ],
)
def test_mistyped_axis_name_gets_a_suggestion(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask()


GOOD = """
axes:
  - {id: tone, name: Tone, definition: A mood., source: here, level: set, values: {calm: Calm., loud: Loud.}}
  - {id: place, name: Place, definition: A place., source: here, level: set, values: {library: Quiet., street: Not.}}
void:
  - {when: {tone: loud, place: library}, why: silence is asked for}
"""


def test_local_axes_file_overrides_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taxonomies").mkdir()
    (tmp_path / "taxonomies" / "axes.yaml").write_text(GOOD, encoding="utf-8")
    mine = axes.load_axes()
    assert list(mine.by_id) == ["tone", "place"]
    rows = build_array(mine.build_model(("tone", "place")))
    assert sorted((row["tone"], row["place"]) for row in rows) == [
        ("calm", "library"),
        ("calm", "street"),
        ("loud", "street"),
    ]
    with pytest.raises(AssetNotFound, match="axes"):
        axes.load_axes("axis")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tone: loud", "tune: loud", "no axis `tune`; did you mean `tone`"),
        ("tone: loud", "tone: lout", "no value `lout`; did you mean `loud`"),
        ("id: place", "id: tone", "appears twice"),
        ("level: set, values: {calm", "level: sets, values: {calm", "did you mean `set`"),
        (
            "level: set, values: {calm",
            "level: set, default: clam, values: {calm",
            "did you mean `calm`",
        ),
        (", place: library}", "}", "must have 2 or more"),
        (", why: silence is asked for", "", "`void.0.why` is missing"),
    ],
)
def test_mistake_in_axes_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    assert old in GOOD
    with pytest.raises(ConfigError, match=message):
        axes.load_axes(str(path))
