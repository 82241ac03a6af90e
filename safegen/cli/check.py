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
    console,
    facts,
    grid,
    json_line,
    number,
    plural,
    put,
    share,
    short,
    table_fits,
    word,
)
from safegen.config.recipe import Target
from safegen.core import plugins, resources
from safegen.core.errors import UserError
from safegen.core.types import MODES
from safegen.dataset.coverage_report import certificate_json
from safegen.pipeline.preflight.estimate import FolderState, Forecast, TeacherFacts, forecast
from safegen.pipeline.resolve import Inputs, check_drafters, read_inputs
from safegen.scenarios.written import why_empty

if TYPE_CHECKING:
    from safegen.coverage.certificate import Certificate

# Any: what accounting.json and manifest.json hold was written by some version of safegen.
Json = dict[str, Any]


def check(recipe: str, *, output: Path | None, plugins: Sequence[str], json: bool) -> None:
    """Say what a recipe would do."""
    inputs = read_inputs(recipe, trusted=plugins)
    check_drafters(inputs)
    found = forecast(inputs, output=output)
    if not found.size.prompts:
        raise UserError(why_empty(inputs.world()))
    if json:
        sys.stdout.write(json_line(_forecast_json(inputs, found)))
        return
    out = console(sys.stdout)
    name = f"{inputs.recipe.name} {inputs.recipe.version}: {_verdict(found)}"
    put(out, word(name, "bold"), "", size_table(out, found.size.by_domain_mode), "")
    put(out, facts(_forecast_facts(inputs, found), width=10), "")


def _verdict(found: Forecast) -> str:
    unset = [t.key for t in found.teachers if t.key and not t.key_set]
    if unset:
        return f"reads well, and needs {', '.join(f'`{key}`' for key in unset)} to run"
    if found.folder.state == "refused":
        return "reads well, and its folder holds another run"
    return "can run; nothing was asked"


