"""Output of `safegen check` and `safegen list`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from safegen.cli.render.console import (
    does_table_fit,
    format_json_line,
    format_number,
    format_share,
    format_short,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.config.recipe import Target
from safegen.core import plugins, resources
from safegen.core.plural import format_plural
from safegen.core.types import DANGER, MODES
from safegen.dataset.coverage_report import certificate_json
from safegen.pipeline.preflight.estimate import Estimate, FolderState, dry_run
from safegen.pipeline.preflight.teacher_facts import TeacherFacts, list_unset
from safegen.pipeline.resolve import ResolvedRecipe

if TYPE_CHECKING:
    from safegen.coverage.certificate import Certificate
    from safegen.pipeline.user_prompts import ChangedRow
    from safegen.scenarios.context import ChangedEvidence

MAX_LISTED = 10
"""Rows or prompts of one kind that the screen lists."""
OTHER_RUN_RESULT = "valid, but its folder holds another run"
UNSET_NOTE = "is not set; `generate` would fail at once"
# Any: a tree of JSON values.
EstimateJson = dict[str, Any]


def check_recipe(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> None:
    """Validate a recipe and print the estimate of its plan."""
    inputs, estimate = dry_run(recipe, output=output, trusted=plugins)
    if json:
        sys.stdout.write(format_json_line(_estimate_json(inputs, estimate)))
        return
    out = make_console(sys.stdout)
    head = f"{inputs.recipe.name} {inputs.recipe.version}: {_result_text(estimate)}"
    print_out(out, make_text(head, "bold"), "", size_table(out, estimate.size.by_domain_mode), "")
    print_out(out, make_fact_table(_estimate_pairs(inputs, estimate), width=10), "")


def _result_text(estimate: Estimate) -> str:
    if unset := list_unset(estimate.teachers):
        return format_unset(unset)
    if estimate.folder.state == "refused":
        return OTHER_RUN_RESULT
    return "valid and ready to run (no requests sent)"


def format_unset(variables: Sequence[str]) -> str:
    """Describe a valid recipe whose environment variables are not set."""
    return f"valid, but needs {', '.join(f'`{name}`' for name in variables)} to run"


def nest_by_domain(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Nest counts by domain and mode as JSON objects."""
    nested: dict[str, dict[str, int]] = {}
    for (domain, mode), count in counts.items():
        nested.setdefault(domain, {})[mode] = count
    return nested


def size_table(out: Console, counts: Mapping[tuple[str, str], int]) -> Table:
    """Build a table of prompts by domain and mode; shorten the mode names if it does not fit."""
    table = _build_size_table(counts, brief=False)
    return table if does_table_fit(out, table) else _build_size_table(counts, brief=True)


def _build_size_table(counts: Mapping[tuple[str, str], int], *, brief: bool) -> Table:
    heads = [mode.split("_")[0] for mode in MODES] if brief else MODES
    table = make_grid("prompts", *heads, "all", "", right=range(1, 5))
    for domain in dict.fromkeys(domain for domain, _ in counts):
        cells = [counts.get((domain, mode), 0) for mode in MODES]
        table.add_row("", make_text(domain), *map(format_number, cells), format_number(sum(cells)))
    totals = [sum(n for (_, m), n in counts.items() if m == mode) for mode in MODES]
    table.add_row("", "all", *map(format_number, totals), format_number(sum(totals)), style="bold")
    return table


def _estimate_pairs(
    inputs: ResolvedRecipe, estimate: Estimate
) -> Iterator[tuple[str, RenderableType]]:
    recipe = inputs.recipe
    yield "taxonomy", f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}"
    yield "policies", ", ".join(p.policy_id for p in inputs.policies)
    yield (
        "plan",
        f"{format_plural(estimate.size.sets, 'set')}, {format_plural(estimate.size.prompts, 'prompt')}",
    )
    if estimate.size.excluded:
        yield "skipped", _excluded_text(estimate)
    yield from recorded_pairs([_name_change(c) for c in estimate.size.recorded_otherwise], "prompt")
    for override in estimate.overrides:
        yield "override", make_text(override)
    if estimate.size.certificate is not None:
        yield "coverage", _certificate_text(estimate.size.certificate)
    yield from _call_pairs(inputs, estimate)
    for teacher in estimate.teachers:
        yield teacher.role, _teacher_text(teacher)
        yield from _variable_pairs(teacher)
    if not estimate.teachers[0].embedded:
        yield "tokens", _tokens_text(estimate)
    if recipe.budget.requests or recipe.budget.tokens:
        bounds = [("requests", recipe.budget.requests), ("tokens", recipe.budget.tokens)]
        yield (
            "budget",
            ", ".join(f"{format_number(bound)} {unit}" for unit, bound in bounds if bound),
        )
    names = [
        v.use + ("" if v.use in recipe.required_validators else " (advisory)")
        for v in recipe.validators
    ]
    yield "validators", ", ".join(names)
    yield "views", ", ".join(v.use for v in recipe.views)
    yield "folder", format_folder(estimate.folder)
    for hint in estimate.hints:
        yield "hint", make_text(hint, "yellow")


