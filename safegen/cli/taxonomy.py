"""`safegen taxonomy`: check, show and import taxonomies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Check, show and import taxonomies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")]
TaxonomyArg = Annotated[str, typer.Argument(help="A taxonomy by name or path.")]


@app.command()
def check(name: TaxonomyArg = "core", json: JsonFlag = False) -> None:
    """Read a taxonomy with all its goals; a mistake is named with its place."""
    from safegen.cli import taxonomy_check

    taxonomy_check.check_taxonomy(name, json=json)


@app.command()
def show(name: TaxonomyArg = "core", json: JsonFlag = False) -> None:
    """List the leaves with tier, severity, goals and ids in other schemes."""
    from safegen.cli import taxonomy_check

    taxonomy_check.show_taxonomy(name, json=json)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV or JSON with id, parent, name, definition; tier and others.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the YAML goes; default stdout.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name; default the file's.")] = None,
    title: Annotated[str | None, typer.Option(help="Its title; default its name.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the texts.")] = "unknown",
    language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    force: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make a taxonomy from a table, and list what is still to be filled in."""
    from safegen.cli import taxonomy_check
    from safegen.config.taxonomy_import import TaxonomyHeader, make_slug

    called = name or make_slug(file.stem)
    head = TaxonomyHeader(called, title or called, licence, language)
    taxonomy_check.import_taxonomy(file, output, head=head, force=force, json=json)
