"""Evaluate models on the test split of a recipe or run: they answer without the spec, and are scored.

Each model has a run folder of its own, so a killed evaluation resumes and repeats no cached reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.core.types import PlannedScenario, Record, Teacher, Usage
from safegen.dataset.curation.split import split_of
from safegen.dataset.judge_results import read_judge_results
from safegen.pipeline._threads import run_in_thread
from safegen.pipeline.answer_checks import AnswerChecker, add_measuring_validators
from safegen.pipeline.api import open_run
from safegen.pipeline.evaluation_report import (
    PairedDifference,
    ScoredPrompt,
    compare,
    read_prompt,
)
from safegen.pipeline.resolve import ResolvedRecipe, check_teachers, resolve_recipe
from safegen.pipeline.score_report import AnswerReport
from safegen.pipeline.session import (
    Watch,
    open_folder,
    plan_first_round,
    prepare_run,
    run_session,
)
from safegen.pipeline.shard import group_sets
from safegen.scenarios.written import group_shards
from safegen.store import plan
from safegen.store.json_files import write_json
from safegen.store.run_folder import RunFolder

GROUPS = ("mode", "intent", "harm")
AUTHOR_KEYS = ("authored", "authored_probes", "authored_dialogues")


class EvaluatedModel(NamedTuple):
    """The answers of one model and their scores."""

    name: str
    folder: Path
    report: AnswerReport
    usage: Usage
    failed: int
    """Prompts without an answer to score."""


class ModelComparison(NamedTuple):
    """Two models on the same prompts."""

    baseline: str
    other: str
    differences: list[PairedDifference]


@dataclass(frozen=True)
class Evaluation:
    """The scores of all models, and their differences from the first one."""

    output: Path
    prompts: int
    sets: int
    models: tuple[EvaluatedModel, ...]
    comparisons: tuple[ModelComparison, ...] = ()
    left_out: bool = False
    """True if prompts that an author writes were left out, because a recipe alone has none."""

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object with ids and counts, and no text."""
        return {
            "output": str(self.output),
            "prompts": self.prompts,
            "sets": self.sets,
            "left_out": self.left_out,
            "models": [
                {
                    "model": model.name,
                    "folder": str(model.folder),
                    "failed": model.failed,
                    "requests": model.usage.requests,
                    "cached": model.usage.cached,
                    **model.report.to_json(),
                }
                for model in self.models
            ],
            "comparisons": [
                {
                    "baseline": pair.baseline,
                    "other": pair.other,
                    "differences": [d.to_json() for d in pair.differences],
                }
                for pair in self.comparisons
            ],
        }


class EvaluationPrompts(NamedTuple):
    """The resolved recipe of an evaluation and the sets of its test split."""

    inputs: ResolvedRecipe
    sets: list[list[PlannedScenario]]
    left_out: bool


