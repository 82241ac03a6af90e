"""Dry-run a recipe: validate it and estimate prompts, calls and tokens; no model is called."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from safegen.config.recipe import Recipe
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.core.types import Expectation, PlannedScenario, Profile, Scenario, UnixClock
from safegen.coverage.certificate import Certificate, certify
from safegen.coverage.ledger import Cell, scenario_axes
from safegen.dataset.coverage_report import AxisShapes, build_coverage_model
from safegen.dataset.curate import curate
from safegen.dataset.curation.split import SplitName, describe_empty_splits, split_of
from safegen.judges.juror import load_judge_prompt, make_rubric_renderer
from safegen.pipeline.contact_warnings import day_of
from safegen.pipeline.draft_messages import (
    build_draft_messages,
    choose_style,
    make_note,
    make_system_renderer,
)
from safegen.pipeline.judge_check import count_trap_calls, count_trap_chars
from safegen.pipeline.policy_update import is_policy_only
from safegen.pipeline.preflight.teacher_facts import TeacherFacts, list_teacher_facts
from safegen.pipeline.preflight.warnings import list_overrides, list_warnings
from safegen.pipeline.resolve import (
    ResolvedRecipe,
    check_drafters,
    check_panel,
    resolve_recipe,
)
from safegen.pipeline.session import check_folder, choose_folder, plan_first_round
from safegen.pipeline.snapshot import list_differences
from safegen.pipeline.top_up import is_round_due
from safegen.scenarios.authoring.author import MAX_REPAIRS
from safegen.scenarios.context import ChangedEvidence, choose_harms
from safegen.scenarios.dialogues import is_dialogue_turn
from safegen.scenarios.surface import is_wrapped
from safegen.scenarios.written import (
    count_excluded,
    explain_empty,
    iter_goals,
    list_changed_evidence,
    plan_single_turns,
)
from safegen.store import plan
from safegen.store.run_folder import RunFolder

CHARS_PER_TOKEN = 4
"""An estimate for English text; most other scripts have fewer characters per token."""
FolderStatus = Literal["new", "resumes", "edited", "round", "complete", "refused"]


@dataclass(frozen=True, slots=True)
class PlanSize:
    """The size of a plan."""

    sets: int
    prompts: int
    authored: int
    """Author requests without repairs: one per set or per turn of a conversation."""
    authored_texts: int
    """Prompts and turns that an author writes."""
    by_domain_mode: Mapping[tuple[str, str], int]
    prompt_chars: int
    """Characters sent for the first drafts of all candidates: instructions and messages."""
    judge_chars: int
    """Characters that one juror reads for one draft of each prompt, without the drafts."""
    plain_chars: int
    """Characters sent for one answer to each prompt without the spec."""
    excluded: Mapping[Profile, int]
    """Prompts that are skipped under a profile because they contradict it."""
    recorded_otherwise: tuple[ChangedEvidence, ...]
    """Prompts and turns whose evidence is recorded otherwise than written."""
    unreachable_profiles: Mapping[Profile, tuple[str, ...]]
    """Chosen leaves without a prompt, by profile."""
    out_of_reach: Mapping[Cell, int]
    """Written prompts of cells that have fewer than the target asks for."""
    splits: frozenset[SplitName]
    """Splits with a goal."""
    certificate: Certificate | None
    """Coverage of the axes by the plan; None if fewer than two axes vary."""


@dataclass(frozen=True, slots=True)
class FolderState:
    """The state of the output folder for `generate`."""

    folder: Path
    state: FolderStatus
    shards: int = 0
    shards_done: int = 0
    differing: tuple[str, ...] = ()
    """Keys and files that differ from the snapshot."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of a recipe."""

    size: PlanSize
    teachers: tuple[TeacherFacts, ...]
    drafts: int
    calls: int
    """Upper bound of drafts with all revisions, without retries."""
    author_calls: int
    """Upper bound: each set, probe or turn is written once and repaired `MAX_REPAIRS` times."""
    label_calls: int
    """Upper bound: each labeller reads every version of a text with two questions, plus the known prompts of the check."""
    effect_calls: int
    """Answers without the spec, one for each prompt; 0 if no policy effect is measured."""
    judge_calls: int
    """Upper bound: each juror reads each draft, each revision and each answer without the spec once, and the traps."""
    judge_tokens: int
    """Estimate from characters of what jurors read, without the answers that they read."""
    prompt_tokens: int
    """Estimate from characters, for all drafts, all possible revisions, and the answers without the spec."""
    answer_tokens: int | None
    """Upper bound; None if a teacher has no `max_tokens`."""
    folder: FolderState
    overrides: tuple[str, ...]
    """Leaves whose own spec overrides a spec of their domain."""
    hints: tuple[str, ...]
    """Warnings, each with its remedy."""


