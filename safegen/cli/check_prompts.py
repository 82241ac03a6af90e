"""`check --prompts`: what a user's file comes to, before anybody is asked."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import RenderableType

from safegen.cli.check import by_domain, size_table
from safegen.cli.render.console import console, counted, facts, json_line, number, plural, put, word
from safegen.cli.render.summary import not_asked
from safegen.pipeline import user_prompts
from safegen.pipeline.resolve import Inputs, check_teachers, read_inputs
from safegen.pipeline.user_prompts import Outlook
from safegen.pipeline.user_repeats import warning
from safegen.scenarios.user_prompts.reader import OwnPrompts
from safegen.scenarios.user_prompts.resolve_labels import in_words

NAMED = 10
"""Rows that are not planned, named on the screen."""
TAKEN = (
    "taken as the file has them; nothing holds them against the text. For labels that are read off it, leave"
    " their cells empty and name `judges.labellers` in the recipe"
)


def check(recipe: str, source: OwnPrompts, *, plugins: Sequence[str], json: bool) -> None:
    """Say what would become of the rows of a file.

    Raises:
        UserError: a mistake in the file or the recipe.
    """
    inputs = read_inputs(recipe, trusted=plugins)
    user_prompts.check(inputs, given={})
    check_teachers(inputs, given={})
    found = user_prompts.outlook(inputs, source)
    if json:
        sys.stdout.write(json_line(_told(inputs, source, found)))
        return
    out = console(sys.stdout)
    table = size_table(out, found.by_domain_mode)
    head = f"{source.name} for {inputs.recipe.name} {inputs.recipe.version}; nothing was asked"
    put(out, word(head, "bold"), "", table, "", facts(_facts(inputs, found), width=10), "")
    for row in found.unlabelled[:NAMED]:
        named = f"row {row.row}" + (f" (`{row.id}`)" if row.id else "")
        put(out, word(f"- {named}, {', '.join(row.fields)}: {row.why}"))
    if len(found.unlabelled) > NAMED:
        put(out, word(f"and {number(len(found.unlabelled) - NAMED)} more; --json names all", "dim"))


def _facts(inputs: Inputs, found: Outlook) -> Iterator[tuple[str, RenderableType]]:
    yield (
        "rows",
        f"{number(found.rows)}, {number(found.labelled)} with all labels, {number(found.planned)} planned",
    )
    if found.taken:
        yield "labels", f"of {plural(found.taken, 'row')}: {TAKEN}"
    if found.to_read:
        calls = f"{plural(found.label_calls, 'question')} to labellers"
        again = "each asked once more where the answer cannot be read"
        yield "to read", f"{plural(found.to_read, 'text')}, {calls}, {again}"
    if found.unlabelled:
        why = counted(in_words(Counter(row.cause for row in found.unlabelled)))
        told = f"{plural(len(found.unlabelled), 'row')} not planned ({why})"
        yield "listed", word(told, "yellow")
    if found.left_out:
        yield (
            "left out",
            word(", ".join(f"{number(n)} by {by}" for by, n in found.left_out.items())),
        )
    if found.not_under:
        yield "not asked", word(not_asked(found.not_under))
    if found.repeats:
        yield "repeats", word(warning(found.repeats, most=NAMED), "yellow")
    if found.not_read:
        yield "not read", word(f"columns {', '.join(found.not_read)}")
    prompts = sum(found.by_domain_mode.values())
    drafts = prompts * inputs.recipe.plan.candidates
    more = "; more once labellers have read the others" if found.to_read else ""
    yield "calls", f"{plural(drafts, 'draft')} of {plural(prompts, 'prompt')}{more}"


def _told(inputs: Inputs, source: OwnPrompts, found: Outlook) -> dict[str, object]:
    listed = [row._asdict() for row in found.unlabelled]
    alike = [
        {"row": r.row._asdict(), "of": r.of._asdict(), "similarity": round(r.similarity, 4)}
        for r in found.repeats
    ]
    prompts = sum(found.by_domain_mode.values())
    return {
        "recipe": inputs.recipe.name,
        "file": source.name,
        **asdict(found),
        "unlabelled": listed,
        "repeats": alike,
        "by_domain_mode": by_domain(found.by_domain_mode),
        "prompts": prompts,
        "drafts": prompts * inputs.recipe.plan.candidates,
    }
