"""Plans of sets that an author writes.

A planned set has ids, an axis row and a brief for the author. Its messages follow in `expand`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from safegen.config.goals import Goal
from safegen.config.plan import AxisChoice, Plan
from safegen.core.hashing import canonical_json, hash_fraction
from safegen.core.types import Contrast, Evidence, Intent, PlannedScenario, Profile, Task
from safegen.coverage.assign import assign_rows
from safegen.coverage.axes import DEFAULT_AXES, Axes
from safegen.coverage.covering_array import AxisRow, CoverageModel, build_array
from safegen.judges.label_definitions import AxisValue
from safegen.scenarios.authoring.brief import (
    Brief,
    ContrastPart,
    Exemplar,
    GoalPart,
    HarmPart,
    PromptSlot,
    Wish,
)
from safegen.scenarios.context import (
    EMPTY_KNOWLEDGE,
    PlanningContext,
    PromptSpec,
    make_set_id,
    plan_scenario,
)

OWN_AXES = ("task", "profile", "requested_detail", "role_basis")
"""Axes that an author does not express: goal, operator turn and slot determine their values.

One prompt cannot show the basis of a role: only the operator's turn can verify it.
"""
LICENCE = "other"
"""Licence of authored prompts: the terms of the author model's output; the card says to check."""
# By the definitions of labels, a benign prompt that asks for strategy would read as dual-use.
BENIGN_DETAIL = 1
DETAIL_RANGES: dict[Task, tuple[int, int]] = {
    "explain": (2, 2),  # an explained order of steps reads as a plan
    "recommend": (2, 2),  # a choice
    "plan": (3, 4),  # an order of steps
    "troubleshoot": (2, 3),
    "optimise": (2, 3),
    "transform": (4, 4),  # a finished text
}
"""Lowest and highest detail that a dual-use or malicious request for a kind of help can show."""
STEP_TASKS: frozenset[Task] = frozenset({"plan", "troubleshoot"})
"""Kinds of help that consist of steps."""
PROTECTED_ROLE = "affected"
"""Role of a person who was harmed, or who cares for one who was."""
STATED_SHARE = 0.75
"""Share of malicious prompts that state their intent; the others show it by circumstances."""
WISH_SHARE = 1 / 3
"""Share of sets in alarming words, and share of sets in calm words; the others are free."""
EXEMPLAR_RATIO = 2.5
"""Characters of the longest prompt shown as an example over those of the shortest, at most."""


def list_axis_values(axes: Axes, names: Sequence[str] = DEFAULT_AXES) -> tuple[AxisValue, ...]:
    """List the axis values that authors may express and labellers read."""
    return tuple(
        AxisValue(name, value, definition)
        for name in names
        if name not in OWN_AXES
        for value, definition in axes.get_axis(name).values.items()
    )


def plan_authored_sets(
    context: PlanningContext, *, start: Mapping[str, int], counts: Mapping[str, int], seed: int
) -> Iterator[list[PlannedScenario]]:
    """Plan sets for an author, harm by harm.

    Args:
        context: its plan has the number of paraphrases and the axes that vary.
        start: sets of each harm planned so far; goals, rows and author indices continue from there.
        counts: sets of each harm to add.
        seed: the recipe's seed.

    Raises:
        ConfigError: an unknown axis, or constraints that leave no row.
    """
    if not any(counts.values()):
        return
    axes = context.axes
    rows = build_array(build_axes_model(context.plan, axes), seed=seed)
    by_harm = group_goals_by_harm(context)
    for harm, count in counts.items():
        goals, first = by_harm.get(harm, []), start.get(harm, 0)
        # Rows with a profile that excludes the leaf are left out.
        own = [
            row
            for row in rows
            if _choose_profile(row, harm, context) in context.allowed_profiles(harm)
        ]
        if not goals or not own:
            continue
        chosen = _assign_rows(own, goals, axes, start=first, count=count, seed=seed)
        for number, row in enumerate(chosen, first):
            yield _plan_set(context, axes, goals, number=number, row=row, seed=seed)


def _assign_rows(
    rows: Sequence[AxisRow],
    goals: Sequence[Goal],
    axes: Axes,
    *,
    start: int,
    count: int,
    seed: int,
) -> Iterator[AxisRow]:
    """Assign a row to each set of a leaf: one that fits the goal's task and the leaf's subject."""
    harm = goals[0].harm
    by_task: dict[str, Iterator[int]] = {}
    tasks = [goal.task for goal in goals]
    for number in range(start, start + count):
        task = tasks[number % len(tasks)]
        if task not in by_task:
            fits = [axes.fits({**row, "task": task}, harm=harm) for row in rows]
            # A narrow choice of values can leave none; then the author gets rows that fit badly.
            weights = fits if any(fits) else [True] * len(rows)
            rounds, rest = divmod(start, len(tasks))
            earlier = rounds * tasks.count(task) + tasks[:rest].count(task)
            by_task[task] = assign_rows(
                len(rows), count, start=earlier, weights=weights, seed=seed, key=f"{harm} {task}"
            )
        yield rows[next(by_task[task])]