def _variable_pairs(teacher: TeacherFacts) -> Iterator[tuple[str, RenderableType]]:
    if teacher.key and teacher.key_set:
        yield "key", f"`{teacher.key}` is set"
    for variable in teacher.unset:
        name = "key" if variable == teacher.key else "variable"
        yield name, make_text(f"`{variable}` {UNSET_NOTE}", "yellow")


def _excluded_text(estimate: Estimate) -> str:
    counts = ", ".join(
        f"{profile} {format_number(n)}" for profile, n in estimate.size.excluded.items()
    )
    total = sum(estimate.size.excluded.values())
    return f"{format_plural(total, 'prompt')} excluded by profile: {counts}"


def recorded_pairs(lines: Sequence[str], noun: str) -> Iterator[tuple[str, RenderableType]]:
    """Yield the facts on labels that are recorded otherwise than written: their number, then a line each."""
    if not lines:
        return
    total = format_plural(len(lines), noun)
    yield "recorded", make_text(f"{total} otherwise than written", "yellow")
    for line in lines[:MAX_LISTED]:
        yield "", make_text(f"- {line}")
    if len(lines) > MAX_LISTED:
        more = format_number(len(lines) - MAX_LISTED)
        yield "", make_text(f"and {more} more; list all with --json", "dim")


def recorded_text(change: ChangedEvidence | ChangedRow) -> str:
    """Describe the evidence as written and as recorded."""
    attribute = f" with `{DANGER}: self`" if change.danger else ""
    return (
        f"intent `{change.intent}` with evidence `{change.evidence}` is recorded as"
        f" `{change.recorded}`{attribute}"
    )


def _name_change(change: ChangedEvidence) -> str:
    if change.turn_style is None:
        place = f"prompt {change.paraphrase + 1}"
    else:
        place = f"{change.turn_style} {change.paraphrase + 1}, turn {change.turn + 1}"
    return f"`{change.goal_id}`, {change.intent} {place}: {recorded_text(change)}"


def _authoring_text(estimate: Estimate) -> str:
    return (
        f"in addition, at most {format_number(estimate.author_calls)} to the author and"
        f" {format_number(estimate.label_calls)} to labellers, the check included"
    )


def _judging_text(estimate: Estimate) -> str:
    return (
        f"in addition, at most {format_number(estimate.judge_calls)} to judges, traps included, who read about"
        f" {format_short(estimate.judge_tokens)} tokens and the drafts"
    )


def _effect_text(estimate: Estimate) -> str:
    return f"in addition, {format_number(estimate.effect_calls)} without the spec (`policy_effect`)"


def _rounds_text(target: Target) -> str:
    return (
        f"at most {format_plural(target.rounds, 'top-up round')} (`target.rounds`) refill cells below"
        " the target; `budget` bounds the total"
    )


def _certificate_text(certificate: Certificate) -> str:
    counts = certificate.counts
    possible = counts.total - counts.void
    share = format_share(counts.covered, possible)
    return (
        f"{format_number(counts.covered)} of {format_number(possible)} combinations of axis values"
        f" ({share}); {format_number(counts.void)} excluded by constraints"
    )


