"""The stage before drafting: an author writes a planned set, and checks accept or drop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, cast

from safegen.config.language_pack import Locale
from safegen.core.errors import ItemError
from safegen.core.types import (
    DropReason,
    Evidence,
    Expectation,
    Failure,
    Gate,
    PlannedScenario,
    Profile,
    Scenario,
    Teacher,
)
from safegen.policy.decide import shows_danger
from safegen.scenarios.authoring.author import AuthoredPrompt, AuthorTemplates, write_set
from safegen.scenarios.authoring.plan_sets import read_brief
from safegen.scenarios.authoring.rule_checks import Fault
from safegen.scenarios.dialogues import is_dialogue_turn
from safegen.scenarios.surface import Surface, is_wrapped, wrapper_marks
from safegen.scenarios.system_turns import build_messages, choose_system_turn


class Expect(Protocol):
    """The policy as a function of harm, evidence, profile and requested detail."""

    def __call__(
        self,
        harm: str,
        evidence: Evidence,
        profile: Profile,
        detail: int,
        /,
        *,
        danger: bool = False,
    ) -> Expectation:
        """Compute the expectation; `danger` as in `safegen.policy.decide.compute_expectation`."""
        ...


@dataclass(frozen=True)
class Writers:
    """The author and the labellers of a run, with their templates and the policy."""

    author: Teacher
    labellers: tuple[Teacher, ...]
    files: AuthorTemplates
    expect: Expect
    locale: Locale
    surface: Surface = field(default_factory=Surface)
    """Noise and wrappers for the prompts when they are written."""


class ExpandedSet(NamedTuple):
    """The prompts of a set, and the failures of those that were dropped."""

    planned: tuple[PlannedScenario, ...]
    failures: tuple[Failure, ...] = ()
    unsafe: tuple[str, ...] = ()
    """Keys of requests whose replies contain operational detail."""


async def expand_set(planned: Sequence[PlannedScenario], writers: Writers | None) -> ExpandedSet:
    """Let an author write the prompts of a set; return written sets and conversations unchanged.

    Raises:
        RunError: the run cannot continue.
    """
    if not planned or planned[0].brief is None or is_dialogue_turn(planned[0].scenario):
        return ExpandedSet(tuple(planned))
    assert writers is not None, "a plan with briefs has an author"
    brief, sample = read_brief(planned[0].brief)
    head = planned[0].scenario

    def expect(evidence: Evidence, detail: int) -> Expectation:
        return writers.expect(head.harm, evidence, head.profile, detail)

    try:
        result = await write_set(
            brief,
            author=writers.author,
            labeller=writers.labellers,
            files=writers.files,
            expect=expect,
            locale=writers.locale,
            sample=sample,
        )
    except ItemError as e:  # one lost request drops the set, which would be unmatched without it
        return ExpandedSet((), tuple(make_error_failure(p, e) for p in planned))
    by_slot = {p.slot.name: p for p in result.prompts or ()}
    rationales = (result.benign_use, result.misuse_risk)
    done: list[PlannedScenario] = []
    failures: list[Failure] = []
    for item in planned:
        name = f"{item.scenario.intent}_{item.scenario.paraphrase}"
        if (prompt := _find_prompt(item.scenario, by_slot)) is not None:
            done.append(_fill_scenario(item, prompt, rationales, writers))
        else:
            # A dropped paraphrase has faults of its own; a dropped set all of them.
            own = [f for f in result.faults if f.slot == name or not by_slot]
            failures.append(make_drop_failure(item, own, text=result.texts.get(name)))
    return ExpandedSet(tuple(writers.surface.finish(done)), tuple(failures), result.unsafe_keys)


def _find_prompt(
    scenario: Scenario, by_slot: Mapping[str, AuthoredPrompt]
) -> AuthoredPrompt | None:
    own = by_slot.get(f"{scenario.intent}_{scenario.paraphrase}")
    if own is not None or not is_wrapped(scenario):
        return own
    # A wrapped copy takes another prompt of its intent, so that its twin keeps a counterpart.
    return next((p for p in by_slot.values() if p.slot.intent == scenario.intent), None)


def _fill_scenario(
    planned: PlannedScenario, prompt: AuthoredPrompt, rationales: tuple[str, str], writers: Writers
) -> PlannedScenario:
    # The expectation follows the labels that were read, not those that were planned.
    scenario, slot = planned.scenario, prompt.slot
    system = choose_system_turn(writers.locale, scenario.set_id, scenario.profile)
    benign_use, misuse_risk = rationales
    scenario = replace(
        scenario,
        paraphrase=slot.paraphrase,
        evidence=slot.evidence,
        requested_detail=slot.detail,
        messages=build_messages(prompt.text, system),
        attributes=(*sorted(prompt.confirmed), *wrapper_marks(scenario)),
        benign_use=benign_use,
        misuse_risk=misuse_risk,
    )
    expectation = writers.expect(
        scenario.harm, slot.evidence, scenario.profile, slot.detail, danger=shows_danger(scenario)
    )
    return replace(planned, scenario=scenario, expectation=expectation)


def make_error_failure(planned: PlannedScenario, error: ItemError) -> Failure:
    """Record a prompt that is lost because a request failed."""
    return Failure(
        scenario_id=planned.scenario.scenario_id,
        draft_id="",
        stage="expand",
        outcome=error.outcome,
        error=error.code,
        message=str(error),
        key=error.key,
        shown=error.shown,
    )


def drop_reason(gate: Gate) -> DropReason:
    """Name the drop reason of a check."""
    return cast("DropReason", f"gate_{gate}")


def make_drop_failure(
    planned: PlannedScenario, faults: Sequence[Fault], *, text: str | None = None
) -> Failure:
    """Record a prompt that is dropped because it or its set did not pass the checks.

    Args:
        planned: the prompt.
        faults: its faults, or those of its set.
        text: its last text, unless it contains operational detail.
    """
    return Failure(
        scenario_id=planned.scenario.scenario_id,
        draft_id="",
        stage="expand",
        outcome="ok",
        error="GateFailed",
        message="; ".join(f"{f.gate}, {f.slot}: {f.reason}" for f in faults),
        reason=drop_reason(faults[0].gate),
        text=text,
    )
