"""Written goals → matched sets → shards: the plan of round 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from safegen.errors import ConfigError
from safegen.hashing import short_id
from safegen.locales import Locale
from safegen.policy.mode import expect
from safegen.policy.spec import Policy, policy_for
from safegen.recipe import Plan
from safegen.taxonomy import Goal, Harm, Prompt, Taxonomy
from safegen.types import Attribute, Intent, Message, Planned, Profile, Scenario
from safegen.yamlfile import did_you_mean

SHARD_DRAFTS = 256
"""A shard closes once its sets ask for this many drafts: little to redo, few small files."""


def set_id(
    taxonomy: str, goal: Goal, *, axes: Sequence[tuple[str, str]] = (), author: int = 0
) -> str:
    """The id of a set: taxonomy, harm, goal, row of the axes, author index. Never its text."""
    return short_id("set", taxonomy, goal.harm, goal.goal_id, list(axes), author)


def scenario_id(
    set_: str, *, intent: Intent, paraphrase: int, language: str, profile: Profile, turn: int = 0
) -> str:
    """The id of a scenario within its set."""
    return short_id("scenario", set_, intent, paraphrase, language, profile, turn)


def draft_id(scenario: str, *, candidate: int, revision: int) -> str:
    """The id of a draft of a scenario."""
    return short_id("draft", scenario, candidate, revision)


def chosen_harms(plan: Plan, tree: Taxonomy) -> dict[str, Harm]:
    """The leaves that a plan names, in taxonomy order; red lines only when asked for, and then refused.

    Raises:
        ConfigError: a pattern that fits no leaf, or a red-line leaf named outright.
    """
    chosen: set[str] = set()
    for pattern in plan.harms:
        fits = [h for h in tree.harms if fnmatchcase(h, pattern)]
        if not fits:
            hint = did_you_mean(pattern, list(tree.harms))
            raise ConfigError(
                f"plan.harms: `{pattern}` fits no leaf of `{tree.file.taxonomy}`{hint}"
            )
        if pattern in tree.harms and tree.harms[pattern].red_line:
            raise ConfigError(
                f"plan.harms: `{pattern}` is a red line and is never expanded; remove it"
            )
        chosen.update(fits)
    return {h: harm for h, harm in tree.harms.items() if h in chosen and not harm.red_line}


def plan_sets(
    plan: Plan, tree: Taxonomy, policies: Sequence[Policy], locale: Locale
) -> Iterator[list[Planned]]:
    """One list of scenarios per set, in the order of the taxonomy's files.

    Raises:
        ConfigError: a mistake in a sets file, or a leaf that not exactly one spec covers.
    """
    harms = chosen_harms(plan, tree)
    covering = {h: policy_for(policies, harm) for h, harm in harms.items()}
    taken: dict[str, int] = {}
    for goal in tree.goals():
        if goal.harm not in harms or goal.contrast is not None:
            continue
        taken[goal.harm] = taken.get(goal.harm, 0) + 1
        if plan.sets_per_harm is not None and taken[goal.harm] > plan.sets_per_harm:
            continue
        harm = harms[goal.harm]
        yield list(_expand(goal, harm, covering[goal.harm], plan=plan, tree=tree, locale=locale))


def shards(sets: Iterator[list[Planned]], *, candidates: int) -> Iterator[list[Planned]]:
    """Group whole sets until a shard asks for `SHARD_DRAFTS` drafts."""
    shard: list[Planned] = []
    for planned in sets:
        shard += planned
        if len(shard) * candidates >= SHARD_DRAFTS:
            yield shard
            shard = []
    if shard:
        yield shard


def _expand(
    goal: Goal, harm: Harm, policy: Policy, *, plan: Plan, tree: Taxonomy, locale: Locale
) -> Iterator[Planned]:
    knowledge = goal.knowledge.value()
    for profile in plan.profiles:
        for intent, paraphrase, prompt in goal.prompts.by_intent():
            if intent not in plan.intents:
                continue
            scenario = _scenario(
                goal,
                prompt,
                tree=tree,
                locale=locale,
                intent=intent,
                paraphrase=paraphrase,
                profile=profile,
            )
            expectation = expect(
                policy, harm, evidence=prompt.evidence, profile=profile, detail=prompt.detail
            )
            yield Planned(scenario, expectation, knowledge)


def _scenario(
    goal: Goal,
    prompt: Prompt,
    *,
    tree: Taxonomy,
    locale: Locale,
    intent: Intent,
    paraphrase: int,
    profile: Profile,
) -> Scenario:
    taxonomy = tree.file.taxonomy
    set_ = set_id(taxonomy, goal)
    return Scenario(
        scenario_id=scenario_id(
            set_, intent=intent, paraphrase=paraphrase, language=locale.locale, profile=profile
        ),
        set_id=set_,
        goal_id=goal.goal_id,
        round=0,
        taxonomy=taxonomy,
        harm=goal.harm,
        domain=goal.harm.split(".")[0],
        task=goal.task,
        intent=intent,
        evidence=prompt.evidence,
        requested_detail=prompt.detail,
        paraphrase=paraphrase,
        turn=0,
        language=locale.locale,
        jurisdiction=None,
        profile=profile,
        contrast=None,
        attributes=tuple(
            Attribute(axis, value, "written") for axis, value in sorted(prompt.attributes.items())
        ),
        benign_use=goal.benign_use,
        misuse_risk=goal.misuse_risk,
        messages=messages(prompt.text, locale.system_turn(set_, profile)),
        source="written",
        source_licence=tree.file.licence,
    )


def messages(text: str, system: str) -> tuple[Message, ...]:
    """What the student sees: the operator's system turn, if any, and the prompt."""
    user = Message(role="user", content=text)
    return (Message(role="system", content=system), user) if system else (user,)