def estimate(
    inputs: ResolvedRecipe, *, output: Path | None = None, clock: UnixClock = time.time
) -> Estimate:
    """Estimate prompts, calls and tokens of a resolved recipe; no model is called.

    Args:
        inputs: the resolved recipe.
        output: the folder of the run; default the recipe's.
        clock: returns seconds since 1970, for warnings about stale contacts.

    Raises:
        UserError: a teacher's parameters are wrong, or a sets file is, or no run can use the folder.
        StoreDamaged: the output folder holds a run that cannot be read.

    Example:
        >>> estimate(resolve_recipe("starter")).author_calls
        0
    """
    recipe = inputs.recipe
    teachers = list_teacher_facts(inputs)
    size = _measure_plan(inputs)
    drafts = size.prompts * recipe.plan.candidates
    calls = drafts * (1 + recipe.revise)
    effect_calls = 0 if recipe.policy_effect is None else size.prompts
    judge_calls = (calls + effect_calls) * len(recipe.judges.panel) + count_trap_calls(inputs)
    texts = recipe.plan.candidates * (1 + recipe.revise) + bool(effect_calls)
    judge_rounds = texts * len(recipe.judges.panel)
    bounds = [t.max_tokens for t in teachers]
    sent = size.prompt_chars * (1 + recipe.revise) + (size.plain_chars if effect_calls else 0)
    return Estimate(
        size=size,
        teachers=teachers,
        drafts=drafts,
        calls=calls,
        author_calls=(1 + MAX_REPAIRS) * size.authored,
        # Two questions about each version of a text.
        label_calls=(
            2 * (1 + MAX_REPAIRS) * size.authored_texts
            + (recipe.judges.known if size.authored else 0)
        )
        * len(recipe.judges.labellers),
        effect_calls=effect_calls,
        judge_calls=judge_calls,
        judge_tokens=(
            size.judge_chars * judge_rounds + count_trap_chars(inputs) * len(recipe.judges.panel)
        )
        // CHARS_PER_TOKEN,
        prompt_tokens=sent // CHARS_PER_TOKEN,
        answer_tokens=None
        if None in bounds
        else (calls + effect_calls + judge_calls) * max(b for b in bounds if b),
        folder=read_folder(inputs, choose_folder(output, recipe)),
        overrides=list_overrides(inputs),
        hints=(
            *_iter_unreachable(inputs, size),
            *_iter_empty_splits(inputs, size),
            *list_warnings(inputs, today=day_of(clock())),
        ),
    )


class DryRun(NamedTuple):
    """A resolved recipe and its estimate."""

    inputs: ResolvedRecipe
    estimate: Estimate


def dry_run(
    recipe: Recipe | str,
    *,
    output: Path | None = None,
    trusted: Sequence[str] = (),
    clock: UnixClock = time.time,
) -> DryRun:
    """Check a recipe and estimate its calls and tokens; no model is called.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        output: the folder of the run; default the recipe's.
        trusted: modules that the recipe may name as `module:factory`.
        clock: returns seconds since 1970, for warnings about stale contacts.

    Raises:
        UserError: the recipe or a file that it names is wrong, or its plan is empty.
        StoreDamaged: the output folder holds a run that cannot be read.
    """
    inputs = resolve_recipe(recipe, trusted=trusted)
    check_drafters(inputs)
    check_panel(inputs)
    result = estimate(inputs, output=output, clock=clock)
    if not result.size.prompts:
        raise UserError(explain_empty(inputs.make_planning_context()))
    return DryRun(inputs, result)


