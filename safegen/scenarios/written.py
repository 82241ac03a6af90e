"""Round 0: written goals become matched sets, and sets are grouped into shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from safegen.config.goals import Goal, IntentPrompt, record_evidence
from safegen.config.plan import Plan
from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names
from safegen.core.types import Evidence, Intent, PlannedScenario, Profile
from safegen.scenarios.context import (
    IN_DANGER,
    ChangedEvidence,
    PlanningContext,
    PromptSpec,
    make_set_id,
    plan_scenario,
    twin_attributes,
)
from safegen.scenarios.dialogues import count_excluded_turns, iter_changed_turns, plan_dialogues
from safegen.scenarios.system_turns import build_messages, choose_system_turn

SHARD_DRAFTS = 256
"""Drafts from which a shard is full: a kill redoes little, and there are few small files."""
AUTHORED_KIND = {"dialogues": "dialogues", "contrast": "probes"}
"""Suffix of `plan.authored_…` for a key of the plan."""


def plan_sets(context: PlanningContext) -> Iterator[list[PlannedScenario]]:
    """Yield the scenarios of each written set, in the order of the taxonomy's files.

    Raises:
        ConfigError: a mistake in a sets or dialogues file.
    """
    for goal, is_planned in _iter_goals(context):
        if is_planned and (set_ := plan_single_turns(goal, context)):
            yield set_
        if goal.contrast is None:  # a probe has no dialogues
            yield from plan_dialogues(goal, context)


def iter_goals(context: PlanningContext) -> Iterator[Goal]:
    """Yield the goals of the chosen harms, at most `sets_per_harm` of each, and the chosen probes.

    Raises:
        ConfigError: a dialogue about a goal that is in no sets file.
    """
    return (goal for goal, is_planned in _iter_goals(context) if is_planned)


def _iter_goals(context: PlanningContext) -> Iterator[tuple[Goal, bool]]:
    plan, taken, seen = context.plan, dict[str, int](), set[str]()
    for goal in context.tree.goals():
        seen.add(goal.goal_id)
        if goal.harm not in context.harms:
            continue
        if goal.contrast is None:
            taken[goal.harm] = taken.get(goal.harm, 0) + 1
            is_planned = plan.sets_per_harm is None or taken[goal.harm] <= plan.sets_per_harm
        else:
            is_planned = goal.contrast in plan.contrast
        yield goal, is_planned
    # Complete only now; without this check a misspelt goal would lose its dialogues silently.
    for goal_id in context.dialogues:
        if goal_id not in seen:
            hint = suggest_names(goal_id, sorted(seen))
            raise ConfigError(f"{context.tree.path}: dialogues: no goal `{goal_id}`{hint}")


def plan_single_turns(goal: Goal, context: PlanningContext) -> list[PlannedScenario]:
    """Plan the set of a goal: its written prompts under every profile that they fit."""
    # One set over all profiles, because its prompts share a goal and a split.
    set_ = make_set_id(context.tree.file.taxonomy, goal)
    planned_prompts: list[PlannedScenario] = []
    for profile in context.plan.profiles:
        system = choose_system_turn(context.locale, set_, profile)
        for intent, paraphrase, prompt in fitting_prompts(goal, profile, context):
            evidence, danger = record_evidence(intent, prompt.evidence)
            marked = (IN_DANGER,) if danger else ()
            spec = PromptSpec(
                intent=intent,
                paraphrase=paraphrase,
                profile=profile,
                evidence=evidence,
                detail=prompt.detail,
                messages=build_messages(prompt.text, system),
                apt=prompt.answer,
                left_out=prompt.left_out,
                decline=prompt.decline,
                attributes=(
                    *context.written_attributes(goal, prompt.attributes),
                    *marked,
                    *twin_attributes(prompt.twin, prompt.group),
                ),
                group=prompt.group,
            )
            planned_prompts.append(plan_scenario(goal, set_, spec, context))
    return planned_prompts


def fitting_prompts(goal: Goal, profile: Profile, context: PlanningContext) -> list[IntentPrompt]:
    """List the prompts of the chosen intents that fit a profile.

    The list is empty if an intent would lose all its prompts: a set must stay matched.
    """
    prompts = _chosen_prompts(goal, context)
    fit = [p for p in prompts if context.fits(goal.harm, p.prompt.attributes, profile)]
    matched = {p.intent for p in fit} == {p.intent for p in prompts}
    return fit if matched else []


def _chosen_prompts(goal: Goal, context: PlanningContext) -> list[IntentPrompt]:
    return [p for p in goal.prompts.iter_by_intent() if p.intent in context.plan.intents]


def count_excluded(context: PlanningContext) -> dict[Profile, int]:
    """Count, by profile, the prompts that are excluded because they or their set contradict it."""
    counts = Counter[Profile]()
    for goal, is_planned in _iter_goals(context):
        prompts = _chosen_prompts(goal, context)
        for profile in context.plan.profiles:
            if is_planned:
                counts[profile] += len(prompts) - len(fitting_prompts(goal, profile, context))
            if goal.contrast is None:
                counts[profile] += count_excluded_turns(goal, profile, context)
    return {profile: n for profile, n in counts.items() if n}


def list_changed_evidence(context: PlanningContext) -> tuple[ChangedEvidence, ...]:
    """List the planned prompts and turns whose evidence is recorded otherwise than written."""
    changes: list[ChangedEvidence] = []
    for goal, is_planned in _iter_goals(context):
        changes += _iter_changed_prompts(goal, context) if is_planned else ()
        changes += iter_changed_turns(goal, context) if goal.contrast is None else ()
    return tuple(changes)


def _iter_changed_prompts(goal: Goal, context: PlanningContext) -> Iterator[ChangedEvidence]:
    planned: dict[tuple[Intent, int], Evidence] = {
        (intent, paraphrase): prompt.evidence
        for profile in context.plan.profiles
        for intent, paraphrase, prompt in fitting_prompts(goal, profile, context)
    }
    for (intent, paraphrase), evidence in planned.items():
        recorded, danger = record_evidence(intent, evidence)
        if recorded != evidence:
            yield ChangedEvidence(
                goal_id=goal.goal_id,
                intent=intent,
                turn_style=None,
                paraphrase=paraphrase,
                turn=0,
                evidence=evidence,
                recorded=recorded,
                danger=danger,
            )


def explain_empty(context: PlanningContext) -> str:
    """Explain why a plan is empty and what would change that."""
    plan = context.plan
    if not context.harms:
        return "the plan is empty: `plan.harms` names red lines only, which get no prompts; name other harms"
    barred = [harm for harm in context.harms if not context.allowed_profiles(harm)]
    if len(barred) == len(context.harms):
        profiles, named = ", ".join(plan.profiles), ", ".join(barred)
        return (
            f"the plan is empty: the taxonomy excludes {named} under {profiles} (`not_under`); choose"
            " other `plan.harms` or `plan.profiles`"
        )
    if left := count_excluded(context):
        text = ", ".join(f"{n:,} under {profile}" for profile, n in left.items())
        return (
            f"the plan is empty: the written prompts contradict the profile ({text}), and a set is excluded"
            " as a whole; add a profile, or let an author write sets (`plan.authored`)"
        )
    if plan.sets_per_harm == 0:
        return f"the plan is empty: `plan.sets_per_harm: 0` excludes all written sets{_explain_empty_extras(plan)}"
    if not any(goal.harm in context.harms for goal in context.tree.goals()):
        return (
            f"the plan is empty: taxonomy `{context.tree.file.taxonomy}` has no goals for the chosen harms; write"
            " some (`sets` in the taxonomy), or use your own prompts (`--prompts FILE`)"
        )
    return (
        "the plan is empty: no written set matches `plan`; widen `harms`, `intents` or `profiles`"
    )


def _explain_empty_extras(plan: Plan) -> str:
    extra_kinds = [name for name in ("dialogues", "contrast") if getattr(plan, name)]
    if not extra_kinds:
        return (
            " and nothing else is planned; raise it, or set `plan.authored`, `plan.dialogues` or"
            " `plan.contrast`"
        )
    kinds = " and ".join(f"`plan.{name}`" for name in extra_kinds)
    keys = " or ".join(f"`plan.authored_{AUTHORED_KIND[name]}`" for name in extra_kinds)
    return (
        f", and the chosen harms have nothing written for {kinds}; raise it, choose other kinds or"
        f" harms, or let an author write some ({keys})"
    )


def group_shards(
    sets: Iterable[list[PlannedScenario]], *, candidates: int
) -> Iterator[list[PlannedScenario]]:
    """Group whole sets into shards of at least `SHARD_DRAFTS` drafts."""
    shard: list[PlannedScenario] = []
    for set_ in sets:
        shard += set_
        # A set is never cut, because its checks need all of its prompts.
        if len(shard) * candidates >= SHARD_DRAFTS:
            yield shard
            shard = []
    if shard:
        yield shard