def by_domain(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Prompts by domain and expected mode, for machines."""
    found: dict[str, dict[str, int]] = {}
    for (domain, mode), count in counts.items():
        found.setdefault(domain, {})[mode] = count
    return found


def size_table(out: Console, counts: Mapping[tuple[str, str], int]) -> Table:
    """Prompts by domain and expected mode; a narrow screen gets short names of the modes."""
    table = _size_table(counts, brief=False)
    return table if table_fits(out, table) else _size_table(counts, brief=True)


def _size_table(counts: Mapping[tuple[str, str], int], *, brief: bool) -> Table:
    heads = [mode.split("_")[0] for mode in MODES] if brief else MODES
    table = grid("prompts", *heads, "all", "", right=range(1, 5))
    for domain in dict.fromkeys(domain for domain, _ in counts):
        cells = [counts.get((domain, mode), 0) for mode in MODES]
        table.add_row("", word(domain), *map(number, cells), number(sum(cells)))
    totals = [sum(n for (_, m), n in counts.items() if m == mode) for mode in MODES]
    table.add_row("", "all", *map(number, totals), number(sum(totals)), style="bold")
    return table


def _forecast_facts(inputs: Inputs, found: Forecast) -> Iterator[tuple[str, RenderableType]]:
    recipe = inputs.recipe
    yield "taxonomy", f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}"
    yield "policies", ", ".join(p.policy_id for p in inputs.policies)
    yield "plan", f"{plural(found.size.sets, 'set')}, {plural(found.size.prompts, 'prompt')}"
    if found.size.left_out:
        yield "left out", _left_out(found)
    for told in found.overrides:
        yield "override", word(told)
    if found.size.certificate is not None:
        yield "coverage", _certificate(found.size.certificate)
    yield from _calls(inputs, found)
    for teacher in found.teachers:
        yield teacher.role, _teacher(teacher)
        if teacher.key:
            told = "is set" if teacher.key_set else "is not set; `generate` would stop at once"
            yield "key", word(f"{teacher.key} {told}", "" if teacher.key_set else "yellow")
    if found.teachers[0].name != "offline":
        yield "tokens", _tokens(found)
    if recipe.budget.requests or recipe.budget.tokens:
        bounds = [("requests", recipe.budget.requests), ("tokens", recipe.budget.tokens)]
        yield "budget", ", ".join(f"{number(most)} {what}" for what, most in bounds if most)
    names = [v.use + ("" if v.use in recipe.required else " (advises)") for v in recipe.validators]
    yield "validators", ", ".join(names)
    yield "views", ", ".join(v.use for v in recipe.views)
    yield "folder", _folder(found.folder)
    for hint in found.hints:
        yield "hint", word(hint, "yellow")


def _left_out(found: Forecast) -> str:
    counts = ", ".join(f"{profile} {number(n)}" for profile, n in found.size.left_out.items())
    total = sum(found.size.left_out.values())
    return f"{plural(total, 'prompt')} under a profile that does not fit them: {counts}"


def _authoring(found: Forecast) -> str:
    return (
        f"at most {number(found.author_calls)} of the author and {number(found.label_calls)} of labellers,"
        " who also read prompts of known labels first"
    )


def _rounds(target: Target) -> str:
    return (
        f"at most {plural(target.rounds, 'round')} more (`target.rounds`) ask for what cells of the target"
        " lack; `budget` may bound all of it"
    )


def _certificate(found: Certificate) -> str:
    counts = found.counts
    possible = counts.total - counts.void
    told = f"{number(counts.covered)} of {number(possible)} combinations of axis values"
    return f"{told} ({share(counts.covered, possible)}); {number(counts.void)} make no sense"


def _calls(inputs: Inputs, found: Forecast) -> Iterator[tuple[str, str]]:
    recipe = inputs.recipe
    told = f"{plural(found.drafts, 'draft')} ({recipe.plan.candidates} per prompt)"
    most = f", at most {number(found.calls)} with revisions" if recipe.revise else ""
    yield "calls", told + most
    if found.author_calls:
        yield "", _authoring(found)
    if recipe.target is not None:
        yield "", f"in the first round; {_rounds(recipe.target)}"


def _teacher(teacher: TeacherFacts) -> str:
    parts = [teacher.name, teacher.model, teacher.base_url]
    return ", ".join(part for part in parts if part)


def _tokens(found: Forecast) -> str:
    answers = (
        "answers not bounded: `max_tokens` is not set"
        if found.answer_tokens is None
        else f"at most {short(found.answer_tokens)} for answers"
    )
    return (
        f"about {short(found.prompt_tokens)} for prompts (an estimate: characters / 4), {answers}"
    )


def _folder(state: FolderState) -> Text:
    told = {
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
    return word(f"{state.folder}: {told}", "yellow" if state.state == "refused" else "")


def _forecast_json(inputs: Inputs, found: Forecast) -> Json:
    return {
        "recipe": inputs.recipe.name,
        "version": inputs.recipe.version,
        "taxonomy": f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        "policies": [p.policy_id for p in inputs.policies],
        "sets": found.size.sets,
        "prompts": found.size.prompts,
        "by_domain_mode": by_domain(found.size.by_domain_mode),
        "certificate": None
        if found.size.certificate is None
        else certificate_json(found.size.certificate),
        "drafts": found.drafts,
        "left_out": dict(found.size.left_out),
        "overrides": list(found.overrides),
        "calls_at_most": found.calls,
        "author_calls_at_most": found.author_calls,
        "label_calls_at_most": found.label_calls,
        "hints": list(found.hints),
        "further_rounds_at_most": inputs.recipe.target.rounds if inputs.recipe.target else 0,
        "prompt_tokens_estimate": found.prompt_tokens,
        "answer_tokens_at_most": found.answer_tokens,
        "teachers": [asdict(t) for t in found.teachers],
        "validators": [v.use for v in inputs.recipe.validators],
        "views": [v.use for v in inputs.recipe.views],
        "folder": asdict(found.folder) | {"folder": str(found.folder.folder)},
    }


def list_(kind: str | None, *, json: bool) -> None:
    """List what a recipe can name, with a line on each."""
    kinds = [*resources.KINDS, *plugins.KINDS]
    if kind is not None:
        resources.known_or_fail(kind, kinds, what="kind")
    out = console(sys.stdout)
    for name in [kind] if kind else kinds:
        table = grid("", "")
        for entry, line in _entries(name):
            if json:
                sys.stdout.write(json_line({"kind": name, "name": entry, "about": line}))
            table.add_row("", word(entry), word(line, "dim"))
        if not json:
            put(out, word(name, "bold"), table, "")


def _entries(kind: str) -> Iterator[tuple[str, str]]:
    if kind in resources.KINDS:
        for name in resources.names(kind):
            yield name, resources.about(kind, name)
        return
    for name in plugins.names(kind):
        yield name, (plugins.factory(kind, name).__doc__ or "").strip().split("\n")[0]
