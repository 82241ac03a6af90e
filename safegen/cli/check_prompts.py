"""`check --prompts`: what a user's file comes to, before anybody is asked."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import RenderableType

from safegen.cli.check import nest_by_domain, size_table
from safegen.cli.render.console import (
    format_counts,
    format_json_line,
    format_number,
    format_plural,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.summary import format_barred
from safegen.pipeline import user_prompts
from safegen.pipeline.resolve import ResolvedRecipe, check_teachers, resolve_recipe
from safegen.pipeline.user_prompts import ImportEstimate
from safegen.pipeline.user_repeats import format_warning
from safegen.scenarios.user_prompts.reader import UserPrompts
from safegen.scenarios.user_prompts.resolve_labels import in_words

MAX_NAMED = 10
"""Rows that are not planned, named on the screen."""
UNCHECKED_NOTE = (
    "taken as the file has them; nothing holds them against the text. For labels that are read off it, leave"
    " their cells empty and name `judges.labellers` in the recipe"
)


def check(recipe: str, source: UserPrompts, *, plugins: Sequence[str], json: bool) -> None:
    """Say what would become of the rows of a file.

    Raises:
        UserError: a mistake in the file or the recipe.
    """
    inputs = resolve_recipe(recipe, trusted=plugins)
    user_prompts.check_recipe(inputs, teachers={})
    check_teachers(inputs, teachers={})
    estimate = user_prompts.estimate_import(inputs, source)
    if json:
        sys.stdout.write(format_json_line(_to_json(inputs, source, estimate)))
        return
    out = make_console(sys.stdout)
    table = size_table(out, estimate.by_domain_mode)
    head = f"{source.name} for {inputs.recipe.name} {inputs.recipe.version}; nothing was asked"
    print_out(
        out,
        make_text(head, "bold"),
        "",
        table,
        "",
        make_fact_table(_fact_pairs(inputs, estimate), width=10),
        "",
    )
    for row in estimate.unlabelled[:MAX_NAMED]:
        named = f"row {row.row}" + (f" (`{row.id}`)" if row.id else "")
        print_out(out, make_text(f"- {named}, {', '.join(row.fields)}: {row.why}"))
    if len(estimate.unlabelled) > MAX_NAMED:
        print_out(
            out,
            make_text(
                f"and {format_number(len(estimate.unlabelled) - MAX_NAMED)} more; --json names all",
                "dim",
            ),
        )


def _fact_pairs(
    inputs: ResolvedRecipe, estimate: ImportEstimate
) -> Iterator[tuple[str, RenderableType]]:
    yield (
        "rows",
        f"{format_number(estimate.rows)}, {format_number(estimate.labelled)} with all labels, {format_number(estimate.planned)} planned",
    )
    if estimate.taken:
        yield "labels", f"of {format_plural(estimate.taken, 'row')}: {UNCHECKED_NOTE}"
    if estimate.to_read:
        calls = f"{format_plural(estimate.label_calls, 'question')} to labellers"
        again = "each asked once more where the answer cannot be read"
        yield "to read", f"{format_plural(estimate.to_read, 'text')}, {calls}, {again}"
    if estimate.unlabelled:
        causes = format_counts(in_words(Counter(row.cause for row in estimate.unlabelled)))
        text = f"{format_plural(len(estimate.unlabelled), 'row')} not planned ({causes})"
        yield "listed", make_text(text, "yellow")
    if estimate.left_out:
        yield (
            "left out",
            make_text(
                ", ".join(f"{format_number(n)} by {by}" for by, n in estimate.left_out.items())
            ),
        )
    if estimate.not_under:
        yield "not asked", make_text(format_barred(estimate.not_under))
    if estimate.repeats:
        yield "repeats", make_text(format_warning(estimate.repeats, most=MAX_NAMED), "yellow")
    if estimate.not_read:
        yield "not read", make_text(f"columns {', '.join(estimate.not_read)}")
    prompts = sum(estimate.by_domain_mode.values())
    drafts = prompts * inputs.recipe.plan.candidates
    more = "; more once labellers have read the others" if estimate.to_read else ""
    yield "calls", f"{format_plural(drafts, 'draft')} of {format_plural(prompts, 'prompt')}{more}"


def _to_json(
    inputs: ResolvedRecipe, source: UserPrompts, estimate: ImportEstimate
) -> dict[str, object]:
    listed = [row._asdict() for row in estimate.unlabelled]
    alike = [
        {"row": r.row._asdict(), "of": r.of._asdict(), "similarity": round(r.similarity, 4)}
        for r in estimate.repeats
    ]
    prompts = sum(estimate.by_domain_mode.values())
    return {
        "recipe": inputs.recipe.name,
        "file": source.name,
        **asdict(estimate),
        "unlabelled": listed,
        "repeats": alike,
        "by_domain_mode": nest_by_domain(estimate.by_domain_mode),
        "prompts": prompts,
        "drafts": prompts * inputs.recipe.plan.candidates,
    }
