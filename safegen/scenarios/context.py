"""Ids of sets, scenarios and drafts; the context of planning; the plan of one scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from safegen.config.contacts import Contacts
from safegen.config.goals import Dialogue, Goal
from safegen.config.language_pack import Locale
from safegen.config.plan import Plan
from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core.errors import ConfigError
from safegen.core.hashing import short_id
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    DANGER,
    GIVEN_HISTORY,
    GROUP,
    TWIN,
    Attribute,
    Evidence,
    Intent,
    Knowledge,
    Message,
    PlannedScenario,
    Profile,
    SafeTask,
    Scenario,
    Source,
    TurnStyle,
)
from safegen.coverage import axes as axes_file
from safegen.coverage.axes import Axes
from safegen.policy.decide import compute_scenario_expectation
from safegen.policy.spec import Policy, policy_for

IN_DANGER = Attribute(DANGER, "self", "written")
EMPTY_KNOWLEDGE = Knowledge((), (), SafeTask("", ()), (), "", "")
"""Knowledge of a prompt without written material for its answers."""


def make_set_id(
    taxonomy: str, goal: Goal, *, axes: Sequence[tuple[str, str]] = (), author: int = 0
) -> str:
    """Derive a set's id from taxonomy, harm, goal, axis row and author index, never from text."""
    rows = [[axis, value] for axis, value in axes]
    return short_id("set", taxonomy, goal.harm, goal.goal_id, rows, author)


def make_scenario_id(
    set_: str,
    *,
    intent: Intent,
    paraphrase: int,
    language: str,
    profile: Profile,
    turn: int = 0,
    group: str | None = None,
) -> str:
    """Derive the id of a scenario within its set; twins differ by their group."""
    named = () if group is None else (group,)
    return short_id("scenario", set_, intent, paraphrase, language, profile, turn, *named)


def make_draft_id(scenario: str, *, candidate: int, revision: int) -> str:
    """Derive the id of a draft of a scenario."""
    return short_id("draft", scenario, candidate, revision)


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """Inputs of planning: taxonomy, chosen harms with their policies, language pack, axes."""

    plan: Plan
    tree: Taxonomy
    dialogues: Mapping[str, tuple[Dialogue, ...]]
    harms: Mapping[str, Harm]
    policy_by_harm: Mapping[str, Policy]
    locale: Locale
    axes: Axes
    contacts: Contacts = field(default_factory=Contacts)
    """The registries of contacts, which decide the region of a row without one in its language tag."""

    @staticmethod
    def create(
        plan: Plan,
        tree: Taxonomy,
        policies: Sequence[Policy],
        locale: Locale,
        *,
        contacts: Contacts | None = None,
    ) -> PlanningContext:
        """Choose the harms and find the policy of each.

        Raises:
            ConfigError: a pattern that matches no harm, or a harm without exactly one policy.
        """
        harms = choose_harms(plan, tree)
        covering = {h: policy_for(policies, harm) for h, harm in harms.items()}
        return PlanningContext(
            plan,
            tree,
            tree.dialogues(),
            harms,
            covering,
            locale,
            axes_file.load_axes(),
            contacts or Contacts(),
        )

    def written_attributes(self, goal: Goal, values: Mapping[str, str]) -> tuple[Attribute, ...]:
        """Convert the axis values that a prompt of a goal states to attributes.

        Raises:
            ConfigError: an axis or value that the axes file does not have.
        """
        try:
            return tuple(
                Attribute(axis, self.axes.require_value(axis, value), "written")
                for axis, value in sorted(values.items())
            )
        except ConfigError as e:
            raise ConfigError(f"goal `{goal.goal_id}`, attributes: {e}") from e

    def allowed_profiles(self, harm: str) -> tuple[Profile, ...]:
        """List the plan's profiles under which a harm may be asked."""
        barred = self.harms[harm].not_under
        return tuple(p for p in self.plan.profiles if p not in barred)

    def fits(self, harm: str, values: Mapping[str, str], profile: Profile) -> bool:
        """Check that a profile allows a harm and does not contradict a prompt's axis values."""
        return (
            profile not in self.harms[harm].not_under
            and self.profile_conflict(values, profile) is None
        )

    def profile_conflict(self, values: Mapping[str, str], profile: Profile) -> str | None:
        """Return the reason why a profile contradicts the values that a prompt states, or None."""
        row, rules = {**values, "profile": profile}, self.axes.voids_by_profile.get(profile, ())
        return next((rule.why for rule in rules if rule.matches(row)), None)