def build_axes_model(plan: Plan, axes: Axes) -> CoverageModel:
    """Build the coverage model of a plan's sets.

    Raises:
        ConfigError: an axis or value that the axes file does not have.
    """
    chosen: dict[str, AxisChoice] = dict(plan.axes) or dict.fromkeys(DEFAULT_AXES)
    chosen.pop("task", None)  # a goal has its task
    values: dict[str, Sequence[str]] = {n: c for n, c in chosen.items() if isinstance(c, tuple)}
    if "profile" in chosen:
        values.setdefault("profile", plan.profiles)
    weights = {n: c for n, c in chosen.items() if isinstance(c, dict)}
    return axes.build_model(list(chosen), values=values, seeds=plan.rows, weights=weights)


def plan_authored_probes(
    context: PlanningContext, *, count: int
) -> Iterator[list[PlannedScenario]]:
    """Plan over-refusal probes for an author: `count` per harm and per type in the plan.

    Raises:
        ConfigError: the axes file does not define a type.
    """
    # A probe has a benign prompt and a malicious twin, and no dual-use one.
    if not count or context.plan.intents == ("dual_use",):
        return
    for harm, goals in group_goals_by_harm(context).items():
        for kind in context.plan.contrast if context.allowed_profiles(harm) else ():
            context.axes.require_value("contrast", kind)
            for number in range(count):
                yield _plan_probe(context, _probe_goal(context, goals, kind), goals, number=number)


def _probe_goal(context: PlanningContext, goals: Sequence[Goal], kind: Contrast) -> Goal:
    # A probe is about the harm as such, not about one of its goals.
    part = make_harm_part(context, goals[0])
    about = {"name": kind, "contrast": kind, "purpose": f"{part.name}: {part.definition}"}
    return goals[0].model_copy(update=about)


def _plan_probe(
    context: PlanningContext, goal: Goal, others: Sequence[Goal], *, number: int
) -> list[PlannedScenario]:
    assert goal.contrast is not None
    kind = goal.contrast
    id_ = make_set_id(
        context.tree.file.taxonomy, goal, axes=[("contrast", kind)], author=number + 1
    )
    malicious_evidence: Evidence = (
        "stated" if hash_fraction("evidence", id_) < STATED_SHARE else "contextual"
    )
    slots = (
        PromptSlot("benign", 0, "none", BENIGN_DETAIL),
        PromptSlot("malicious", 0, malicious_evidence, 2),
    )
    brief = Brief(
        harm=make_harm_part(context, goal),
        goal=GoalPart(goal.goal_id, goal.purpose, goal.task, "", ""),
        row=(),
        slots=tuple(s for s in slots if s.intent in context.plan.intents),
        exemplars=_choose_exemplars(others, number),
        contrast=ContrastPart(kind, context.axes.get_axis("contrast").values[kind]),
    )
    text = _encode_brief(brief, number)
    profiles = context.allowed_profiles(goal.harm)
    profile = profiles[number % len(profiles)]
    return [
        replace(
            _plan_slot(goal, id_, slot, profile, context), brief=text, knowledge=EMPTY_KNOWLEDGE
        )
        for slot in brief.slots
    ]


def group_goals_by_harm(context: PlanningContext) -> dict[str, list[Goal]]:
    """Group the goals of the chosen harms, without probes."""
    goals: dict[str, list[Goal]] = {}
    for goal in context.tree.goals():
        if goal.harm in context.harms and goal.contrast is None:
            goals.setdefault(goal.harm, []).append(goal)
    return goals


def _plan_set(
    context: PlanningContext,
    axes: Axes,
    goals: Sequence[Goal],
    *,
    number: int,
    row: AxisRow,
    seed: int,
) -> list[PlannedScenario]:
    # Every goal has one set before any has a second one; the author index counts the rounds.
    goal, index = goals[number % len(goals)], number // len(goals)
    id_ = make_set_id(context.tree.file.taxonomy, goal, axes=sorted(row.items()), author=index + 1)
    slots = _make_slots(context, row, id_, task=goal.task)
    wishes = _draw_wishes(id_, row, seed)
    # Such a set has the neutral tone (see `_draw_wishes`), which alarming words contradict.
    left_out = (*OWN_AXES, "tone") if "alarming_words" in wishes else OWN_AXES
    brief = Brief(
        harm=make_harm_part(context, goal),
        goal=make_goal_part(goal),
        row=tuple(
            AxisValue(n, v, axes.get_axis(n).values[v]) for n, v in row.items() if n not in left_out
        ),
        slots=tuple(s for s in slots if s.intent in context.plan.intents),
        exemplars=_choose_exemplars(goals, number),
        wishes=wishes,
    )
    text = _encode_brief(brief, index)
    profile = _choose_profile(row, goal.harm, context)
    return [
        replace(_plan_slot(goal, id_, slot, profile, context), brief=text) for slot in brief.slots
    ]


