"""`safegen quarantine`: review the drafts about whose harm the judges disagree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import FolderArg, JsonOption

app = typer.Typer(
    help="Review drafts about whose harm the judges disagree.\n\nNeeds the key of the run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
IdsArg = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Draft ids, or their first characters.")
]
IdArg = Annotated[str, typer.Argument(metavar="ID", help="A draft id, or its first characters.")]
TextOption = Annotated[
    bool, typer.Option("--reveal", help="Also show prompt, response and evidence.")
]


@app.command("list")
def list_drafts(folder: FolderArg, json: JsonOption = False) -> None:
    """List the drafts and the severities that the judges saw."""
    from safegen.cli.render.console import (
        format_json_line,
        make_console,
        make_grid,
        make_text,
        print_out,
    )
    from safegen.pipeline import quarantine
    from safegen.pipeline.api import open_run

    records = list(quarantine.open_quarantine(open_run(folder)).read_all())
    if json:
        for record in records:
            sys.stdout.write(format_json_line(quarantine.to_json(record, reveal=False)))
        return
    table = make_grid("draft", "harm", "mode", "severities")
    for record in records:
        cells = (record.draft.draft_id, record.scenario.harm, record.expectation.mode)
        votes = ", ".join(f"{v.judge}: {v.severity}" for v in quarantine.list_votes(record))
        table.add_row("", *map(make_text, (*cells, votes)))
    print_out(make_console(sys.stdout), table if records else make_text("the quarantine is empty"))


@app.command()
def show(
    folder: FolderArg, id: IdArg, reveal: TextOption = False, json: JsonOption = False
) -> None:
    """Show one draft."""
    from rich.text import Text

    from safegen.cli.render.console import format_json_line, make_console, print_out, sanitise
    from safegen.pipeline import quarantine
    from safegen.pipeline.api import open_run

    record = quarantine.open_quarantine(open_run(folder)).read(id)
    payload = quarantine.to_json(record, reveal=reveal)
    if json:
        sys.stdout.write(format_json_line(payload))
        return
    lines = [
        *(f"{name}: {payload[name]}" for name in ("draft_id", "harm", "intent", "mode", "model")),
        *(
            f"{v.judge}: {v.severity}" + (f" “{v.evidence}”" if reveal and v.evidence else "")
            for v in quarantine.list_votes(record)
        ),
    ]
    if reveal:
        lines += [f"\n{m['role']}:\n{m['content']}" for m in record.scenario.messages]
        lines += [f"\nresponse:\n{record.draft.response}"]
    print_out(make_console(sys.stdout), Text(sanitise("\n".join(lines))))


@app.command()
def accept(folder: FolderArg, ids: IdsArg, json: JsonOption = False) -> None:
    """Accept drafts: the next build uses them, accepted by `human`."""
    from safegen.pipeline import quarantine
    from safegen.pipeline.api import open_run

    done = quarantine.accept_drafts(open_run(folder), ids)
    _report("accepted", done, folder, json=json)


@app.command()
def reject(folder: FolderArg, ids: IdsArg, json: JsonOption = False) -> None:
    """Reject drafts: their text is deleted."""
    from safegen.pipeline import quarantine
    from safegen.pipeline.api import open_run

    done = quarantine.reject_drafts(open_run(folder), ids)
    _report("rejected", done, folder, json=json)


def _report(result: str, ids: list[str], folder: Path, *, json: bool) -> None:
    from safegen.cli.render.console import format_json_line, make_console, make_text, print_out

    if json:
        sys.stdout.write(format_json_line({result: ids}))
        return
    hint = f"; rebuild with `safegen build {folder}`" if result == "accepted" else ""
    print_out(make_console(sys.stdout), make_text(f"{result}: {', '.join(ids)}{hint}"))