def _call_pairs(inputs: ResolvedRecipe, estimate: Estimate) -> Iterator[tuple[str, str]]:
    recipe = inputs.recipe
    text = f"{format_plural(estimate.drafts, 'draft')} ({recipe.plan.candidates} per prompt)"
    revised = f", at most {format_number(estimate.calls)} with revisions" if recipe.revise else ""
    yield "calls", text + revised
    if estimate.effect_calls:
        yield "", _effect_text(estimate)
    if estimate.author_calls:
        yield "", _authoring_text(estimate)
    if estimate.judge_calls:
        yield "", _judging_text(estimate)
    if recipe.target is not None:
        yield "", f"for the first round; {_rounds_text(recipe.target)}"


def _teacher_text(teacher: TeacherFacts) -> str:
    parts = [teacher.name, teacher.model, teacher.base_url]
    return ", ".join(part for part in parts if part)


def _tokens_text(estimate: Estimate) -> str:
    answers = (
        "no bound for answers: `max_tokens` is not set"
        if estimate.answer_tokens is None
        else f"at most {format_short(estimate.answer_tokens)} for answers"
    )
    return f"about {format_short(estimate.prompt_tokens)} for prompts (characters / 4), {answers}"


def format_folder(state: FolderState) -> Text:
    """Describe the output folder and what `generate` does with it."""
    text_by_status = {
        "new": "new",
        "resumes": f"done: {state.shards_done} of {format_plural(state.shards, 'shard')}; `generate` resumes"
        if state.shards
        else "started but not planned; `generate` resumes",
        "edited": f"complete, but {', '.join(state.differing)} changed; `generate` redoes the affected rows",
        "round": "below its target; `generate` runs a top-up round",
        "complete": "complete; `generate` would send no request",
        "refused": f"begun with another {', '.join(state.differing)};"
        " `generate` would fail: use --output or --replan",
    }[state.state]
    return make_text(
        f"{state.folder}: {text_by_status}", "yellow" if state.state == "refused" else ""
    )


def _estimate_json(inputs: ResolvedRecipe, estimate: Estimate) -> EstimateJson:
    return {
        "recipe": inputs.recipe.name,
        "version": inputs.recipe.version,
        "taxonomy": f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        "policies": [p.policy_id for p in inputs.policies],
        "sets": estimate.size.sets,
        "prompts": estimate.size.prompts,
        "by_domain_mode": nest_by_domain(estimate.size.by_domain_mode),
        "certificate": None
        if estimate.size.certificate is None
        else certificate_json(estimate.size.certificate),
        "drafts": estimate.drafts,
        "excluded_by_profile": dict(estimate.size.excluded),
        "recorded_otherwise": [c._asdict() for c in estimate.size.recorded_otherwise],
        "overrides": list(estimate.overrides),
        "calls_at_most": estimate.calls,
        "effect_calls": estimate.effect_calls,
        "author_calls_at_most": estimate.author_calls,
        "label_calls_at_most": estimate.label_calls,
        "judge_calls_at_most": estimate.judge_calls,
        "judge_prompt_tokens_estimate": estimate.judge_tokens,
        "hints": list(estimate.hints),
        "further_rounds_at_most": inputs.recipe.target.rounds if inputs.recipe.target else 0,
        "prompt_tokens_estimate": estimate.prompt_tokens,
        "answer_tokens_at_most": estimate.answer_tokens,
        "teachers": [asdict(t) for t in estimate.teachers],
        "validators": [v.use for v in inputs.recipe.validators],
        "views": [v.use for v in inputs.recipe.views],
        "folder": asdict(estimate.folder) | {"folder": str(estimate.folder.folder)},
    }


def list_names(kind: str | None, *, json: bool) -> None:
    """Print the names that a recipe can use, with one line on each."""
    kinds = [*resources.KINDS, *plugins.KINDS]
    if kind is not None:
        resources.require_known(kind, kinds, kind="kind")
    out = make_console(sys.stdout)
    for name in [kind] if kind else kinds:
        table = make_grid("", "")
        for entry, line in _iter_entries(name):
            if json:
                sys.stdout.write(format_json_line({"kind": name, "name": entry, "about": line}))
            table.add_row("", make_text(entry), make_text(line, "dim"))
        if not json:
            print_out(out, make_text(name, "bold"), table, "")


def _iter_entries(kind: str) -> Iterator[tuple[str, str]]:
    if kind in resources.KINDS:
        for name in resources.list_names(kind):
            yield name, resources.describe(kind, name)
        return
    for name in plugins.list_names(kind):
        yield name, (plugins.find_factory(kind, name).__doc__ or "").strip().split("\n")[0]