def _iter_unreachable(inputs: ResolvedRecipe, size: PlanSize) -> Iterator[str]:
    """Warn about profiles and target cells that the plan cannot fill."""
    chosen = len(choose_harms(inputs.recipe.plan, inputs.tree))
    for profile, leaves in size.unreachable_profiles.items():
        if len(leaves) == chosen:
            yield (
                f"`plan.profiles`: the chosen leaves have no prompt under `{profile}`; remove it or"
                " widen `plan.harms`"
            )
        elif open_ := [h for h in leaves if profile not in inputs.barred_profiles.get(h, ())]:
            yield (
                f"under `{profile}`, {len(open_)} of {chosen} leaves {'has' if len(open_) == 1 else 'have'} no prompt:"
                f" {', '.join(open_)}; let"
                " an author write some (`plan.authored`)"
            )
    target, cells = inputs.recipe.target, size.out_of_reach
    if target is not None and cells:
        cell, most = min(cells.items(), key=lambda item: item[1])
        yield (
            f"`target.accepted: {target.accepted}` cannot be met in {format_plural(len(cells), 'cell')} of"
            f" {' × '.join(target.per)}: {' · '.join(cell)} has {format_plural(most, 'prompt')}; lower it, or let an"
            " author write sets (`plan.authored`)"
        )


def _iter_empty_splits(inputs: ResolvedRecipe, size: PlanSize) -> Iterator[str]:
    warning = describe_empty_splits(size.splits, test=inputs.recipe.split.test)
    # Top-up rounds plan sets of further goals, which may fall into the other split.
    if warning is not None and inputs.recipe.target is None:
        yield warning


def _measure_plan(inputs: ResolvedRecipe) -> PlanSize:
    sets = chars = plain_chars = judge_chars = authored = texts = 0
    counts: Counter[tuple[str, str]] = Counter()
    counter, shapes = _CharCounter(inputs), AxisShapes()
    context = inputs.make_planning_context()
    profiles: set[tuple[Profile, str]] = set()
    reach, splits = _CellReach(inputs), set[SplitName]()
    for set_ in plan_first_round(inputs, context):
        sets += 1
        reach.add(set_)
        written = [p for p in set_ if p.brief is not None and not is_wrapped(p.scenario)]
        texts += len(written)
        turns = sum(is_dialogue_turn(planned.scenario) for planned in written)
        authored += turns or bool(written)
        for planned in set_:
            splits.add(split_of(planned.scenario.goal_id, test=inputs.recipe.split.test))
            counts[planned.scenario.domain, planned.expectation.mode] += 1
            profiles.add((planned.scenario.profile, planned.scenario.harm))
            chars += counter.count_chars(planned)
            plain_chars += sum(len(m["content"]) for m in planned.scenario.messages)
            judge_chars += counter.count_judge_chars(planned)
            shapes.add_planned(planned)
    model = build_coverage_model(
        shapes,
        inputs.tiers,
        restricted_axes=inputs.recipe.plan.restricted_axes,
        barred_profiles=inputs.barred_profiles,
    )
    certificate = None if model is None else certify(model, shapes.rows(inputs.tiers))
    return PlanSize(
        sets=sets,
        authored=authored,
        authored_texts=texts,
        prompts=sum(counts.values()),
        by_domain_mode=dict(sorted(counts.items())),
        prompt_chars=chars,
        judge_chars=judge_chars,
        plain_chars=plain_chars,
        excluded=count_excluded(context),
        recorded_otherwise=list_changed_evidence(context),
        unreachable_profiles={
            p: tuple(harm for harm in context.harms if (p, harm) not in profiles)
            for p in inputs.recipe.plan.profiles
        },
        out_of_reach=reach.find_short_cells(),
        splits=frozenset(splits),
        certificate=certificate,
    )