async def aevaluate(
    source: Recipe | str | Path,
    models: Mapping[str, PluginRef],
    *,
    output: str | Path | None = None,
    plugins: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Let models answer the test split without the spec, score the answers and compare the models.

    Args:
        source: a recipe, or the folder of a run, whose authored prompts are used as well.
        models: a teacher by name; each later one is compared with the first.
        output: folder of the evaluation; default `outputs/NAME-evaluation`.
        plugins: modules that the recipe may name as `module:factory`.
        teachers: `{"judge": function}` in place of the recipe's panel.
        watch: receives the live counters of each model once, before its first request.

    Raises:
        UserError: the recipe is wrong, or its test split is empty.
        RunError: a run cannot continue; cached replies are kept, and the same call resumes.
    """
    if not models:
        raise UserError("name a model to evaluate")
    prompts = await run_in_thread(partial(_read_prompts, source, plugins))
    root = Path(output) if output else Path("outputs") / f"{prompts.inputs.recipe.name}-evaluation"
    plans = {name: _make_inputs(prompts.inputs, ref) for name, ref in models.items()}
    for inputs in plans.values():
        check_teachers(inputs, teachers=teachers or {})
    evaluated: list[EvaluatedModel] = []
    scored: list[dict[str, ScoredPrompt]] = []
    for folder, (name, inputs) in zip(_name_folders(root, list(plans)), plans.items(), strict=True):
        usage = await _run_model(
            RunFolder(folder), inputs, prompts.sets, teachers=teachers or {}, watch=watch
        )
        report, by_prompt = await run_in_thread(partial(_score_run, RunFolder(folder), inputs))
        failed = sum(map(len, prompts.sets)) - len(by_prompt)
        evaluated.append(EvaluatedModel(name, folder, report, usage, failed))
        scored.append(by_prompt)
    comparisons = tuple(
        ModelComparison(evaluated[0].name, model.name, compare(scored[0], by_prompt))
        for model, by_prompt in zip(evaluated[1:], scored[1:], strict=True)
    )
    evaluation = Evaluation(
        output=root,
        prompts=sum(map(len, prompts.sets)),
        sets=len(prompts.sets),
        models=tuple(evaluated),
        comparisons=comparisons,
        left_out=prompts.left_out,
    )
    write_json(root / "evaluation.json", evaluation.to_json())
    return evaluation


def _read_prompts(source: Recipe | str | Path, plugins: Sequence[str]) -> EvaluationPrompts:
    is_run = isinstance(source, str | Path) and RunFolder(Path(source)).snapshot_path.exists()
    if is_run:
        run = open_run(source)  # pyright: ignore[reportArgumentType] (`is_run` excludes a recipe)
        inputs = resolve_recipe(run.recipe, trusted=plugins)
        sets, left_out = list(_iter_run_sets(run.folder)), False
    else:
        recipe = str(source) if isinstance(source, Path) else source
        inputs = resolve_recipe(recipe, trusted=plugins)
        written = _drop_author(inputs)
        sets, left_out = list(plan_first_round(written)), written.recipe != inputs.recipe
    share = inputs.recipe.split.test
    chosen = [s for s in sets if s and split_of(s[0].scenario.goal_id, test=share) == "test"]
    if not chosen:
        raise UserError(
            f"no goal of the plan is in the test split (`split.test` is {share:g}); plan more goals or"
            " raise the share"
        )
    return EvaluationPrompts(inputs, chosen, left_out)


def _drop_author(inputs: ResolvedRecipe) -> ResolvedRecipe:
    update = {key: 0 for key in AUTHOR_KEYS if getattr(inputs.recipe.plan, key)}
    recipe = inputs.recipe.model_copy(
        update={"plan": inputs.recipe.plan.model_copy(update=update)} if update else {}
    )
    return replace(inputs, recipe=recipe)


def _iter_run_sets(folder: RunFolder) -> Iterator[list[PlannedScenario]]:
    """Yield the sets of a run; prompts that an author wrote come from its records."""
    plans = plan.Plans(folder.plans)
    finished = set(folder.finished_shards())
    for shard in range(plans.shards):
        records = folder.read_records(shard) if shard in finished else []
        by_id = {record.scenario.scenario_id: record for record in records}
        for set_ in group_sets(plans.read(shard)):
            items = [item for one in set_ if (item := _use_prompt(one, by_id)) is not None]
            if items:
                yield items


def _use_prompt(planned: PlannedScenario, records: Mapping[str, Record]) -> PlannedScenario | None:
    if planned.brief is None:
        return replace(planned, first=0)
    record = records.get(planned.scenario.scenario_id)
    if record is None:
        return None
    # The assistant turns of an authored dialogue are the teacher's; the model writes its own.
    messages = tuple(m for m in record.scenario.messages if m["role"] != "assistant")
    scenario = replace(record.scenario, messages=messages)
    return replace(planned, scenario=scenario, expectation=record.expectation, brief=None, first=0)


def _make_inputs(inputs: ResolvedRecipe, model: PluginRef) -> ResolvedRecipe:
    """Make the recipe of one model's run: one answer per prompt, no spec, no revision."""
    inputs = _drop_author(inputs)
    recipe = add_measuring_validators(inputs.recipe)
    teachers = recipe.teachers.model_copy(
        update={"drafter": (model,), "reviser": None, "author": None, "student": None}
    )
    recipe = recipe.model_copy(
        update={
            "plan": recipe.plan.model_copy(update={"candidates": 1, "styles": ()}),
            "teachers": teachers,
            "revise": 0,
            "target": None,
            "policy_effect": None,
        }
    )
    return replace(inputs, recipe=recipe, without_spec=True)


def _name_folders(root: Path, names: Sequence[str]) -> list[Path]:
    """Name a folder for each model; equal names get a number."""
    slugs = [re.sub(r"[^\w.-]+", "-", name).strip(".-") or "model" for name in names]
    counts = [slugs[: i + 1].count(slug) for i, slug in enumerate(slugs)]
    return [
        root / (slug if count == 1 else f"{slug}-{count}")
        for slug, count in zip(slugs, counts, strict=True)
    ]


async def _run_model(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    sets: Sequence[list[PlannedScenario]],
    *,
    teachers: Mapping[str, Teacher],
    watch: Watch | None,
) -> Usage:
    with open_folder(folder):
        await run_in_thread(partial(prepare_run, folder, inputs, replan=False))
        if not folder.plan(0).exists():
            shards = group_shards(iter(sets), candidates=1)
            await run_in_thread(partial(plan.write_plan, folder.plan(0), shards))
        stats = await run_session(folder, inputs, until=None, teachers=teachers, watch=watch)
        return stats.usage


def _score_run(
    folder: RunFolder, inputs: ResolvedRecipe
) -> tuple[AnswerReport, dict[str, ScoredPrompt]]:
    checker = AnswerChecker(inputs)
    report = AnswerReport(GROUPS, dropped=read_judge_results(folder).dropped)
    by_prompt: dict[str, ScoredPrompt] = {}
    for shard in folder.finished_shards():
        for record in folder.read_records(shard):
            place = str(folder.records(shard))
            score = checker.read_record(record, number=report.rows + 1, place=place)
            report.add(score)
            by_prompt[record.scenario.scenario_id] = read_prompt(score)
    return report, by_prompt