PROCEDURE = 3
"""Least detail for which the goal's `left_out` is the part that an answer omits."""


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The fields in which one prompt of a set differs from the others."""

    intent: Intent
    paraphrase: int
    profile: Profile
    evidence: Evidence
    detail: int
    messages: tuple[Message, ...]
    attributes: tuple[Attribute, ...] = ()
    turn: int = 0
    dialogue: Intent | None = None
    """The intent of the whole conversation, if the prompt is a turn of one."""
    apt: tuple[str, ...] = ()
    """Points of a good answer that are specific to this prompt."""
    left_out: str | None = None
    """The part of this request that an answer omits."""
    decline: str | None = None
    """The act that a refusal of this prompt declines."""
    source: Source = "written"
    licence: str | None = None
    """The licence of the prompt; default: the taxonomy's."""
    group: str | None = None
    """The group that the prompt names, if it has twins that name other groups."""
    system_profile: Profile | None = None
    """The profile at the start of the dialogue, if the operator may change it later."""


class ChangedEvidence(NamedTuple):
    """A written prompt or turn whose evidence is recorded otherwise than written."""

    goal_id: str
    intent: Intent
    turn_style: TurnStyle | None
    """Kind of the dialogue; None for a prompt of a set."""
    paraphrase: int
    """Index among the prompts of the intent, or among the dialogues of kind and intent."""
    turn: int
    """Index of the user turn; 0 for a prompt of a set."""
    evidence: Evidence
    recorded: Evidence
    danger: bool
    """True if the record has the attribute `danger: self` as well."""


def choose_harms(plan: Plan, tree: Taxonomy) -> dict[str, Harm]:
    """Choose the harms that a plan names, in taxonomy order, without red lines.

    Raises:
        ConfigError: a pattern that matches no harm, or a red line that is named in full.
    """
    chosen: set[str] = set()
    for pattern in plan.harms:
        fits = [h for h in tree.harms if fnmatchcase(h, pattern)]
        if not fits:
            hint = suggest_names(pattern, [*tree.harms, *(f"{d.id}.*" for d in tree.file.domains)])
            raise ConfigError(
                f"`{pattern}` matches no harm of `{tree.file.taxonomy}`{hint}", key="plan.harms"
            )
        # `minors.*` may match a red line, which is skipped; its full name is a mistake.
        if pattern in tree.harms and tree.harms[pattern].red_line:
            raise ConfigError(
                f"`{pattern}` is a red line and is never expanded; remove it", key="plan.harms"
            )
        chosen.update(fits)
    return {h: harm for h, harm in tree.harms.items() if h in chosen and not harm.red_line}


def plan_scenario(
    goal: Goal, set_: str, spec: PromptSpec, context: PlanningContext
) -> PlannedScenario:
    """Build a scenario of a goal and compute its expectation."""
    harm, language = context.harms[goal.harm], context.locale.locale
    # Intent and profile of a turn may change within a dialogue; its id has those of the whole, so
    # that the ids of its turns differ by the turn alone.
    scenario = Scenario(
        scenario_id=make_scenario_id(
            set_,
            intent=spec.dialogue or spec.intent,
            paraphrase=spec.paraphrase,
            language=language,
            profile=spec.system_profile or spec.profile,
            turn=spec.turn,
            group=spec.group,
        ),
        set_id=set_,
        goal_id=goal.goal_id,
        round=0,
        taxonomy=context.tree.file.taxonomy,
        harm=goal.harm,
        domain=goal.harm.split(".")[0],
        task=goal.task,
        intent=spec.intent,
        evidence=spec.evidence,
        requested_detail=spec.detail,
        paraphrase=spec.paraphrase,
        turn=spec.turn,
        language=language,
        jurisdiction=context.contacts.region_of(language),
        profile=spec.profile,
        contrast=goal.contrast,
        attributes=(*spec.attributes, *history_attributes(spec.messages)),
        benign_use=goal.benign_use,
        misuse_risk=goal.misuse_risk,
        messages=spec.messages,
        source=spec.source,
        source_licence=spec.licence or context.tree.file.licence,
    )
    expectation = compute_scenario_expectation(context.policy_by_harm[goal.harm], harm, scenario)
    left_out = spec.left_out
    if left_out is None and spec.detail < PROCEDURE:
        # The goal's words name steps, which this prompt does not ask for.
        left_out = ""
    knowledge = goal.knowledge.to_knowledge(
        spec.apt, purpose=goal.purpose, left_out=left_out, decline=spec.decline
    )
    return PlannedScenario(scenario, expectation, knowledge)


def history_attributes(messages: Sequence[Message]) -> tuple[Attribute, ...]:
    """Mark messages that contain an assistant turn before any draft."""
    # Drafted turns are inserted later, so an assistant turn here was given.
    return (GIVEN_HISTORY,) if any(m["role"] == "assistant" for m in messages) else ()


def twin_attributes(twin: str | None, group: str | None) -> tuple[Attribute, ...]:
    """Mark a prompt that others repeat with another group; the group may be unknown."""
    values = ((TWIN, twin), (GROUP, group)) if twin else ()
    return tuple(Attribute(axis, value, "written") for axis, value in values if value)
