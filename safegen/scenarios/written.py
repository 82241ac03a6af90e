"""Written goals → matched sets → shards: what round 0 asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from safegen.config.goals import Goal, Prompt, recorded
from safegen.config.plan import Plan
from safegen.core.errors import ConfigError
from safegen.core.types import Intent, PlannedScenario, Profile
from safegen.core.yaml_source import suggest_names
from safegen.scenarios.context import (
    IN_DANGER,
    PlanningContext,
    PromptSpec,
    build_messages,
    make_set_id,
    plan_scenario,
)
from safegen.scenarios.dialogues import count_excluded_turns, plan_dialogues

SHARD_DRAFTS = 256
"""A shard closes once its sets ask for this many drafts: little to redo, few small files."""
AUTHORED_KIND = {"dialogues": "dialogues", "contrast": "probes"}
"""What an author writes of a key of the plan: `plan.authored_…`."""


def plan_sets(world: PlanningContext) -> Iterator[list[PlannedScenario]]:
    """One list of scenarios per written set, in the order of the taxonomy's files.

    Raises:
        ConfigError: a mistake in a sets or dialogues file.
    """
    for goal, wanted in _iter_goals(world):
        if wanted and (set_ := plan_single_turns(goal, world)):
            yield set_
        if goal.contrast is None:
            yield from plan_dialogues(goal, world)


def iter_goals(world: PlanningContext) -> Iterator[Goal]:
    """The goals of the chosen leaves, `sets_per_harm` of each at most, and the probes that are asked for.

    Raises:
        ConfigError: a dialogue about a goal that no sets file holds.
    """
    return (goal for goal, wanted in _iter_goals(world) if wanted)


def _iter_goals(world: PlanningContext) -> Iterator[tuple[Goal, bool]]:
    """Every goal of the chosen leaves, and whether its single prompts are planned."""
    plan, taken, seen = world.plan, dict[str, int](), set[str]()
    for goal in world.tree.goals():
        seen.add(goal.goal_id)
        if goal.harm not in world.harms:
            continue
        if goal.contrast is None:
            taken[goal.harm] = taken.get(goal.harm, 0) + 1
            wanted = plan.sets_per_harm is None or taken[goal.harm] <= plan.sets_per_harm
        else:
            wanted = goal.contrast in plan.contrast
        yield goal, wanted
    for about in world.dialogues:
        if about not in seen:
            hint = suggest_names(about, sorted(seen))
            raise ConfigError(f"{world.tree.path}: dialogues: no goal `{about}`{hint}")


def plan_single_turns(goal: Goal, world: PlanningContext) -> list[PlannedScenario]:
    """The set of a goal: its written prompts under every profile that their words fit."""
    set_ = make_set_id(world.tree.file.taxonomy, goal)
    planned_prompts: list[PlannedScenario] = []
    for profile in world.plan.profiles:
        system = world.locale.system_turn(set_, profile)
        for intent, paraphrase, prompt in fitting_prompts(goal, profile, world):
            evidence, danger = recorded(intent, prompt.evidence)
            marked = (IN_DANGER,) if danger else ()
            spec = PromptSpec(
                intent=intent,
                paraphrase=paraphrase,
                profile=profile,
                evidence=evidence,
                detail=prompt.detail,
                messages=build_messages(prompt.text, system),
                apt=prompt.answer,
                attributes=(*world.written_attributes(goal, prompt.attributes), *marked),
            )
            planned_prompts.append(plan_scenario(goal, set_, spec, world))
    return planned_prompts


def fitting_prompts(
    goal: Goal, profile: Profile, world: PlanningContext
) -> list[tuple[Intent, int, Prompt]]:
    """The prompts of the chosen intents that make sense under a profile; none where an intent would lose all."""
    prompts = [entry for entry in goal.prompts.iter_by_intent() if entry[0] in world.plan.intents]
    fit = [entry for entry in prompts if world.fits(goal.harm, entry[2].attributes, profile)]
    matched = {intent for intent, _, _ in fit} == {intent for intent, _, _ in prompts}
    return fit if matched else []


def count_excluded(world: PlanningContext) -> dict[Profile, int]:
    """Prompts that are not asked under a profile which their words, or those of their set, contradict."""
    counts = Counter[Profile]()
    for goal, wanted in _iter_goals(world):
        prompts = [
            entry for entry in goal.prompts.iter_by_intent() if entry[0] in world.plan.intents
        ]
        for profile in world.plan.profiles:
            if wanted:
                counts[profile] += len(prompts) - len(fitting_prompts(goal, profile, world))
            if goal.contrast is None:
                counts[profile] += count_excluded_turns(goal, profile, world)
    return {profile: n for profile, n in counts.items() if n}


def explain_empty(world: PlanningContext) -> str:
    """Why a plan over this world asks for nothing, and what would change that."""
    plan = world.plan
    if not world.harms:
        return "the plan is empty: the leaves of `plan.harms` are red lines, which are never asked; name others"
    barred = [harm for harm in world.harms if not world.allowed_profiles(harm)]
    if len(barred) == len(world.harms):
        profiles, named = ", ".join(plan.profiles), ", ".join(barred)
        return (
            f"the plan is empty: under {profiles} nothing of {named} is ever asked (`not_under` in the"
            " taxonomy); choose other `plan.harms` or `plan.profiles`"
        )
    if left := count_excluded(world):
        text = ", ".join(f"{n:,} under {profile}" for profile, n in left.items())
        return (
            f"the plan is empty: the words of the written prompts contradict the profile ({text}), and a set"
            " goes whole; add a profile, or have an author write sets (`plan.authored`)"
        )
    if plan.sets_per_harm == 0:
        return f"the plan is empty: `plan.sets_per_harm: 0` takes no written set{_explain_empty_extras(plan)}"
    if not any(goal.harm in world.harms for goal in world.tree.goals()):
        return (
            f"the plan is empty: taxonomy `{world.tree.file.taxonomy}` has no goals for the chosen leaves; write"
            " some (`sets` in the taxonomy), or bring prompts of your own (`--prompts FILE`)"
        )
    return "the plan is empty: no written set fits `plan`; widen `harms`, `intents` or `profiles`"


def _explain_empty_extras(plan: Plan) -> str:
    """Why what is asked for beside plain sets comes to nothing, too."""
    extra_kinds = [name for name in ("dialogues", "contrast") if getattr(plan, name)]
    if not extra_kinds:
        return (
            " and nothing else is asked for; raise it, or set `plan.authored`, `plan.dialogues` or"
            " `plan.contrast`"
        )
    kinds = " and ".join(f"`plan.{name}`" for name in extra_kinds)
    ways = " or ".join(f"`plan.authored_{AUTHORED_KIND[name]}`" for name in extra_kinds)
    return (
        f", and of {kinds} the chosen leaves have nothing written; raise it, choose other kinds or"
        f" leaves, or have an author write some ({ways})"
    )


def group_shards(
    sets: Iterable[list[PlannedScenario]], *, candidates: int
) -> Iterator[list[PlannedScenario]]:
    """Group whole sets until a shard asks for `SHARD_DRAFTS` drafts."""
    shard: list[PlannedScenario] = []
    for set_ in sets:
        shard += set_
        if len(shard) * candidates >= SHARD_DRAFTS:
            yield shard
            shard = []
    if shard:
        yield shard
