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
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, one object per line.")
]
TaxonomyArg = Annotated[str, typer.Argument(help="A taxonomy by name or path.")]


@app.command()
def check(name: TaxonomyArg = "core", json: JsonFlag = False) -> None:
    """Validate a taxonomy and all its goals."""
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
        Path,
        typer.Argument(
            help="CSV or JSON with the columns id, parent, name, definition and optional others, such as tier."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Path of the YAML; default stdout."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the taxonomy; default the file name.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the taxonomy; default its name.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", "--license", help="Licence of the texts.")
    ] = "unknown",
    language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Convert a table to a taxonomy and list the missing values."""
    from safegen.cli import taxonomy_check
    from safegen.config.taxonomy_import import TaxonomyHeader, make_slug

    slug = name or make_slug(file.stem)
    head = TaxonomyHeader(slug, title or slug, licence, language)
    taxonomy_check.import_taxonomy(file, output, head=head, force=force, json=json)