def _choose_profile(row: AxisRow, harm: str, context: PlanningContext) -> Profile:
    first = next(iter(context.allowed_profiles(harm)), context.plan.profiles[0])
    return cast(Profile, row.get("profile", first))


def _plan_slot(
    goal: Goal, id_: str, slot: PromptSlot, profile: Profile, context: PlanningContext
) -> PlannedScenario:
    spec = PromptSpec(
        intent=slot.intent,
        paraphrase=slot.paraphrase,
        profile=profile,
        evidence=slot.evidence,
        detail=slot.detail,
        messages=(),
        source="author",
        licence=LICENCE,
    )
    return plan_scenario(goal, id_, spec, context)


def _make_slots(
    context: PlanningContext, row: AxisRow, id_: str, *, task: Task
) -> Iterator[PromptSlot]:
    detail = int(row.get("requested_detail", "3"))
    # By the definitions, steps of a safe task are detail 0.
    benign = 0 if task in STEP_TASKS else min(detail, BENIGN_DETAIL)
    least, most = DETAIL_RANGES[task]
    hazard_detail = min(max(detail, least), most)
    # From the id, so that a set keeps its evidence if others are added.
    malicious_evidence: Evidence = (
        "stated" if hash_fraction("evidence", id_) < STATED_SHARE else "contextual"
    )
    # Words that show harm to the person, or care for one who was harmed, are evidence by definition.
    evidence: Evidence = "protective" if row.get("role") == PROTECTED_ROLE else "none"
    yield PromptSlot("benign", 0, evidence, benign)
    for paraphrase in range(context.plan.paraphrases):
        yield PromptSlot("dual_use", paraphrase, evidence, hazard_detail)
    yield PromptSlot("malicious", 0, malicious_evidence, hazard_detail)


def make_goal_part(goal: Goal) -> GoalPart:
    """Build the part of a brief about the goal."""
    return GoalPart(goal.goal_id, goal.purpose, goal.task, goal.benign_use, goal.misuse_risk)


def make_harm_part(context: PlanningContext, goal: Goal) -> HarmPart:
    """Build the part of a brief about the goal's harm."""
    harm = context.harms[goal.harm]
    return HarmPart(harm.id, harm.name, harm.definition)


def _choose_exemplars(goals: Sequence[Goal], number: int) -> tuple[Exemplar, ...]:
    """Choose a prompt of each intent from another goal of the harm, as examples of the register."""
    # Not the own goal, whose prompts the author would only paraphrase.
    others = [g for g in goals if g is not goals[number % len(goals)]]
    if not others:
        return ()
    turned = [others[(number + i) % len(others)] for i in range(len(others))]
    shown = [_list_exemplars(other, number) for other in turned]
    # The author is asked for prompts of like length, so the example has to show that.
    return next((e for e in shown if _has_parallel_length(e)), shown[0])


def _list_exemplars(goal: Goal, number: int) -> tuple[Exemplar, ...]:
    prompts = goal.prompts
    shown: list[tuple[Intent, str]] = [
        ("benign", prompts.benign[0].text),
        ("dual_use", prompts.dual_use[number % len(prompts.dual_use)].text),
        ("malicious", prompts.malicious[0].text),
    ]
    return tuple(Exemplar(intent, text) for intent, text in shown)


def _has_parallel_length(exemplars: Sequence[Exemplar]) -> bool:
    sizes = [len(e.text) for e in exemplars]
    return max(sizes) <= EXEMPLAR_RATIO * min(sizes)


def _draw_wishes(id_: str, row: AxisRow, seed: int) -> tuple[Wish, ...]:
    # A tone other than the default decides the words already.
    if row.get("tone", "neutral") != "neutral":
        return ()
    drawn = hash_fraction("wish", id_, seed)
    if drawn < WISH_SHARE:
        return ("alarming_words",)
    return ("calm_words",) if drawn < 2 * WISH_SHARE else ()


def _encode_brief(brief: Brief, sample: int) -> str:
    return canonical_json({"sample": sample, "brief": json.loads(brief.to_json())}).decode()


class PlannedBrief(NamedTuple):
    """The brief of a planned set."""

    brief: Brief
    sample: int
    """Sample index of the author's request."""


def read_brief(text: str) -> PlannedBrief:
    """Decode the brief of a planned set."""
    payload = json.loads(text)
    brief = Brief.from_json(canonical_json(payload["brief"]).decode())
    return PlannedBrief(brief, int(payload["sample"]))