class _CellReach:
    """The prompts that each cell of a target can have: those of the plan and of goals that it left out."""

    def __init__(self, inputs: ResolvedRecipe) -> None:
        self._inputs, self._target = inputs, inputs.recipe.target
        self._cells: dict[Cell, set[str]] = {}

    def add(self, set_: Sequence[PlannedScenario]) -> None:
        """Count the scenarios of a planned set."""
        for item in set_ if self._target else ():
            self._cells.setdefault(self._cell_of(item), set()).add(item.scenario.scenario_id)

    def find_short_cells(self) -> dict[Cell, int]:
        """Count the prompts of cells below the target; none if an author writes the missing sets."""
        target, plan_ = self._target, self._inputs.recipe.plan
        if target is None or (plan_.authored and "harm" in target.per):
            return {}
        context = self._inputs.make_full_planning_context()
        for goal in (
            iter_goals(context)
            if any(len(c) < target.accepted for c in self._cells.values())
            else ()
        ):
            for item in plan_single_turns(goal, context):
                if self._cell_of(item) in self._cells:
                    self._cells[self._cell_of(item)].add(item.scenario.scenario_id)
        return {c: len(ids) for c, ids in sorted(self._cells.items()) if len(ids) < target.accepted}

    def _cell_of(self, item: PlannedScenario) -> Cell:
        assert self._target is not None
        axes = scenario_axes(item)
        return tuple(str(axes[name]) for name in self._target.per)


class _CharCounter:
    """A counter of the characters that a drafter reads; each distinct system turn is rendered once."""

    def __init__(self, inputs: ResolvedRecipe) -> None:
        policies = {p.policy_id: p for p in inputs.policies}
        self._render = make_system_renderer(inputs.draft_prompt, policies, inputs.contacts)
        self._tiers = inputs.tiers
        plan_ = inputs.recipe.plan
        drafters = len(inputs.recipe.teachers.drafter)
        self._styles = Counter(
            choose_style(plan_.styles, i, drafters=drafters) for i in range(plan_.candidates)
        )
        self._seen: dict[object, int] = {}
        self._wrappers = inputs.make_wrappers()
        judge_prompt = load_judge_prompt() if inputs.recipe.judges.panel else None
        self._render_rubric = judge_prompt and make_rubric_renderer(judge_prompt, policies)

    def count_judge_chars(self, planned: PlannedScenario) -> int:
        """Count the characters that one juror reads for one draft, without the draft."""
        if self._render_rubric is None:
            return 0
        rubric = self._render_rubric(planned.expectation, planned.scenario.harm)
        return len(rubric.system) + sum(len(m["content"]) for m in planned.scenario.messages)

    def count_chars(self, planned: PlannedScenario) -> int:
        """Count the characters of the first drafts of all candidates."""
        messages = planned.scenario.messages
        system_turns = tuple(m for m in messages if m["role"] == "system")
        operator = "\n".join(m["content"] for m in system_turns)
        region = planned.scenario.jurisdiction
        key = planned.expectation, planned.scenario.harm, operator, region
        if key not in self._seen:
            scenario = replace(planned.scenario, messages=system_turns)
            self._seen[key] = sum(
                count * self._count_system_chars(scenario, planned.expectation, style)
                for style, count in self._styles.items()
            )
        turns = sum(len(m["content"]) for m in messages if m["role"] != "system")
        note = make_note(planned.scenario, self._wrappers)
        return self._seen[key] + (turns + len(note)) * self._styles.total()

    def _count_system_chars(self, scenario: Scenario, expectation: Expectation, style: str) -> int:
        messages = build_draft_messages(
            scenario,
            expectation,
            render=self._render,
            tiers=self._tiers,
            style=style,
        )
        return sum(len(m["content"]) for m in messages)


def read_folder(inputs: ResolvedRecipe, folder: RunFolder) -> FolderState:
    """Read the state of the output folder, and reject one that `generate` rejects.

    Raises:
        UserError: no run can start or resume in the folder.
        StoreDamaged: the folder holds a run that cannot be read.
    """
    check_folder(folder)
    if not folder.snapshot_path.exists():
        return FolderState(folder.output, "new")
    keys = list_differences(folder, inputs)
    differing = tuple(str(key) for key in keys)
    if differing and not is_policy_only(keys):
        return FolderState(folder.output, "refused", differing=differing)
    if not folder.plan(0).exists():
        return FolderState(folder.output, "resumes")
    shards = plan.Plans(folder.plans).shards
    done = len([n for n in folder.finished_shards() if n < shards])
    if differing:
        return FolderState(folder.output, "edited", shards, done, differing)
    has_target = done == shards and inputs.recipe.target is not None
    due = has_target and is_round_due(folder, inputs, curate(folder))
    state: FolderStatus = "round" if due else "complete" if done == shards else "resumes"
    return FolderState(folder.output, state, shards, done)
