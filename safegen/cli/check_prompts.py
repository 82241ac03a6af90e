"""Output of `safegen check --prompts`: the estimate of a user's file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import RenderableType

from safegen.cli.check import (
    MAX_LISTED,
    OTHER_RUN_RESULT,
    UNSET_NOTE,
    format_folder,
    format_unset,
    nest_by_domain,
    recorded_pairs,
    recorded_text,
    size_table,
)
from safegen.cli.render.console import (
    format_counts,
    format_json_line,
    format_number,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.summary import format_barred
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.pipeline.user_prompts import (
    ImportDryRun,
    describe_personal_rows,
    dry_run_import,
)
from safegen.pipeline.user_repeats import format_warning
from safegen.scenarios.user_prompts.reader import UserPrompts

UNCHECKED_NOTE = (
    "used as the file states them, without a check against the text; to have labellers read them, leave"
    " the cells empty and set `judges.labellers` in the recipe"
)


def check(
    recipe: str,
    source: UserPrompts,
    *,
    output: Path | None,
    plugins: Sequence[str],
    json: bool,
) -> None:
    """Validate a recipe with a file of prompts and print the estimate.

    Raises:
        UserError: the file or the recipe is wrong, or no row can be planned.
    """
    dry_run = dry_run_import(recipe, source, output=output, trusted=plugins)
    estimate = dry_run.estimate
    if json:
        sys.stdout.write(format_json_line(_to_json(dry_run, source)))
    else:
        _print_estimate(dry_run, source)
    # The rows are shown first, because they say what to change.
    if estimate.problem is not None:
        raise UserError(estimate.problem)


def _print_estimate(dry_run: ImportDryRun, source: UserPrompts) -> None:
    inputs, estimate = dry_run.inputs, dry_run.estimate
    out = make_console(sys.stdout)
    table = size_table(out, estimate.by_domain_mode)
    name = f"{source.name} for {inputs.recipe.name} {inputs.recipe.version}"
    head = f"{name}: {_result_text(dry_run)} (no requests sent)"
    print_out(
        out,
        make_text(head, "bold"),
        "",
        table,
        "",
        make_fact_table([*_iter_facts(dry_run), *_iter_unset(dry_run.unset)], width=10),
        "",
    )
    for row in estimate.unlabelled[:MAX_LISTED]:
        name = _name_row(row.row, row.id)
        print_out(out, make_text(f"- {', '.join([name, *row.fields])}: {row.message}"))
    if len(estimate.unlabelled) > MAX_LISTED:
        print_out(
            out,
            make_text(
                f"and {format_number(len(estimate.unlabelled) - MAX_LISTED)} more; list all with --json",
                "dim",
            ),
        )


def _result_text(dry_run: ImportDryRun) -> str:
    if dry_run.estimate.problem is not None:
        return "no row can be planned"
    if dry_run.unset:
        return format_unset(dry_run.unset)
    return OTHER_RUN_RESULT if dry_run.folder.state == "refused" else "valid"


def _name_row(number: int, id_: str | None) -> str:
    return f"row {number}" + (f" (`{id_}`)" if id_ else "")


def _iter_facts(dry_run: ImportDryRun) -> Iterator[tuple[str, RenderableType]]:
    inputs, estimate = dry_run.inputs, dry_run.estimate
    yield (
        "rows",
        f"{format_number(estimate.rows)}, {format_number(estimate.labelled)} with all labels, {format_number(estimate.planned)} planned"
        f" in {format_plural(estimate.sets, 'set')} of {format_plural(estimate.goals, 'goal')}",
    )
    yield "fields", make_text(_describe_fields(estimate.fields))
    for warning in estimate.warnings:
        yield "warning", make_text(warning, "yellow")
    if estimate.personal_rows:
        text = describe_personal_rows(estimate.personal_rows, inputs.recipe.redact)
        yield "personal", make_text(f"{text} ({format_counts(estimate.personal_kinds)})", "yellow")
    if estimate.taken:
        yield "labels", f"of {format_plural(estimate.taken, 'row')}: {UNCHECKED_NOTE}"
    changes = estimate.recorded_otherwise
    yield from recorded_pairs(
        [f"{_name_row(c.row, c.id)}: {recorded_text(c)}" for c in changes], "row"
    )
    if estimate.to_read:
        texts = format_plural(estimate.to_read, "text")
        calls = format_plural(estimate.label_calls, "labeller call")
        yield "to label", f"{texts}, {calls}, each retried once if the reply cannot be parsed"
    if estimate.unlabelled:
        causes = format_counts(estimate.causes)
        text = f"{format_plural(len(estimate.unlabelled), 'row')} not planned ({causes})"
        yield "unplanned", make_text(text, "yellow")
    if estimate.excluded:
        yield (
            "excluded",
            make_text(
                ", ".join(f"{format_number(n)} by {by}" for by, n in estimate.excluded.items())
            ),
        )
    if estimate.not_under:
        yield "skipped", make_text(format_barred(estimate.not_under))
    if estimate.repeats:
        yield "repeats", make_text(format_warning(estimate.repeats, most=MAX_LISTED), "yellow")
    if estimate.not_read:
        yield "unused", make_text(f"columns {', '.join(estimate.not_read)}")
    prompts = sum(estimate.by_domain_mode.values())
    drafts = prompts * inputs.recipe.plan.candidates
    pending = "; more after labelling" if estimate.to_read else ""
    yield (
        "calls",
        f"{format_plural(drafts, 'draft')} of {format_plural(prompts, 'prompt')}{pending}",
    )
    yield "folder", format_folder(dry_run.folder)


def _iter_unset(variables: Sequence[str]) -> Iterator[tuple[str, RenderableType]]:
    for variable in variables:
        yield "variable", make_text(f"`{variable}` {UNSET_NOTE}", "yellow")


def _describe_fields(fields: Mapping[str, str]) -> str:
    """Name the column of each field; columns with the name of their field come first."""
    own = [field for field, column in fields.items() if field == column]
    named = [f"{field} from `{column}`" for field, column in fields.items() if field != column]
    return ", ".join([*own, *named])


def _to_json(dry_run: ImportDryRun, source: UserPrompts) -> dict[str, object]:
    inputs, estimate, unset, folder = dry_run
    listed = [row._asdict() for row in estimate.unlabelled]
    repeats = [
        {"row": r.row._asdict(), "of": r.of._asdict(), "similarity": round(r.similarity, 4)}
        for r in estimate.repeats
    ]
    prompts = sum(estimate.by_domain_mode.values())
    return {
        "recipe": inputs.recipe.name,
        "file": source.name,
        **asdict(estimate),
        "unlabelled": listed,
        "recorded_otherwise": [change._asdict() for change in estimate.recorded_otherwise],
        "repeats": repeats,
        "by_domain_mode": nest_by_domain(estimate.by_domain_mode),
        "prompts": prompts,
        "unset": list(unset),
        "folder": asdict(folder) | {"folder": str(folder.folder)},
        "drafts": prompts * inputs.recipe.plan.candidates,
    }
