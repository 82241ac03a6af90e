"""Commands that look before a run: check, list."""

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
    format_plural,
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
from safegen.core.errors import UserError
from safegen.core.types import MODES
from safegen.dataset.coverage_report import certificate_json
from safegen.pipeline.preflight.estimate import Estimate, FolderState, TeacherFacts, estimate
from safegen.pipeline.resolve import ResolvedRecipe, check_drafters, resolve_recipe
from safegen.scenarios.written import explain_empty

if TYPE_CHECKING:
    from safegen.coverage.certificate import Certificate

# Any: what accounting.json and manifest.json hold was written by some version of safegen.
Json = dict[str, Any]


def check_recipe(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> None:
    """Say what a recipe would do."""
    inputs = resolve_recipe(recipe, trusted=plugins)
    check_drafters(inputs)
    result = estimate(inputs, output=output)
    if not result.size.prompts:
        raise UserError(explain_empty(inputs.make_planning_context()))
    if json:
        sys.stdout.write(format_json_line(_estimate_json(inputs, result)))
        return
    out = make_console(sys.stdout)
    name = f"{inputs.recipe.name} {inputs.recipe.version}: {_verdict_text(result)}"
    print_out(out, make_text(name, "bold"), "", size_table(out, result.size.by_domain_mode), "")
    print_out(out, make_fact_table(_estimate_pairs(inputs, result), width=10), "")


def _verdict_text(estimate: Estimate) -> str:
    unset = [t.key for t in estimate.teachers if t.key and not t.key_set]
    if unset:
        return f"reads well, and needs {', '.join(f'`{key}`' for key in unset)} to run"
    if estimate.folder.state == "refused":
        return "reads well, and its folder holds another run"
    return "can run; nothing was asked"


def nest_by_domain(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Prompts by domain and expected mode, for machines."""
    nested: dict[str, dict[str, int]] = {}
    for (domain, mode), count in counts.items():
        nested.setdefault(domain, {})[mode] = count
    return nested


def size_table(out: Console, counts: Mapping[tuple[str, str], int]) -> Table:
    """Prompts by domain and expected mode; a narrow screen gets short names of the modes."""
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
        yield "left out", _excluded_text(estimate)
    for override in estimate.overrides:
        yield "override", make_text(override)
    if estimate.size.certificate is not None:
        yield "coverage", _certificate_text(estimate.size.certificate)
    yield from _call_pairs(inputs, estimate)
    for teacher in estimate.teachers:
        yield teacher.role, _teacher_text(teacher)
        if teacher.key:
            override = "is set" if teacher.key_set else "is not set; `generate` would stop at once"
            yield "key", make_text(f"{teacher.key} {override}", "" if teacher.key_set else "yellow")
    if not estimate.teachers[0].embedded:
        yield "tokens", _tokens_text(estimate)
    if recipe.budget.requests or recipe.budget.tokens:
        bounds = [("requests", recipe.budget.requests), ("tokens", recipe.budget.tokens)]
        yield "budget", ", ".join(f"{format_number(most)} {unit}" for unit, most in bounds if most)
    names = [
        v.use + ("" if v.use in recipe.required_validators else " (advises)")
        for v in recipe.validators
    ]
    yield "validators", ", ".join(names)
    yield "views", ", ".join(v.use for v in recipe.views)
    yield "folder", _folder_text(estimate.folder)
    for hint in estimate.hints:
        yield "hint", make_text(hint, "yellow")


def _excluded_text(estimate: Estimate) -> str:
    counts = ", ".join(
        f"{profile} {format_number(n)}" for profile, n in estimate.size.excluded.items()
    )
    total = sum(estimate.size.excluded.values())
    return f"{format_plural(total, 'prompt')} under a profile that does not fit them: {counts}"


def _authoring_text(estimate: Estimate) -> str:
    return (
        f"at most {format_number(estimate.author_calls)} of the author and {format_number(estimate.label_calls)} of labellers,"
        " who also read prompts of known labels first"
    )


def _rounds_text(target: Target) -> str:
    return (
        f"at most {format_plural(target.rounds, 'round')} more (`target.rounds`) ask for what cells of the target"
        " lack; `budget` may bound all of it"
    )


def _certificate_text(certificate: Certificate) -> str:
    counts = certificate.counts
    possible = counts.total - counts.void
    text = (
        f"{format_number(counts.covered)} of {format_number(possible)} combinations of axis values"
    )
    return f"{text} ({format_share(counts.covered, possible)}); {format_number(counts.void)} make no sense"


def _call_pairs(inputs: ResolvedRecipe, estimate: Estimate) -> Iterator[tuple[str, str]]:
    recipe = inputs.recipe
    text = f"{format_plural(estimate.drafts, 'draft')} ({recipe.plan.candidates} per prompt)"
    most = f", at most {format_number(estimate.calls)} with revisions" if recipe.revise else ""
    yield "calls", text + most
    if estimate.author_calls:
        yield "", _authoring_text(estimate)
    if recipe.target is not None:
        yield "", f"in the first round; {_rounds_text(recipe.target)}"


def _teacher_text(teacher: TeacherFacts) -> str:
    parts = [teacher.name, teacher.model, teacher.base_url]
    return ", ".join(part for part in parts if part)


def _tokens_text(estimate: Estimate) -> str:
    answers = (
        "answers not bounded: `max_tokens` is not set"
        if estimate.answer_tokens is None
        else f"at most {format_short(estimate.answer_tokens)} for answers"
    )
    return f"about {format_short(estimate.prompt_tokens)} for prompts (an estimate: characters / 4), {answers}"


def _folder_text(state: FolderState) -> Text:
    text_by_status = {
        "new": "new",
        "resumes": f"{state.shards_done} of {state.shards} shards are done; `generate` goes on"
        if state.shards
        else "begun, not planned yet; `generate` goes on",
        "edited": f"complete but for {', '.join(state.differing)}, edited since; `generate` asks again what"
        " that concerns",
        "round": "short of its target; `generate` asks in a further round",
        "complete": "complete; `generate` would ask nothing",
        "refused": f"begun with another {', '.join(state.differing)};"
        " `generate` refuses: use --output or --replan",
    }[state.state]
    return make_text(
        f"{state.folder}: {text_by_status}", "yellow" if state.state == "refused" else ""
    )


def _estimate_json(inputs: ResolvedRecipe, estimate: Estimate) -> Json:
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
        "left_out": dict(estimate.size.excluded),
        "overrides": list(estimate.overrides),
        "calls_at_most": estimate.calls,
        "author_calls_at_most": estimate.author_calls,
        "label_calls_at_most": estimate.label_calls,
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
    """List what a recipe can name, with a line on each."""
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
